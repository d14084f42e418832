"""The life of a server: start, ready, drain on the first SIGTERM (or SIGINT), force on the second.

Draining: no new call is admitted, /readyz says so, and calls in progress have until the deadline
to end. Whatever happens, the application is cleaned up in the reverse order of its start.

Connections: one without a complete request head within ``HEAD_SECONDS`` is cut (slow loris); one
that is kept alive is closed after ``KEEPALIVE_SECONDS`` without a request; one whose peer does not
read (takes less than ``WRITE_RATE`` bytes a second for ``WRITE_SECONDS``) is cut, whatever it is
used for. An address, except loopback and the operator's proxies, has at most as many connections
at once as the guard allows.
"""

import asyncio
import errno
import logging
import os
import socket
import ssl
import struct
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.http.protocol import HttpProtocol
from gateway.processes.connections import HTTP, PassedConnections, Serve
from gateway.stop_signals import StopSignals
from rest.http.ratelimit import ClientAddress

log = logging.getLogger(__name__)

HEAD_SECONDS = 10.0
KEEPALIVE_SECONDS = 15.0
WRITE_SECONDS = 30.0
WRITE_RATE = 1000.0
"""Bytes a second that a peer must take, averaged over ``WRITE_SECONDS``."""
_SHUTDOWN_SECONDS = 2.0

Drain = Callable[[float], Awaitable[None]]
"""Stop admitting calls, then wait up to that many seconds for the calls in progress."""


@dataclass(slots=True)
class _Connection:
    """An open connection. ``counted``: the address it counts for, or None; ``taken``: bytes that
    its peer had taken at ``since`` (s), -1 while nothing is waiting to be sent; ``served``: whether
    it has sent a request."""

    counted: str | None
    since: float
    taken: int
    served: bool = False


