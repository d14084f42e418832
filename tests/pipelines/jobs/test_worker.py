"""Workers on a real queue: each job ends once, whatever happens to its worker."""

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from pipelines.engines.base import ModelUnavailable
from pipelines.jobs.job import (
    MAX_WARNING_CHARACTERS,
    MAX_WARNINGS,
    JobFailed,
    JobResult,
    JobRun,
    JobStatus,
    JobType,
    NewJob,
    TryAgain,
    Unit,
)
from pipelines.jobs.queue import JobQueue
from pipelines.jobs.runner import MAX_RUNS
from store.database import Database
from store.tenants.jobs import Job, Jobs
from tests.support.pipelines.job_support import (
    SECONDS,
    Kind,
    new_workspace,
    rows_in_queue,
    submit,
    until,
    working,
)

pytestmark = pytest.mark.slow

KILLED_WORKER = """
import asyncio, sys
from pipelines.jobs.worker import Worker
from store.database import Database
from tests.support.pipelines.job_support import Kind

async def hang(run):
    print("begun", flush=True)
    await asyncio.sleep(600)

async def main():
    database = Database(sys.argv[1])
    await database.connect()
    await Worker(database, [Kind(hang)], heartbeat_seconds=2.0).run()

asyncio.run(main())
"""


async def test_jobs_run_and_end_once(database: Database) -> None:
    ours = await new_workspace(database)
    ended: list[tuple[str, tuple[Unit, ...]]] = []
    unit = Unit("u", "tts", "m", tokens=3)

    async def hook(connection: Any, jobs: Sequence[tuple[Job, tuple[Unit, ...]]]) -> None:
        for job, units in jobs:
            assert await Jobs(connection).get(ours, job.id) == job
            ended.append((job.id, units))

    async def work(run: JobRun) -> JobResult:
        for percent in (10, 5, 50):
            await run.progress(percent)
        return JobResult({"run": run.run}, (unit,))

    async with working(database, Kind(work), hooks=[hook]):
        jobs = [await submit(database, ours, n=n) for n in range(5)]
        done = [await until(database, job, JobStatus.COMPLETED) for job in jobs]
    assert [(job.progress, job.output, job.runs) for job in done] == [(100, {"run": 1}, 1)] * 5
    assert sorted(ended) == sorted((job.id, (unit,)) for job in jobs)
    assert await rows_in_queue(database) == 0
    events = await Jobs(database).events(ours, jobs[0].id)
    assert [event.event for event in events] == ["progress", "completed"]
    assert [event.data["progress"] for event in events] == [10, 100]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (JobFailed("VALIDATION_ERROR", "Not a voice.", {"path": "x"}), "VALIDATION_ERROR"),
        (ModelUnavailable("no such model"), "MODEL_UNAVAILABLE"),
    ],
)
async def test_a_refused_job_is_not_retried(
    database: Database, error: Exception, code: str
) -> None:
    ours = await new_workspace(database)

    async def work(run: JobRun) -> JobResult:
        raise error

    kind = Kind(work)
    async with working(database, kind):
        job = await until(database, await submit(database, ours), JobStatus.FAILED)
    assert job.error is not None
    assert job.error["code"] == code
    assert len(kind.runs) == 1


