"""Cleanup: what nobody needs any more is deleted, in batches, once a day.

Deleted by age alone:
- after a day: idempotency keys; the queue's own log; objects that belong to no job (uploads,
  samples, sources, previews, turns' audio) and that nothing refers to; bytes in the object store
  without a record;
- after ``RECORD_KEEP``: records of webhook deliveries and of this server's own jobs;
- after the retention of the server or the workspace, if one is set: calls with their turns, and
  simulations of calls;
  recordings, which are those of calls and the audio and other files of turns and jobs; finished
  jobs with everything they made. Records of usage are kept: they have no content. A recording of
  which its agent said so goes sooner.

A job that names an erasure does that, and nothing else (``pipelines.jobs.erasure``). Any other
sweeps the whole installation, and sweeping twice does no harm. Records are deleted before their
bytes (``pipelines.jobs.artifacts``).

Every node checks now and then how long ago the last cleanup was; the one that holds the database's
lock submits the next. The job is the oldest workspace's, though it sweeps for all.
"""

import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

from store.database import Database
from store.objects import STAGING, ObjectStore, is_key
from store.tenants.jobs import Jobs
from store.tenants.objects import Objects
from store.tenants.recordings import Recordings
from store.tenants.retention import Periods, Retention
from store.tenants.simulations import Simulations

from .artifacts import Artifacts
from .erasure import INPUT as ERASURE
from .erasure import Eraser
from .job import JobResult, JobRun, JobType, NewJob
from .queue import JobQueue

KEEP = timedelta(hours=24)
RECORD_KEEP = timedelta(days=30)
BATCH = 100
MAX_BATCHES = 1000
_ROWS = 1000
_QUEUE_LOGS = ("pgqueuer_log", "pgqueuer_statistics")
_OWN_JOBS = f"AND type IN ('{JobType.WEBHOOK}', '{JobType.CLEANUP}')"


