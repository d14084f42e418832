"""CleanupSchedule: a cleanup job a day, whichever nodes are up.

Every node looks now and then whether the last cleanup was long enough ago; the one that holds the
database's lock submits the next. The job is the oldest workspace's, though it sweeps for all.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from pipelines.jobs.job import JobType, NewJob
from pipelines.jobs.queue import JobQueue
from store.database import Database
from store.tenants.jobs import Jobs

EVERY = timedelta(days=1)
LOOK_SECONDS = 600.0
"""A node looks no oftener, however often it is asked to."""
_LOCK_KEY = 0x626C6163
"""An advisory lock's; migrations have the number before it."""


class CleanupSchedule:
    """One of each process; ``ensure`` may be called as often as is convenient."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._queue = JobQueue(database)
        self._clock = clock
        self._next_look = clock()

    async def ensure(self) -> bool:
        """Submit a cleanup job where there was none for a day; whether it did. Raises StoreError.

        Cheap: most calls look at the clock only."""
        now = self._clock()
        if now < self._next_look:
            return False
        self._next_look = now + LOOK_SECONDS
        async with self._database.transaction() as connection:
            if not await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", _LOCK_KEY):
                return False
            workspace_id = await connection.fetchval(
                "SELECT id FROM workspaces ORDER BY id LIMIT 1"
            )
            if workspace_id is None:
                return False
            last = await Jobs(connection).list(workspace_id, type=JobType.CLEANUP, limit=1)
            if last and last[0].created_at > datetime.now(UTC) - EVERY:
                return False
            await self._queue.submit_in(connection, workspace_id, NewJob(JobType.CLEANUP, {}))
            return True
