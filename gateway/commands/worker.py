"""``blab worker``: the process type beside ``web``.

It runs jobs, fetches the weights that only jobs need, and does the housekeeping for calls whose
node died (``gateway.housekeeping``). Engines are loaded when a job needs them. On the first SIGTERM
running jobs may finish within ``BLAB_DRAIN_SECONDS``; the second signal, or the end of that time,
returns them to the queue.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import sys
from functools import partial

import uvloop

from gateway.engines import engine_settings, fetch_job_models
from gateway.housekeeping import Housekeeping
from gateway.platform import media_limits
from gateway.services import ServiceError
from gateway.services.embedded import present_services
from gateway.settings import Settings, SettingsError
from gateway.stop_signals import StopSignals
from gateway.stores import Stores
from pipelines.clone import CloneKind
from pipelines.decoding import decoded
from pipelines.dubbing.job import DubbingKind
from pipelines.engines.catalogue import Catalogue
from pipelines.jobs.artifacts import Artifacts
from pipelines.jobs.cleanup import Cleanup, CleanupSchedule
from pipelines.jobs.erasure import Eraser
from pipelines.jobs.job import JobKind
from pipelines.jobs.queue import BatchKind
from pipelines.jobs.usage import Prices, PricesError, Usage
from pipelines.jobs.worker import Worker
from pipelines.speech.job import TtsKind, polish
from pipelines.ssrf import CustomerHttp
from pipelines.transcription.job import SttKind
from pipelines.webhooks import WebhookEvents, WebhookKind
from sessions.fanout import forget
from sessions.registry import CallRegistry
from sessions.resumption.stored_calls import can_be_resumed
from store.errors import StoreError
from store.tenants.calls import Calls
from store.tenants.voices import Voices

logger = logging.getLogger(__name__)


def arguments(parser: argparse.ArgumentParser) -> None:
    """``blab worker`` may run at a lower priority."""
    parser.add_argument(
        "--nice", type=int, default=0, metavar="N", help="lower the priority by N, like nice(1)"
    )


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Work until a signal asks to stop."""
    os.nice(options.nice)
    try:
        uvloop.run(_work(settings))
    except (ServiceError, StoreError, SettingsError, PricesError) as error:
        print(f"blab worker: {error}", file=sys.stderr)
        return 1
    return 0


async def _work(settings: Settings) -> None:
    prices = Prices.read(settings.prices)
    with StopSignals().installed() as signals:
        stores = await Stores.open(settings, present_services(settings))
        engines = Catalogue(engine_settings(settings))
        http = CustomerHttp(allow_private=settings.webhook_private)
        database = stores.database
        kinds = job_kinds(settings, stores, engines, http)
        hooks = [Usage(database, prices).hook, WebhookEvents(database).hook]
        worker = Worker(database, kinds, hooks)
        housekeeping = Housekeeping(
            Calls(database),
            CallRegistry(stores.bus),
            CleanupSchedule(database),
            resumable=partial(can_be_resumed, stores.bus),
        )
        beside = [
            asyncio.create_task(housekeeping.run(), name="housekeeping"),
            asyncio.create_task(fetch_job_models(settings), name="job-models"),
        ]
        try:
            logger.info("the worker takes jobs and closes the calls of dead nodes")
            await _drained(worker, signals, settings.drain_seconds)
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            await http.close()
            await engines.close()
            await stores.close()


async def _drained(worker: Worker, signals: StopSignals, drain_seconds: float) -> None:
    """Work until the signal, then let running jobs finish within ``drain_seconds``."""
    working = asyncio.create_task(worker.run(), name="worker")
    stop = asyncio.create_task(signals.stop.wait(), name="stop")
    try:
        await asyncio.wait({working, stop}, return_when=asyncio.FIRST_COMPLETED)
        worker.stop()
        force = asyncio.create_task(signals.force.wait(), name="force")
        try:
            await asyncio.wait(
                {working, force}, timeout=drain_seconds, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            force.cancel()
        worker.interrupt()
        await working
    finally:
        for task in (working, stop):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


# ------------------------------------------------------------------ what a worker runs


def job_kinds(
    settings: Settings, stores: Stores, engines: Catalogue, webhook_http: CustomerHttp
) -> list[JobKind]:
    """Every kind of job; a worker registers them all."""
    database, objects = stores.database, stores.objects
    artifacts, voices = Artifacts(database, objects), Voices(database)
    limits = media_limits(settings)
    return [
        TtsKind(engines, voices, artifacts, polish),
        BatchKind(database),
        SttKind(engines, artifacts, partial(decoded, limits=limits)),
        CloneKind(database, engines, artifacts),
        DubbingKind(engines, voices, artifacts, limits),
        WebhookKind(database, webhook_http, stores.vault),
        Cleanup(
            database,
            objects,
            Eraser(database, objects, partial(forget, stores.bus)),
            settings.retention_days,
        ),
    ]
