"""ClientStream: an answer that is sent while it is being made.

Invariants
- Nothing is held back: a piece is on its way to the client before the next one is asked for, and
  a client that takes none for ``WRITE_SECONDS`` is cut off.
- What breaks off is seen to: an event stream ends with an ``error`` event, bytes end without
  their proper end, so that nobody takes half of an answer for all of it.
"""

import asyncio
import contextlib
from typing import Any

import msgspec
from aiohttp import web

from rest.http.envelope import openai_failure
from rest.http.errors import ApiError
from rest.http.operation import EVENT_STREAM

WRITE_SECONDS = 30.0


class ClientGone(Exception):
    """Nobody reads the answer any more."""


class ClientStream:
    """One answer. ``begin`` first; everything that writes raises ClientGone."""

    def __init__(self, http: web.Request, content_type: str) -> None:
        self._http = http
        self._events = content_type == EVENT_STREAM
        headers = {"Content-Type": content_type, "Cache-Control": "no-store"}
        self.response = web.StreamResponse(headers=headers)

    async def begin(self) -> None:
        """Send the head: from here on no refusal has a status of its own."""
        try:
            await self.response.prepare(self._http)
        except ConnectionError as error:
            raise ClientGone from error

    @property
    def begun(self) -> bool:
        """Whether the head is sent."""
        return self.response.prepared

    async def write(self, data: bytes) -> None:
        """Send a piece; nothing where there is none."""
        if not data:
            return
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                await self.response.write(data)
        except (ConnectionError, TimeoutError) as error:
            self._abort()
            raise ClientGone from error

    async def event(self, data: Any) -> None:
        """Send a server-sent event with ``data`` as JSON."""
        await self.write(b"data: %s\n\n" % msgspec.json.encode(data))

    async def end(self) -> None:
        """Send the end."""
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                await self.response.write_eof()
        except (ConnectionError, TimeoutError):
            self._abort()

    async def fail(self, error: ApiError) -> None:
        """Break off, and let the client know."""
        if not self._events:
            self._abort()
            return
        with contextlib.suppress(ClientGone):
            await self.event(openai_failure(error))
            await self.end()

    def _abort(self) -> None:
        if self._http.transport is not None:
            self._http.transport.abort()
