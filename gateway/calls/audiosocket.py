"""AudioSocketListener: calls that come over TCP instead of a WebSocket.

Rules
- One task a connection; at most ``MOST_CONNECTIONS``, further ones are closed at once. What has not
  named its agent counts among the unproven streams of ``TelephonyCalls``.
- Closing stops listening, then waits ``GRACE_SECONDS`` for the calls, which end because their host
  drains, and cancels what is left.
"""

import asyncio
import logging
from collections.abc import AsyncIterator

from aiohttp import web

from .telephony import TelephonyCalls

log = logging.getLogger(__name__)

MOST_CONNECTIONS = 512
GRACE_SECONDS = 5.0


class AudioSocketListener:
    """Listens on one address while the application runs."""

    def __init__(self, address: tuple[str, int], calls: TelephonyCalls) -> None:
        """``address``: host and port; port 0 is any free one."""
        self._address = address
        self._calls = calls
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        """Listened on; 0 before."""

    async def context(self, app: web.Application) -> AsyncIterator[None]:
        """For ``cleanup_ctx``. Raises OSError where the address cannot be listened on."""
        host, port = self._address
        server = await asyncio.start_server(self._connected, host, port)
        self.port = server.sockets[0].getsockname()[1]
        app[AUDIOSOCKET_PORT] = self.port
        log.info("AudioSocket is taken on %s:%d", host, self.port)
        try:
            yield
        finally:
            server.close()
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=GRACE_SECONDS)
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._tasks) >= MOST_CONNECTIONS:
            writer.close()
            return
        task = asyncio.ensure_future(self._answer(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._calls.answer_audiosocket(reader, writer)
        except Exception:  # the task has no other reader
            log.exception("an AudioSocket call failed")
        finally:
            writer.close()


AUDIOSOCKET_PORT: web.AppKey[int] = web.AppKey("audiosocket_port", int)
