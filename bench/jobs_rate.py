"""Jobs per second: ``python -m bench.jobs_rate [--jobs 10000] [--workers 1 2]``.

For each number of worker processes, on a Postgres of its own:

- ``backlog``: all jobs are in the queue before the workers start. The rate is counted from the
  first job's start to the last job's end: what the workers can do.
- ``submitted``: a process submits the jobs while the workers run them, each in its own transaction,
  as a REST request does. The rate is counted from the first submission to the last end.

A job does nothing: what is measured is the cost of the queue. Each job must complete once, with one
charge: ``lost`` and ``doubled`` are 0.
"""

import argparse
import asyncio
import contextlib
import json
import os
import resource
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import uvloop

from gateway.services import EmbeddedServices
from pipelines.jobs.job import JobResult, JobRun, JobType, NewJob, Unit
from pipelines.jobs.queue import JobQueue, submit_batch
from pipelines.jobs.usage import Prices, Usage
from pipelines.jobs.worker import Worker
from store.database import Database
from store.migrate import migrate
from store.tenants.accounts import LOCAL_WORKSPACE, Workspaces
from store.tenants.jobs import Job

CONCURRENCY = 100
SUBMITTERS = 16
BATCH = 1000
DEADLINE_SECONDS = 300.0
LOOK_SECONDS = 0.2
READY = "ready"

_FIGURES = """
SELECT count(*) AS jobs,
    count(*) FILTER (WHERE status = 'completed') AS completed,
    extract(epoch FROM max(finished_at) - min(started_at)) AS running,
    extract(epoch FROM max(finished_at) - min(created_at)) AS whole,
    percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP
        (ORDER BY extract(epoch FROM started_at - created_at)) AS waits
FROM jobs WHERE type = 'tts'
"""


class Nothing:
    """A job that is done at once."""

    type = JobType.TTS
    concurrency = CONCURRENCY
    deadline = 60.0

    async def run(self, run: JobRun) -> JobResult:
        return JobResult({"n": run.input["n"]}, (Unit(run.id, "tts", "none"),))


async def book(connection: Any, ended: Sequence[tuple[Job, tuple[Unit, ...]]]) -> None:
    """One row per completion of a job, so that a second one shows."""
    await connection.execute(
        "INSERT INTO bench_ends SELECT unnest($1::text[])", [job.id for job, _ in ended]
    )


async def work(url: str) -> None:
    """A worker process; it begins when a line arrives, and ends when its input does."""
    database = Database(url)
    await database.connect()
    usage = Usage(database, Prices())
    worker = Worker(database, [Nothing()], [usage.hook, book])
    print(READY, flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    running = asyncio.create_task(worker.run())
    await asyncio.to_thread(sys.stdin.read)
    worker.stop()
    await running
    await database.close()
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"cpu": used.ru_utime + used.ru_stime}), flush=True)


