"""The engines of a worker process: nothing is loaded until a job asks for it."""

from pipelines.engines.registry import Engines

from .settings import Settings
from .staged_engines import engine_settings


def job_engines(settings: Settings) -> Engines:
    """Engines that load what jobs need when they need it; to be closed by the caller."""
    return Engines(engine_settings(settings))
