"""What can go wrong with the embedded services.

Tree::

    ServiceError
    ├── DataDirInUse    another blab holds the data directory
    └── ServiceFailed   a server could not be started, or its files cannot be reached
"""


class ServiceError(Exception):
    """The embedded services cannot be had; the message says what to do."""


class DataDirInUse(ServiceError):
    """Another blab process holds the data directory."""


class ServiceFailed(ServiceError):
    """A server did not start, or something it needs is missing."""
