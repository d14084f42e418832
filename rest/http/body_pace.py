"""BodyPace: a client that keeps the server waiting for a body is refused.

Every body is read at a pace: uploads by their own limits, what is read whole by ``read_whole``.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from aiohttp import web

from .errors import PayloadTooLarge, RequestTimeout

STALL_SECONDS = 10.0
MIN_RATE = 1000.0
WHOLE_SECONDS = 25.0
"""Of bodies that are read whole; below the deadline of requests (gateway.http.middleware), which
would answer that the server was too slow."""

T = TypeVar("T")


class BodyPace:
    """Keeps one body's pace.

    ``stall_seconds``: how long nothing may come. ``min_rate``: bytes per second that must come on
    the average of so much waiting; the time that the server itself takes does not count.
    ``received``: bytes that have come so far."""

    def __init__(self, stall_seconds: float, min_rate: float, received: Callable[[], int]) -> None:
        self._stall_seconds = stall_seconds
        self._min_rate = min_rate
        self._received = received
        self._seen = 0
        self._waited = 0.0

    async def keep(self, read: Coroutine[Any, Any, T]) -> T:
        """What ``read`` brings; raises RequestTimeout where it is too long in coming."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._stall_seconds):
                brought = await read
        except TimeoutError as error:
            raise RequestTimeout(
                f"Nothing came for {self._stall_seconds:g} seconds: send it again.", param="body"
            ) from error
        self._waited += time.monotonic() - began
        if self._waited >= self._stall_seconds:
            received = self._received()
            if received - self._seen < self._min_rate * self._waited:
                raise RequestTimeout(
                    f"The body came slower than {self._min_rate:g} bytes per second.", param="body"
                )
            self._seen, self._waited = received, 0.0
        return brought


async def read_whole(http: web.Request, limit: int) -> bytes:
    """A body of at most ``limit`` bytes.

    Raises PayloadTooLarge, and RequestTimeout where nothing comes for ``STALL_SECONDS``, less than
    ``MIN_RATE`` bytes a second come, or the whole takes longer than ``WHOLE_SECONDS``."""
    too_large = PayloadTooLarge(f"The body is longer than {limit} bytes.", param="body")
    if (http.content_length or 0) > limit:
        raise too_large
    pace = BodyPace(STALL_SECONDS, MIN_RATE, lambda: http.content.total_bytes)
    body = bytearray()
    try:
        async with asyncio.timeout(WHOLE_SECONDS):
            while piece := await pace.keep(http.content.readany()):
                body += piece
                if len(body) > limit:
                    raise too_large
    except TimeoutError as error:
        raise RequestTimeout(
            f"The body did not come within {WHOLE_SECONDS:g} seconds.", param="body"
        ) from error
    return bytes(body)
