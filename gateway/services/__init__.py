"""Embedded services: the private Postgres and Valkey of a machine that has none.

Public names: ``EmbeddedServices``, ``ServiceUrls``, ``ServiceState`` and the errors.
"""

from .child import ServiceState
from .embedded import EmbeddedServices, ServiceUrls, running_services
from .errors import DataDirInUse, ServiceError, ServiceFailed

__all__ = [
    "DataDirInUse",
    "EmbeddedServices",
    "ServiceError",
    "ServiceFailed",
    "ServiceState",
    "ServiceUrls",
    "running_services",
]
