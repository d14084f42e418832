"""MessageSocket: the WebSocket under every channel that has one, with its bounds and its close.

Rules
- Outgoing: ``send`` never waits and never raises. What the peer takes at once is written at once;
  the rest waits in one bounded queue for one writer task. Audio can be taken back until it leaves.
  A peer that lets the queue overflow is closed with 1013; one that does not even read that is cut
  off after ``grace_seconds``.
- Incoming: nothing is queued here. A peer that sends too fast is read later (``hold_back``), so
  that TCP holds it back.
- Short messages can be taken as they arrive (``push_to``), without waking the reading task.
- A message is at most ``max_message_bytes``; a longer one ends the connection with 1009.
- A peer that says nothing for ``quiet_seconds`` is pinged, and given up ``pong_seconds`` later.
- ``close`` sends what is queued, then the reason; it ends within twice ``grace_seconds``.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

from aiohttp import ClientError, WSMessage, WSMsgType, web

from gateway.http.protocol import FrameFilter, HttpProtocol, Take

from .outbox import Close, Entry, Frame, Outbox, Ping, Pong, framed

log = logging.getLogger(__name__)

CLOSE_CODES: Mapping[str, int] = {
    "server_shutdown": 1001,
    "internal_error": 1011,
    "slow_reader": 1013,
    "server_full": 1013,
    "warming_up": 1013,
    "storage_unavailable": 1013,
}
"""What every channel may be closed for; a reason that stands in no table is closed with 1000."""
_MAX_REASON_BYTES = 120
"""A close frame's reason has at most 123 bytes (RFC 6455, 5.5)."""
_WRITE_THROUGH_BYTES = 32 * 1024
"""What may lie unsent before ``write_through`` refuses."""
_TURN = 32
"""Messages taken at a stretch before the other calls get their turn."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one kind of socket."""

    max_message_bytes: int
    messages_a_second: float
    """The rate at which messages are taken in the long run."""
    messages_at_once: int
    quiet_seconds: float = 20.0
    pong_seconds: float = 10.0
    grace_seconds: float = 2.0
    look_seconds: float | None = None
    """How often ``receive`` returns to a channel that has clocks of its own."""
    kernel_buffer: int | None = None
    """Bytes the kernel may hold in each direction, so that a stalled reader shows and a flood waits
    with the peer; None leaves it to the system."""
    max_queued: int = 512
    """Messages on their way out."""
    max_queued_bytes: int = 2 * 1024 * 1024


class Pace:
    """A token bucket: ``burst`` messages at once, ``rate`` a second in the long run. Time is an
    argument. A peer over the rate is read later, not refused."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._credit = float(burst)
        self._counted = 0.0

    def delay(self, now: float) -> float:
        """Count one message at ``now`` (s); how long to wait before the next (s), often 0."""
        refilled = self._credit + max(0.0, now - self._counted) * self._rate
        self._credit = min(self._burst, refilled) - 1
        self._counted = now
        return max(0.0, -self._credit / self._rate)

    def left(self, now: float) -> tuple[int, int, float]:
        """Of how many messages at once how many are left at ``now`` (s), and the seconds until
        all are."""
        credit = min(self._burst, self._credit + max(0.0, now - self._counted) * self._rate)
        return int(self._burst), max(0, int(credit)), (self._burst - credit) / self._rate


# ---------------------------------------------------------------------- the socket


def make_websocket(limits: Limits, subprotocol: str | None = None) -> web.WebSocketResponse[Any]:
    """A WebSocket for a MessageSocket, to be prepared; ``subprotocol`` is echoed."""
    return web.WebSocketResponse(
        protocols=(subprotocol,) if subprotocol else (),
        compress=False,
        autoping=False,
        max_msg_size=limits.max_message_bytes,
        timeout=limits.grace_seconds,
        decode_text=False,
    )


class MessageStream(Protocol):
    """What carries the messages: a WebSocket of aiohttp's, or ``audiosocket.TcpMessages``."""

    @property
    def closed(self) -> bool:
        """Whether the socket is closed."""
        ...

    async def receive(self) -> WSMessage:
        """The next message; loses nothing if it is cancelled."""
        ...

    async def send_frame(self, message: bytes, opcode: WSMsgType, /) -> None:
        """Send one frame."""
        ...

    async def ping(self, message: bytes = b"", /) -> None:
        """Send a ping."""
        ...

    async def pong(self, message: bytes = b"", /) -> None:
        """Send a pong."""
        ...

    async def close(self, *, code: int = 1000, message: bytes = b"") -> Any:
        """Close with a code and a reason."""
        ...


