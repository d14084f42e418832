"""A cleanup job a day."""

from pathlib import Path

from pipelines.jobs.cleanup import Cleanup
from pipelines.jobs.cleanup_schedule import CleanupSchedule
from pipelines.jobs.job import JobStatus, JobType
from store.database import Database
from store.objects import ObjectStore
from store.tenants.jobs import Jobs
from tests.support.pipelines.job_support import new_workspace, until, working


async def test_one_cleanup_a_day_is_submitted_and_runs(database: Database, tmp_path: Path):
    store = ObjectStore.open(f"file://{tmp_path}/objects")
    nodes = [CleanupSchedule(database, clock=lambda: 0.0) for _ in range(3)]
    assert not await nodes[0].ensure()  # nobody is there yet
    ours = await new_workspace(database)
    await new_workspace(database, "later@example.org")
    nodes = [CleanupSchedule(database, clock=lambda: 0.0) for _ in range(3)]
    assert [await node.ensure() for node in nodes] == [True, False, False]
    [job] = await Jobs(database).list(ours)
    assert job.type == JobType.CLEANUP
    async with working(database, Cleanup(database, store)):  # type: ignore[arg-type]
        done = await until(database, job, JobStatus.COMPLETED)
    assert done.output is not None
    assert done.output["orphans"] == 0
    await database.execute("UPDATE jobs SET created_at = now() - interval '25 hours'")
    assert await CleanupSchedule(database).ensure()


async def test_a_node_that_is_asked_often_looks_seldom(database: Database):
    await new_workspace(database)
    now = 0.0
    schedule = CleanupSchedule(database, clock=lambda: now)
    assert await schedule.ensure()
    await database.execute("DELETE FROM jobs")
    assert not await schedule.ensure()
    now = 601.0
    assert await schedule.ensure()
