"""Live calls as a resource: listed on all nodes, followed as a stream of events, commanded.

Rules
- A call of another workspace does not exist. One that has ended is not listed; its events can be
  read for as long as they are kept.
- The events are those that the caller's client gets, without audio, numbered from 1. A stream ends
  with ``blab.call.ended``; one that has nothing left to send after ``Last-Event-ID`` answers 204,
  after which no ``EventSource`` reconnects.
- A command goes to the call's node, and its answer says whether the call accepted it. What follows
  from it is in the events.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web
from msgspec import UNSET, Meta, Struct, UnsetType

from rest.http.errors import (
    AgentNotUsable,
    ApiError,
    NotFound,
    Unavailable,
    ValidationFailed,
    WrongState,
)
from rest.http.event_stream import EventStream, StreamEnded, event_bytes, last_seen
from rest.http.fields import timestamp
from rest.http.operation import EVENT_STREAM, Answer, AnyOperation, AnyRequest, Operation, Request
from rest.http.pagination import Cursors, PageQuery
from sessions.following import Batch, Follower, Following
from sessions.registry import CallRegistry, LiveCall
from sessions.remote import (
    ClientEvent,
    EndCall,
    NoAnswer,
    Order,
    Refusal,
    RemoteRequests,
    TooManyRequests,
    Transfer,
)
from store.database import Database
from store.errors import BusUnavailable
from store.ids import is_id
from store.tenants.calls import Calls

READ, WRITE = "agents:read", "agents:write"
PATH = "/api/sessions"
NOUN = "live call"
MAX_STREAMS = 1_000
"""Event streams of one process at once."""
MAX_STREAMS_OF_ONE = 500
"""Of one workspace."""
LOOK_SECONDS = 5.0
"""How often a stream checks that its call still has a node."""
MAX_SAID = 4_000
"""Characters."""
_ENDED = "blab.call.ended"

CommandType = Literal["say", "interrupt", "inject", "update", "transfer", "hang_up"]
_WRONG_STATE = frozenset(
    {
        "conversation_already_has_active_response",
        "response_cancel_not_active",
        "response_not_supported",
    }
)
"""Codes of what the call refuses because of the state that it is in."""


class SessionView(Struct, rename="camel"):
    """A live call. ``language``: the caller's, null while it is not known; ``turns``: how many have
    ended; ``seconds``: how long it has lasted."""

    id: str
    agent_id: str | None
    channel: str
    started_at: str
    seconds: int
    state: str
    language: str | None
    turns: int


class SessionCommand(Struct, kw_only=True):
    """What a live call is to do; each type has fields of its own."""

    type: CommandType
    text: Annotated[str, Meta(min_length=1, max_length=MAX_SAID)] | UnsetType = UNSET
    """Of say and inject."""
    interrupt: bool = False
    """Of say: cut the reply in progress off instead of waiting for its end."""
    role: Literal["system", "user"] = "system"
    """Of inject."""
    reply: bool = False
    """Of inject: the agent answers when nobody speaks."""
    session: dict[str, Any] | UnsetType = UNSET
    """Of update: the fields of a session.update."""
    agent_id: Annotated[str, Meta(max_length=64)] | UnsetType = msgspec.field(
        default=UNSET, name="agentId"
    )
    """Of transfer."""


class CommandResult(Struct):
    """The call has accepted the command."""

    id: str
    type: CommandType
    accepted: bool = True


class SessionResource:
    """Live calls."""

    def __init__(
        self,
        database: Database,
        registry: CallRegistry,
        following: Following,
        requests: RemoteRequests,
        cursors: Cursors,
    ) -> None:
        self._calls = Calls(database)
        self._registry = registry
        self._following = following
        self._requests = requests
        self._cursors = cursors
        self._streams: dict[str, int] = {}
        """Open streams by workspace."""

    def operations(self) -> Sequence[AnyOperation]:
        """See Resource."""
        one = f"{PATH}/{{id}}"
        return [
            Operation(
                method="GET",
                path=PATH,
                tag="Sessions",
                summary="List live calls",
                handler=self._list,
                data=list[SessionView],
                scope=READ,
                query=PageQuery,
                description="Those in progress on all nodes, newest first.",
            ),
            Operation(
                method="GET",
                path=one,
                tag="Sessions",
                summary="Get a live call",
                handler=self._get,
                data=SessionView,
                scope=READ,
            ),
            Operation(
                method="GET",
                path=f"{one}/events",
                tag="Sessions",
                summary="SSE stream of a call's events (text/event-stream)",
                handler=self._events,
                scope=READ,
                media=EVENT_STREAM,
                deadline=None,
                outcome="SSE stream of the events that the caller's client gets",
                description="`Last-Event-ID` resumes. Ends with `blab.call.ended`.",
            ),
            Operation(
                method="POST",
                path=f"{one}/commands",
                tag="Sessions",
                summary="Command a live call",
                handler=self._command,
                data=CommandResult,
                scope=WRITE,
                body=SessionCommand,
                outcome="Accepted by the call",
                idempotent=True,
                conflicts=True,
                description=(
                    "`say` speaks a text as the agent, `interrupt` cuts the reply off, `inject`"
                    " adds a message to the conversation, `update` changes the session, `transfer`"
                    " lets another agent go on, `hang_up` ends the call."
                ),
            ),
        ]

    # ------------------------------------------------------------------ shown

    async def _list(self, request: Request[None, PageQuery]) -> Answer:
        return await self._cursors.page(
            request.query,
            lambda before, limit: self._registry.list(
                request.workspace_id, before=before, limit=limit
            ),
            _shown,
        )

    async def _get(self, request: Request[None, None]) -> Answer:
        return Answer(_shown(await request.stored(NOUN, self._registry.get)))

    # ------------------------------------------------------------------ events

    async def _events(self, request: AnyRequest) -> web.StreamResponse:
        workspace_id, call_id = request.workspace_id, request.path()
        live = await self._is_live(workspace_id, call_id)
        if not live and not await self._was_live(workspace_id, call_id):
            raise NotFound(f"There is no such {NOUN}.")
        stream = EventStream(request.http)
        after = last_seen(request.http)
        async with self._place(workspace_id):
            with self._following.follow(call_id, after) as follower:
                first = None if live else await follower.take()
                if not live and (first is None or not first.events):
                    return web.Response(status=204)
                watch = asyncio.create_task(self._watch(workspace_id, call_id, follower))
                try:
                    with suppress(StreamEnded):
                        await stream.begin()
                        await self._send(stream, follower, first)
                finally:
                    watch.cancel()
                    await asyncio.gather(watch, return_exceptions=True)
        return stream.response

    async def _send(self, stream: EventStream, follower: Follower, batch: Batch | None) -> None:
        while True:
            if batch is not None:
                await stream.send(batch.once(_as_sent))
            if follower.ended:
                return
            batch = await follower.take()
            if batch is None:
                await stream.wait(follower.news)

    async def _watch(self, workspace_id: str, call_id: str, follower: Follower) -> None:
        """End the stream of a call that has had no node twice in a row."""
        missing = 0
        while missing < 2:
            await asyncio.sleep(LOOK_SECONDS)
            with suppress(BusUnavailable):
                missing = 0 if await self._is_live(workspace_id, call_id) else missing + 1
        follower.leave()

    async def _is_live(self, workspace_id: str, call_id: str) -> bool:
        return is_id(call_id) and await self._registry.find(workspace_id, call_id) is not None

    async def _was_live(self, workspace_id: str, call_id: str) -> bool:
        return is_id(call_id) and await self._calls.get(workspace_id, call_id) is not None

    @asynccontextmanager
    async def _place(self, workspace_id: str) -> AsyncIterator[None]:
        mine = self._streams.get(workspace_id, 0)
        if sum(self._streams.values()) >= MAX_STREAMS or mine >= MAX_STREAMS_OF_ONE:
            raise Unavailable("Too many event streams are open: try again.", retry_after=5)
        self._streams[workspace_id] = mine + 1
        try:
            yield
        finally:
            self._streams[workspace_id] -= 1
            if not self._streams[workspace_id]:
                del self._streams[workspace_id]

    # ------------------------------------------------------------------ commands

    async def _command(self, request: Request[SessionCommand, None]) -> Answer:
        command = request.body
        call = await request.stored(NOUN, self._registry.get)
        order = order_of(command, request.workspace_id)
        try:
            refusal = await self._requests.ask(call.node_id, call.id, order)
        except TooManyRequests as error:
            raise Unavailable("The call has too many commands waiting.", retry_after=1) from error
        except NoAnswer as error:
            raise Unavailable(
                "The call did not answer in time. It may still carry the command out: its events"
                " show that.",
                reason="no_answer",
                retry_after=5,
            ) from error
        if refusal is not None:
            raise refused(refusal)
        return Answer(CommandResult(call.id, command.type), call_id=call.id)


def _shown(call: LiveCall) -> SessionView:
    return SessionView(
        id=call.id,
        agent_id=call.agent_id,
        channel=call.channel,
        started_at=timestamp(datetime.fromtimestamp(call.started_at, UTC)),
        seconds=max(0, int(time.time() - call.started_at)),
        state=call.state,
        language=call.language,
        turns=call.turns,
    )


def _as_sent(batch: Batch) -> bytes:
    """The events of a batch for the stream."""
    events = [event_bytes(event.number, event.type, event.data) for event in batch.events]
    if batch.ended:
        events.append(event_bytes(batch.last, _ENDED, b'{"type":"blab.call.ended"}'))
    return b"".join(events)


_NEEDED: Mapping[CommandType, str] = {
    "say": "text",
    "inject": "text",
    "update": "session",
    "transfer": "agentId",
}


def order_of(command: SessionCommand, workspace_id: str) -> Order:
    """The order for the call's node; raises ValidationFailed."""
    given = {
        "text": command.text,
        "session": command.session,
        "agentId": command.agent_id,
    }
    needed = _NEEDED.get(command.type)
    if needed is not None and given[needed] is UNSET:
        raise ValidationFailed(f"{needed} is required for {command.type}.", param=needed)
    if isinstance(command.text, str) and not command.text.strip():
        raise ValidationFailed("text must contain a word.", param="text")
    match command.type:
        case "say":
            said = {"type": "blab.say", "text": command.text, "interrupt": command.interrupt}
            return ClientEvent(said)
        case "interrupt":
            return ClientEvent({"type": "response.cancel"})
        case "inject":
            content = [{"type": "input_text", "text": command.text}]
            item = {"type": "message", "role": command.role, "content": content}
            return ClientEvent({"type": "blab.inject", "item": item, "reply": command.reply})
        case "update":
            return ClientEvent({"type": "session.update", "session": command.session})
        case "transfer":
            return Transfer(workspace_id, str(command.agent_id))
        case "hang_up":
            return EndCall()


def refused(refusal: Refusal) -> ApiError:
    """The call's refusal as that of the request."""
    code, message, param = refusal.code, refusal.message, refusal.param
    if code in ("call_not_found", "agent_not_found"):
        return NotFound(message, param=param, reason=code)
    if code == "agent_not_usable":
        return AgentNotUsable(message, param=param, reason=code)
    if refusal.server:
        return Unavailable(message, reason=code, retry_after=1)
    if code in _WRONG_STATE:
        return WrongState(message, reason=code)
    if param is not None and param.startswith("item"):
        param = "text"
    return ValidationFailed(message, param=param, reason=code)
