"""The whole application on real Postgres and Valkey, with scripted engines, for calls in tests.

The agent answers with its instructions' last word, and speaks it as a tone whose frequency stands
in it: ``talk 500`` as instructions gives 500 Hz. So it can be heard whose reply one hears.
"""

import asyncio
import dataclasses
import json
import logging
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from gateway.app import HOST, build_app
from gateway.lifecycle import CONNECTION_GUARD, RunningServer
from gateway.services import ServiceUrls
from gateway.settings import Settings
from pipelines.engines.base import ChatMessage
from pipelines.engines.engine import EngineStatus, Role
from pipelines.engines.jobs import CallOptions
from pipelines.engines.scripted.jobs import ScriptedJobEngines
from pipelines.engines.scripted.live import ScriptedEngines, tone
from rest.accounts import keys
from sessions.admission import Strain, Thresholds
from sessions.host import SessionHost
from sessions.registry import LiveCall
from store.bus import Bus
from store.database import USUAL_LIMITS, Database, DatabaseLimits
from store.tenants.accounts import LOCAL_WORKSPACE, ApiKeys, NewApiKey, Users, Workspaces
from tests.support.gateway.realtime_client import RealtimeClient
from tests.support.paths import STATIC

DEFAULT_HZ = 700.0
"""The agent sounds unlike its callers (440 Hz), who would be taken for its echo."""
RATE = 24_000
HEARD = "SECRET TRANSCRIPT"
"""What the scripted ears hear; must be in no log."""
OURS = ("gateway", "sessions", "pipelines", "media", "store", "rest")

OF_JOBS = (
    "speech", "check_speech", "speech_engine", "voices", "voice_languages", "file_transcriber",
    "check_transcription", "translator", "translation_engine", "translated_pairs", "cloner",
    "check_cloning", "check_chat",
)  # fmt: skip
"""What the application asks of ``ServerEngines.jobs``."""


@dataclass
class ServerEngines(ScriptedEngines):
    """Scripted engines as the application owns them."""

    waiting: str | None = None
    jobs: ScriptedJobEngines = field(default_factory=ScriptedJobEngines)
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        for name in OF_JOBS:
            setattr(self, name, getattr(self.jobs, name))

    def serves(self, role: Role, model_id: str) -> bool:
        return super().serves(role, model_id) and self.jobs.serves(role, model_id)

    def statuses(self) -> tuple[EngineStatus, ...]:
        return (*super().statuses(), *self.jobs.statuses())

    async def close(self) -> None:
        self.closed.set()

    def waiting_for(self) -> str | None:
        return self.waiting

    def call_options(self) -> CallOptions:
        return CallOptions()


def answer_by_instructions(messages: Sequence[ChatMessage]) -> str:
    system = next((m.content for m in messages if m.role == "system"), "")
    found = re.search(r"talk (\d+)", system)
    return f"Answer {found[1]}." if found else "Fine."


def frequency_of(text: str) -> float:
    found = re.search(r"\d+", text)
    return float(found[0]) if found else DEFAULT_HZ


class ScriptedServer:
    """A running server."""

    def __init__(
        self,
        server: RunningServer,
        app: web.Application,
        engines: ServerEngines,
        bus: Bus,
        database: Database,
    ) -> None:
        self.server = server
        self.app = app
        self.engines = engines
        self.bus = bus
        self.database = database
        self.ws_url = f"ws://127.0.0.1:{server.port}"
        self.url = f"http://127.0.0.1:{server.port}"
        self.calls_url = f"{self.url}/v1/realtime/calls"
        self.key = ""

    @property
    def slots_taken(self) -> int:
        return self.app[HOST]._admission.active

    @property
    def host(self) -> SessionHost:
        return self.app[HOST]

    @property
    def app_node(self) -> str:
        """The id of the node."""
        return self.host.node_id

    async def live(self, call_id: str) -> LiveCall:
        """What others see of a call in progress."""
        found = await self.host._registry.get(LOCAL_WORKSPACE, call_id)
        assert found is not None
        return found

    def app_calls(self) -> tuple[str, ...]:
        """The ids of the calls in progress."""
        return self.app[HOST].call_ids()

    def set_capacity(self, calls: int) -> None:
        self.app[HOST]._admission.capacity = calls

    def set_head_seconds(self, seconds: float) -> None:
        self.app[CONNECTION_GUARD]._head_seconds = seconds

    async def new_key(
        self, workspace_id: str = LOCAL_WORKSPACE, scopes: Sequence[str] = ("agents:write",)
    ) -> str:
        key = keys.new_key()
        await ApiKeys(self.database).insert(
            workspace_id, NewApiKey("test", key.prefix, key.digest, scopes)
        )
        return key.text

    async def foreign_workspace(self) -> str:
        user = await Users(self.database).create("stranger@example.com", "Stranger", None)
        return (await Workspaces(self.database).create("Foreign", user.id)).id

    def client(self, **options: Any) -> RealtimeClient:
        return RealtimeClient(self.ws_url, options.pop("key", self.key), **options)

    async def empty(self, seconds: float = 20.0) -> None:
        """Wait until every call has ended and given its slot back."""
        async with asyncio.timeout(seconds):
            while self.slots_taken or self.app[HOST].active:
                await asyncio.sleep(0.005)
        engines = self.engines
        busy = (engines.ears.opened, engines.chat_model.running, engines.voice.running)
        assert busy == (0, 0, 0)


