"""The engines of this deployment: their settings, and the weights that they need."""

import asyncio
import logging
import threading

from pipelines.engines.chat.choice import PROFILES
from pipelines.engines.discovery import installed
from pipelines.engines.engine import EngineSettings, weights_of
from pipelines.engines.startup import weights_for_calls, weights_for_jobs
from pipelines.weights.manifest import FetchStopped, Model, WeightsError
from pipelines.weights.store import ModelStore

from .settings import Settings

logger = logging.getLogger(__name__)


def engine_settings(settings: Settings) -> EngineSettings:
    """The engines' piece of the settings."""
    return EngineSettings(
        models_dir=settings.models_dir,
        profile=settings.profile,
        upstream_url=settings.upstream_url,
        upstream_key=settings.upstream_key,
        chat_model=settings.chat_model,
        speech_model=settings.speech_model,
        transcription_model=settings.transcription_model,
        calls=settings.max_calls,
    )


def wanted_models(settings: Settings) -> list[Model]:
    """The weights that this deployment uses, those of calls first."""
    chosen, engines = engine_settings(settings), installed().engines
    return [*weights_for_calls(chosen, engines), *weights_for_jobs(chosen, engines)]


def model_store(settings: Settings) -> ModelStore:
    """The models directory, for the weights of every installed engine."""
    models = weights_of(installed().engines)
    return ModelStore(settings.models_dir, models={model.name: model for model in models})


def model_uses() -> dict[str, list[str]]:
    """What the weights of each name are for."""
    uses: dict[str, list[str]] = {}
    for engine in installed().engines:
        for model in engine.weights:
            uses.setdefault(model.name, []).append(engine.role.replace("_", " "))
    return uses


def model_profiles() -> dict[str, str]:
    """The smallest profile that the weights of each name belong to."""
    found: dict[str, str] = {}
    for profile in PROFILES:
        for model in wanted_models(Settings(profile=profile)):
            found.setdefault(model.name, profile)
    return found


async def fetch_job_models(settings: Settings) -> None:
    """Fetch the weights that only jobs need, beside the work: no call waits for them.

    An engine is there as soon as its weights are; until then its jobs are refused with that reason.
    What cannot be fetched is logged and left out. Workers that start at once take turns; the second
    finds what the first has fetched."""
    stop = threading.Event()
    models = weights_for_jobs(engine_settings(settings), installed().engines)
    try:
        await asyncio.to_thread(_fetch, model_store(settings), models, stop)
    finally:
        stop.set()


def _fetch(store: ModelStore, models: list[Model], stop: threading.Event) -> None:
    for model in models:
        if store.ready(model.name):
            continue
        logger.info("fetching %s into %s", model.name, store.directory)
        try:
            store.fetch(model.name, lambda *_: None, stop=stop.is_set)
        except FetchStopped:
            return
        except WeightsError as error:
            logger.error("weights are missing: %s", error)
        else:
            logger.info("%s is there", model.name)
