"""JobQueue: jobs are submitted, cancelled and retried here; and batches of them.

A job's record and its row in pgqueuer's table are written in one transaction: neither exists
without the other. The queue's row names the job in ``dedupe_key``, so a job is in the queue at most
once.

A batch is a job whose items are jobs of their own, submitted in the same transaction. Any worker
may take any item. The batch's own run only polls the items' records: it holds no engine, and losing
it costs nothing, because the next run sees the same records.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from pgqueuer.adapters.persistence.qb import QueryQueueBuilder

from store.database import Database
from store.tenants.jobs import Job, JobEnd, Jobs

from .job import TERMINAL, JobFailed, JobResult, JobRun, JobStatus, JobType, NewJob

_ENQUEUE = QueryQueueBuilder().build_enqueue_query("skip")
FORGOTTEN_SECONDS = 60.0
"""How long an active job may be missing from the queue before it is put back."""


def payload(workspace_id: str, job_id: str) -> bytes:
    """The payload of a job's queue row."""
    return json.dumps([workspace_id, job_id]).encode()


def named(content: bytes | None) -> tuple[str, str]:
    """Workspace and job of a queue row's payload; raises ValueError."""
    workspace_id, job_id = json.loads(content or b"[]")
    return workspace_id, job_id


class JobQueue:
    """Submits jobs; may be shared. All methods raise StoreError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def submit(self, workspace_id: str, new: NewJob, *, delay_seconds: float = 0) -> Job:
        """Submit a job, to be started by a worker after ``delay_seconds`` at the earliest."""
        async with self._database.transaction() as connection:
            return await self.submit_in(connection, workspace_id, new, delay_seconds=delay_seconds)

    async def submit_in(
        self, connection: Any, workspace_id: str, new: NewJob, *, delay_seconds: float = 0
    ) -> Job:
        """As ``submit``, in the transaction of ``connection``."""
        job = await Jobs(connection).insert(
            workspace_id, new.type, new.input, new.parent_id, new.item_index
        )
        await _enqueue(connection, job.workspace_id, job.type, [job.id], delay_seconds)
        return job

    async def cancel(self, workspace_id: str, job_id: str) -> Job | None:
        """Cancel the job and its items: queued ones at once, running ones when their worker
        notices. Returns the updated job, unchanged if it had ended; None if there is none."""
        async with self._database.transaction() as connection:
            jobs = Jobs(connection)
            job = await jobs.lock(workspace_id, job_id)
            if job is None:
                return None
            for item in [job, *await jobs.children(workspace_id, job_id)]:
                await _cancel(connection, item)
            return await jobs.get(workspace_id, job_id)

    async def retry(self, workspace_id: str, job_id: str) -> Job | None:
        """Put a failed or cancelled job back to queued; None if it is neither, or absent."""
        async with self._database.transaction() as connection:
            job = await Jobs(connection).reset(workspace_id, job_id)
            if job is not None:
                await _dequeue(connection, job)
                await _enqueue(connection, job.workspace_id, job.type, [job.id])
            return job

    async def recover(self, older_than: float = FORGOTTEN_SECONDS) -> int:
        """Put active jobs that are missing from the queue back into it; returns how many.

        A job goes missing when a worker that was overtaken ends its run."""
        async with self._database.transaction() as connection:
            lost = await Jobs(connection).forgotten(older_than)
            for job in lost:
                await _enqueue(connection, job.workspace_id, job.type, [job.id])
            return len(lost)


async def _cancel(connection: Any, job: Job) -> None:
    jobs = Jobs(connection)
    if job.status == JobStatus.QUEUED:
        locked = await jobs.lock(job.workspace_id, job.id)
        if locked is not None and locked.status == JobStatus.QUEUED:
            await jobs.finish([JobEnd(job.workspace_id, job.id, JobStatus.CANCELLED)])
            await _dequeue(connection, job)
            return
    await jobs.request_cancel(job.workspace_id, job.id)


async def _enqueue(
    connection: Any,
    workspace_id: str,
    type: str,
    job_ids: Sequence[str],
    delay_seconds: float = 0,
) -> None:
    count = len(job_ids)
    await connection.fetch(
        _ENQUEUE,
        [0] * count,
        [type] * count,
        [payload(workspace_id, job_id) for job_id in job_ids],
        [timedelta(seconds=delay_seconds)] * count,
        list(job_ids),
        [None] * count,  # headers: the library would encode them, and the connection once more
    )


async def _dequeue(connection: Any, job: Job) -> None:
    await connection.execute("DELETE FROM pgqueuer WHERE dedupe_key = $1", job.id)


CONCURRENCY = 100
"""A waiting batch costs only a query now and then."""
DEADLINE_SECONDS = 24 * 3600.0
LOOK_SECONDS = 0.5


REFUSED = "refused"
"""Member of a batch's input and output: the items refused when it was accepted in part."""


async def submit_batch(
    database: Database,
    workspace_id: str,
    head: dict[str, Any],
    items: Sequence[dict[str, Any]],
    indices: Sequence[int] | None = None,
) -> Job:
    """Submit a batch, with a speech job for each of ``items`` (inputs of TtsKind).

    ``indices``: the places of the items in the request; None: 0, 1, 2 …
    Raises StoreError."""
    queue = JobQueue(database)
    async with database.transaction() as connection:
        batch = await queue.submit_in(connection, workspace_id, NewJob(JobType.BATCH, head))
        places = indices or range(len(items))
        ids = await Jobs(connection).insert_items(batch, JobType.TTS, items, places)
        await _enqueue(connection, workspace_id, JobType.TTS, ids)
        return batch


class BatchKind:
    """Jobs of type ``batch``."""

    type = JobType.BATCH
    concurrency = CONCURRENCY
    deadline = DEADLINE_SECONDS

    def __init__(self, database: Database, look_seconds: float = LOOK_SECONDS) -> None:
        self._database = database
        self._look_seconds = look_seconds

    async def run(self, run: JobRun) -> JobResult:
        """Wait for the items; raises JobFailed if none of them completed."""
        while True:
            items = await Jobs(self._database).children(run.workspace_id, run.id)
            if all(item.status in TERMINAL for item in items):
                break
            done = sum(100 if item.status in TERMINAL else item.progress for item in items)
            await run.progress(min(99, done // len(items)))
            await asyncio.sleep(self._look_seconds)
        counts = tally(items, run.input)
        if items and not counts["completed"]:
            raise JobFailed("PROVIDER_ERROR", "None of the batch's items completed.", counts)
        return JobResult(counts)


def tally(items: Sequence[Job], head: Mapping[str, Any]) -> dict[str, int]:
    """The number of items: in total, by how they ended, and refused (in ``head``)."""
    ends = (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED)
    counts = {str(end): sum(item.status == end for item in items) for end in ends}
    refused = len(head.get(REFUSED, ()))
    return {"total": len(items) + refused, **counts, REFUSED: refused}
