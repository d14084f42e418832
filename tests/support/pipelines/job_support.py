"""Simple kinds of jobs, and workers within the test's process."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from pipelines.jobs.job import JobResult, JobRun, JobType, NewJob
from pipelines.jobs.queue import JobQueue
from pipelines.jobs.records import FinishHook
from pipelines.jobs.worker import Worker
from store.database import Database
from store.tenants.accounts import Users, Workspaces
from store.tenants.jobs import Job, Jobs

SECONDS = 60.0

Work = Callable[[JobRun], Awaitable[JobResult]]


async def echo(run: JobRun) -> JobResult:
    return JobResult({"said": run.input, "run": run.run})


@dataclass
class Kind:
    """Jobs that run a given function; ``runs`` are those that were begun."""

    work: Work = echo
    type: JobType = JobType.TTS
    concurrency: int = 2
    deadline: float = 60.0
    runs: list[JobRun] = field(default_factory=list)

    async def run(self, run: JobRun) -> JobResult:
        self.runs.append(run)
        return await self.work(run)


@contextlib.asynccontextmanager
async def working(
    database: Database,
    *kinds: Kind,
    hooks: Iterable[FinishHook] = (),
    heartbeat_seconds: float = 30.0,
) -> AsyncIterator[Worker]:
    """A worker inside the block; its jobs in hand are given back at the end."""
    worker = Worker(database, kinds, hooks, heartbeat_seconds=heartbeat_seconds)
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        worker.interrupt()
        await asyncio.wait_for(task, SECONDS)


async def new_workspace(database: Database, email: str = "worker@example.com") -> str:
    user = await Users(database).create(email, "Somebody", None)
    return (await Workspaces(database).create("Work", user.id)).id


async def submit(database: Database, workspace_id: str, **said: object) -> Job:
    return await JobQueue(database).submit(workspace_id, NewJob(JobType.TTS, dict(said)))


async def until(database: Database, job: Job, status: str) -> Job:
    """The job as soon as its record says ``status``."""
    async with asyncio.timeout(SECONDS):
        while True:
            found = await Jobs(database).get(job.workspace_id, job.id)
            assert found is not None
            if found.status == status:
                return found
            await asyncio.sleep(0.02)


async def rows_in_queue(database: Database) -> int:
    return int(await database.fetchval("SELECT count(*) FROM pgqueuer"))
