"""Blocking generators, consumed from the event loop; above all a file's audio.

Each step runs on a thread, nothing is computed ahead of the consumer, and leaving closes the
generator (and what it holds open) before the task goes on.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Generator
from pathlib import Path
from threading import Lock
from typing import Any, Generic, TypeVar

from media.files.isolated import decode
from media.files.limits import DEFAULT_LIMITS, MediaLimits
from media.formats import HEARING_RATE

T = TypeVar("T")
R = TypeVar("R")


async def decoded(
    path: Path, rate: int = HEARING_RATE, limits: MediaLimits = DEFAULT_LIMITS
) -> AsyncGenerator[bytes, None]:
    """The file's audio as PCM16 mono at ``rate`` Hz, in pieces of about a second.

    Raises the MediaError family and OSError, as media.files.decode does."""
    async with contextlib.aclosing(pulled(lambda: decode(path, rate, limits))) as pieces:
        async for piece in pieces:
            yield piece


async def pulled(make: Callable[[], Generator[T, None, Any]]) -> AsyncGenerator[T, None]:
    """The items of the blocking generator that ``make`` returns; its return value is dropped."""
    steps = _Steps(make())
    try:
        while await asyncio.to_thread(steps.advance):
            yield steps.item
    finally:
        await asyncio.to_thread(steps.close)


async def carried_out(make: Callable[[], Generator[object, None, R]]) -> R:
    """The return value of the blocking generator that ``make`` returns; cancelling the task stops
    it between two steps."""
    steps = _Steps(make())
    try:
        while await asyncio.to_thread(steps.advance):
            pass
        return steps.result
    finally:
        await asyncio.to_thread(steps.close)


class _Steps(Generic[T, R]):
    """A generator that may be closed while one of its steps runs on another thread."""

    item: T
    result: R

    def __init__(self, generator: Generator[T, None, R]) -> None:
        self._generator = generator
        self._lock = Lock()

    def advance(self) -> bool:
        """Take a step; False when there are no more."""
        with self._lock:
            try:
                self.item = next(self._generator)
            except StopIteration as ended:
                self.result = ended.value
                return False
            return True

    def close(self) -> None:
        """Close it, after the running step."""
        with self._lock:
            self._generator.close()
