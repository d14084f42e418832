"""What can go wrong with stored state.

Tree::

    StoreError
    ├── StoreUnavailable     cannot be reached now; try again later
    │   ├── DatabaseUnavailable   Postgres
    │   ├── BusUnavailable        Redis or Valkey
    │   └── ObjectsUnavailable    the object store
    ├── StoreRefused         the database refused the data; trying again gives the same
    ├── ObjectMissing        there is no such object
    └── MigrationError       the schema is not the one this version of blab works with
"""


class StoreError(Exception):
    """Any failure of stored state."""


class StoreUnavailable(StoreError):
    """The store cannot be reached now; the same request may succeed later."""


class DatabaseUnavailable(StoreUnavailable):
    """Postgres is unreachable, overloaded or too slow."""


class BusUnavailable(StoreUnavailable):
    """Redis or Valkey is unreachable or too slow."""


class ObjectsUnavailable(StoreUnavailable):
    """The object store is unreachable, full or too slow."""


class ObjectMissing(StoreError, LookupError):
    """There is no such object."""


class StoreRefused(StoreError):
    """The database refused the data (a constraint, a value out of range)."""


class MigrationError(StoreError):
    """The schema was edited by hand, or is newer than this version of blab."""
