"""Cleanup: what nobody needs any more is deleted, a piece at a time.

What goes, by age alone:
- a day: idempotency keys; the queue's own log; objects of no job (uploads, samples, sources,
  previews, turns' audio) that nothing refers to; bytes in the object store without a record;
- ``RECORD_KEEP``: records of webhook deliveries and of the jobs that this server gave itself;
- the retention, where one is set: finished jobs with all that they made.

A workspace's cleanup job sweeps the whole installation, and sweeping twice does no harm. Records
go before their bytes (pipelines.jobs.artifacts).
"""

from datetime import UTC, datetime, timedelta

from pipelines.jobs.job import JobResult, JobRun, JobType
from store.database import Database
from store.objects import STAGING, ObjectStore, is_key
from store.tenants.jobs import Job, Jobs
from store.tenants.objects import Objects

KEEP = timedelta(hours=24)
RECORD_KEEP = timedelta(days=30)
BATCH = 100
MAX_BATCHES = 1000
_ROWS = 1000
_QUEUE_LOGS = ("pgqueuer_log", "pgqueuer_statistics")
_OWN_JOBS = f"AND type IN ('{JobType.WEBHOOK}', '{JobType.CLEANUP}')"


class Cleanup:
    """The kind ``cleanup``. ``retention_days`` 0: jobs are kept for ever."""

    type = JobType.CLEANUP
    concurrency = 1
    deadline = 3600.0

    def __init__(self, database: Database, store: ObjectStore, retention_days: int = 0) -> None:
        self._database = database
        self._store = store
        self._objects = Objects(database)
        self._retention_days = retention_days

    async def run(self, run: JobRun) -> JobResult:
        """See JobKind; the output counts what was deleted."""
        now = datetime.now(UTC)
        before, long_before = now - KEEP, now - RECORD_KEEP
        deleted = {"idempotencyKeys": await self._old_rows("idempotency_keys", before)}
        deleted["queueLog"] = 0
        for table in _QUEUE_LOGS:
            deleted["queueLog"] += await self._old_rows(table, before, "created")
        await run.progress(20)
        deleted["deliveries"] = await self._old_rows("webhook_deliveries", long_before)
        deleted["jobs"] = await self._old_rows("jobs", long_before, "finished_at", _OWN_JOBS)
        await run.progress(40)
        if self._retention_days:
            deleted["jobs"] += await self._finished_jobs(now - timedelta(days=self._retention_days))
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

    async def _finished_jobs(self, before: datetime) -> int:
        jobs, total = Jobs(self._database), 0
        for _ in range(MAX_BATCHES):
            found = await jobs.finished_before(before, BATCH)
            gone = sum([await self._finished_job(jobs, job) for job in found])
            total += gone
            if len(found) < BATCH or not gone:
                break
        return total

    async def _finished_job(self, jobs: Jobs, job: Job) -> bool:
        items = await jobs.children(job.workspace_id, job.id)
        ids = [job.id, *(item.id for item in items)]
        keys = await self._objects.keys_of_jobs(job.workspace_id, ids)
        if not await jobs.delete(job.workspace_id, job.id):
            return False  # it was tried again meanwhile
        await self._store.delete(keys)
        return True

    async def _orphans(self, before: datetime) -> int:
        """Delete bytes of which no record is left, or of which none was ever written."""
        total = 0
        async for page in self._store.list():
            old = [head.key for head in page if head.modified < before and is_key(head.key)]
            orphans = await self._objects.orphans(old)
            orphans += [key for key in old if key.startswith(STAGING)]
            await self._store.delete(orphans)
            total += len(orphans)
        return total
