"""BatchKind: a batch waits for its items, which are jobs of their own.

The items are submitted in the transaction that submits the batch, so that all are there or none,
and any worker may take any of them. The batch's own run only looks at their records from time to
time: it holds no engine, and dying costs nothing, because the next run sees the same records.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from store.database import Database
from store.tenants.jobs import Job, Jobs

from .job import TERMINAL, JobFailed, JobResult, JobRun, JobStatus, JobType, NewJob
from .queue import JobQueue

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
