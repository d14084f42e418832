"""Sidebands: WebSockets that observe a running call on any node, and control it.

``/v1/realtime?call_id=…`` opens one; a call on another node is hung up from here too. With
``listen=true`` it gets the call's audio instead (``listeners``).

Rules
- Who: an API key or a signed-in user; an ephemeral key only with a scope, as the page of calls has
  it. A key whose scope is ``agents:read`` only observes. A call of another workspace does not
  exist. At most ``MOST`` at once on a node, ``MOST_OF_ONE`` of them of one workspace.
- Out: the call's events as its caller gets them, the session first; where the beginning is gone,
  the session as it is now and what comes from there on. A client that names the last event it has
  (``after``) gets what follows, each event with its ``sequence_number``, and
  ``blab.events.missed`` for what is gone. The frames of an event are made once for all sidebands
  that want them in the same form. One that lags behind reads on at its own pace; one that takes
  nothing for ``Timing.send`` s is closed with 1013. The call never waits for one.
- In: client events, paced, posted to the call's node. Audio comes from the caller alone. What
  cannot be posted is answered by an ``error`` event and the sideband goes on.
- It ends with the call, or when the call's node is gone; its own end changes nothing in the call.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
from aiohttp import web

from gateway.channels.message_socket import CLOSE_CODES, Limits, MessageSocket, make_websocket
from gateway.channels.outbox import framed
from gateway.channels.wire.client_events import event_id_of, read_message
from gateway.channels.wire.fields import Fields
from gateway.channels.wire.render import fault_body
from gateway.channels.wire.wire_format import EventIds
from rest.accounts.auth import Principal
from rest.http.errors import Forbidden, NotFound, Unavailable, ValidationFailed
from sessions.channel import ClientFault
from sessions.core.notices import Fault
from sessions.following import Batch, Following
from sessions.registry import CallRegistry
from sessions.remote import (
    ClientEvent,
    Describe,
    EndCall,
    Order,
    RemoteRequest,
    RemoteRequests,
    Transfer,
)
from store.errors import BusUnavailable
from store.ids import is_id, new_id

from .authorization import CALL_SCOPES, OBSERVER_SCOPES, Authorization
from .listeners import CLOSING, Listeners
from .listeners import LIMITS as LISTENERS

log = logging.getLogger(__name__)


# ---------------------------------------------------------------------- one sideband


HANG_UP = "blab.call.hang_up"
"""Our own client event: ends the call."""
TRANSFER = "blab.call.transfer"
"""Our own client event: another agent goes on with the call."""
LIMITS = Limits(
    max_message_bytes=256 * 1024,
    messages_a_second=50.0,
    messages_at_once=100,
)
_AUDIO = "input_audio_buffer."
_SENT_AT_ONCE = 32 * 1024
"""Bytes queued before the peer has to take them."""
_NO_AUDIO = "Audio comes from the caller: a sideband sends other events."

_CLOSE_CODES = {**CLOSE_CODES, "call_lost": 1012}


@dataclass(frozen=True, slots=True)
class Timing:
    """Of one sideband, in seconds."""

    send: float = 10.0
    """How long an event may take to leave."""
    look: float = 5.0
    """How often to check that the call still has a node."""


@dataclass(frozen=True, slots=True)
class JoinedCall:
    """A running call. ``look``: the node that carries it, None where it is gone."""

    call_id: str
    workspace_id: str
    node_id: str
    look: Callable[[], Awaitable[str | None]]


class Sideband:
    """One prepared WebSocket beside one call."""

    def __init__(
        self,
        ws: web.WebSocketResponse[Any],
        transport: asyncio.Transport | None,
        call: JoinedCall,
        following: Following,
        requests: RemoteRequests,
        *,
        controls: bool = True,
        limits: Limits = LIMITS,
        timing: Timing = Timing(),
    ) -> None:
        """``controls``: whether it may send events, not only observe."""
        self._controls = controls
        self._socket = MessageSocket(
            ws, transport, limits, name="sideband", close_codes=_CLOSE_CODES
        )
        self._timing = timing
        self._call = call
        self._node_id = call.node_id
        self._following = following
        self._requests = requests
        self._name = new_id("side")
        self._ids = EventIds()
        self._numbered = False
        """It gets the events from a number on, each with its own."""
        self._opened = False
        """It knows the session, or needs no introduction."""

    async def attend(self, after: int | None = None) -> str:
        """Observe and control until either side ends; closes the WebSocket, returns the reason.

        ``after``: number of the last event that is known already; events are numbered then."""
        await self._socket.__aenter__()
        loop = asyncio.get_running_loop()
        tasks = [
            loop.create_task(work, name="sideband")
            for work in (self._observe(after), self._control(), self._watch())
        ]
        reason = "internal_error"
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            reason = next(iter(done)).result()
        except asyncio.CancelledError:
            reason = "server_shutdown"
            raise
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._socket.close(reason)
        return reason

    # ------------------------------------------------------------------ out

    async def _observe(self, after: int | None) -> str:
        self._opened = self._numbered = after is not None
        call_id = self._call.call_id
        with self._following.follow(call_id, after or 0, name=self._name) as follower:
            while (batch := await follower.next()) is not None:
                if not self._opened:
                    batch = await self._introduce(batch)
                if batch is None:
                    return "call_lost"
                if not self._push(batch) and not await self._send(batch.once(self._form)):
                    return "slow_reader"
                if self._opened:
                    await follower.attend(self._push)
        return "call_ended"

    @property
    def _form(self) -> Callable[[Batch], list[bytes]]:
        return _numbered if self._numbered else _plain

    def _push(self, batch: Batch) -> bool:
        """Send new events if the peer keeps up."""
        frames = batch.once(_numbered_frames if self._numbered else _plain_frames)
        return not frames or self._socket.write_through(frames)

    async def _introduce(self, batch: Batch) -> Batch | None:
        """What of the batch comes after the session; None where the call cannot describe it."""
        for place, event in enumerate(batch.events):
            kind = event.type
            if kind == "session.created":
                self._opened = True
                return Batch(batch.events[place:], batch.last, batch.ended)
            if event.is_gap and not await self._ask_for_session():
                return None
        return Batch((), batch.last, batch.ended)

    async def _ask_for_session(self) -> bool:
        """Ask the call to describe its session, where the call's beginning is gone."""
        request = RemoteRequest(self._name, Describe())
        with contextlib.suppress(BusUnavailable):
            return await self._requests.send(self._node_id, self._call.call_id, request)
        return False

    async def _send(self, payloads: Sequence[bytes]) -> bool:
        """False where the peer does not take them in time."""
        queued = 0
        for place, payload in enumerate(payloads, 1):
            self._socket.send(payload)
            queued += len(payload)
            if queued < _SENT_AT_ONCE and place < len(payloads):
                continue
            queued = 0
            try:
                async with asyncio.timeout(self._timing.send):
                    await self._socket.wait_sent()
            except TimeoutError:
                log.info("a sideband reads too slowly: closed")
                self._socket.give_up("slow_reader")
                return False
        return True

    async def _watch(self) -> str:
        """Ends when the call has had no node twice in a row."""
        missing = 0
        while missing < 2:
            await asyncio.sleep(self._timing.look)
            with contextlib.suppress(BusUnavailable):
                node_id = await self._call.look()
                missing = missing + 1 if node_id is None else 0
                self._node_id = node_id or self._node_id
        return "call_lost"

    # ------------------------------------------------------------------ in

    async def _control(self) -> str:
        while (received := await self._socket.receive()) is not None:
            fault = await self._take(*received)
            if fault is not None and not await self._refuse(fault):
                return "slow_reader"
            await self._socket.hold_back()
        return "peer_gone"

    async def _take(self, binary: bool, data: bytes) -> Fault | None:
        """Post one client event; what is wrong with it, if anything is."""
        if binary:
            return Fault("unexpected_binary", f"Binary frames have no place here. {_NO_AUDIO}")
        try:
            message = read_message(data)
        except ClientFault as fault:
            return Fault(fault.code, fault.message)
        event_id, kind = event_id_of(message), message.get("type")
        if not self._controls:
            return Fault(
                "insufficient_permissions",
                "The API key may only observe calls: commands need the scope 'agents:write'.",
                event_id=event_id,
            )
        if isinstance(kind, str) and kind.startswith(_AUDIO):
            return Fault("unsupported_value", _NO_AUDIO, "type", event_id)
        try:
            return await self._post(event_id, self._order(message))
        except ClientFault as fault:
            return Fault(fault.code, fault.message, fault.param, event_id)

    def _order(self, message: dict[str, Any]) -> Order:
        """What the call's node is to do; raises ClientFault."""
        if message.get("type") == HANG_UP:
            return EndCall()
        if message.get("type") == TRANSFER:
            agent_id = Fields(message, "", None).need_text("agent_id", max_chars=64)
            return Transfer(self._call.workspace_id, agent_id)
        return ClientEvent(message)

    async def _post(self, event_id: str | None, order: Order) -> Fault | None:
        request = RemoteRequest(self._name, order)
        try:
            if await self._requests.send(self._node_id, self._call.call_id, request):
                return None
        except BusUnavailable:
            return Fault(
                "storage_unavailable",
                "The call cannot be reached just now: the event may be lost.",
                event_id=event_id,
                server=True,
            )
        return Fault(
            "too_many_events",
            "The call has too many events waiting: send the event again in a moment.",
            event_id=event_id,
        )

    async def _refuse(self, fault: Fault) -> bool:
        event = {"event_id": self._ids.next(), **fault_body(fault)}
        return await self._send([msgspec.json.encode(event)])