async def submit(url: str, jobs: int) -> None:
    """A process that submits jobs, ``SUBMITTERS`` at a time."""
    database = Database(url)
    await database.connect()
    queue, numbers = JobQueue(database), iter(range(jobs))

    async def one_by_one() -> None:
        for n in numbers:
            await queue.submit(LOCAL_WORKSPACE, NewJob(JobType.TTS, {"n": n}))

    await asyncio.gather(*(one_by_one() for _ in range(SUBMITTERS)))
    await database.close()


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and its children, those that have ended included."""
    ticks = 0
    for one in (pid, *Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
        with contextlib.suppress(FileNotFoundError):  # it has just ended: then its parent counts it
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(") ")[2].split()
            ticks += sum(map(int, fields[11 : 15 if one == pid else 13]))
    return ticks / os.sysconf("SC_CLK_TCK")


@contextlib.asynccontextmanager
async def workers(url: str, count: int) -> AsyncIterator[list[asyncio.subprocess.Process]]:
    """Worker processes that wait for a line."""
    pipe = asyncio.subprocess.PIPE
    started = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.jobs_rate", "--work", url, stdin=pipe, stdout=pipe
        )
        for _ in range(count)
    ]
    try:
        for process in started:
            assert process.stdout is not None
            assert (await process.stdout.readline()).decode().strip() == READY
        yield started
    finally:
        for process in started:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def measure(
    database: Database, url: str, postgres: int, *, jobs: int, count: int, backlog: bool
) -> dict[str, Any]:
    """One measurement, from an empty table."""
    await database.execute(
        "TRUNCATE jobs, pgqueuer, pgqueuer_log, usage_events, bench_ends CASCADE"
    )
    async with workers(url, count) as started:
        if backlog:
            await fill(database, jobs)
        before = cpu_seconds(postgres)
        for process in started:
            assert process.stdin is not None
            process.stdin.write(b"\n")
        if not backlog:
            submitter = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "bench.jobs_rate", "--submit", url, "--jobs", str(jobs)
            )
            assert await submitter.wait() == 0
        await all_ended(database)
        postgres_cpu = cpu_seconds(postgres) - before
        cpu = 0.0
        for process in started:
            said, _ = await process.communicate(b"")
            cpu += json.loads(said)["cpu"]
    row = await database.fetchrow(_FIGURES)
    doubled = "SELECT count(*) - count(DISTINCT job_id) FROM bench_ends"
    lost = "SELECT count(*) FROM jobs WHERE type = 'tts' AND id NOT IN (SELECT * FROM bench_ends)"
    seconds = float(row["running"] if backlog else row["whole"])
    return {
        "workers": count,
        "jobs": row["jobs"],
        "completed": row["completed"],
        "per_second": round(jobs / seconds),
        "wait_ms_p50_p95": None if backlog else [round(1000 * wait) for wait in row["waits"]],
        "worker_cpu_ms_per_job": round(1000 * cpu / jobs, 2),
        "postgres_cpu_ms_per_job": round(1000 * postgres_cpu / jobs, 2),
        "lost": await database.fetchval(lost),
        "doubled": await database.fetchval(doubled),
        "booked": await database.fetchval("SELECT count(*) FROM usage_events"),
    }


async def all_ended(database: Database) -> None:
    """Return when no job is left; TimeoutError after ``DEADLINE_SECONDS``."""
    left = "SELECT count(*) FROM jobs WHERE type = 'tts' AND finished_at IS NULL"
    for _ in range(int(DEADLINE_SECONDS / LOOK_SECONDS)):
        if not await database.fetchval(left):
            return
        await asyncio.sleep(LOOK_SECONDS)
    raise TimeoutError


async def fill(database: Database, jobs: int) -> None:
    """Submit the jobs as items of batches, which nobody runs."""
    for start in range(0, jobs, BATCH):
        items = [{"n": n} for n in range(start, min(start + BATCH, jobs))]
        await submit_batch(database, LOCAL_WORKSPACE, {}, items)
    await database.execute("ANALYZE jobs, pgqueuer")


async def run(directory: Path, jobs: int, counts: Sequence[int]) -> None:
    """Measure everything, and print each figure when it is known."""
    services = EmbeddedServices(directory / "data", redis_url="redis://unused")
    try:
        url = (await services.start()).database_url
        postgres = services.pids["postgres"]
        assert postgres is not None
        database = Database(url)
        await database.connect()
        await migrate(database)
        await Workspaces(database).ensure_local_workspace()
        await database.execute("CREATE TABLE bench_ends (job_id text)")
        for name, backlog in (("backlog", True), ("submitted", False)):
            for count in counts:
                figures = await measure(
                    database, url, postgres, jobs=jobs, count=count, backlog=backlog
                )
                print(
                    json.dumps({"measured": name, "cores": os.cpu_count(), **figures}), flush=True
                )
        await database.close()
    finally:
        await services.stop()


def main() -> None:
    """Print the figures as JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--work", metavar="URL", help="run as a worker process")
    parser.add_argument("--submit", metavar="URL", help="run as the process that submits")
    options = parser.parse_args()
    if options.work:
        uvloop.run(work(options.work))
    elif options.submit:
        uvloop.run(submit(options.submit, options.jobs))
    else:
        with tempfile.TemporaryDirectory(prefix="blab-bench-", dir="/tmp") as made:
            directory = Path(made)
            directory.chmod(0o711)
            asyncio.run(run(directory, options.jobs, options.workers))


if __name__ == "__main__":
    main()
