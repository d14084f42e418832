"""JobRunner: one run of a job, from the queue's row to the record's last state.

Invariants
- A run's end is one transaction (``pipelines.jobs.records``). A run that was overtaken writes
  nothing.
- JobFailed and EngineError are final. Any other exception is a fault of ours and the job is tried
  again, as is a run whose worker died, until ``MAX_RUNS`` are used up. A kind may also ask to be
  started again later (TryAgain), which does not count; nor does a run during which a store was
  away, however long that takes.
- Cancelling is a flag in the record; one query every ``WATCH_SECONDS`` for all runs of the process
  finds the tasks to cancel. The same query finds runs that another worker has taken over.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NoReturn

import msgspec

from pipelines.engines.base import EngineError
from pipelines.jobs.job import (
    ApiWarning,
    JobFailed,
    JobKind,
    JobResult,
    JobRun,
    JobStatus,
    TryAgain,
)
from pipelines.jobs.records import FinishHook, RunEnd, RunRecords
from store.database import Database
from store.errors import StoreError, StoreRefused, StoreUnavailable
from store.tenants.jobs import Claim, Job, Jobs

logger = logging.getLogger(__name__)

MAX_RUNS = 3
WATCH_SECONDS = 0.4
PROGRESS_SECONDS = 0.25
"""Least interval between two writes of a run's progress."""
UNWIND_SECONDS = 5.0
"""How long a cancelled kind may take to end; then its task is abandoned."""
AWAY_SECONDS = 5.0
"""Before a job is tried again, during whose run Postgres or the object store was away."""
AGAIN_SECONDS = 1.0
"""Before a job is tried again after a fault, times the number of its runs."""


class RunAgain(Exception):
    """The job was given back and is to be started again after ``delay`` seconds."""

    def __init__(self, delay: float) -> None:
        super().__init__(f"again in {delay} s")
        self.delay = delay


class _Stop(StrEnum):
    """Why a run's task was cancelled."""

    ASKED = "asked"
    DEADLINE = "deadline"
    SHUTDOWN = "shutdown"


@dataclass(slots=True)
class _Running:
    job: Job
    claim: Claim
    run: JobRun
    task: asyncio.Task[JobResult]
    stop: _Stop | None = None

    def cancel(self, why: _Stop) -> None:
        self.stop = self.stop or why
        self.task.cancel()


