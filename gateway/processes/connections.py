"""Connections that one process accepts and another serves.

The supervisor listens; each accepted socket goes to the gateway process with the least to do, over
a socket pair (SCM_RIGHTS), together with the name of the port it came by. So connections spread
evenly, a process that is full or draining gets none, and one that dies takes only its own along.
(With ``SO_REUSEPORT`` the kernel spreads them by a hash that knows nothing of calls, and what waits
in the queue of a process that ends is reset.)

Over the same pair the gateway process reports how much it has to do.
"""

import asyncio
import logging
import os
import socket
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

import msgspec

log = logging.getLogger(__name__)

HTTP = "http"
AUDIOSOCKET = "audiosocket"

BACKLOG = 256
AT_ONCE = 64
"""Connections accepted in one turn of the event loop."""
AGAIN_SECONDS = 0.02
"""Before another try where no process takes a connection."""
FULL_SECONDS = 1.0
"""Before another try where this process has no descriptors left."""
BEAT_SECONDS = 5.0
RECENT_SECONDS = 1.0
"""A connection that was passed on so recently counts as a call: it may become one."""
_BYTES = 4096
_DESCRIPTORS = 8

Serve = Callable[[socket.socket], Awaitable[object]]
"""Begins to serve an accepted connection."""


class Report(msgspec.Struct, frozen=True):
    """What a gateway process has to do. ``calls`` of ``capacity``; ``draining``: takes no new ones.

    ``stage``: "ready" or "incomplete" once its start is over; ``waiting_for``: why it answers no
    calls; ``beat``: changes every ``BEAT_SECONDS``, so that it is sent that often at least."""

    calls: int = 0
    capacity: int = 0
    connections: int = 0
    draining: bool = False
    stage: str = ""
    waiting_for: str | None = None
    beat: int = 0

    @property
    def full(self) -> bool:
        """Whether it would refuse a call."""
        return self.draining or self.calls >= self.capacity


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Report)


def channel_pair() -> tuple[socket.socket, socket.socket]:
    """The two ends of a channel between the supervisor and a gateway process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    theirs.setblocking(False)
    return ours, theirs


# ------------------------------------------------------------------ the supervisor's side


class Member:
    """A living gateway process, as the supervisor sees it."""

    def __init__(
        self, channel: socket.socket, on_report: Callable[[], None], on_end: Callable[[], None]
    ) -> None:
        """``on_report`` is called after each report, ``on_end`` when the process has gone."""
        self.report: Report | None = None
        """The last one; None before the process serves."""
        self.heard = time.monotonic()
        """When the process last said anything, or was started."""
        self._channel = channel
        self._on_report = on_report
        self._on_end = on_end
        self._recent: deque[float] = deque()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(channel, self._read)

    def load(self, now: float) -> tuple[bool, bool, int, int]:
        """Whether it takes no calls, then its calls, then its connections: least is best."""
        report = self.report or Report()
        while self._recent and self._recent[0] < now - RECENT_SECONDS:
            self._recent.popleft()
        return report.draining, report.full, report.calls + len(self._recent), report.connections

    def take(self, port: str, connection: socket.socket, now: float) -> bool:
        """Pass a connection on; False where the process takes none now."""
        try:
            socket.send_fds(self._channel, [port.encode()], [connection.fileno()])
        except OSError as error:
            log.debug("a gateway process takes no connection: %s", error)
            return False
        self._recent.append(now)
        return True

    def close(self) -> None:
        """Forget it."""
        if self._channel.fileno() >= 0:
            self._loop.remove_reader(self._channel)
            self._channel.close()

    def _read(self) -> None:
        try:
            data = self._channel.recv(_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            log.debug("a gateway process is gone: %s", error)
            data = b""
        if not data:
            self.close()
            self._on_end()
            return
        self.report, self.heard = _DECODER.decode(data), time.monotonic()
        self._on_report()


class Acceptor:
    """Accepts connections and passes each on."""

    def __init__(
        self,
        ports: Mapping[str, Sequence[socket.socket]],
        members: Callable[[], Iterable[Member]],
    ) -> None:
        """``ports``: bound sockets by the name of what they are for; ``members``: the processes
        that serve now."""
        self._ports = ports
        self._members = members
        self._held: tuple[str, socket.socket] | None = None
        """A connection that nobody has taken yet; no further one is accepted meanwhile."""
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def start(self) -> None:
        """Listen."""
        for sockets in self._ports.values():
            for listening in sockets:
                listening.listen(BACKLOG)
        self._read(True)

    def close(self) -> None:
        """Accept no more. The sockets stay open; they are the caller's."""
        self._read(False)
        if self._timer is not None:
            self._timer.cancel()
        if self._held is not None:
            self._held[1].close()
            self._held = None

    def _read(self, on: bool) -> None:
        for port, sockets in self._ports.items():
            for listening in sockets:
                if on:
                    self._loop.add_reader(listening, self._accept, port, listening)
                else:
                    self._loop.remove_reader(listening)

    def _accept(self, port: str, listening: socket.socket) -> None:
        for _ in range(AT_ONCE):
            if self._held is not None:
                return
            try:
                connection, _ = listening.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                log.error("connections cannot be accepted: %s", error.strerror)
                self._pause(FULL_SECONDS)
                return
            if not self._pass_on(port, connection):
                self._held = port, connection
                self._pause(AGAIN_SECONDS)

    def _pass_on(self, port: str, connection: socket.socket) -> bool:
        now = time.monotonic()
        for member in sorted(self._members(), key=lambda one: one.load(now)):
            if member.take(port, connection, now):
                connection.close()
                return True
        return False

    def _pause(self, seconds: float) -> None:
        self._read(False)
        self._timer = self._loop.call_later(seconds, self._again)

    def _again(self) -> None:
        if self._held is not None and not self._pass_on(*self._held):
            self._pause(AGAIN_SECONDS)
            return
        self._held = None
        self._read(True)