class ConnectionGuard:
    """Makes the server's protocols, and cuts connections that are idle, stalled or too many.

    The middleware ``note`` marks each connection that has sent a request. ``per_address``:
    connections at once from one address (by ``addresses``), 0 for any number."""

    def __init__(
        self,
        head_seconds: float = HEAD_SECONDS,
        *,
        write_seconds: float = WRITE_SECONDS,
        per_address: int = 0,
        addresses: ClientAddress | None = None,
    ) -> None:
        self._head_seconds = head_seconds
        self._write_seconds = write_seconds
        self._per_address = per_address
        self._addresses = addresses or ClientAddress()
        self._open: dict[asyncio.Transport, _Connection] = {}
        self._counts: dict[str, int] = {}
        self._timers: set[asyncio.TimerHandle] = set()
        self._sweeper: asyncio.TimerHandle | None = None

    @property
    def connections(self) -> int:
        """Connections that are open."""
        return len(self._open)

    @web.middleware
    async def note(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """A complete request has arrived: its connection may stay."""
        transport = cast(asyncio.Transport, request.transport)
        if (connection := self._open.get(transport)) is not None:
            connection.served = True
        return await handler(request)

    def watch(self, server: web.Server) -> Callable[[], asyncio.Protocol]:
        """A factory of ``server``'s protocols that watches their connections."""
        loop = asyncio.get_running_loop()
        self._sweeper = loop.call_later(self._write_seconds / 6, self._sweep, loop)

        def make() -> asyncio.Protocol:
            protocol = HttpProtocol.of(server, loop, self.opened, self.closed)

            def check() -> None:
                self._timers.discard(timer)
                transport = getattr(protocol, "transport", None)
                if transport in self._open and not self._open[transport].served:
                    log.info("a connection sent no request in time: cut")
                    transport.abort()

            timer = loop.call_later(self._head_seconds, check)
            self._timers.add(timer)
            return protocol

        return make

    def opened(self, transport: asyncio.Transport) -> bool:
        """Count a connection; False if its address already has the maximum."""
        peer = transport.get_extra_info("peername")
        counted = self._addresses.of_peer(str(peer[0])) if isinstance(peer, tuple) else None
        if counted is not None and self._per_address:
            if self._counts.get(counted, 0) >= self._per_address:
                log.info("an address has too many connections: one was refused")
                return False
            self._counts[counted] = self._counts.get(counted, 0) + 1
        now = asyncio.get_running_loop().time()
        self._open[transport] = _Connection(counted, now, -1)
        return True

    def closed(self, transport: asyncio.Transport) -> None:
        """A connection has ended."""
        connection = self._open.pop(transport, None)
        if connection is None or connection.counted not in self._counts:
            return
        self._counts[connection.counted] -= 1
        if not self._counts[connection.counted]:
            del self._counts[connection.counted]

    def close(self) -> None:
        """Stop watching."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """Cut the connections whose peers do not read what is sent."""
        now = loop.time()
        for transport, connection in list(self._open.items()):
            if not transport.get_write_buffer_size():
                connection.since, connection.taken = now, -1
                continue
            taken = _taken(transport)
            waited = now - connection.since
            if connection.taken < 0:
                connection.since, connection.taken = now, taken
            elif waited >= self._write_seconds:
                if taken - connection.taken < WRITE_RATE * waited:
                    log.info("a peer does not read what it is sent: cut")
                    transport.abort()
                connection.since, connection.taken = now, taken
        self._sweeper = loop.call_later(self._write_seconds / 6, self._sweep, loop)


_ACKNOWLEDGED = 120
"""Offset of ``tcpi_bytes_acked`` in ``struct tcp_info`` (<linux/tcp.h>, since Linux 4.1)."""


def _taken(transport: asyncio.Transport) -> int:
    """Bytes that the peer has taken so far, up to a constant.

    On Linux, what the peer's kernel has acknowledged. Elsewhere, what has left our own buffer;
    while that is being filled, a slow peer may look like a stalled one."""
    connection = transport.get_extra_info("socket")
    if sys.platform == "linux" and connection is not None:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKNOWLEDGED + 8)
        return int(struct.unpack_from("=Q", info, _ACKNOWLEDGED)[0])
    return 2**62 - transport.get_write_buffer_size()


CONNECTION_GUARD: web.AppKey[ConnectionGuard] = web.AppKey("connection_guard", ConnectionGuard)


class _NoTraceback(logging.Filter):
    """Drops the traceback, keeps the line: aiohttp's quotes what the peer sent, keys included."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.exc_info = record.exc_text = None
        return True


def _discreet_logger() -> logging.Logger:
    logger = logging.getLogger("gateway.http")
    if not logger.filters:
        logger.addFilter(_NoTraceback())
    return logger


def bound_sockets(host: str, port: int) -> list[socket.socket]:
    """Sockets bound to every address of ``host`` (empty: of the machine), not listening yet.

    Raises OSError, with the others closed, if one is in use or none can be used."""
    bound: list[socket.socket] = []
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    unusable: OSError | None = None
    for family, kind, protocol, _, address in dict.fromkeys(found):
        try:
            bound.append(made := socket.socket(family, kind, protocol))
            made.setblocking(False)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            made.bind(address)
        except OSError as error:
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                for each in bound:
                    each.close()
                raise
            unusable = error  # a machine without IPv6 still resolves localhost to ::1
            if bound and bound[-1].family == family:
                bound.pop().close()
    if not bound:
        raise unusable or OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    return bound


def tls_context(certificate: Path, key: Path | None) -> ssl.SSLContext:
    """TLS 1.2 or newer with the certificate and its key, both PEM; ``key`` None: in the same file.

    Raises OSError (ssl.SSLError is one) if they cannot be read or do not belong together."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key, password=_no_password)
    return context


def _no_password() -> str:
    """Never ask a terminal for one."""
    raise OSError("the private key is encrypted")


class RunningServer:
    """An application that answers on a port. Make with ``start``, end with ``close``."""

    def __init__(
        self, runner: web.AppRunner, servers: list[asyncio.Server], guard: ConnectionGuard
    ) -> None:
        self._runner = runner
        self._servers = servers
        self._guard = guard

    @classmethod
    async def start(
        cls,
        app: web.Application,
        host: str,
        port: int,
        sockets: Sequence[socket.socket] = (),
        tls: ssl.SSLContext | None = None,
        passed: PassedConnections | None = None,
    ) -> "RunningServer":
        """Start the application, then listen; raises OSError if the port is in use.

        ``sockets``: already bound (``bound_sockets``), used instead of ``host`` and ``port``;
        ``passed``: connections that another process accepts, served instead of listening;
        ``tls``: None for plain HTTP."""
        guard = app.get(CONNECTION_GUARD) or ConnectionGuard()
        servers: list[asyncio.Server] = []
        runner = web.AppRunner(
            app,
            access_log=None,
            logger=_discreet_logger(),
            handle_signals=False,
            keepalive_timeout=KEEPALIVE_SECONDS,
            shutdown_timeout=_SHUTDOWN_SECONDS,
        )
        try:
            await runner.setup()
            protocols = runner.server
            if protocols is None:
                raise RuntimeError("the application did not start")
            loop = asyncio.get_running_loop()
            factory = guard.watch(protocols)
            handshake = HEAD_SECONDS if tls is not None else None
            if passed is not None:
                passed.serve(HTTP, _acceptance(factory, tls, handshake))
                sockets = ()
            else:
                sockets = sockets or bound_sockets(host, port)
            for bound in sockets:
                servers.append(
                    await loop.create_server(
                        factory, sock=bound, backlog=256, ssl=tls, ssl_handshake_timeout=handshake
                    )
                )
        except BaseException:
            for server in servers:
                server.close()
            guard.close()
            await runner.cleanup()
            raise
        return cls(runner, servers, guard)

    @property
    def port(self) -> int:
        """The port it listens on; 0 where another process does."""
        if not self._servers:
            return 0
        return int(self._servers[0].sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening, end what is left, clean up."""
        for server in self._servers:
            server.close()
        self._guard.close()
        await self._runner.cleanup()


def _acceptance(
    factory: Callable[[], asyncio.Protocol], tls: ssl.SSLContext | None, handshake: float | None
) -> Serve:
    async def serve_one(connection: socket.socket) -> None:
        await asyncio.get_running_loop().connect_accepted_socket(
            factory, connection, ssl=tls, ssl_handshake_timeout=handshake
        )

    return serve_one


async def serve(
    app: web.Application,
    host: str,
    port: int,
    drain: Drain,
    *,
    drain_seconds: float = 30.0,
    on_listening: Callable[[int], None] = lambda _port: None,
    signals: StopSignals | None = None,
    sockets: Sequence[socket.socket] = (),
    tls: ssl.SSLContext | None = None,
    passed: PassedConnections | None = None,
) -> None:
    """Run until a signal asks to stop, drain, clean up. ``on_listening`` gets the port;
    ``sockets``, ``tls`` and ``passed``: see RunningServer.start."""
    signals = signals or StopSignals()
    with signals.installed():
        server = await RunningServer.start(app, host, port, sockets, tls, passed)
        try:
            on_listening(server.port)
            await signals.stop.wait()
            await _drain_or_force(drain, drain_seconds, signals.force)
        finally:
            await server.close()


async def _drain_or_force(drain: Drain, seconds: float, force: asyncio.Event) -> None:
    draining = asyncio.ensure_future(drain(seconds))
    forced = asyncio.ensure_future(force.wait())
    tasks: set[asyncio.Future[object]] = {draining, forced}  # type: ignore[arg-type]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if draining.done():
            draining.result()
        else:
            log.warning("forced: ending the calls in progress")
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