class Cleanup:
    """Jobs of type ``cleanup``. ``retention_days``: the server's own retention, the longest that a
    workspace can have; 0: for ever."""

    type = JobType.CLEANUP
    concurrency = 2
    deadline = 3600.0

    def __init__(
        self,
        database: Database,
        store: ObjectStore,
        eraser: Eraser,
        retention_days: int = 0,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._store = store
        self._objects = Objects(database)
        self._artifacts = Artifacts(database, store)
        self._eraser = eraser
        self._retention = Retention(database)
        self._server_days = retention_days or None
        self._clock = clock

    async def run(self, run: JobRun) -> JobResult:
        """Delete; the output has the number of deleted things by kind. Raises TryAgain for an
        erasure that has to wait."""
        if ERASURE in run.input:
            return await self._eraser.run(run)
        now = self._clock()
        before, long_before = now - KEEP, now - RECORD_KEEP
        deleted = {"idempotencyKeys": await self._old_rows("idempotency_keys", before)}
        deleted["queueLog"] = 0
        for table in _QUEUE_LOGS:
            deleted["queueLog"] += await self._old_rows(table, before, "created")
        await run.progress(20)
        deleted["deliveries"] = await self._old_rows("webhook_deliveries", long_before)
        deleted |= {"calls": 0, "recordings": 0}
        deleted["jobs"] = await self._old_rows("jobs", long_before, "finished_at", _OWN_JOBS)
        await self._old_rows("deleted_calls", long_before)
        await run.progress(40)
        async for workspace_id, periods in self._periods():
            for name, expire, days in (
                ("calls", self._calls, periods.calls),
                ("recordings", self._recordings, periods.recordings),
                ("jobs", self._finished_jobs, periods.jobs),
            ):
                if days is not None:
                    deleted[name] += await expire(workspace_id, now - timedelta(days=days))
        for workspace_id in await Recordings(self._database).with_expired():
            deleted["recordings"] += await self._recorded_calls(workspace_id, None)
        await run.progress(60)
        deleted["uploads"] = await self._loose_objects(before)
        await run.progress(80)
        deleted["orphans"] = await self._orphans(before)
        return JobResult(deleted)

    async def _old_rows(
        self, table: str, before: datetime, column: str = "created_at", also: str = ""
    ) -> int:
        total = 0
        for _ in range(MAX_BATCHES):
            tag = await self._database.execute(
                f"DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table}"  # noqa: S608
                f" WHERE {column} < $1 {also} LIMIT {_ROWS}))",
                before,
            )
            deleted = int(tag.removeprefix("DELETE "))
            total += deleted
            if deleted < _ROWS:
                break
        return total

    async def _loose_objects(self, before: datetime) -> int:
        total = 0
        for _ in range(MAX_BATCHES):
            keys = await self._objects.delete_loose(before, BATCH)
            await self._store.delete(keys)
            total += len(keys)
            if len(keys) < BATCH:
                break
        return total

    # ------------------------------------------------------------------ by retention

    async def _periods(self) -> AsyncIterator[tuple[str, Periods]]:
        """Each workspace that has a retention, with it."""
        last = ""
        while found := await self._retention.in_force(self._server_days, after=last):
            for last, periods in found.items():
                yield last, periods

    async def _calls(self, workspace_id: str, before: datetime) -> int:
        total = 0
        for _ in range(MAX_BATCHES):
            gone, keys = await self._retention.delete_calls(workspace_id, before, BATCH)
            await self._store.delete(keys)
            total += gone
            if gone < BATCH:
                break
        simulations = Simulations(self._database)
        while await simulations.delete_before(workspace_id, before, BATCH) == BATCH:
            pass
        return total

    async def _recordings(self, workspace_id: str, before: datetime) -> int:
        total = await self._recorded_calls(workspace_id, before)
        for _ in range(MAX_BATCHES):
            keys = await self._retention.delete_recordings(workspace_id, before, BATCH)
            await self._store.delete(keys)
            total += len(keys)
            if not keys:
                break
        return total

    async def _recorded_calls(self, workspace_id: str, before: datetime | None) -> int:
        """Delete the recordings of calls; without ``before`` only those past their own time."""
        recordings, total = Recordings(self._database), 0
        for _ in range(MAX_BATCHES):
            keys = await recordings.delete_old(workspace_id, before, BATCH)
            await self._store.delete(keys)
            total += len(keys)
            if not keys:
                break
        return total

    async def _finished_jobs(self, workspace_id: str, before: datetime) -> int:
        jobs, total = Jobs(self._database), 0
        for _ in range(MAX_BATCHES):
            found = await jobs.finished_before(workspace_id, before, BATCH)
            deleted = [await self._artifacts.delete_job(workspace_id, job_id) for job_id in found]
            gone = len(found) - deleted.count(None)
            total += gone
            if len(found) < BATCH or not gone:
                break
        return total

    # ------------------------------------------------------------------ bytes without a record

    async def _orphans(self, before: datetime) -> int:
        """Delete bytes whose record was deleted or never written."""
        total = 0
        async for page in self._store.list():
            old = [head.key for head in page if head.modified < before and is_key(head.key)]
            orphans = await self._objects.orphans(old)
            orphans += [key for key in old if key.startswith(STAGING)]
            await self._store.delete(orphans)
            total += len(orphans)
        return total


EVERY = timedelta(days=1)
LOOK_SECONDS = 600.0
"""How often a node checks at most."""
_LOCK_KEY = 0x626C6163
"""Of an advisory lock; migrations use the number before it."""


_LAST = (
    "SELECT created_at FROM jobs WHERE workspace_id = $1 AND parent_id IS NULL"
    " AND type = 'cleanup' AND NOT input ? $2 ORDER BY id DESC LIMIT 1"
)


class CleanupSchedule:
    """One per process; ``ensure`` may be called at any rate."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._queue = JobQueue(database)
        self._clock = clock
        self._next_look = clock()

    async def ensure(self) -> bool:
        """Submit a cleanup job if there was none for a day; returns whether it did.

        Cheap: mostly it only checks the clock. Raises StoreError."""
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
            last = await connection.fetchval(_LAST, workspace_id, ERASURE)
            if last is not None and last > datetime.now(UTC) - EVERY:
                return False
            await self._queue.submit_in(connection, workspace_id, NewJob(JobType.CLEANUP, {}))
            return True
