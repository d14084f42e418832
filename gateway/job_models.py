"""The weights that only jobs need: fetched beside the work, because no call waits for them.

An engine is there as soon as its weights are; until then its jobs are refused with that reason.
Workers that start at once take turns; the second finds what the first has fetched.
"""

import asyncio
import logging
import threading

from pipelines.weights.errors import FetchStopped, WeightsError
from pipelines.weights.manifest import JOB_MODELS
from pipelines.weights.store import ModelStore

from .settings import Settings

logger = logging.getLogger(__name__)


async def fetch_job_models(settings: Settings) -> None:
    """Fetch what is missing; what cannot be fetched is told and left out."""
    stop = threading.Event()
    try:
        await asyncio.to_thread(_fetch, ModelStore(settings.models_dir), stop)
    finally:
        stop.set()


def _fetch(store: ModelStore, stop: threading.Event) -> None:
    for name in JOB_MODELS:
        if store.ready(name):
            continue
        logger.info("fetching %s into %s", name, store.directory)
        try:
            store.fetch(name, lambda *_: None, stop=stop.is_set)
        except FetchStopped:
            return
        except WeightsError as error:
            logger.error("weights are missing: %s", error)
        else:
            logger.info("%s is there", name)
