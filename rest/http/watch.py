"""Streams of events that lie in Postgres, so that every node can send them: who is woken when.

One look every ``LOOK_SECONDS`` serves all streams of the process; without streams nobody looks.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence

from aiohttp import web

from store.errors import StoreError

from .errors import Unavailable

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.25
MAX_STREAMS = 1000
"""Streams of one process at once."""
MAX_STREAMS_OF_ONE = 500
"""Of one workspace."""

Latest = Callable[[Sequence[str]], Awaitable[Mapping[str, int]]]
"""The number of the newest event of each of these; those without any are not in it."""


class Watch:
    """Wakes streams when what they follow has news. ``context`` owns the task that looks."""

    def __init__(self, latest: Latest) -> None:
        self._latest = latest
        self._known: dict[str, int] = {}
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._open: Counter[str] = Counter()
        """Streams by workspace."""
        self._wanted = asyncio.Event()

    async def context(self, _app: web.Application) -> AsyncIterator[None]:
        """Look for news as long as the application runs."""
        task = asyncio.create_task(self._look_always(), name="watch")
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    @contextlib.contextmanager
    def of(self, workspace_id: str, id: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever something happens to it; raises Unavailable."""
        if self._open.total() >= MAX_STREAMS or self._open[workspace_id] >= MAX_STREAMS_OF_ONE:
            raise Unavailable("Too many event streams are open: try again.", retry_after=5)
        happened = asyncio.Event()
        self._open[workspace_id] += 1
        self._waiting.setdefault(id, set()).add(happened)
        self._wanted.set()
        try:
            yield happened
        finally:
            self._open -= Counter([workspace_id])  # keeps no zeros
            self._waiting[id].discard(happened)
            if not self._waiting[id]:
                del self._waiting[id]
                self._known.pop(id, None)

    async def _look_always(self) -> None:
        while True:
            if not self._waiting:
                self._wanted.clear()
                await self._wanted.wait()
            try:
                await self._look()
            except StoreError as error:
                logger.warning("event streams wait: %s", error)
            await asyncio.sleep(LOOK_SECONDS)

    async def _look(self) -> None:
        latest = await self._latest(list(self._waiting))
        for id, streams in self._waiting.items():
            number = latest.get(id, 0)
            if number != self._known.get(id):
                self._known[id] = number
                for happened in streams:
                    happened.set()
