"""Handoff: items made on an engine's thread, consumed by one task, through a bounded buffer.

Rules
- ``emit`` is called from threads, everything else from the event loop that made the Handoff.
- The buffer holds ``limit`` items. When it is full the producer waits: nothing is dropped, the
  consumer's pace is the producer's pace. A consumer that takes nothing for ``patience`` seconds
  is given up and the producer is stopped.
- After ``stop`` every ``emit`` returns False; a producer must then return as soon as it can.
"""

import asyncio
from collections import deque
from threading import Condition
from typing import Generic, TypeVar

from .base import EngineTimeout

T = TypeVar("T")


class HandoffEnded(Exception):
    """The producer has returned and every item has been taken."""


class Handoff(Generic[T]):
    """A bounded one-way passage from threads to a task."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limit: int, patience: float) -> None:
        self._loop = loop
        self._limit = limit
        self._patience = patience
        self._items: deque[T] = deque()
        self._room = Condition()
        self._stopped = False
        self._ended = False
        self._error: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None

    def emit(self, item: T) -> bool:
        """Give ``item`` to the consumer, waiting for room; False: stop producing."""
        with self._room:
            if not self._room.wait_for(self._has_room, self._patience):
                self._error = EngineTimeout(f"nothing was taken for {self._patience:g} s")
                self._stopped = True
            if self._stopped:
                return False
            self._items.append(item)
            first = len(self._items) == 1
        if first:
            self._wake_from_thread()
        return True

    async def take(self, deadline: float) -> T:
        """The next item, waiting ``deadline`` seconds at most.

        Raises HandoffEnded when there will be none, TimeoutError when none came in time, or
        the error the producer ended with (after the items before it)."""
        expires = self._loop.time() + deadline
        while True:
            with self._room:
                if self._items:
                    self._room.notify()
                    return self._items.popleft()
                if self._error is not None:
                    raise self._error
                if self._ended or self._stopped:
                    raise HandoffEnded
                self._waiter = waiter = self._loop.create_future()
            try:
                async with asyncio.timeout_at(expires):
                    await waiter
            finally:
                self._waiter = None

    def end(self, error: BaseException | None = None) -> None:
        """No more items will come; ``error`` is what the producer failed with, if it did."""
        with self._room:
            self._ended = True
            self._error = self._error or error
        self._wake()

    def stop(self) -> None:
        """Forget what is buffered and turn every further item away."""
        self._shut()
        self._wake()

    def _shut(self) -> None:
        with self._room:
            self._stopped = True
            self._items.clear()
            self._room.notify_all()

    def _has_room(self) -> bool:
        return self._stopped or len(self._items) < self._limit

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _wake_from_thread(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._wake)
        except RuntimeError:  # the loop is closed: its consumer cannot be waiting any more
            self._shut()
