"""What the tests of the HTTP application share: stores in memory and a host that echoes."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

from aiohttp import web

from gateway.calls.authorization import Authorization
from gateway.calls.realtime import RealtimeCalls
from gateway.channels.message_socket import Limits
from gateway.channels.websocket import LIMITS
from gateway.http.middleware import Middleware, show_request_id
from gateway.lifecycle import CONNECTION_GUARD, ConnectionGuard, RunningServer
from gateway.telemetry.metrics import Metrics
from rest.accounts import keys
from rest.accounts.auth import Authenticator
from rest.accounts.callers import CallerIds
from rest.accounts.keys import EphemeralKeys
from rest.http.errors import NotFound
from sessions.admission import Admission, Ticket
from sessions.channel import Channel, ClientFault, Piece, WireFormat
from sessions.core.events import AddItem, CommitInput, ConfigureSession, Event, RequestReply
from sessions.core.items import Item, ReplyStatus
from sessions.core.notices import (
    Fault,
    InputCommitted,
    ItemAdded,
    Notice,
    ReplyCreated,
    ReplyDone,
    ReplyItemAdded,
    ReplyText,
    SessionChanged,
    SessionOpened,
    TranscriptFinal,
)
from sessions.host import CallRequest
from store.tenants.accounts import ApiKey
from store.tenants.agents import Agent

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WORKSPACE = "ws_1"


class MemoryBus:
    """Values that expire, without a server; time is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.values: dict[str, tuple[float, bytes]] = {}

    async def put(self, key: str, value: bytes, ttl: float) -> None:
        self.values[key] = (self.now + ttl, value)

    async def get(self, key: str) -> bytes | None:
        expires, value = self.values.get(key, (0.0, b""))
        return value if expires > self.now else None

    async def delete(self, key: str) -> None:
        self.values.pop(key, None)

    async def pop(self, key: str) -> bytes | None:
        value = await self.get(key)
        self.values.pop(key, None)
        return value


@dataclass
class MemoryKeys:
    """API keys by digest."""

    records: dict[bytes, ApiKey] = field(default_factory=dict)
    lookups: int = 0

    def add(
        self, workspace_id: str = WORKSPACE, scopes: tuple[str, ...] = ("agents:write",)
    ) -> str:
        key = keys.new_key()
        self.records[key.digest] = ApiKey(
            id=f"key_{len(self.records)}",
            workspace_id=workspace_id,
            created_by=None,
            name="test",
            prefix=key.prefix,
            scopes=list(scopes),
            expires_at=None,
            last_used_at=None,
            revoked_at=None,
            created_at=NOW,
            updated_at=NOW,
        )
        return key.text

    async def find_by_digest(self, digest: bytes) -> ApiKey | None:
        self.lookups += 1
        return self.records.get(digest)

    async def touch(self, workspace_id: str, key_id: str) -> None:
        pass


class MemoryAgents:
    """A default agent for every workspace, and those added."""

    def __init__(self) -> None:
        self.agents: dict[tuple[str, str], Agent] = {}

    def add(self, workspace_id: str, agent_id: str, **changes: Any) -> Agent:
        values = {
            "name": "Assistant",
            "system_prompt": "Be kind.",
            "model": "verinova-stable",
            "tts_model": "blab-stable",
            "voice": "default",
            "language": None,
            "is_default": False,
            **changes,
        }
        agent = Agent(
            id=agent_id, workspace_id=workspace_id, created_at=NOW, updated_at=NOW, **values
        )
        self.agents[workspace_id, agent_id] = agent
        return agent

    async def get(self, workspace_id: str, agent_id: str) -> Agent | None:
        return self.agents.get((workspace_id, agent_id))

    async def ensure_default_agent(self, workspace_id: str) -> Agent:
        return self.agents.get((workspace_id, "agt_default")) or self.add(
            workspace_id, "agt_default", is_default=True
        )


