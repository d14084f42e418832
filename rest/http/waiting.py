"""Answers that are made while the client waits: bounded in time, ended when it leaves, streamed.

Rules
- Work that is done for one client only ends when that client's connection is gone.
- What asks the engines of live calls for something takes a slot like a call.
- A stream holds nothing back: each chunk is sent before the next one is made, and a client that
  reads nothing for ``WRITE_SECONDS`` is cut off. A stream that breaks off is seen to: an event
  stream ends with an ``error`` event, plain bytes end without their proper end, so that nobody
  mistakes half an answer for the whole.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from sessions.admission import ServerFull, Ticket
from sessions.host import SessionHost

from .errors import ApiError, Unavailable, openai_failure
from .operation import EVENT_STREAM

T = TypeVar("T")

WRITE_SECONDS = 30.0
"""A client that reads nothing for so long is cut off."""
LOOK_SECONDS = 0.1
"""How often the client's connection is checked."""


async def unless_gone(http: web.Request, work: Coroutine[Any, Any, T]) -> T:
    """What ``work`` returns or raises. If the client's connection is lost before that, ``work`` is
    cancelled and Unavailable raised, which nobody will read."""
    task = asyncio.create_task(work)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=LOOK_SECONDS)
            if not task.done() and is_gone(http):
                raise Unavailable("The client left before the answer.", reason="client_gone")
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def is_gone(http: web.Request) -> bool:
    """Whether the client's connection is gone."""
    return http.transport is None or http.transport.is_closing()


@contextlib.asynccontextmanager
async def in_time(seconds: float) -> AsyncGenerator[None, None]:
    """Raise Unavailable where the block takes longer."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise Unavailable(
            f"It did not finish within {seconds:g} s and was given up.",
            openai_code="timeout",
            reason="timeout",
            retry_after=5,
        ) from error


def slot(host: SessionHost, workspace_id: str) -> Ticket:
    """A slot, released when its block is left; raises Unavailable where there is no room."""
    try:
        return host.admit(workspace_id)
    except ServerFull as full:
        raise Unavailable(
            full.message,
            openai_code="server_full",
            reason="server_full",
            retry_after=full.retry_after,
        ) from full


def stream_response(content_type: str) -> web.StreamResponse:
    """The head of a stream, which no cache keeps and no proxy holds back."""
    return web.StreamResponse(
        headers={
            "Content-Type": content_type,
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",
        }
    )


class ClientGone(Exception):
    """The client is gone, or reads too slowly."""


class ClientStream:
    """One answer. ``begin`` first; everything that writes raises ClientGone."""

    def __init__(self, http: web.Request, content_type: str) -> None:
        self._http = http
        self._events = content_type == EVENT_STREAM
        self.response = stream_response(content_type)

    async def begin(self) -> None:
        """Send the head: from here on a refusal cannot have a status of its own."""
        try:
            await self.response.prepare(self._http)
        except ConnectionError as error:
            raise ClientGone from error

    @property
    def begun(self) -> bool:
        """Whether the head is sent."""
        return self.response.prepared

    async def write(self, data: bytes) -> None:
        """Send a chunk; nothing where it is empty."""
        if not data:
            return
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                await self.response.write(data)
        except (ConnectionError, TimeoutError) as error:
            self._abort()
            raise ClientGone from error

    async def event(self, data: Any, name: str | None = None) -> None:
        """Send a server-sent event with ``data`` as JSON."""
        head = b"" if name is None else b"event: %s\n" % name.encode()
        await self.write(b"%sdata: %s\n\n" % (head, msgspec.json.encode(data)))

    async def end(self) -> None:
        """End the answer properly."""
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                await self.response.write_eof()
        except (ConnectionError, TimeoutError):
            self._abort()

    async def fail(self, error: ApiError) -> None:
        """Break off so that the client notices."""
        if not self._events:
            self._abort()
            return
        with contextlib.suppress(ClientGone):
            await self.event(openai_failure(error))
            await self.end()

    def _abort(self) -> None:
        if self._http.transport is not None:
            self._http.transport.abort()
