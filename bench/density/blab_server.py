"""Blab as the density bench measures it: the whole application, scripted engines, the real Silero.

    python -m bench.density.blab_server PORT CORE DATABASE_URL REDIS_URL RESUME_SECONDS
        [--record]

Prints a line of JSON, with a key and an agent's id, once it answers.
"""

import dataclasses
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import uvloop

from bench.density.systems import SILERO
from gateway.app import HOST, build_app
from gateway.lifecycle import RunningServer
from gateway.services import ServiceUrls
from gateway.settings import Settings
from gateway.stop_signals import StopSignals
from media.vad import SileroModel
from pipelines.engines.scripted.live import ScriptedChatModel, ScriptedTranscriber
from rest.accounts import keys
from sessions.admission import Strain, Thresholds
from store.database import Database
from store.migrate import migrate
from store.tenants.accounts import LOCAL_WORKSPACE, ApiKeys, NewApiKey, Workspaces
from store.tenants.agents import Agents
from tests.support.gateway.scripted_server import ServerEngines


class NoLog(list[Any]):
    """Stands for the scripted engines' logs of requests, which would count as memory of calls."""

    def append(self, _entry: Any) -> None:
        """Forget it."""


def engines() -> ServerEngines:
    """Scripted engines that answer at once, behind the real voice activity detector."""
    made = ServerEngines(
        ScriptedTranscriber(("hello there my friend.",)),
        ScriptedChatModel(("Sure thing.",), asked=NoLog(), offered=NoLog(), prefilled=NoLog()),
        vad=SileroModel(SILERO),
    )
    made.chat_model.formats = made.voice.spoken = made.detector.heard = NoLog()
    return made


async def prepare(database_url: str, *, record: bool) -> tuple[str, str]:
    """A key, and the id of the agent, which records its calls or does not."""
    database = Database(database_url)
    await database.connect()
    try:
        await migrate(database)
        await Workspaces(database).ensure_local_workspace()
        agents = Agents(database)
        agent = await agents.ensure_default_agent(LOCAL_WORKSPACE)
        changes = {"recording": {"enabled": True} if record else {}}
        await agents.update(LOCAL_WORKSPACE, agent.id, changes)
        key = keys.new_key()
        await ApiKeys(database).insert(
            LOCAL_WORKSPACE, NewApiKey("density", key.prefix, key.digest, ("agents:write",))
        )
        return key.text, agent.id
    finally:
        await database.close()


async def serve(port: int, urls: ServiceUrls, resume_seconds: int, *, record: bool) -> None:
    key, agent = await prepare(urls.database_url, record=record)
    with tempfile.TemporaryDirectory(prefix="blab-density-") as folder:
        settings = dataclasses.replace(
            Settings(),
            data_dir=Path(folder),
            max_calls=1_000,
            rate_limit=0,
            resume_seconds=resume_seconds,
        )
        app = await build_app(settings, urls, engines())
        app[HOST]._admission.strain = Strain(Thresholds(lag=60))  # a busy machine refuses nobody
        running = await RunningServer.start(app, "127.0.0.1", port)
        with StopSignals().installed() as signals:
            print(json.dumps({"key": key, "agent": agent}), flush=True)
            await signals.stop.wait()
        await running.close()


def main() -> None:
    port, core, database_url, redis_url, resume, *options = sys.argv[1:]
    os.sched_setaffinity(0, {int(core)})
    urls = ServiceUrls(database_url, redis_url)
    uvloop.run(serve(int(port), urls, int(resume), record="--record" in options))


if __name__ == "__main__":
    main()