@asynccontextmanager
async def running_node(
    database: Database,
    urls: ServiceUrls,
    data_dir: Path,
    *,
    limits: DatabaseLimits = USUAL_LIMITS,
    **settings: Any,
) -> AsyncIterator[ScriptedServer]:
    """The application on a free port; at its end every call has given its slot back."""
    engines = ServerEngines()
    engines.ears.texts = (HEARD,)
    engines.chat_model.answer = answer_by_instructions
    engines.voice.frequency_of = frequency_of
    chosen = {"max_calls": 50, "registration": "open", "rate_limit": 0, **settings}
    app = await build_app(
        dataclasses.replace(Settings(), data_dir=data_dir, **chosen),
        urls,
        engines,
        static=STATIC,
        limits=limits,
    )
    app[HOST]._admission.strain = Strain(Thresholds(lag=60))  # other tests use the processor too
    running = await RunningServer.start(app, "127.0.0.1", 0)
    bus = Bus(urls.redis_url)
    made = ScriptedServer(running, app, engines, bus, database)
    try:
        await Workspaces(database).ensure_local_workspace()
        made.key = await made.new_key()
        yield made
        await made.empty()
    finally:
        await bus.close()
        await running.close()
    assert engines.closed.is_set()


@pytest.fixture
async def server(
    database: Database, own_database_url: str, redis_url: str, tmp_path: Path
) -> AsyncIterator[ScriptedServer]:
    """One node."""
    urls = ServiceUrls(own_database_url, redis_url)
    async with running_node(database, urls, tmp_path) as node:
        yield node


@pytest.fixture
async def second_node(
    server: ScriptedServer, own_database_url: str, redis_url: str, tmp_path: Path
) -> AsyncIterator[ScriptedServer]:
    """Another node on the same Postgres and Redis."""
    urls = ServiceUrls(own_database_url, redis_url)
    async with running_node(server.database, urls, tmp_path / "second") as node:
        yield node


# ---------------------------------------------------------------------------- what callers do


async def ask(caller: RealtimeClient, *, within: float = 3.0) -> dict[str, Any]:
    """Type something and wait for the spoken answer's end."""
    count = len(caller.of("response.done")) + 1
    content = [{"type": "input_text", "text": HEARD}]
    item = {"type": "message", "role": "user", "content": content}
    await caller.send({"type": "conversation.item.create", "item": item})
    await caller.send({"type": "response.create"})
    done = await caller.wait_for("response.done", count=count, seconds=within)
    response: dict[str, Any] = done["response"]
    assert response["status"] == "completed"
    return response


async def speak(caller: RealtimeClient, *, seconds: float = 0.6) -> None:
    """Say something at once, and the silence behind it; the answer follows."""
    pcm = tone(440, int(seconds * RATE), RATE) + bytes(2 * RATE)
    for start in range(0, len(pcm), 4800):
        await caller.send_audio(pcm[start : start + 4800])


@asynccontextmanager
async def neighbour(server: ScriptedServer) -> AsyncIterator[RealtimeClient]:
    """A call beside the one under test, which must notice nothing and be answered in time."""
    async with server.client(binary=True) as caller:
        await caller.wait_for("session.created")
        yield caller
        await ask(caller)
        assert not caller.of("error")
        assert caller.closed is None


async def refused(server: ScriptedServer, **options: Any) -> tuple[int, str]:
    """HTTP status and error code of a WebSocket request that must not open."""
    headers = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    headers |= options.get("headers", {})
    query = options.get("query", "model=default")
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{server.url}/v1/realtime?{query}", headers=headers) as answer,
    ):
        return answer.status, json.loads(await answer.text())["error"]["code"]


def our_log(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """What the server logged of peers' faults: neither requests nor begins and ends of calls."""
    return [
        record
        for record in caplog.records
        if record.name.split(".")[0] in OURS
        and record.levelno >= logging.INFO
        and record.name not in ("gateway.access", "gateway.calls.realtime")
        and not record.getMessage().startswith("WebRTC call closed")
    ]


def assert_discreet(caplog: pytest.LogCaptureFixture, *secrets: str, at_most: int = 1) -> None:
    """Each fault logged at most once, without traceback, words or keys."""
    ours = our_log(caplog)
    told = [record.getMessage() for record in ours]
    assert len(told) <= at_most, told
    for record in caplog.records:
        if record.name.split(".")[0] not in (*OURS, "aiohttp", "asyncio"):
            continue
        assert record.exc_info is None, record.getMessage()
        for secret in (HEARD, *secrets):
            assert secret not in record.getMessage()