class JobRunner:
    """Runs jobs of the given kinds; ``watch`` must run concurrently."""

    def __init__(
        self, database: Database, kinds: Iterable[JobKind], hooks: Iterable[FinishHook] = ()
    ) -> None:
        self._database = database
        self._jobs = Jobs(database)
        self._kinds = {str(kind.type): kind for kind in kinds}
        self._records = RunRecords(database, hooks)
        self._running: dict[str, _Running] = {}
        self._interrupted = False

    async def run(self, claim: Claim) -> bool:
        """Run the job that a row of the queue names; returns when its end is recorded, and whether
        the row was deleted with that.

        Raises RunAgain if it is to stay in the queue, StoreUnavailable if it could not start."""
        job = await self._records.begin(claim)
        if job is None:
            return False
        if job.cancel_requested:
            await self._end(RunEnd(job, claim, JobStatus.CANCELLED))
        elif job.runs > MAX_RUNS:
            logger.error("job %s was started %d times and never ended: given up", job.id, MAX_RUNS)
            message = f"The job was started {MAX_RUNS} times and never ended."
            error = _error("INTERNAL", message, reason="runs_used_up")
            await self._end(RunEnd(job, claim, JobStatus.FAILED, error=error))
        else:
            await self._run(job, claim, self._kinds[job.type])
        return True

    async def watch(self) -> None:
        """Cancel runs that must stop; runs until cancelled."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            runs = {key: running.job.runs for key, running in self._running.items()}
            if not runs:
                continue
            try:
                for job_id in await self._jobs.to_stop(runs):
                    if job_id in self._running:
                        self._running[job_id].cancel(_Stop.ASKED)
            except StoreError as error:
                logger.warning("cannot query which jobs must stop: %s", error)

    def interrupt(self) -> None:
        """Stop every run, including those that start later; the jobs return to the queue."""
        self._interrupted = True
        for running in self._running.values():
            running.cancel(_Stop.SHUTDOWN)

    # ------------------------------------------------------------------ one run

    async def _run(self, job: Job, claim: Claim, kind: JobKind) -> None:
        run = JobRun(
            id=job.id,
            workspace_id=job.workspace_id,
            input=job.input,
            run=job.runs,
            progress=_Progress(self._database, job).report,
            parent_id=job.parent_id,
            item_index=job.item_index,
        )
        task = asyncio.create_task(kind.run(run), name=f"job-{job.id}")
        running = self._running[job.id] = _Running(job, claim, run, task)
        try:
            if self._interrupted:
                running.cancel(_Stop.SHUTDOWN)
            await asyncio.wait({task}, timeout=kind.deadline)
            if not task.done():
                running.cancel(running.stop or _Stop.DEADLINE)
                await asyncio.wait({task}, timeout=UNWIND_SECONDS)
        finally:
            task.cancel()
            del self._running[job.id]
        await self._conclude(kind, running)

    async def _conclude(self, kind: JobKind, running: _Running) -> None:
        job, task, why = running.job, running.task, running.stop
        if not task.done():
            logger.error("job %s (%s) did not end after being cancelled", job.id, job.type)
            task.add_done_callback(_forget_outcome)
        elif not task.cancelled():
            error = task.exception()
            if error is None:
                await self._complete(running, task.result())
                return
            if why is None:
                await self._fail(running, error)
                return
        if why is _Stop.SHUTDOWN:
            await self._give_back(job, counted=False, delay=0)
        elif why is _Stop.DEADLINE:
            message = f"The job did not finish within {kind.deadline:.0f} seconds."
            failed = _error("INTERNAL", message, "deadline")
            await self._end(RunEnd(job, running.claim, JobStatus.FAILED, error=failed))
        elif why is _Stop.ASKED:
            await self._end(RunEnd(job, running.claim, JobStatus.CANCELLED))
        else:
            await self._fail(running, RuntimeError("the kind cancelled itself"))

    async def _complete(self, running: _Running, result: JobResult) -> None:
        end = RunEnd(
            running.job,
            running.claim,
            JobStatus.COMPLETED,
            output=result.output,
            units=result.units,
            warnings=_plain(running.run.warnings),
        )
        try:
            await self._end(end)
        except StoreRefused as error:
            await self._fail(running, error)

    async def _fail(self, running: _Running, error: BaseException) -> None:
        job = running.job
        if isinstance(error, TryAgain):
            await self._give_back(job, counted=False, delay=error.delay)
        if isinstance(error, StoreUnavailable):
            logger.warning("job %s (%s) is tried again later: %s", job.id, job.type, error)
            await self._give_back(job, counted=False, delay=AWAY_SECONDS)
        if isinstance(error, JobFailed):
            shown = {"code": error.code, "message": error.message, "details": error.details}
        elif isinstance(error, EngineError):
            shown = _error(error.code, str(error))
        else:
            # only the place: the exception's text may quote what a user sent
            where = _place(error)
            logger.error("job %s (%s): %s at %s", job.id, job.type, type(error).__name__, where)
            if job.runs < MAX_RUNS:
                await self._give_back(job, counted=True, delay=AGAIN_SECONDS * job.runs)
            shown = _error("INTERNAL", "The job failed because of a server error.", "fault")
        warnings = _plain(running.run.warnings)
        end = RunEnd(job, running.claim, JobStatus.FAILED, error=shown, warnings=warnings)
        await self._end(end)

    # ------------------------------------------------------------------ its end

    async def _end(self, end: RunEnd) -> None:
        async def write() -> None:
            if not await self._records.end(end):
                job = end.job
                logger.warning("job %s was taken over: run %d is discarded", job.id, job.runs)

        await persist(write)

    async def _give_back(self, job: Job, *, counted: bool, delay: float) -> NoReturn:
        async def release() -> None:
            nonlocal delay
            await self._jobs.release(job.workspace_id, job.id, job.runs, counted=counted)
            left = await self._jobs.get(job.workspace_id, job.id)
            if left is not None and left.cancel_requested:  # while the run was ending
                delay = 0

        await persist(release)
        raise RunAgain(delay)


class _Progress:
    """A run's progress: never decreasing, written at most four times a second."""

    def __init__(self, database: Database, job: Job) -> None:
        self._database = database
        self._job = job
        self._percent = job.progress
        self._next = 0.0

    async def report(self, percent: int) -> None:
        percent = min(100, percent)
        now = time.monotonic()
        if percent <= self._percent or now < self._next:
            return
        self._percent, self._next = percent, now + PROGRESS_SECONDS
        job = self._job
        try:
            async with self._database.transaction() as connection:
                await Jobs(connection).progress(job.workspace_id, job.id, job.runs, percent)
        except StoreUnavailable as error:
            logger.warning("progress of job %s was not written: %s", job.id, error)


async def persist(write: Callable[[], Awaitable[None]]) -> None:
    """Retry until the database is available; the queue's row stays ours meanwhile."""
    pause = 0.1
    while True:
        try:
            await write()
            return
        except StoreUnavailable as error:
            logger.warning("the end of a job could not be written yet: %s", error)
        await asyncio.sleep(pause)
        pause = min(2 * pause, 5.0)


def _plain(warnings: Sequence[ApiWarning]) -> list[dict[str, Any]]:
    plain: list[dict[str, Any]] = msgspec.to_builtins(warnings)
    return plain


def _error(code: str, message: str, reason: str | None = None) -> dict[str, Any]:
    return {"code": code, "message": message, "details": {"reason": reason} if reason else None}


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "an unknown place"
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"


def _forget_outcome(task: asyncio.Task[JobResult]) -> None:
    if not task.cancelled():
        task.exception()
