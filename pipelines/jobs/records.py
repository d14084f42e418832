"""RunRecords: what runs of jobs write, in groups.

Rules
- What waits while one group is being written forms the next group, and a group is one transaction:
  an idle worker writes at once, a busy one writes many jobs for the price of one.
- The end of a run is the record (guarded by the run's number), the event, what the hooks write
  (usage, webhook deliveries) and the queue's row, which is deleted: all of it or nothing. A run
  that was overtaken writes nothing.
- If Postgres refuses a group, its members are written one by one, so that only the one at fault
  fails. An outage fails the whole group.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pipelines.jobs.job import JobStatus, Unit
from store.database import Database
from store.errors import StoreRefused
from store.tenants.jobs import Claim, Job, JobEnd, Jobs

logger = logging.getLogger(__name__)

GROUP = 200
"""Members of a group at most: a transaction of some ten milliseconds."""

Item = TypeVar("Item")
Result = TypeVar("Result")

FinishHook = Callable[[Any, Sequence[tuple[Job, tuple[Unit, ...]]]], Awaitable[None]]
"""Called in the transaction that ends jobs, with its connection, and for each job its updated
record and the units to book (if it completed)."""


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How a run ends. ``claim``: the row of the queue by which it was begun."""

    job: Job
    claim: Claim
    status: JobStatus
    output: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    units: tuple[Unit, ...] = ()
    warnings: Sequence[dict[str, Any]] = ()


class RunRecords:
    """Begins and ends runs; one per worker."""

    def __init__(self, database: Database, hooks: Iterable[FinishHook] = ()) -> None:
        self._database = database
        self._hooks = tuple(hooks)
        self._begins = Groups(self._begin)
        self._ends = Groups(self._end)

    async def begin(self, claim: Claim) -> Job | None:
        """Begin a run; None where there is nothing to run (``Jobs.begin``). Raises StoreError."""
        return await self._begins.add(claim)

    async def end(self, end: RunEnd) -> bool:
        """Store the end of a run; False where another run has overtaken it. Raises StoreError."""
        return await self._ends.add(end)

    async def _begin(self, claims: Sequence[Claim]) -> list[Job | None]:
        begun = await Jobs(self._database).begin(claims)
        return [begun.get(claim.job_id) for claim in claims]

    async def _end(self, ends: Sequence[RunEnd]) -> list[bool]:
        wanted = [
            JobEnd(
                end.job.workspace_id,
                end.job.id,
                end.status,
                run=end.job.runs,
                output=end.output,
                error=end.error,
                warnings=end.warnings,
            )
            for end in ends
        ]
        async with self._database.transaction() as connection:
            ended = await Jobs(connection).finish(wanted)
            mine = [(ended[end.job.id], end.units) for end in ends if end.job.id in ended]
            for hook in self._hooks:
                await hook(connection, mine)
            await connection.execute(
                "DELETE FROM pgqueuer WHERE id = ANY($1::bigint[])"
                " AND queue_manager_id = ANY($2::uuid[])",
                [end.claim.queue_id for end in ends],
                list({end.claim.worker for end in ends}),
            )
        return [end.job.id in ended for end in ends]


class Groups(Generic[Item, Result]):
    """Calls ``write``, one call at a time, with what has been added since the last one."""

    def __init__(self, write: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]]) -> None:
        """``write`` returns a result for each item, in their order."""
        self._write = write
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def add(self, item: Item) -> Result:
        """The result of writing ``item``; raises what ``write`` raised."""
        result: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, result))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_all(), name="job-records")
        return await result

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                group, self._waiting = self._waiting[:GROUP], self._waiting[GROUP:]
                await self._settle(group)
        finally:
            self._writer = None

    async def _settle(self, group: list[tuple[Item, asyncio.Future[Result]]]) -> None:
        try:
            results = await self._write([item for item, _ in group])
        except StoreRefused as error:
            if len(group) == 1:
                _raise_in(group, error)
                return
            logger.warning("%d jobs are written one by one: %s", len(group), error)
            for one in group:
                await self._settle([one])
        except Exception as error:  # noqa: BLE001 - it is theirs who wait
            _raise_in(group, error)
        else:
            for (_, result), value in zip(group, results, strict=True):
                if not result.done():
                    result.set_result(value)


def _raise_in(group: list[tuple[Item, asyncio.Future[Result]]], error: Exception) -> None:
    for _, result in group:
        if not result.done():
            result.set_exception(error)
