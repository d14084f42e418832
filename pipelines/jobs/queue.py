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
from store.tenants.jobs import Job, Jobs

from .job import TERMINAL, JobFailed, JobResult, JobRun, JobStatus, JobType, NewJob

_ENQUEUE = QueryQueueBuilder().build_enqueue_query("skip")
FORGOTTEN_SECONDS = 60.0
"""How long an active job may be missing in the queue before it is put back."""


def payload(job: Job) -> bytes:
    """What the queue's row says of the job."""
    return json.dumps([job.workspace_id, job.id]).encode()


def named(content: bytes | None) -> tuple[str, str]:
    """Workspace and job of a queue's row; raises ValueError."""
    workspace_id, job_id = json.loads(content or b"[]")
    return workspace_id, job_id


class JobQueue:
    """Who submits jobs has one; it may be shared. All methods raise StoreError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def submit(self, workspace_id: str, new: NewJob, *, delay_seconds: float = 0) -> Job:
        """A new job, to be begun by a worker after ``delay_seconds`` at the earliest."""
        async with self._database.transaction() as connection:
            return await self.submit_in(connection, workspace_id, new, delay_seconds=delay_seconds)

    async def submit_in(
        self, connection: Any, workspace_id: str, new: NewJob, *, delay_seconds: float = 0
    ) -> Job:
        """As ``submit``, as part of the transaction that ``connection`` is in."""
        job = await Jobs(connection).insert(
            workspace_id, new.type, new.input, new.parent_id, new.item_index
        )
        await _enqueue(connection, job, delay_seconds)
        return job

    async def cancel(self, workspace_id: str, job_id: str) -> Job | None:
        """Cancel the job and its items: queued ones at once, running ones as soon as their worker
        has noticed. The job as it is now, unchanged if it was over; None where there is none."""
        async with self._database.transaction() as connection:
            jobs = Jobs(connection)
            job = await jobs.lock(workspace_id, job_id)
            if job is None:
                return None
            for item in [job, *await jobs.children(workspace_id, job_id)]:
                await _cancel(connection, item)
            return await jobs.get(workspace_id, job_id)

    async def retry(self, workspace_id: str, job_id: str) -> Job | None:
        """Put a failed or cancelled job back to queued; None where it is neither, or absent."""
        async with self._database.transaction() as connection:
            job = await Jobs(connection).reset(workspace_id, job_id)
            if job is not None:
                await _dequeue(connection, job)
                await _enqueue(connection, job)
            return job

    async def recover(self, older_than: float = FORGOTTEN_SECONDS) -> int:
        """Put active jobs that the queue has lost back into it; returns how many.

        The queue loses a job where a worker that was overtaken ends its run."""
        async with self._database.transaction() as connection:
            lost = await Jobs(connection).forgotten(older_than)
            for job in lost:
                await _enqueue(connection, job)
            return len(lost)


async def _cancel(connection: Any, job: Job) -> None:
    jobs = Jobs(connection)
    if job.status == JobStatus.QUEUED:
        locked = await jobs.lock(job.workspace_id, job.id)
        if locked is not None and locked.status == JobStatus.QUEUED:
            await jobs.finish(job.workspace_id, job.id, JobStatus.CANCELLED)
            await _dequeue(connection, job)
            return
    await jobs.request_cancel(job.workspace_id, job.id)


async def _enqueue(connection: Any, job: Job, delay_seconds: float = 0) -> None:
    # headers go as NULL: the library would encode them, and the connection once more
    delay = timedelta(seconds=delay_seconds)
    await connection.fetch(_ENQUEUE, [0], [job.type], [payload(job)], [delay], [job.id], [None])


async def _dequeue(connection: Any, job: Job) -> None:
    await connection.execute("DELETE FROM pgqueuer WHERE dedupe_key = $1", job.id)


CONCURRENCY = 100
"""A waiting batch is a query now and then."""
DEADLINE_SECONDS = 24 * 3600.0
LOOK_SECONDS = 0.5


REFUSED = "refused"
"""Member of a batch's input and output: what was refused of it when it was accepted in part."""


async def submit_batch(
    database: Database,
    workspace_id: str,
    head: dict[str, Any],
    items: Sequence[dict[str, Any]],
    indices: Sequence[int] | None = None,
) -> Job:
    """The batch's job, with a speech job for each of ``items`` (inputs of TtsKind).

    ``indices``: the places of the items in the batch as it was sent; None: 0, 1, 2 …
    Raises StoreError."""
    queue = JobQueue(database)
    async with database.transaction() as connection:
        batch = await queue.submit_in(connection, workspace_id, NewJob(JobType.BATCH, head))
        for index, item in zip(indices or range(len(items)), items, strict=True):
            await queue.submit_in(
                connection, workspace_id, NewJob(JobType.TTS, item, batch.id, index)
            )
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
        """Wait for the items; JobFailed where none of them was completed."""
        while True:
            items = await Jobs(self._database).children(run.workspace_id, run.id)
            if all(item.status in TERMINAL for item in items):
                break
            done = sum(100 if item.status in TERMINAL else item.progress for item in items)
            await run.progress(min(99, done // len(items)))
            await asyncio.sleep(self._look_seconds)
        counts = tally(items, run.input)
        if items and not counts["completed"]:
            raise JobFailed("PROVIDER_ERROR", "None of the batch's items was completed.", counts)
        return JobResult(counts)


def tally(items: Sequence[Job], head: Mapping[str, Any]) -> dict[str, int]:
    """How many items there are, how many ended how, and how many of ``head``'s were refused."""
    ends = (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED)
    counts = {str(end): sum(item.status == end for item in items) for end in ends}
    refused = len(head.get(REFUSED, ()))
    return {"total": len(items) + refused, **counts, REFUSED: refused}