class EchoCall:
    """A call that echoes what it hears, through the real wire format and channel."""

    def __init__(self, request: CallRequest, channel: Channel, wire_format: WireFormat) -> None:
        self.request = request
        self.channel = channel
        self.wire_format = wire_format
        self.config = request.config
        self.heard = bytearray()
        self.reason: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._replies = 0

    def hang_up(self, reason: str) -> None:
        if not self.reason.done():
            self.reason.set_result(reason)

    async def run(self) -> str:
        reading = asyncio.create_task(self._read())
        try:
            self.channel.configure(self.config)
            self.tell(SessionOpened(self.config))
            waited: set[asyncio.Future[Any]] = {reading, self.reason}
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            return self.reason.result() if self.reason.done() else "peer_gone"
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            if not reading.cancelled() and reading.exception():
                raise reading.exception() or RuntimeError

    def tell(self, notice: Notice) -> None:
        for event in self.wire_format.render(notice):
            self.channel.send(event)

    def tell_audio(self, pcm: bytes) -> None:
        self.channel.play(Piece("resp_x", "item_x", pcm))

    async def _read(self) -> None:
        async for incoming in self.channel.incoming():
            if isinstance(incoming, bytes):
                self.heard += incoming
            elif isinstance(incoming, Mapping):
                self._message(incoming)
            else:
                self._answer(incoming)

    def _message(self, message: Mapping[str, Any]) -> None:
        try:
            self._answer(self.wire_format.parse(message, self.config))
        except ClientFault as fault:
            self.tell(Fault(fault.code, fault.message, fault.param, fault.event_id))

    def _answer(self, event: Event) -> None:
        match event:
            case ConfigureSession():
                self.config = event.config
                self.channel.configure(event.config)
                self.tell(SessionChanged(event.config))
            case AddItem():
                self.tell(ItemAdded(Item(event.item_id or "item_1", event.role, event.text), None))
            case CommitInput():
                self.tell(InputCommitted("item_9", None))
                self.tell(TranscriptFinal("item_9", "hello there", 1.0))
            case RequestReply():
                self._reply()

    def _reply(self) -> None:
        self._replies += 1
        response, item = f"resp_{self._replies}", f"item_r{self._replies}"
        spoken = self.config.output_audio
        self.tell(ReplyCreated(response, item, spoken))
        self.tell(ReplyItemAdded(response, item, None, spoken))
        self.tell(ReplyText(response, item, "Hello.", spoken))
        for start in range(0, len(self.heard) if spoken else 0, 960):
            self.channel.play(Piece(response, item, bytes(self.heard[start : start + 960])))
        done = ReplyStatus.COMPLETED
        self.tell(ReplyDone(response, item, done, None, "Hello.", "Hello.", spoken, 3, 2))


class EchoHost:
    """As sessions.host.SessionHost, without engines and stores."""

    def __init__(self, capacity: int = 500) -> None:
        self.admission = Admission(capacity)
        self.calls: dict[str, EchoCall] = {}
        self.ended: list[tuple[str, str]] = []
        self.changed = asyncio.Condition()

    def admit(self, workspace_id: str, *, goes_on: bool = False, yields: bool = False) -> Ticket:
        return self.admission.admit(workspace_id, goes_on=goes_on, yields=yields)

    def find(self, call_id: str) -> EchoCall | None:
        return self.calls.get(call_id)

    async def run(
        self, request: CallRequest, channel: Channel, wire_format: WireFormat, **_resumed: Any
    ) -> str:
        call = self.calls[request.call_id] = EchoCall(request, channel, wire_format)
        await self._notify()
        reason = "internal_error"
        try:
            reason = await call.run()
        finally:
            del self.calls[request.call_id]
            self.ended.append((request.call_id, reason))
            await channel.close(reason)
            await self._notify()
        return reason

    async def _notify(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def until_empty(self, seconds: float = 10.0) -> None:
        """Wait until every call has ended and given its slot back."""
        async with asyncio.timeout(seconds):
            async with self.changed:
                await self.changed.wait_for(lambda: not self.calls)
            while self.admission.active:
                await asyncio.sleep(0)

    async def drain(self, deadline: float) -> None:
        self.admission.draining = True
        for call in list(self.calls.values()):
            call.hang_up("server_shutdown")
        await self.until_empty(deadline)


class NowhereElse:
    """The only node there is."""

    async def join(self, request: web.Request) -> web.StreamResponse:
        raise NotFound("There is no such call.", openai_code="call_not_found", param="call_id")

    async def hang_up(self, workspace_id: str, call_id: str) -> bool:
        return False


class TestServer:
    """The real application around an EchoHost, on a free port."""

    __test__ = False

    def __init__(
        self,
        capacity: int = 500,
        allowed_origins: tuple[str, ...] = (),
        limits: Limits = LIMITS,
    ) -> None:
        self.bus = MemoryBus()
        self.keys = MemoryKeys()
        self.agents = MemoryAgents()
        self.host = EchoHost(capacity)
        self.metrics = Metrics()
        self.ephemeral = EphemeralKeys(self.bus, lambda: self.bus.now)
        authorization = Authorization(
            Authenticator(self.keys, self.ephemeral, lambda: self.bus.now),
            cast(Any, self.agents),
            cast(Any, NowhereElse()),
            allowed_origins,
            callers=CallerIds(b"secret"),
        )
        self.calls = RealtimeCalls(
            authorization,
            self.ephemeral,
            cast(Any, self.host),
            self.metrics,
            cast(Any, NowhereElse()),
            cast(Any, NowhereElse()),
            cast(Any, NowhereElse()),
            limits=limits,
        )
        self.guard = ConnectionGuard(2.0)  # a busy machine takes its time over ten handshakes
        middlewares = [self.guard.note, *Middleware(self.metrics).all]
        self.app = web.Application(middlewares=middlewares)
        self.app.on_response_prepare.append(show_request_id)
        self.app[CONNECTION_GUARD] = self.guard
        self.app.add_routes(self.calls.routes())
        self.app.on_shutdown.append(self._end_calls)

    async def _end_calls(self, _app: web.Application) -> None:
        await self.host.drain(5)
        await self.calls.close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["TestServer"]:
        server = await RunningServer.start(self.app, "127.0.0.1", 0)
        self.port = server.port
        try:
            yield self
        finally:
            await server.close()

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"
