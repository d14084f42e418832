"""What an engine raises, as the refusal of a request."""

from pipelines.engines.base import EngineBusy, EngineError, ModelUnavailable

from .errors import ApiError, NoSuchModel, ProviderFailed, Unavailable

BUSY_SECONDS = 1
"""When to ask again where an engine's queue is full."""


def refusal(error: EngineError) -> ApiError:
    """The refusal that tells of ``error``."""
    if isinstance(error, ModelUnavailable):
        return NoSuchModel(str(error), param="model")
    if isinstance(error, EngineBusy):
        return Unavailable(str(error), retry_after=BUSY_SECONDS)
    return ProviderFailed(str(error))