async def test_a_fault_is_tried_again_until_the_runs_are_used_up(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.jobs.runner.AGAIN_SECONDS", 0.0)
    ours = await new_workspace(database)

    async def work(run: JobRun) -> JobResult:
        raise ZeroDivisionError("SECRET")

    kind = Kind(work)
    async with working(database, kind):
        job = await until(database, await submit(database, ours), JobStatus.FAILED)
        assert [run.run for run in kind.runs] == list(range(1, MAX_RUNS + 1))
        assert job.error is not None
        assert job.error["code"] == "INTERNAL"
        assert "SECRET" not in str(job.error)
        assert await JobQueue(database).retry(ours, job.id) is not None
        await until(database, job, JobStatus.FAILED)
    assert len(kind.runs) == 2 * MAX_RUNS


async def test_a_kind_may_ask_to_run_again_without_limit(database: Database) -> None:
    ours = await new_workspace(database)
    states: list[tuple[str, int]] = []

    async def work(run: JobRun) -> JobResult:
        if len(states) < MAX_RUNS:
            states.append((run.id, run.run))
            raise TryAgain(0)
        return JobResult({"run": run.run})

    async with working(database, Kind(work)):
        job = await submit(database, ours)
        done = await until(database, job, JobStatus.COMPLETED)
    assert states == [(job.id, 1)] * MAX_RUNS
    assert (done.runs, done.output) == (1, {"run": 1})
    events = await Jobs(database).events(ours, job.id)
    assert [event.event for event in events] == ["completed"]


async def test_a_job_cancelled_as_it_asks_to_wait_does_not_wait(database: Database) -> None:
    ours = await new_workspace(database)

    async def work(run: JobRun) -> JobResult:
        await JobQueue(database).cancel(ours, run.id)  # too late for the watch to see it
        raise TryAgain(3600)

    async with working(database, Kind(work)):
        job = await submit(database, ours)
        await until(database, job, JobStatus.CANCELLED)
    assert await rows_in_queue(database) == 0


async def test_a_run_has_a_deadline(database: Database) -> None:
    ours = await new_workspace(database)

    async def work(run: JobRun) -> JobResult:
        await asyncio.sleep(600)
        raise AssertionError

    async with working(database, Kind(work, deadline=0.05)):
        job = await until(database, await submit(database, ours), JobStatus.FAILED)
    assert job.error is not None
    assert job.error["details"] == {"reason": "deadline"}


async def test_cancelling_stops_the_work_and_retry_restarts_it(database: Database) -> None:
    ours = await new_workspace(database)
    begun, unwound, patient = asyncio.Event(), asyncio.Event(), True

    async def work(run: JobRun) -> JobResult:
        begun.set()
        try:
            if patient:
                await asyncio.sleep(600)
        finally:
            unwound.set()
        return JobResult({"run": run.run})

    queue = JobQueue(database)
    async with working(database, Kind(work)):
        job = await submit(database, ours)
        await asyncio.wait_for(begun.wait(), SECONDS)
        assert await queue.cancel(ours, job.id) is not None
        await asyncio.wait_for(unwound.wait(), SECONDS)
        await until(database, job, JobStatus.CANCELLED)
        patient = False
        assert await queue.retry(ours, job.id) is not None
        done = await until(database, job, JobStatus.COMPLETED)
    assert done.output == {"run": 1}


async def test_each_kind_has_a_concurrency_limit(database: Database) -> None:
    ours = await new_workspace(database)
    gate, busy, most = asyncio.Event(), 0, 0

    async def work(run: JobRun) -> JobResult:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await gate.wait()
        busy -= 1
        return JobResult({})

    slow, quick = Kind(work, concurrency=2), Kind(type=JobType.STT)
    jobs = [await submit(database, ours) for _ in range(5)]
    async with working(database, slow, quick):
        other = await JobQueue(database).submit(ours, NewJob(JobType.STT, {}))
        await until(database, other, JobStatus.COMPLETED)
        gate.set()
        for job in jobs:
            await until(database, job, JobStatus.COMPLETED)
    assert most == 2


async def test_an_interrupted_worker_returns_its_jobs(database: Database) -> None:
    ours = await new_workspace(database)
    begun = asyncio.Event()

    async def hang(run: JobRun) -> JobResult:
        begun.set()
        await asyncio.sleep(600)
        raise AssertionError

    job = await submit(database, ours)
    async with working(database, Kind(hang)):
        await asyncio.wait_for(begun.wait(), SECONDS)
    given_back = await Jobs(database).get(ours, job.id)
    assert given_back is not None
    assert (given_back.status, given_back.runs) == (JobStatus.QUEUED, 0)
    async with working(database, Kind()):
        await until(database, job, JobStatus.COMPLETED)


async def test_a_killed_workers_job_is_run_by_another(
    database: Database, own_database_url: str
) -> None:
    ours = await new_workspace(database)
    job = await submit(database, ours)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED_WORKER, own_database_url, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), SECONDS)
    finally:
        process.kill()
        await process.wait()
    assert line == b"begun\n"
    async with working(database, Kind(), heartbeat_seconds=2.0):
        done = await until(database, job, JobStatus.COMPLETED)
    assert (done.runs, done.output) == (2, {"said": {}, "run": 2})
    events = await Jobs(database).events(ours, job.id)
    assert [event.event for event in events] == ["completed"]


async def test_a_job_that_kills_its_workers_fails(database: Database) -> None:
    ours = await new_workspace(database)
    job = await submit(database, ours)
    await database.execute("UPDATE jobs SET runs = $1, status = 'running'", MAX_RUNS)
    kind = Kind()
    async with working(database, kind):
        failed = await until(database, job, JobStatus.FAILED)
    assert failed.error is not None
    assert (failed.error["code"], failed.error["details"]) == (
        "INTERNAL",
        {"reason": "runs_used_up"},
    )
    assert kind.runs == []


async def test_a_run_that_was_overtaken_changes_nothing(database: Database) -> None:
    ours = await new_workspace(database)
    begun, unwound = asyncio.Event(), asyncio.Event()

    async def stubborn(run: JobRun) -> JobResult:
        begun.set()
        try:
            await asyncio.sleep(600)
        finally:
            unwound.set()
        raise AssertionError

    job = await submit(database, ours)
    async with working(database, Kind(stubborn)):
        await asyncio.wait_for(begun.wait(), SECONDS)
        await database.execute("UPDATE jobs SET runs = runs + 1")  # another began it
        await asyncio.wait_for(unwound.wait(), SECONDS)
    left = await Jobs(database).get(ours, job.id)
    assert left is not None
    assert (left.status, left.runs) == (JobStatus.RUNNING, 2)


@pytest.mark.parametrize("fails", [False, True])
async def test_warnings_of_the_last_run_are_kept_with_its_end(
    database: Database, fails: bool
) -> None:
    async def work(run: JobRun) -> JobResult:
        for _ in range(2):
            run.warn("unspeakable_text", "No voice here speaks Japanese.", "input")
        if fails:
            raise JobFailed("PROVIDER_ERROR", "No sound.")
        return JobResult({})

    job = await submit(database, await new_workspace(database))
    warning = {
        "code": "unspeakable_text",
        "message": "No voice here speaks Japanese.",
        "path": "input",
    }
    async with working(database, Kind(work)):
        ended = await until(database, job, "failed" if fails else "completed")
    assert ended.warnings == [warning]
    if fails:
        again = await JobQueue(database).retry(job.workspace_id, job.id)
        assert again is not None
        assert again.warnings == []


def test_the_warnings_of_a_run_are_bounded() -> None:
    run = JobRun("job", "ws", {}, 1, _no_progress)
    for number in range(MAX_WARNINGS + 10):
        run.warn("long", f"{number} " + "x" * 1000)
    assert len(run.warnings) == MAX_WARNINGS + 1
    assert run.warnings[-1].code == "more_warnings"
    assert {len(warning.message) for warning in run.warnings[:-1]} == {MAX_WARNING_CHARACTERS}


async def _no_progress(_percent: int) -> None: ...
