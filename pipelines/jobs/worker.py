"""Worker: takes jobs from the queue and runs them until it is stopped.

pgqueuer does the claiming: rows are picked with SKIP LOCKED, heartbeats are sent while a job runs,
and rows of dead workers are picked again. Its limits per entrypoint count all workers, so the
kinds' own limits (per worker) are enforced here: the oldest row is claimed, and with it as many of
its kind as there is room for. Rows never end as failed in the queue; how a job ended is in its
record.

What is written in the queue's tables by a worker need not survive a crash of Postgres, so it does
not wait for the disk: a claim that is undone is made again, and a row that comes back finds its job
ended. Submitting and ending a job do wait.
"""

import asyncio
import contextlib
import functools
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Sequence
from datetime import timedelta

from pgqueuer import AsyncpgPoolDriver, Queries
from pgqueuer.core.qm import QueueManager
from pgqueuer.domain import models, types
from pgqueuer.domain.errors import RetryRequested
from pgqueuer.ports.repository import EntrypointExecutionParameter

from pipelines.jobs.job import JobKind
from pipelines.jobs.queue import JobQueue, named
from pipelines.jobs.records import FinishHook
from pipelines.jobs.runner import JobRunner, RunAgain, persist
from store.database import Database, translated
from store.errors import StoreError, StoreUnavailable
from store.tenants.jobs import Claim

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 30.0
"""A worker silent for this long counts as dead; other workers take its jobs."""
DEQUEUE_SECONDS = 1.0
RECOVER_SECONDS = 15.0
RESTART_SECONDS = 1.0
ROOM_SECONDS = 0.1
"""How long claiming waits for one of its own jobs to end before it looks for other kinds."""
FLUSHED_ROWS = 16
"""Rows without a run to end are deleted in groups of this size, or after 0.1 s."""
UNAVAILABLE_SECONDS = 2.0
"""Before a job that could not be started is tried again, because Postgres is unavailable."""


class OwnRows(Queries):
    """pgqueuer's queries, restricted to rows that this worker still holds.

    A worker that was overtaken must not take the row from the one that holds it now. An outage is
    waited out here: pgqueuer would give a row up, and its job would wait for ``recover``."""

    deleted: set[types.JobId]
    """Rows that were deleted with their job's end."""

    async def log_jobs(
        self,
        job_status: list[tuple[models.Job, types.JOB_STATUS, models.TracebackRecord | None]],
    ) -> None:
        """Remove the rows of these jobs."""
        await persist(functools.partial(self._log_jobs, job_status))

    async def _log_jobs(
        self,
        job_status: list[tuple[models.Job, types.JOB_STATUS, models.TracebackRecord | None]],
    ) -> None:
        left = [entry for entry in job_status if entry[0].id not in self.deleted]
        with translated():
            mine = await self._still_held([job for job, _, _ in left]) if left else set()
            ended = [entry for entry in left if entry[0].id in mine]
            if ended:
                await super().log_jobs(ended)
        self.deleted.difference_update(job.id for job, _, _ in job_status)

    async def retry_job(
        self,
        job: models.Job,
        delay: timedelta,
        traceback_record: models.TracebackRecord | None,
    ) -> None:
        """Put the job's row back to queued."""
        await persist(functools.partial(self._retry_job, job, delay, traceback_record))

    async def _retry_job(
        self,
        job: models.Job,
        delay: timedelta,
        traceback_record: models.TracebackRecord | None,
    ) -> None:
        with translated():
            if await self._still_held([job]):
                await super().retry_job(job, delay, traceback_record)

    async def update_heartbeat(self, job_ids: list[types.JobId]) -> None:
        """Say that the jobs are still running; the next time does as well."""
        try:
            with translated():
                await super().update_heartbeat(job_ids)
        except StoreUnavailable as error:
            logger.warning("%d heartbeats were not written: %s", len(job_ids), error)

    async def _still_held(self, jobs: Sequence[models.Job]) -> set[object]:
        rows = await self.driver.fetch(
            "SELECT row.id FROM pgqueuer AS row"
            " JOIN unnest($1::bigint[], $2::uuid[]) AS held (id, worker)"
            " ON row.id = held.id AND row.queue_manager_id = held.worker",
            [job.id for job in jobs],
            [job.queue_manager_id for job in jobs],
        )
        return {row["id"] for row in rows}


