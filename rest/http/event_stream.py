"""Streams of numbered server-sent events: followed for hours, resumed by ``Last-Event-ID``.

Rules
- A comment goes out every ``HEARTBEAT_SECONDS`` in which nothing happens, so that proxies and
  clients keep the connection.
- A stream ends after ``LONGEST_SECONDS``; the client reconnects and continues where it was.
- It ends as soon as its client is gone; one that reads nothing for ``WRITE_SECONDS`` is cut off.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterator

from aiohttp import web

from .operation import EVENT_STREAM
from .waiting import is_gone, stream_response

HEARTBEAT_SECONDS = 15.0
DEPARTURE_SECONDS = 0.5
"""How often a waiting stream checks its client's connection."""
LONGEST_SECONDS = 3600.0
WRITE_SECONDS = 10.0
_LAST_NUMBER = 2**31 - 1


def last_seen(http: web.Request) -> int:
    """The number in ``Last-Event-ID``; 0 where it has none that could be ours."""
    header: str = http.headers.get("Last-Event-ID", "")
    if not (header.isascii() and header.isdigit() and len(header) < 12):
        return 0
    return min(int(header), _LAST_NUMBER)


def event_bytes(number: int, name: str, data: bytes) -> bytes:
    """One event; ``data``: JSON on one line."""
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (number, name.encode(), data)


class StreamEnded(Exception):
    """The client is gone, reads nothing, or has to reconnect."""


class EventStream:
    """One answer: ``begin`` first. All but ``__init__`` raise StreamEnded."""

    def __init__(self, http: web.Request) -> None:
        self._http = http
        self._end = time.monotonic() + LONGEST_SECONDS
        self.response = stream_response(EVENT_STREAM)

    async def begin(self) -> None:
        """Send the head: from here on a refusal cannot have a status of its own."""
        with self._ending():
            await self.response.prepare(self._http)

    async def send(self, data: bytes) -> None:
        """Send events (``event_bytes``)."""
        with self._ending():
            async with asyncio.timeout(WRITE_SECONDS):
                await self.response.write(data)

    async def wait(self, happened: asyncio.Event) -> None:
        """Wait until something happens."""
        quiet = time.monotonic() + HEARTBEAT_SECONDS
        while not happened.is_set():
            now = time.monotonic()
            if is_gone(self._http) or now >= self._end:
                raise StreamEnded
            if now >= quiet:
                await self.send(b": still there\n\n")
                quiet = now + HEARTBEAT_SECONDS
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(DEPARTURE_SECONDS, HEARTBEAT_SECONDS)):
                    await happened.wait()

    @contextlib.contextmanager
    def _ending(self) -> Iterator[None]:
        try:
            yield
        except (ConnectionError, TimeoutError) as error:
            raise StreamEnded from error
