"""``blab web`` in one process, with the scripted engines of the cluster bench instead of real ones.

``python -m tests.support.gateway.scripted_node``: the settings come from the environment, SIGTERM
drains, as in ``gateway.commands.serve``; nothing is loaded, so that it starts in a few seconds.
"""

import os

import uvloop

from bench.cluster.engines import answer
from gateway import logs
from gateway.app import HOST, build_app
from gateway.lifecycle import serve
from gateway.services import present_services
from gateway.settings import Settings
from pipelines.engines.scripted.live import ScriptedChatModel, ScriptedTranscriber
from sessions.admission import Strain, Thresholds
from tests.support.gateway.scripted_server import ServerEngines

MODULE = "tests.support.gateway.scripted_node"


async def run(settings: Settings) -> None:
    """Until a signal has ended it."""
    engines = ServerEngines(
        ScriptedTranscriber(("what about this one",)),
        ScriptedChatModel(answer=answer, first_token_delay=0.05),
    )
    app = await build_app(settings, present_services(settings), engines)
    app[HOST]._admission.strain = Strain(Thresholds(lag=60))  # others use the processor too
    drain = app[HOST].drain
    await serve(app, settings.host, settings.port, drain, drain_seconds=settings.drain_seconds)


def main() -> None:
    settings = Settings.read(os.environ)
    logs.configure(settings.log_level)
    uvloop.run(run(settings))


if __name__ == "__main__":
    main()
