"""Cleanup: what nobody needs any more is deleted, a piece at a time.

Idempotency keys and loose uploads of more than a day, the queue's own log, and (where a retention
is set) finished jobs with what they made. A workspace's cleanup job sweeps the whole installation:
what is swept is decided by age alone, and sweeping twice does no harm.
"""

from datetime import UTC, datetime, timedelta
from typing import Protocol

from pipelines.jobs import JobResult, JobRun, JobType
from store.database import Database
from store.tenants.jobs import Jobs

KEEP = timedelta(hours=24)
"""Idempotency keys, uploads that no job consumed, the queue's log."""
BATCH = 100
MAX_BATCHES = 1000
_QUEUE_LOGS = ("pgqueuer_log", "pgqueuer_statistics")


class Artifacts(Protocol):
    """Deletes what jobs made (pipelines.artifacts)."""

    async def delete_of_job(self, workspace_id: str, job_id: str) -> int: ...


class Bytes(Protocol):
    """Deletes objects' bytes (store.objects)."""

    async def delete(self, keys: list[str], /) -> None: ...


class Cleanup:
    """The kind ``cleanup``. ``retention_days`` 0: jobs are kept for ever."""

    type = JobType.CLEANUP
    concurrency = 1
    deadline = 3600.0

    def __init__(
        self, database: Database, artifacts: Artifacts, objects: Bytes, retention_days: int
    ) -> None:
        self._database = database
        self._artifacts = artifacts
        self._objects = objects
        self._retention_days = retention_days

    async def run(self, run: JobRun) -> JobResult:
        """See JobKind; the output counts what was deleted."""
        before = datetime.now(UTC) - KEEP
        keys = await self._old_rows("idempotency_keys", before)
        await run.progress(25)
        logs = 0
        for table in _QUEUE_LOGS:
            logs += await self._old_rows(table, before, "created")
        await run.progress(50)
        uploads = await self._loose_uploads(before)
        await run.progress(75)
        jobs = await self._finished_jobs(run.id) if self._retention_days else 0
        return JobResult(
            {"idempotencyKeys": keys, "uploads": uploads, "jobs": jobs, "queueLog": logs}
        )

    async def _old_rows(self, table: str, before: datetime, column: str = "created_at") -> int:
        total = 0
        for _ in range(MAX_BATCHES):
            tag = await self._database.execute(
                f"DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table}"  # noqa: S608
                f" WHERE {column} < $1 LIMIT 1000))",
                before,
            )
            deleted = int(tag.removeprefix("DELETE "))
            total += deleted
            if deleted < 1000:
                break
        return total

    async def _loose_uploads(self, before: datetime) -> int:
        total = 0
        for _ in range(MAX_BATCHES):
            rows = await self._database.fetch(
                "SELECT key FROM objects WHERE kind = 'upload' AND job_id IS NULL"
                " AND created_at < $1 ORDER BY created_at LIMIT $2",
                *(before, BATCH),
            )
            keys = [row["key"] for row in rows]
            if keys:
                await self._objects.delete(keys)
                await self._database.execute(
                    "DELETE FROM objects WHERE key = ANY($1::text[]) AND job_id IS NULL", keys
                )
            total += len(keys)
            if len(keys) < BATCH:
                break
        return total

    async def _finished_jobs(self, own_id: str) -> int:
        before, total = datetime.now(UTC) - timedelta(days=self._retention_days), 0
        jobs = Jobs(self._database)
        for _ in range(MAX_BATCHES):
            found = await jobs.finished_before(before, BATCH)
            gone = 0
            for job in found:
                for item in await jobs.children(job.workspace_id, job.id):
                    await self._artifacts.delete_of_job(item.workspace_id, item.id)
                await self._artifacts.delete_of_job(job.workspace_id, job.id)
                gone += job.id != own_id and await jobs.delete(job.workspace_id, job.id)
            total += gone
            if len(found) < BATCH or not gone:
                break
        return total
