"""Start, ready, drain on the first SIGTERM (or SIGINT), force on the second.

Draining: no new call is admitted, /readyz says so, the calls in progress have the deadline to
end. Whatever happens, the application is cleaned up in the reverse order of its start.

Connections: one that has not brought a whole request head within ``HEAD_SECONDS`` is cut
(slow loris); one that is kept alive without a next request is closed after ``KEEPALIVE_SECONDS``.
"""

import asyncio
import logging
import signal
import weakref
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from aiohttp import web
from aiohttp.typedefs import Handler

from .http_protocol import HttpProtocol

log = logging.getLogger(__name__)

HEAD_SECONDS = 10.0
KEEPALIVE_SECONDS = 15.0
_SHUTDOWN_SECONDS = 2.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT)

Drain = Callable[[float], Awaitable[None]]
"""Stop admitting, then wait that many seconds for the calls in progress."""


class StopSignals:
    """The first signal asks to stop, the second to hurry."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.force = asyncio.Event()

    def receive(self) -> None:
        """One more signal."""
        if not self.stop.is_set():
            log.info("stopping: calls in progress may end; signal again to end them now")
            self.stop.set()
        else:
            self.force.set()

    @contextmanager
    def installed(self) -> Iterator["StopSignals"]:
        """Listen to SIGTERM and SIGINT inside the block."""
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self.receive)
        try:
            yield self
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)


class ConnectionGuard:
    """Makes the server's protocols, and cuts connections that bring no request in time.

    ``served`` is told of each connection's first request by a middleware (``note``)."""

    def __init__(self, head_seconds: float = HEAD_SECONDS) -> None:
        self._head_seconds = head_seconds
        self._served: weakref.WeakSet[asyncio.BaseTransport] = weakref.WeakSet()
        self._timers: set[asyncio.TimerHandle] = set()

    @web.middleware
    async def note(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """A request has come whole: its connection may stay."""
        if request.transport is not None:
            self._served.add(request.transport)
        return await handler(request)

    def watch(self, server: web.Server) -> Callable[[], asyncio.Protocol]:
        """A factory of ``server``'s protocols, whose connections are watched."""
        loop = asyncio.get_running_loop()

        def make() -> asyncio.Protocol:
            protocol = HttpProtocol.of(server, loop)

            def check() -> None:
                self._timers.discard(timer)
                transport = getattr(protocol, "transport", None)
                if transport is not None and transport not in self._served:
                    log.info("a connection brought no request in time: cut")
                    transport.abort()

            timer = loop.call_later(self._head_seconds, check)
            self._timers.add(timer)
            return protocol

        return make

    def close(self) -> None:
        """Stop watching."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()


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


class RunningServer:
    """An application that answers on a port. Make with ``start``, end with ``close``."""

    def __init__(
        self, runner: web.AppRunner, server: asyncio.Server, guard: ConnectionGuard
    ) -> None:
        self._runner = runner
        self._server = server
        self._guard = guard

    @classmethod
    async def start(cls, app: web.Application, host: str, port: int) -> "RunningServer":
        """Start the application, then listen; raises OSError where the port is taken."""
        guard = app.get(CONNECTION_GUARD) or ConnectionGuard()
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
            server = await loop.create_server(guard.watch(protocols), host, port, backlog=256)
        except BaseException:
            await runner.cleanup()
            raise
        return cls(runner, server, guard)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening, end what is left, clean up."""
        self._server.close()
        self._guard.close()
        await self._runner.cleanup()


async def serve(
    app: web.Application,
    host: str,
    port: int,
    drain: Drain,
    *,
    drain_seconds: float = 30.0,
    on_listening: Callable[[int], None] = lambda _port: None,
    signals: StopSignals | None = None,
) -> None:
    """Run until a signal asks to stop, drain, clean up. ``on_listening`` gets the port."""
    signals = signals or StopSignals()
    with signals.installed():
        server = await RunningServer.start(app, host, port)
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
            log.warning("forced: calls in progress are ended")
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