# ------------------------------------------------------------------ the gateway process's side


class PassedConnections:
    """Serves the connections that the supervisor passes on, and reports to it."""

    def __init__(self, channel: socket.socket, on_end: Callable[[], None]) -> None:
        """``on_end`` is called when the supervisor has gone."""
        self._channel = channel
        self._on_end = on_end
        self._serve: dict[str, Serve] = {}
        self._tasks: set[asyncio.Task[object]] = set()
        self._last: Report | None = None
        self._reading = False

    def serve(self, port: str, serve: Serve) -> None:
        """Give the connections of a port to ``serve`` from now on."""
        self._serve[port] = serve
        if not self._reading:
            self._reading = True
            asyncio.get_running_loop().add_reader(self._channel, self._read)

    def report(self, report: Report) -> None:
        """Send a report, if it says anything new; a channel that is full takes the next one."""
        if report == self._last:
            return
        try:
            self._channel.send(_ENCODER.encode(report))
        except OSError as error:
            log.debug("the supervisor takes no report: %s", error)
            return
        self._last = report

    def close(self) -> None:
        """Take no more connections."""
        if self._reading:
            self._reading = False
            asyncio.get_running_loop().remove_reader(self._channel)
        self._channel.close()
        for task in self._tasks:
            task.cancel()

    def _read(self) -> None:
        for _ in range(AT_ONCE):
            try:
                port, descriptors, _, _ = socket.recv_fds(self._channel, _BYTES, _DESCRIPTORS)
            except BlockingIOError:
                return
            except OSError as error:
                log.debug("the channel to the supervisor is gone: %s", error)
                port, descriptors = b"", []
            if not port and not descriptors:
                self.close()
                self._on_end()
                return
            for descriptor in descriptors:
                self._begin(port.decode(), descriptor)

    def _begin(self, port: str, descriptor: int) -> None:
        serve = self._serve.get(port)
        if serve is None:
            log.error("nothing serves the connections of %r", port)
            os.close(descriptor)
            return
        connection = socket.socket(fileno=descriptor)
        connection.setblocking(False)
        task = asyncio.ensure_future(_served(serve, connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _served(serve: Serve, connection: socket.socket) -> None:
    try:
        await serve(connection)
    except OSError as error:  # gone already, or its TLS handshake failed
        log.debug("a connection ended at its beginning: %s", error)
        connection.close()
