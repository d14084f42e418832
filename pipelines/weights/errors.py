"""What can go wrong with weights.

::

    WeightsError
    ├── SourceFailed   one source could not give the files; the next one is tried
    └── FetchStopped   the caller asked to stop; finished parts are kept
"""


class WeightsError(Exception):
    """Weights are missing, broken or cannot be fetched; the message says what to do."""


class SourceFailed(WeightsError):
    """One source could not give the files."""


class FetchStopped(WeightsError):
    """The fetch was asked to stop; what is finished is kept for the next one."""
