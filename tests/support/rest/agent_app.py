"""The resource of agents as an application of its own, with scripted engines; a credential is the
workspace's id. Each conversation's agent hears and says words of its own."""

import asyncio
import io
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import FormData, web
from aiohttp.test_utils import TestClient, TestServer

from media.formats import HEARING_RATE
from pipelines.engines.scripted.live import ScriptedEngines, scripted_engines, tone
from pipelines.jobs.artifacts import Artifacts
from pipelines.ssrf import CustomerHttp
from pipelines.tool_runner import ToolRunner
from rest.accounts.auth import Principal
from rest.accounts.callers import CallerIds
from rest.agents.agents import READ, WRITE, AgentResource
from rest.agents.configuration import AgentChecks
from rest.agents.conversations import Conversations
from rest.agents.tools import AgentToolResource
from rest.agents.turns import AgentTurns
from rest.agents.versions import AgentVersionResource
from rest.http.endpoint import EndpointOptions, routes
from rest.http.idempotency import Idempotency
from rest.http.operation import Resource
from rest.http.uploads import Uploads
from rest.jobs.kinds import JobViews
from sessions.admission import Admission
from sessions.fanout import Fanout
from sessions.host import SessionHost
from sessions.persistence import CallJournal
from sessions.registry import CallRegistry
from store.bus import Bus
from store.database import Database
from store.objects import ObjectStore
from store.tenants.agents import Agent, Agents, NewAgent
from store.tenants.calls import NewTurn
from store.tenants.idempotency import IdempotencyKeys
from store.vault import Vault
from tests.support.pipelines.job_support import new_workspace
from tests.support.rest.job_app import PlainCursors, Signer, refusals

Client = TestClient[web.Request, web.Application]


def recording(seconds: float = 0.6, *, silent: bool = False, rate: int = HEARING_RATE) -> bytes:
    """A WAV file in which somebody speaks, or nobody."""
    samples = int(seconds * rate)
    file = io.BytesIO()
    with wave.open(file, "wb") as made:
        made.setparams((1, 2, rate, 0, "NONE", ""))
        made.writeframes(bytes(2 * samples) if silent else tone(440.0, samples, rate))
    return file.getvalue()


@dataclass
class AgentNode:
    """One node that serves agents: its engines, host and stores."""

    database: Database
    bus: Bus
    folder: Path
    engines: ScriptedEngines = field(default_factory=scripted_engines)
    capacity: int = 10
    wait_seconds: float = 5.0
    waiting: str | None = None
    booked: list[tuple[str, str, NewTurn]] = field(default_factory=list)
    changed: list[Agent] = field(default_factory=list)
    """The agents that were created or changed, as they then were."""
    vault: Vault | None = None
    addresses: list[str] = field(default_factory=list)
    """What every name of a tool's URL stands for; private ones are allowed then."""

    def __post_init__(self) -> None:
        registry = CallRegistry(self.bus)
        self.journal = CallJournal(self.database, registry.node_id)
        self.admission = Admission(self.capacity)
        self.host = SessionHost(
            self.engines, self.admission, self.journal, Fanout(self.bus), registry
        )
        self.artifacts = Artifacts(self.database, ObjectStore.open(f"file://{self.folder}/objects"))

    async def book(self, _connection: Any, workspace_id: str, call_id: str, turn: NewTurn) -> None:
        self.booked.append((workspace_id, call_id, turn))

    def resources(self) -> list[Resource]:
        conversations = Conversations(
            self.database, self.bus, self.host.node_id, self.book, wait_seconds=self.wait_seconds
        )
        engines, cursors = self.engines, PlainCursors()
        turns = AgentTurns(
            database=self.database,
            conversations=conversations,
            host=self.host,
            engines=engines,
            artifacts=self.artifacts,
            views=JobViews(Signer()),
            cursors=cursors,
            callers=CallerIds(b"secret"),
            waiting_for=lambda: self.waiting,
        )
        guard = CustomerHttp(look_up=lambda _: self.addresses, allow_private=bool(self.addresses))
        checks, noted = AgentChecks(engines, guard), self.changed.append
        return [
            AgentResource(self.database, turns, checks, cursors, noted, self.vault),
            AgentVersionResource(self.database, checks, cursors, noted, self.vault),
            AgentToolResource(self.database, ToolRunner(guard), self.vault),
        ]

    @asynccontextmanager
    async def client(self, workspace_id: str) -> AsyncIterator[Client]:
        """A client of a workspace; at its end the node is at rest again."""
        app = web.Application(middlewares=[refusals])
        options = EndpointOptions(
            idempotency=Idempotency(IdempotencyKeys(self.database)),
            uploads=Uploads(self.folder / "uploads"),
        )
        app.add_routes(routes(self.resources(), authenticate, options))
        headers = {"Authorization": workspace_id}
        async with TestClient(TestServer(app), headers=headers) as client:
            yield client
            await self.at_rest()

    async def at_rest(self, seconds: float = 5.0) -> None:
        """Every slot and every engine's place is given back, and no task of a turn is left."""
        engines = self.engines
        async with asyncio.timeout(seconds):
            while self.admission.active or self.host.active:
                await asyncio.sleep(0.005)
        busy = (engines.ears.opened, engines.chat_model.running, engines.voice.running)
        assert busy == (0, 0, 0)


async def authenticate(request: web.Request) -> Principal:
    workspace_id = request.headers["Authorization"]
    return Principal(workspace_id, "api_key", key_id="key", scopes=(READ, WRITE))


@dataclass
class Called:
    """A workspace with an agent, and a client of it."""

    client: Client
    workspace_id: str
    agent: Agent

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, dict[str, Any]]:
        async with self.client.request(method, path, **options) as answer:
            body: dict[str, Any] = await answer.json()
            return answer.status, body

    async def turn(
        self,
        conversation: str | None = None,
        file: bytes | None = None,
        headers: dict[str, str] | None = None,
        **fields: str,
    ) -> tuple[int, dict[str, Any]]:
        """Send a recording; status and data, or status and error."""
        form = FormData()
        if conversation is not None:
            form.add_field("conversationId", conversation)
        for name, value in fields.items():
            form.add_field(name, value)
        sent = io.BytesIO(recording() if file is None else file)
        form.add_field("file", sent, filename="a.wav", content_type="audio/wav")
        path = f"/api/agents/{self.agent.id}/turn"
        status, body = await self.ask("POST", path, data=form, headers=headers)
        return status, body["data"] if status == 200 else body["error"]

    async def history(self) -> list[dict[str, Any]]:
        status, body = await self.ask("GET", f"/api/agents/{self.agent.id}/turns")
        assert status == 200
        turns: list[dict[str, Any]] = body["data"]
        return turns


@asynccontextmanager
async def called(node: AgentNode, email: str = "worker@example.com") -> AsyncIterator[Called]:
    """A new workspace with an agent named Ann."""
    workspace_id = await new_workspace(node.database, email)
    agent = await Agents(node.database).create(workspace_id, NewAgent("Ann", "Be brief."))
    async with node.client(workspace_id) as client:
        yield Called(client, workspace_id, agent)
