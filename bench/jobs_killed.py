"""Jobs while workers are killed: ``python -m bench.jobs_killed [--jobs 1000] [--workers 3]``.

Worker processes are killed -9 every ``--every`` seconds and started again. At the end each job must
have completed, with one result and one charge: 0 lost, 0 duplicated, 0 stuck.
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gateway.services import EmbeddedServices
from pipelines.jobs.job import JobResult, JobRun, JobType, NewJob, Unit
from pipelines.jobs.queue import JobQueue
from pipelines.jobs.worker import Worker
from store.database import Database
from store.migrate import migrate
from store.tenants.accounts import LOCAL_WORKSPACE, Workspaces
from store.tenants.jobs import Job

HEARTBEAT_SECONDS = 2.0
DEADLINE_SECONDS = 600.0


class Work:
    """A short job that reports its progress."""

    type = JobType.TTS
    concurrency = 8
    deadline = 60.0

    async def run(self, run: JobRun) -> JobResult:
        for percent in range(0, 100, 20):
            await run.progress(percent)
            await asyncio.sleep(random.uniform(0.005, 0.05))
        return JobResult({"n": run.input["n"], "run": run.run}, (Unit(run.id, "tts", "none"),))


async def book(connection: Any, ended: Sequence[tuple[Job, tuple[Unit, ...]]]) -> None:
    """One row per completion of a job, so that a second one shows."""
    for job, units in ended:
        await connection.execute("INSERT INTO bench_ends VALUES ($1, $2)", job.id, len(units))


async def work(url: str) -> None:
    """A worker process."""
    database = Database(url)
    await database.connect()
    await Worker(database, [Work()], [book], heartbeat_seconds=HEARTBEAT_SECONDS).run()


async def measure(directory: Path, jobs: int, workers: int, every: float) -> dict[str, Any]:
    """Run everything and return the figures."""
    services = EmbeddedServices(directory / "data", redis_url="redis://unused")
    try:
        url = (await services.start()).database_url
        database = Database(url)
        await database.connect()
        await migrate(database)
        await Workspaces(database).ensure_local_workspace()
        await database.execute("CREATE TABLE bench_ends (job_id text, units int)")
        queue = JobQueue(database)
        for n in range(jobs):
            await queue.submit(LOCAL_WORKSPACE, NewJob(JobType.TTS, {"n": n}))
        figures = await _race(database, url, workers, every)
        await database.close()
        return {"jobs": jobs, "workers": workers, "kill_every_s": every, **figures}
    finally:
        await services.stop()


async def _race(database: Database, url: str, workers: int, every: float) -> dict[str, Any]:
    async def spawn() -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.jobs_killed", "--work", url
        )

    began, killed = time.monotonic(), 0
    running = [await spawn() for _ in range(workers)]
    try:
        while time.monotonic() - began < DEADLINE_SECONDS:
            # not in step with the heartbeat timeout: else the same jobs are hit again and again
            await asyncio.sleep(random.uniform(0.5, 1.5) * every)
            if not await database.fetchval("SELECT count(*) FROM jobs WHERE finished_at IS NULL"):
                break
            place = killed % workers
            running[place].kill()
            await running[place].wait()
            running[place] = await spawn()
            killed += 1
    finally:
        for process in running:
            process.kill()
            await process.wait()
    row = await database.fetchrow(
        "SELECT count(*) FILTER (WHERE finished_at IS NULL) AS stuck,"
        " count(*) FILTER (WHERE status = 'completed') AS completed,"
        " count(*) FILTER (WHERE status = 'failed') AS failed,"
        " count(*) FILTER (WHERE runs > 1) AS run_again FROM jobs"
    )
    ends = "SELECT count(*) FROM (SELECT FROM bench_ends GROUP BY job_id HAVING count(*) > 1) AS d"
    lost = "SELECT count(*) FROM jobs WHERE id NOT IN (SELECT job_id FROM bench_ends)"
    return {
        "seconds": round(time.monotonic() - began, 1),
        "killed": killed,
        **dict(row),
        "doubled": await database.fetchval(ends),
        "lost": await database.fetchval(lost),
    }


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--every", type=float, default=3.0, help="seconds between kills")
    parser.add_argument("--work", metavar="URL", help="run as a worker process")
    options = parser.parse_args()
    if options.work:
        asyncio.run(work(options.work))
    else:
        with tempfile.TemporaryDirectory(prefix="blab-bench-", dir="/tmp") as made:
            directory = Path(made)
            directory.chmod(0o711)
            figures = measure(directory, options.jobs, options.workers, options.every)
            print(json.dumps(asyncio.run(figures)))


if __name__ == "__main__":
    main()