def _plain(batch: Batch) -> list[bytes]:
    """The events as the caller gets them."""
    return [event.data for event in batch.events if not event.is_gap]


def _numbered(batch: Batch) -> list[bytes]:
    return [event.numbered for event in batch.events]


def _plain_frames(batch: Batch) -> bytes:
    return framed(batch.once(_plain))


def _numbered_frames(batch: Batch) -> bytes:
    return framed(batch.once(_numbered))


# ---------------------------------------------------------------------- all of this node


MOST = 2_000
MOST_OF_ONE = 1_000
_GOODBYE_SECONDS = 5.0


class Sidebands:
    """The sidebands that came to this node, wherever their calls are."""

    def __init__(
        self,
        authorization: Authorization,
        registry: CallRegistry,
        following: Following,
        requests: RemoteRequests,
        timing: Timing = Timing(),
    ) -> None:
        self._timing = timing
        self._authorization = authorization
        self._registry = registry
        self._following = following
        self._requests = requests
        self._listeners = Listeners(following, requests)
        self._present: Counter[str] = Counter()
        self._looks: dict[str, tuple[float, str | None]] = {}
        """By call id: when a call's node was looked up, and what it was."""
        self._tasks: set[asyncio.Task[str]] = set()

    async def join(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/realtime?call_id=…[&after=…], a WebSocket request."""
        principal, offer = await self._authorization.websocket_principal(request, OBSERVER_SCOPES)
        if principal.kind == "ephemeral" and not OBSERVER_SCOPES.intersection(principal.scopes):
            raise Forbidden(
                "An ephemeral key cannot join a running call: use an API key.",
                openai_code="insufficient_permissions",
            )
        call_id, after, listens = request.query["call_id"], _after(request), _listens(request)
        workspace_id = principal.workspace_id

        node_id = None
        if is_id(call_id):
            node_id = await self._registry.find(workspace_id, call_id)
        look = partial(self._look, workspace_id, call_id)
        if node_id is None:
            raise NotFound("There is no such call.", openai_code="call_not_found", param="call_id")
        if listens and not self._listeners.has_room(call_id):
            raise Unavailable(
                "Too many calls are listened to from here: stop listening to one.",
                openai_code="too_many_listeners",
                retry_after=5,
            )
        with self._place(workspace_id):
            ws = make_websocket(LISTENERS if listens else LIMITS, offer.chosen)
            await ws.prepare(request)
            if listens:
                socket = MessageSocket(
                    ws, request.transport, LISTENERS, name="listener", close_codes=CLOSING
                )
                await self._listen(socket, call_id, look)
                return ws
            call = JoinedCall(call_id, workspace_id, node_id, look)
            controls = principal.kind == "user" or CALL_SCOPES.intersection(principal.scopes)
            sideband = Sideband(
                ws,
                request.transport,
                call,
                self._following,
                self._requests,
                controls=bool(controls),
                timing=self._timing,
            )
            log.info("a sideband joins call %s", call_id)
            task = asyncio.create_task(sideband.attend(after), name=f"sideband {call_id}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            reason = await self._ended(task)
            log.info("a sideband left call %s: %s", call_id, reason)
        return ws

    async def _look(self, workspace_id: str, call_id: str) -> str | None:
        """The node that carries a call: all sidebands of the call share an answer for a while."""
        now = asyncio.get_running_loop().time()
        known = self._looks.get(call_id)
        if known is None or now - known[0] > self._timing.look / 2:
            if len(self._looks) >= MOST:
                self._looks.clear()
            known = self._looks[call_id] = (
                now,
                await self._registry.find(workspace_id, call_id),
            )
        return known[1]

    async def _listen(
        self, socket: MessageSocket, call_id: str, look: Callable[[], Awaitable[str | None]]
    ) -> None:
        async with socket:
            log.info("somebody listens in to call %s", call_id)
            task = asyncio.create_task(
                self._listeners.listen(call_id, look, socket), name=f"listener {call_id}"
            )
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            reason = await self._ended(task)
            log.info("somebody listens in no longer to call %s: %s", call_id, reason)
            await socket.close(reason)

    async def _ended(self, task: asyncio.Task[str]) -> str:
        """Why it ended; cancelled by ``close``, or with the request."""
        try:
            return await task
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            if (here := asyncio.current_task()) is not None and here.cancelling():
                raise
            return "server_shutdown"

    async def hang_up(self, principal: Principal, call_id: str) -> bool:
        """End a call of another node; False where the caller has none of that id."""
        node_id = None
        if is_id(call_id):
            owner = principal.ephemeral_id
            node_id = await self._registry.find(principal.workspace_id, call_id, owner)
        if node_id is None:
            return False
        if not await self._requests.send(node_id, call_id, RemoteRequest("", EndCall())):
            raise Unavailable(
                "The call has too many commands waiting.", openai_code="busy", retry_after=1
            )
        return True

    async def close(self) -> None:
        """End all of them."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_GOODBYE_SECONDS)

    @contextlib.contextmanager
    def _place(self, workspace_id: str) -> Iterator[None]:
        if self._present.total() >= MOST or self._present[workspace_id] >= MOST_OF_ONE:
            raise Unavailable(
                "Too many sidebands are open: close one that is not needed.",
                openai_code="too_many_sidebands",
                retry_after=5,
            )
        self._present[workspace_id] += 1
        try:
            yield
        finally:
            self._present[workspace_id] -= 1
            if not self._present[workspace_id]:
                del self._present[workspace_id]


SIDEBANDS: web.AppKey[Sidebands] = web.AppKey("sidebands", Sidebands)


def _listens(request: web.Request) -> bool:
    """Whether the audio is wanted, not the events."""
    given = request.query.get("listen", "false")
    if given not in ("true", "false"):
        raise ValidationFailed(
            "'listen' is 'true' or 'false'.", openai_code="invalid_value", param="listen"
        )
    return given == "true"


def _after(request: web.Request) -> int | None:
    raw = request.query.get("after")
    if raw is None:
        return None
    if not (raw.isascii() and raw.isdigit() and len(raw) <= 12):
        raise ValidationFailed(
            "'after' must be the sequence_number of an event: a whole number.",
            openai_code="invalid_value",
            param="after",
        )
    return int(raw)
