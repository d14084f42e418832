"""Erasing: everything that is kept of a call, or of all calls of a caller, is deleted on request.

Erased are a call's audio, its event stream, what would resume it, its turns with their texts, the
answers kept for repetitions of requests about it, and its record; the files that a node keeps of it
(BLAB_RECORD_CALLS) are deleted by that node. Records of usage stay: they have no content.

Rules
- The order within a group of calls: bytes, then what Redis has, then the rows. What is recorded
  as erased is gone. (The cleanup works the other way round; there nobody has asked for proof.)
- A group's rows are deleted in one transaction with its counts. After a crash the next run goes on
  with the calls that are left.
- A call in progress is erased once it has ended, and so is a call that begins meanwhile. While a
  store is away, the job waits.
- An erasure runs as a job of type ``cleanup``: the contract knows no other type for it.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from store.database import Database
from store.errors import StoreUnavailable
from store.objects import ObjectStore
from store.tenants.erasures import Erasure, Erasures, new_erasure_id

from .job import JobFailed, JobResult, JobRun, JobType, NewJob, TryAgain
from .queue import JobQueue

logger = logging.getLogger(__name__)

INPUT = "erasureId"
"""Member of the job's input."""
CALLS_AT_ONCE = 50
IN_PROGRESS_SECONDS = 15.0
"""Between two looks whether calls in progress have ended."""
AWAY_SECONDS = 5.0

Forget = Callable[[Sequence[str]], Awaitable[None]]
"""Deletes what Redis has of calls, by their ids; raises BusUnavailable."""


async def submit_erasure(
    database: Database,
    workspace_id: str,
    *,
    requested_by: str,
    call_id: str | None = None,
    caller: bytes | None = None,
) -> Erasure:
    """Submit the erasure of a call or of a caller, with its job; raises StoreError."""
    erasure_id = new_erasure_id()
    async with database.transaction() as connection:
        new = NewJob(JobType.CLEANUP, {INPUT: erasure_id})
        job = await JobQueue(database).submit_in(connection, workspace_id, new)
        erasures = Erasures(connection)
        await erasures.create(
            workspace_id,
            job_id=job.id,
            requested_by=requested_by,
            erasure_id=erasure_id,
            call_id=call_id,
            caller=caller,
        )
        made = await erasures.get(workspace_id, erasure_id)
    if made is None:
        raise LookupError("the erasure was deleted while it was made")
    return made


class Eraser:
    """Runs erasures; the cleanup's job kind passes them on."""

    def __init__(self, database: Database, store: ObjectStore, forget: Forget) -> None:
        self._database = database
        self._erasures = Erasures(database)
        self._store = store
        self._forget = forget

    async def run(self, run: JobRun) -> JobResult:
        """Erase; raises TryAgain while a call is in progress or a store is away."""
        erasure = await self._erasures.get(run.workspace_id, str(run.input[INPUT]))
        if erasure is None:
            raise JobFailed("NOT_FOUND", "The erasure does not exist any more.")
        try:
            if erasure.finished_at is None and await self._erase(erasure):
                logger.info("erasure %s waits for calls in progress", erasure.id)
                raise TryAgain(IN_PROGRESS_SECONDS)
            await self._erasures.finish(run.workspace_id, erasure.id)
            done = await self._erasures.get(run.workspace_id, erasure.id)
        except StoreUnavailable as error:
            logger.warning("erasure %s waits: %s", erasure.id, error)
            raise TryAgain(AWAY_SECONDS) from error
        return JobResult(_counts(done or erasure))

    async def _erase(self, erasure: Erasure) -> int:
        """Erase the calls that have ended; returns how many have not."""
        after, in_progress = "", 0
        while found := await self._erasures.calls(erasure, after=after, limit=CALLS_AT_ONCE):
            after = found[-1].id
            ended = [call.id for call in found if not call.open]
            in_progress += len(found) - len(ended)
            if ended:
                await self._remove(erasure, ended)
        return in_progress

    async def _remove(self, erasure: Erasure, call_ids: Sequence[str]) -> None:
        keys = await self._erasures.recordings(erasure.workspace_id, call_ids)
        await self._store.delete(keys)
        await self._forget(call_ids)
        async with self._database.transaction() as connection:
            removed = await Erasures(connection).remove(erasure, call_ids)
        # a turn that was stored meanwhile
        await self._store.delete([key for key in removed if key not in set(keys)])
        logger.info("erasure %s: %d calls are erased", erasure.id, len(call_ids))


def _counts(erasure: Erasure) -> dict[str, Any]:
    return {"calls": erasure.calls, "turns": erasure.turns, "recordings": erasure.recordings}
