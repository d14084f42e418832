"""JobQueue: records and queue rows are written and deleted together."""

import contextlib

import pytest

from pipelines.jobs.job import JobStatus, JobType, NewJob
from pipelines.jobs.queue import JobQueue
from store.database import Database
from store.errors import StoreRefused
from store.tenants.jobs import Jobs
from tests.support.pipelines.job_support import new_workspace, rows_in_queue, submit


async def test_a_job_and_its_queue_row_are_written_together(database: Database) -> None:
    ours = await new_workspace(database)
    job = await submit(database, ours, text="Hello")
    assert (job.status, job.progress, job.input, job.runs) == ("queued", 0, {"text": "Hello"}, 0)
    assert await rows_in_queue(database) == 1
    with contextlib.suppress(RuntimeError):
        async with database.transaction() as connection:
            await JobQueue(database).submit_in(connection, ours, NewJob(JobType.TTS, {}))
            raise RuntimeError
    assert await rows_in_queue(database) == 1
    assert [found.id for found in await Jobs(database).list(ours)] == [job.id]


async def test_an_item_of_a_batch_is_made_once_and_listed_with_it_only(database: Database) -> None:
    ours = await new_workspace(database)
    queue, jobs = JobQueue(database), Jobs(database)
    parent = await queue.submit(ours, NewJob(JobType.BATCH, {}))
    item = await queue.submit(ours, NewJob(JobType.TTS, {}, parent.id, 0))
    with pytest.raises(StoreRefused):
        await queue.submit(ours, NewJob(JobType.TTS, {}, parent.id, 0))
    assert [found.id for found in await jobs.list(ours)] == [parent.id]
    assert [found.id for found in await jobs.children(ours, parent.id)] == [item.id]
    assert not await jobs.delete(ours, parent.id)
    cancelled = await queue.cancel(ours, parent.id)
    assert cancelled is not None
    assert cancelled.status == JobStatus.CANCELLED
    assert await rows_in_queue(database) == 0
    assert await jobs.delete(ours, parent.id)
    assert await jobs.get(ours, item.id) is None


async def test_cancel_and_retry_of_a_queued_job(database: Database) -> None:
    ours = await new_workspace(database)
    queue = JobQueue(database)
    job = await submit(database, ours)
    assert await queue.retry(ours, job.id) is None
    assert await queue.cancel("ws_other", job.id) is None
    cancelled = await queue.cancel(ours, job.id)
    assert cancelled is not None
    assert cancelled.status == JobStatus.CANCELLED
    assert await queue.retry("ws_other", job.id) is None
    again = await queue.retry(ours, job.id)
    assert again is not None
    assert (again.status, again.runs, again.finished_at) == (JobStatus.QUEUED, 0, None)
    assert await rows_in_queue(database) == 1
    events = await Jobs(database).events(ours, job.id)
    assert [(event.sequence, event.event) for event in events] == [
        (1, "cancelled"),
        (2, "progress"),
    ]


async def test_a_job_that_the_queue_lost_is_put_back(database: Database) -> None:
    ours = await new_workspace(database)
    queue = JobQueue(database)
    await submit(database, ours)
    await database.execute("DELETE FROM pgqueuer")
    assert await queue.recover() == 0  # young: its transaction may still be on its way
    assert await queue.recover(older_than=-1) == 1
    assert await rows_in_queue(database) == 1
    assert await queue.recover(older_than=-1) == 0