class MessageSocket:
    """A prepared WebSocket; use as an async context manager."""

    def __init__(
        self,
        ws: MessageStream,
        transport: asyncio.WriteTransport | None,
        limits: Limits,
        *,
        name: str,
        close_codes: Mapping[str, int] = CLOSE_CODES,
        slow_words: str = "slow_reader",
        sent_all: Callable[[], None] | None = None,
    ) -> None:
        """``name``: of the channel, in logs. ``slow_words``: the close reason of a peer that reads
        too slowly. ``sent_all`` is called whenever the last queued message has left."""
        self._ws = ws
        self._transport = transport
        self._limits = limits
        self._name = name
        self._close_codes = close_codes
        self._slow_words = slow_words
        self._sent_all = sent_all
        self._left_soon = False
        """``sent_all`` is about to be called."""
        self._is_http = False
        """Frames can be written into the transport."""
        self._loop = asyncio.get_running_loop()
        self._outbox = Outbox(limits.max_queued, limits.max_queued_bytes)
        self._pace = Pace(limits.messages_a_second, limits.messages_at_once)
        self._writer: asyncio.Task[None] | None = None
        self._cutter: asyncio.TimerHandle | None = None
        self._watcher: asyncio.TimerHandle | None = None
        """One for the socket: a timeout for each message would cost a tenth of a call."""
        self._quiet_since: float | None = None
        """When the wait for the next message began; None from one message to the next wait."""
        self._look_at: float | None = None
        """When the wait ends without a message; None while nobody waits."""
        self._reader: asyncio.Task[Any] | None = None
        self._looks = False
        """The reader was woken to look at its clocks."""
        self._pinged = self._is_cut = False
        self._taken = 0
        self._filter: FrameFilter | None = None
        self._take: Take | None = None
        self.given_up = self.said_goodbye = False
        """Nothing that comes counts any more: the peer was slow, at fault or gone."""

    async def __aenter__(self) -> "MessageSocket":
        connection = self._transport.get_extra_info("socket") if self._transport else None
        if connection is not None and self._limits.kernel_buffer is not None:
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                connection.setsockopt(socket.SOL_SOCKET, option, self._limits.kernel_buffer)
        if self._transport is not None:
            self._is_http = isinstance(self._transport.get_protocol(), HttpProtocol)
        self._writer = self._loop.create_task(self._write(), name=f"{self._name}-writer")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close("internal_error" if kind else "ended")

    @property
    def lost(self) -> bool:
        """Whether the connection is gone; what it has left behind needs no hearing then."""
        return self._transport is None or self._transport.is_closing()

    # ------------------------------------------------------------------ out

    def send(
        self,
        payload: bytes,
        *,
        binary: bool = False,
        audio: bool = False,
        written: Callable[[bytes], bytes] | None = None,
    ) -> None:
        """Send a message; the arguments as in ``Frame``."""
        if self._is_http and (transport := self._open_transport()) is not None:
            message = payload if written is None else written(payload)
            transport.write(framed((message,), binary=binary))
            if self._sent_all is not None and not self._left_soon:
                self._left_soon = True
                self._loop.call_soon(self._left)
            return
        self._put(Frame(payload, binary, audio, written))

    def _left(self) -> None:
        """What was written at one stretch has left."""
        self._left_soon = False
        if self._sent_all is not None and not len(self._outbox):
            self._sent_all()

    def write_through(self, frames: bytes) -> bool:
        """Write whole frames (``framed``) at once, without the queue. False, and nothing is
        written, where something waits, the peer does not keep up or the socket is closing."""
        if (transport := self._open_transport()) is None:
            return False
        transport.write(frames)
        return True

    def _open_transport(self) -> asyncio.WriteTransport | None:
        """The transport, where it takes a message now that belongs behind all others."""
        transport = self._transport
        if self._outbox.closed or len(self._outbox) or transport is None or transport.is_closing():
            return None
        if transport.get_write_buffer_size() > _WRITE_THROUGH_BYTES:
            return None
        return transport

    def drop_audio(self) -> None:
        """Take back all audio that has not left."""
        self._outbox.drop_audio()

    async def wait_sent(self) -> None:
        """Wait until all that was queued has left, or never will."""
        if not self._outbox.closed:
            await self._outbox.emptied.wait()

    def give_up(self, reason: str, words: str | None = None) -> None:
        """Take back everything and let nothing in; close with ``reason`` where the peer still
        reads, and cut it off soon where it does not. ``words`` go out in the reason's place."""
        self.given_up = True
        self._outbox.drop_all()
        self._outbox.put(self._last(reason, words))
        self._cutter = self._loop.call_later(self._limits.grace_seconds, self._cut)

    async def close(self, reason: str, words: str | None = None) -> None:
        """Send what is queued, then close with ``reason``; cut the peer off if it lingers.

        ``words`` go out in the reason's place."""
        writer, self._writer = self._writer, None
        if writer is not None:
            self._outbox.put(self._last(reason, words))
            try:
                await asyncio.wait_for(writer, 2 * self._limits.grace_seconds)
            except TimeoutError:
                log.info("a %s peer did not take the goodbye: connection cut", self._name)
            finally:
                if not self._ws.closed:
                    self._cut()
        for timer in (self._cutter, self._watcher):
            if timer is not None:
                timer.cancel()
        self._cutter = self._watcher = None

    def _last(self, reason: str, words: str | None) -> Close:
        shown = (words or reason).encode()[:_MAX_REASON_BYTES].decode(errors="ignore")
        return Close(self._close_codes.get(reason, 1000), shown.encode())

    def _put(self, entry: Entry) -> None:
        if self._outbox.put(entry) or self.given_up:
            return
        log.info("a %s peer reads too slowly: closed", self._name)
        self.give_up("slow_reader", self._slow_words)

    def _cut(self) -> None:
        self.given_up = self._is_cut = True
        if self._transport is not None:
            self._transport.abort()

    async def _write(self) -> None:
        """Send the outbox until its Close, or until the peer is gone."""
        try:
            while not self._ws.closed:
                entry = await self._outbox.get()
                if isinstance(entry, Close):
                    await self._ws.close(code=entry.code, message=entry.payload)
                    return
                await self._send(entry)
                if self._sent_all is not None and not len(self._outbox):
                    self._sent_all()
        except (ConnectionError, ClientError):
            self._outbox.closed = True
            self._outbox.drop_all()
        finally:
            self._outbox.emptied.set()

    async def _send(self, entry: Frame | Ping | Pong) -> None:
        match entry:
            case Frame(payload, binary):
                message = payload if entry.written is None else entry.written(payload)
                kind = WSMsgType.BINARY if binary else WSMsgType.TEXT
                await self._ws.send_frame(message, kind)
            case Ping(payload):
                await self._ws.ping(payload)
            case Pong(payload):
                await self._ws.pong(payload)

    # ------------------------------------------------------------------ in

    async def receive(self) -> tuple[bool, bytes] | None:
        """The next message: whether it is binary, and its bytes; None when the peer is gone.

        A peer that was given up is read on, and what it sends dropped, so that it comes to read
        why. Raises TimeoutError after ``look_seconds`` without a message, where that is set."""
        while not self._is_cut:
            try:
                received = await self._next_message()
            finally:
                self._look_at = None
            self._pinged = False
            self._quiet_since = None
            self._taken += 1
            if self._taken % _TURN == 0:
                await asyncio.sleep(0)
            kind = received.type
            if kind is WSMsgType.TEXT or kind is WSMsgType.BINARY:
                if not self.given_up:
                    return kind is WSMsgType.BINARY, received.data
            elif kind is WSMsgType.PING:
                self._put(Pong(received.data))
            elif kind is not WSMsgType.PONG:
                self.said_goodbye = kind is WSMsgType.CLOSE  # a close frame
                return None
            await self.hold_back()
        return None

    async def _next_message(self) -> WSMessage:
        """The next message; raises TimeoutError when it is time to look."""
        now = self._loop.time()
        if self._quiet_since is None:
            self._quiet_since = now
        if self._limits.look_seconds is not None:
            self._look_at = now + self._limits.look_seconds
            self._reader = asyncio.current_task()
        if self._watcher is None:
            self._watch()
        if self._filter is not None:
            self._filter.take = self._pushed
        try:
            return await self._ws.receive()
        except asyncio.CancelledError:
            if not self._looks or self._reader is None:
                raise
            self._looks = False
            if self._reader.uncancel():  # somebody else cancels the task as well
                raise
            raise TimeoutError from None
        finally:
            if self._filter is not None:
                self._filter.take = None

    def push_to(self, take: Take) -> None:
        """While ``receive`` waits, pass short messages to ``take`` as they arrive, where the
        connection can. What it does not take is received, and so is all that follows until
        ``receive`` waits again: the order is kept."""
        protocol = self._transport.get_protocol() if self._transport is not None else None
        if isinstance(protocol, HttpProtocol):
            self._filter, self._take = protocol.frames, take

    def _pushed(self, binary: bool, payload: bytes) -> bool:
        if self.given_up or self._take is None or not self._take(binary, payload):
            return False
        self._quiet_since, self._pinged = self._loop.time(), False
        return True

    def count(self) -> bool:
        """Count a message that was taken as it arrived; False, and nothing is counted, where a peer
        that is too fast has to wait."""
        now = self._loop.time()
        _, left, _ = self._pace.left(now)
        if left:
            self._pace.delay(now)
        return left > 0

    async def hold_back(self) -> bool:
        """Count a message, and let a peer that is too fast wait; False where there was no need."""
        delay = self._pace.delay(self._loop.time())
        if delay:
            await asyncio.sleep(delay)
        return bool(delay)

    def pace_left(self) -> tuple[int, int, float]:
        """As ``Pace.left``, now."""
        return self._pace.left(self._loop.time())

    def _watch(self) -> None:
        """Do what is due for a peer that says nothing, and come again."""
        limits, now = self._limits, self._loop.time()
        again = now + min(limits.quiet_seconds, limits.look_seconds or limits.quiet_seconds)
        if self._quiet_since is not None:
            deadline = self._quiet_since + limits.quiet_seconds
            if self._pinged:
                deadline += limits.pong_seconds
            if now >= deadline:
                self._check_for_peer()
                deadline = now + limits.pong_seconds
            again = min(again, deadline)
        if self._look_at is not None and self._reader is not None:
            if now >= self._look_at:
                self._look_at, self._looks = None, True
                self._reader.cancel()
            else:
                again = min(again, self._look_at)
        self._watcher = None if self._is_cut else self._loop.call_at(again, self._watch)

    def _check_for_peer(self) -> None:
        """Ping a peer that was silent for so long; give one up that has not answered."""
        if self._pinged:
            log.info("a %s peer vanished", self._name)
            self._cut()
            return
        self._pinged = True
        self._put(Ping())
