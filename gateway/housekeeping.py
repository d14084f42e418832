"""Housekeeping: closes the calls of dead nodes, schedules the daily cleanup, and deletes the files
of calls that were deleted.

A node that dies leaves open calls in the table. A node without a lease in two looks, one lease's
lifetime apart, is dead; its calls are closed as ``node_lost``. While Redis does not answer, no node
is declared dead. A call that can still be resumed is spared until the window for that is over.
Several processes may do this at once: closing is idempotent.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipelines.jobs.cleanup import CleanupSchedule
from sessions.registry import LEASE_SECONDS, CallRegistry
from store.database import Database
from store.errors import BusUnavailable, DatabaseUnavailable
from store.tenants.calls import Calls
from store.tenants.retention import Retention

logger = logging.getLogger(__name__)


class Housekeeping:
    """Looks every ``interval`` seconds while ``run`` runs."""

    def __init__(
        self,
        calls: Calls,
        registry: CallRegistry,
        cleanups: CleanupSchedule | None = None,
        *,
        resumable: Callable[[str], Awaitable[bool]] | None = None,
        interval: float = LEASE_SECONDS,
    ) -> None:
        """``resumable``: whether a call can still be resumed; None: none can."""
        self._resumable = resumable
        self._calls = calls
        self._registry = registry
        self._cleanups = cleanups
        self._interval = interval
        self._suspects: set[str] = set()

    async def run(self) -> None:
        """Look until cancelled; an outage is logged once and waited out."""
        away = False
        while True:
            try:
                await self.look()
                if self._cleanups is not None:
                    await self._cleanups.ensure()
                away = False
            except (BusUnavailable, DatabaseUnavailable) as error:
                if not away:
                    logger.warning("housekeeping waits: %s", error)
                away = True
                self._suspects.clear()
            await asyncio.sleep(self._interval)

    async def look(self) -> int:
        """Look once; returns how many calls were closed. Raises StoreUnavailable."""
        missing = {
            node
            for node in await self._calls.nodes_with_open_calls()
            if not await self._registry.is_alive(node)
        }
        dead, self._suspects = missing & self._suspects, missing
        closed = 0
        for node in dead:
            closed += await self._calls.close_orphaned(node, await self._spared(node))
        if closed:
            logger.info("closed %d calls of %d dead nodes", closed, len(dead))
        return closed

    async def _spared(self, node: str) -> list[str]:
        """The calls of a dead node that somebody may still resume."""
        if self._resumable is None:
            return []
        return [one for one in await self._calls.open_of(node) if await self._resumable(one)]


SWEEP_SECONDS = 30.0
_OVERLAP = timedelta(minutes=10)
"""A transaction that deletes calls may commit this long after it began."""


class CallFiles:
    """The files that this node writes of calls (BLAB_RECORD_CALLS): those of calls that were erased
    or have outlived their retention are deleted within ``SWEEP_SECONDS``.

    After a start everything that was deleted in the last 30 days is looked at again."""

    def __init__(
        self, database: Database, folder: Path | None, *, interval: float = SWEEP_SECONDS
    ) -> None:
        """Without a folder there are no files, and nothing is done."""
        self._retention = Retention(database)
        self._folder = folder
        self._interval = interval
        self._since = datetime.fromtimestamp(0, UTC)
        self._sweeper: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start sweeping; call it on the running loop."""
        if self._folder is not None:
            self._sweeper = asyncio.create_task(self._run(self._folder), name="call-files")

    async def stop(self) -> None:
        """Stop sweeping."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
            self._sweeper = None

    async def sweep(self, folder: Path) -> int:
        """Delete once; returns how many files. Raises DatabaseUnavailable and OSError."""
        began, after, total = datetime.now(UTC), "", 0
        while found := await self._retention.deleted_calls(self._since, after=after):
            after = found[-1]
            total += await asyncio.to_thread(_delete, folder, found)
        self._since = began - _OVERLAP
        return total

    async def _run(self, folder: Path) -> None:
        while True:
            try:
                if deleted := await self.sweep(folder):
                    logger.info("deleted the files of %d calls", deleted)
            except (DatabaseUnavailable, OSError) as error:
                logger.warning("files of deleted calls are left for now: %s", error)
            await asyncio.sleep(self._interval)


def _delete(folder: Path, call_ids: Sequence[str]) -> int:
    deleted = 0
    for call_id in call_ids:
        for path in folder.glob(f"{call_id}*.jsonl"):
            path.unlink(missing_ok=True)
            deleted += 1
    return deleted