class Claims(QueueManager):
    """pgqueuer's manager, with limits per entrypoint that count this worker's jobs only."""

    limits: dict[str, int]
    held: dict[types.JobId, str]
    busy: Counter[str]
    room: asyncio.Event
    """Set when a job of this worker ends."""

    def entrypoints_below_capacity_limits(self) -> set[types.QueueEntrypoint]:
        """Entrypoints of which one more job may be claimed."""
        return {name for name in self.entrypoint_registry if self.busy[name] < self.limits[name]}

    async def fetch_jobs(
        self,
        batch_size: int,  # noqa: ARG002 - the room of the kind decides
        global_concurrency_limit: int | None,
        heartbeat_timeout: timedelta,
    ) -> AsyncGenerator[models.Job, None]:
        """Jobs, while there are any and room for them."""
        claim = functools.partial(
            self.queries.dequeue,
            queue_manager_id=self.queue_manager_id,
            global_concurrency_limit=global_concurrency_limit,
            heartbeat_timeout=heartbeat_timeout,
        )
        while not self.shutdown.is_set():
            self.room.clear()
            open_names = self.entrypoints_below_capacity_limits()
            claimed = await claim(1, dict.fromkeys(open_names, _UNLIMITED)) if open_names else []
            for first in claimed:
                yield self._hold(first)
                if room := self.limits[first.entrypoint] - self.busy[first.entrypoint]:
                    for job in await claim(room, {first.entrypoint: _UNLIMITED}):
                        yield self._hold(job)
            if claimed:
                continue
            if len(open_names) == len(self.entrypoint_registry):
                return
            try:
                await asyncio.wait_for(self.room.wait(), ROOM_SECONDS)
            except TimeoutError:
                return

    def _hold(self, job: models.Job) -> models.Job:
        if job.id not in self.held:
            self.held[job.id] = job.entrypoint
            self.busy[job.entrypoint] += 1
        return job

    def forget_job(
        self, job_id: types.JobId, context: models.Context, task: asyncio.Task[None]
    ) -> None:
        """The job's task has ended: there is room for another."""
        super().forget_job(job_id, context, task)
        if job_id not in self.job_context and job_id in self.held:
            self.busy[self.held.pop(job_id)] -= 1
            self.room.set()


_UNLIMITED = EntrypointExecutionParameter(concurrency_limit=0)


class Worker:
    """The jobs of one worker process. ``run`` once; ``stop`` from the same loop."""

    def __init__(
        self,
        database: Database,
        kinds: Sequence[JobKind],
        hooks: Iterable[FinishHook] = (),
        *,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        """``database`` must be connected while it runs."""
        self._database = database
        self._kinds = kinds
        self._runner = JobRunner(database, kinds, hooks)
        self._queue = JobQueue(database)
        self._heartbeat = timedelta(seconds=heartbeat_seconds)
        self._claims: Claims | None = None
        self._deleted: set[types.JobId] = set()
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Work until ``stop``; returns when the running jobs have ended. Waits out outages."""
        watchers = [
            asyncio.create_task(self._runner.watch(), name="job-watch"),
            asyncio.create_task(self._recover(), name="job-recovery"),
        ]
        try:
            while not self._stopping.is_set():
                try:
                    await self._work()
                except StoreError as error:
                    logger.warning("the worker waits: %s", error)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), RESTART_SECONDS)
        finally:
            self._runner.interrupt()
            for task in watchers:
                task.cancel()
            await asyncio.gather(*watchers, return_exceptions=True)

    def stop(self) -> None:
        """Take no more jobs; running ones may finish."""
        self._stopping.set()
        if self._claims is not None:
            self._claims.shutdown.set()

    def interrupt(self) -> None:
        """As ``stop``, and running jobs return to the queue at once."""
        self.stop()
        self._runner.interrupt()

    async def _work(self) -> None:
        async with self._database.plain_pool(4) as pool:
            rows = OwnRows(AsyncpgPoolDriver(pool))
            rows.deleted = self._deleted = set()
            claims = self._claims = Claims(rows)
            claims.held, claims.busy, claims.room = {}, Counter(), asyncio.Event()
            claims.limits = {str(kind.type): kind.concurrency for kind in self._kinds}
            for name in claims.limits:
                claims.entrypoint(name)(self._handle)
            if self._stopping.is_set():
                return
            await claims.run(
                dequeue_timeout=timedelta(seconds=DEQUEUE_SECONDS),
                batch_size=FLUSHED_ROWS,
                shutdown_on_listener_failure=True,
                heartbeat_timeout=self._heartbeat,
            )

    async def _handle(self, row: models.Job) -> None:
        """Run the job that a queue row names; the row is deleted when this returns."""
        try:
            workspace_id, job_id = named(row.payload)
            claim = Claim(workspace_id, job_id, row.id, row.queue_manager_id)
            if await self._runner.run(claim):
                self._deleted.add(row.id)
        except RunAgain as again:
            raise RetryRequested(timedelta(seconds=again.delay), "run again") from None
        except StoreUnavailable as error:
            raise RetryRequested(timedelta(seconds=UNAVAILABLE_SECONDS), str(error)) from None

    async def _recover(self) -> None:
        while True:
            try:
                if lost := await self._queue.recover():
                    logger.warning("put %d lost jobs back into the queue", lost)
            except StoreError as error:
                logger.warning("cannot look for lost jobs: %s", error)
            await asyncio.sleep(RECOVER_SECONDS)
