"""BodyPace: a client that keeps the server waiting for a body is refused."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from .errors import RequestTimeout

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
