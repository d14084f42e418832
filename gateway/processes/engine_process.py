"""The engine process: the embedded engines of a machine's calls, for its gateway processes.

``python -m gateway.processes.engine_process``, with the arguments of ``child``. It shows the steps
of its start on standard error, as one process alone would.
"""

import argparse
import asyncio
import socket
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

from gateway.engines import engine_settings
from gateway.logs import JSON
from gateway.settings import Settings
from gateway.steps import STAGES, Steps
from gateway.stop_signals import StopSignals
from gateway.telemetry.metrics import Metrics
from pipelines.engines.catalogue import Catalogue
from pipelines.engines.chat.choice import ChatChoice
from pipelines.engines.engine import Engine
from pipelines.engines.remote.server import EngineServer

from .child import run


def main(argv: Sequence[str], engines: tuple[Engine, ...] | None = None) -> int:
    """Run to the end. ``engines``: declarations in place of the installed ones."""
    return run("engines", argv, partial(_serve, declared=engines))


async def _serve(
    options: argparse.Namespace, settings: Settings, declared: tuple[Engine, ...] | None
) -> None:
    steps = Steps(logged=settings.log_format == JSON)

    def on_stage(stage: str) -> None:
        steps.end()
        if stage in STAGES:
            steps.begin(STAGES[stage])

    def on_chat_replaced(choice: ChatChoice) -> None:
        steps.say(f"{choice.model_id} answers. {choice.reason}")

    catalogue = Catalogue(
        engine_settings(settings),
        engines=declared,
        fetch=partial(steps.fetch, settings),
        on_stage=on_stage,
        on_chat_replaced=on_chat_replaced,
    )
    server = EngineServer(catalogue.source)
    metrics = Metrics(options.metrics)
    metrics.watch_engines(catalogue.hearing_loads)
    with StopSignals().installed() as signals:
        await server.start(socket.socket(fileno=options.descriptor))
        stop = asyncio.create_task(signals.stop.wait(), name="stop")
        work = [
            asyncio.create_task(catalogue.start(server.quiet), name="engines-loading"),
            asyncio.create_task(metrics.keep_fresh(), name="metrics"),
        ]
        tasks: list[asyncio.Task[Any]] = [stop, *work]
        try:
            waiting = set(tasks)
            while not stop.done():
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()  # the engines cannot be loaded: the supervisor tries again
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await server.close()
            await catalogue.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
