"""Embedded services: the private Postgres and Valkey of a machine that has none.

Other packages import from here what they need of them.
"""

from .child import DataDirInUse, ServiceError, ServiceFailed, ServiceState
from .embedded import (
    EmbeddedServices,
    ServiceUrls,
    attached_services,
    present_services,
    running_services,
)

__all__ = [
    "DataDirInUse",
    "EmbeddedServices",
    "ServiceError",
    "ServiceFailed",
    "ServiceState",
    "ServiceUrls",
    "attached_services",
    "present_services",
    "running_services",
]
