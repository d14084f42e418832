"""A gateway process: answers calls and requests on connections that the supervisor passes on, with
the engines of the engine process.

``python -m gateway.processes.gateway_process DESCRIPTOR`` is the fork server that makes them, each
with the arguments of ``child``.
"""

import argparse
import asyncio
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from aiohttp import web

from gateway.app import ADMISSION, HOST, GatewayProcess, build_app
from gateway.engines import engine_settings
from gateway.lifecycle import CONNECTION_GUARD, serve, tls_context
from gateway.services import present_services
from gateway.settings import Settings
from gateway.stop_signals import StopSignals
from pipelines.engines.catalogue import Catalogue
from pipelines.engines.engine import Engine
from pipelines.engines.remote.engines import RemoteEngines

from .child import run, show_name
from .connections import BEAT_SECONDS, PassedConnections, Report
from .fork_server import forked
from .neighbours import Neighbours

FORK_SERVER = "blab forks"
REPORT_SECONDS = 0.05
"""Between two looks at what this process has to do."""


def main(argv: Sequence[str], engines: tuple[Engine, ...] | None = None) -> int:
    """Run to the end. ``engines``: declarations in place of the installed ones."""
    show_name(FORK_SERVER)
    start = forked(int(argv[0]))
    if start is None:
        return 0
    words = (*start.arguments, "--descriptor", str(start.descriptor))
    return run("gateway", words, partial(_serve, declared=engines))


def share(total: int, number: int, processes: int) -> int:
    """What process ``number`` (from 1) has of ``total`` calls; at least one."""
    return max(1, total // processes + (number <= total % processes))


async def _serve(
    options: argparse.Namespace, settings: Settings, declared: tuple[Engine, ...] | None
) -> None:
    first, urls = options.number == 1, present_services(settings)
    chosen = engine_settings(settings)
    calls = share(settings.max_calls, options.number, settings.processes)
    of_one = settings.max_calls_per_workspace
    if of_one:
        of_one = share(of_one, options.number, settings.processes)
    settings = replace(settings, max_calls=calls, max_calls_per_workspace=of_one)
    signals, reporting = StopSignals(), _Reporting()
    passed = PassedConnections(socket.socket(fileno=options.descriptor), signals.stop.set)

    def remote(engines: Sequence[Engine]) -> RemoteEngines:
        return RemoteEngines(chosen, engines, options.engines, on_stage=reporting.on_stage)

    catalogue = Catalogue(chosen, engines=declared, source=remote)
    source = catalogue.source
    neighbours = Neighbours(options.engines.parent, options.number)
    process = GatewayProcess(passed, lambda: source.calls_elsewhere, options.metrics, neighbours)
    app = await build_app(settings, urls, catalogue, keep_warm=first, process=process)
    tls = None
    if settings.tls_certificate is not None:
        tls = tls_context(settings.tls_certificate, settings.tls_key)
    tasks: list[asyncio.Task[None]] = []

    def serving(_port: int) -> None:
        tasks.append(asyncio.create_task(reporting.run(app, catalogue, passed), name="reports"))

    try:
        await serve(
            app,
            settings.host,
            settings.port,
            app[HOST].drain,
            drain_seconds=settings.drain_seconds,
            on_listening=serving,
            signals=signals,
            tls=tls,
            passed=passed,
        )
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        passed.close()


class _Reporting:
    """Keeps the supervisor and the engine process informed of what this process has to do."""

    def __init__(self) -> None:
        self._stage = ""

    def on_stage(self, stage: str) -> None:
        """The start is over."""
        self._stage = stage

    async def run(
        self, app: web.Application, catalogue: Catalogue, passed: PassedConnections
    ) -> None:
        """Report every change, until cancelled."""
        host, admission, guard = app[HOST], app[ADMISSION], app[CONNECTION_GUARD]
        while True:
            strained = admission.strain.reason() is not None
            report = Report(
                calls=host.active,
                capacity=0 if strained else admission.capacity,
                connections=guard.connections,
                draining=admission.draining,
                stage=self._stage,
                waiting_for=catalogue.waiting_for(),
                beat=int(time.monotonic() / BEAT_SECONDS),
            )
            passed.report(report)
            catalogue.source.report_calls(report.calls)
            await asyncio.sleep(REPORT_SECONDS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
