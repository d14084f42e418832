"""Jobs: the record of work done outside the request, and the events that its observers read.

The record is the truth; the queue (pipelines/jobs/queue.py) only says which worker runs what. Every
change by a run is guarded by the run's number, so a run that was overtaken by another changes
nothing. Events are numbered per job, from 1 without gaps: writing one locks the job's row, which is
why ``Jobs`` that write events are built on a connection in a transaction.
"""

# ruff: noqa: S608 - what is put into queries are this file's own column names

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

from store.database import Queryable
from store.ids import first_id, new_id

ACTIVE = ("queued", "running")


@dataclass(frozen=True, slots=True)
class Job:
    """A job's record. ``progress`` in percent; ``error`` is {code, message, details}; each of
    ``warnings`` is {code, message, path}."""

    id: str
    workspace_id: str
    type: str
    status: str
    progress: int
    input: dict[str, Any]
    output: dict[str, Any] | None
    error: dict[str, Any] | None
    warnings: list[dict[str, Any]]
    parent_id: str | None
    item_index: int | None
    runs: int
    cancel_requested: bool
    started_at: datetime | None
    finished_at: datetime | None
    created_at: datetime
    updated_at: datetime

    @property
    def active(self) -> bool:
        """True while it is queued or running."""
        return self.status in ACTIVE


@dataclass(frozen=True, slots=True)
class Claim:
    """A row of the queue that a worker holds (``worker``: pgqueuer's queue_manager_id), and the job
    that it names."""

    workspace_id: str
    job_id: str
    queue_id: int
    worker: object


@dataclass(frozen=True, slots=True)
class JobEnd:
    """How a job ends. ``run``: whose end it is; None: whichever run is the job's."""

    workspace_id: str
    job_id: str
    status: str
    run: int | None = None
    output: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    warnings: Sequence[dict[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class JobEvent:
    """Something that happened to a job."""

    job_id: str
    sequence: int
    event: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Backlog:
    """The jobs of one type that wait or run, of all workspaces; how long the oldest has waited."""

    type: str
    queued: int = 0
    running: int = 0
    oldest_seconds: float = 0.0


_COLUMNS = ", ".join(field.name for field in fields(Job))
_QUALIFIED = ", ".join(f"jobs.{field.name}" for field in fields(Job))
_LOCKED = (
    "SELECT jobs.id FROM jobs JOIN {0} ON jobs.workspace_id = {0}.workspace_id"
    " AND jobs.id = {0}.job_id ORDER BY jobs.id FOR UPDATE OF jobs"
)
"""Rows are locked in the order of their ids, so that groups of them cannot block each other."""


class Jobs:
    """Queries about jobs."""

    def __init__(self, db: Queryable) -> None:
        self._db = db

    async def insert(
        self,
        workspace_id: str,
        type: str,
        input: dict[str, Any],
        parent_id: str | None = None,
        item_index: int | None = None,
    ) -> Job:
        """A new queued job; raises StoreRefused where the parent already has that item."""
        row = await self._db.fetchrow(
            "INSERT INTO jobs (id, workspace_id, type, input, parent_id, item_index)"
            f" VALUES ($1, $2, $3, $4, $5, $6) RETURNING {_COLUMNS}",
            new_id("job"),
            workspace_id,
            type,
            input,
            parent_id,
            item_index,
        )
        return Job(**row)

    async def backlog(self) -> list[Backlog]:
        """What waits and runs, by type; reads the active jobs only."""
        rows = await self._db.fetch(
            "SELECT type, count(*) FILTER (WHERE status = 'queued') AS queued,"
            " count(*) FILTER (WHERE status = 'running') AS running,"
            " coalesce(extract(epoch FROM now() - min(updated_at) FILTER"
            " (WHERE status = 'queued')), 0)::float8 AS oldest_seconds"
            " FROM jobs WHERE status IN ('queued', 'running') GROUP BY type"
        )
        return [Backlog(**row) for row in rows]

    async def insert_items(
        self,
        parent: Job,
        type: str,
        inputs: Sequence[dict[str, Any]],
        indices: Sequence[int],
    ) -> list[str]:
        """New queued jobs, the items of a batch; returns their ids, which sort in the items' order.
        Raises StoreRefused where the parent already has one of them."""
        ids = sorted(new_id("job") for _ in inputs)
        await self._db.execute(
            "INSERT INTO jobs (id, workspace_id, type, input, parent_id, item_index)"
            " SELECT item.id, $1, $2, item.input, $3, item.place"
            " FROM unnest($4::text[], $5::jsonb[], $6::int[]) AS item (id, input, place)",
            parent.workspace_id,
            type,
            parent.id,
            ids,
            list(inputs),
            list(indices),
        )
        return ids

    async def get(self, workspace_id: str, job_id: str) -> Job | None:
        """The job, or None where the workspace has no such job."""
        return await self._one(workspace_id, job_id)

    async def lock(self, workspace_id: str, job_id: str) -> Job | None:
        """As ``get``, holding the row until the transaction ends."""
        return await self._one(workspace_id, job_id, " FOR UPDATE")

    async def children(self, workspace_id: str, parent_id: str) -> list[Job]:
        """A batch's items in their order."""
        rows = await self._db.fetch(
            f"SELECT {_COLUMNS} FROM jobs WHERE workspace_id = $1 AND parent_id = $2"
            " ORDER BY item_index",
            workspace_id,
            parent_id,
        )
        return [Job(**row) for row in rows]

    async def delete(self, workspace_id: str, job_id: str) -> bool:
        """Delete a terminal job with its items, events and objects' rows; False where there is
        none, or where it or an item of it is active."""
        tag = await self._db.execute(
            "DELETE FROM jobs WHERE workspace_id = $1 AND id = $2 AND finished_at IS NOT NULL"
            " AND NOT EXISTS (SELECT 1 FROM jobs c WHERE c.workspace_id = $1 AND c.parent_id = $2"
            " AND c.finished_at IS NULL)",
            workspace_id,
            job_id,
        )
        return tag == "DELETE 1"

    async def finished_before(
        self, workspace_id: str, moment: datetime, limit: int = 100
    ) -> list[str]:
        """Ids of a workspace's jobs, except items of batches, that ended before ``moment``."""
        rows = await self._db.fetch(
            "SELECT id FROM jobs WHERE workspace_id = $1 AND id < $2 AND finished_at < $3"
            " AND parent_id IS NULL ORDER BY id LIMIT $4",
            workspace_id,
            first_id("job", moment),
            moment,
            limit,
        )
        return [row["id"] for row in rows]

    # ------------------------------------------------------------------ runs

    async def begin(self, claims: Sequence[Claim]) -> dict[str, Job]:
        """Begin a run of each job; by id, the jobs with the run's number in ``runs``. Missing are
        jobs that have ended or are gone, and those whose row of the queue the worker no longer
        holds: another worker runs them.

        The commit does not wait for the disk: where a crash undoes it, the job is begun again."""
        rows = await self._db.fetch(
            "WITH quick AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true)),"
            " claims AS (SELECT claim.workspace_id, claim.job_id"
            " FROM unnest($1::text[], $2::text[], $3::bigint[], $4::uuid[])"
            " AS claim (workspace_id, job_id, queue_id, worker)"
            " JOIN pgqueuer AS held ON held.id = claim.queue_id"
            " AND held.queue_manager_id = claim.worker),"
            f" mine AS ({_LOCKED.format('claims')})"
            " UPDATE jobs SET status = 'running', runs = runs + 1, updated_at = now(),"
            " started_at = now() FROM mine, quick"
            " WHERE jobs.id = mine.id AND jobs.finished_at IS NULL"
            f" RETURNING {_QUALIFIED}",
            [claim.workspace_id for claim in claims],
            [claim.job_id for claim in claims],
            [claim.queue_id for claim in claims],
            [claim.worker for claim in claims],
        )
        return {row["id"]: Job(**row) for row in rows}

    async def progress(self, workspace_id: str, job_id: str, run: int, percent: int) -> bool:
        """Raise the progress and write the event; False where the run is no longer the job's."""
        job = await self.lock(workspace_id, job_id)
        if job is None or job.status != "running" or job.runs != run:
            return False
        if percent > job.progress:
            await self._db.execute(
                "UPDATE jobs SET progress = $3, updated_at = now()"
                " WHERE workspace_id = $1 AND id = $2",
                workspace_id,
                job_id,
                percent,
            )
            await self.write_event(
                workspace_id, job_id, "progress", {"status": "running", "progress": percent}
            )
        return True

    async def finish(self, ends: Sequence[JobEnd]) -> dict[str, Job]:
        """End active jobs and write their events; by id, the jobs that ended. Missing are jobs that
        had ended already, and those whose ``run`` is no longer theirs."""
        rows = await self._db.fetch(
            "WITH ends AS (SELECT * FROM jsonb_to_recordset($1) AS e (workspace_id text,"
            " job_id text, status text, run int, output jsonb, error jsonb, warnings jsonb)),"
            f" mine AS ({_LOCKED.format('ends')})"
            " UPDATE jobs SET status = ends.status, output = ends.output, error = ends.error,"
            " warnings = ends.warnings, finished_at = now(), updated_at = now(),"
            " progress = CASE WHEN ends.status = 'completed' THEN 100 ELSE progress END"
            " FROM ends JOIN mine ON mine.id = ends.job_id"
            " WHERE jobs.id = mine.id AND jobs.finished_at IS NULL"
            " AND (ends.run IS NULL OR (jobs.runs = ends.run AND jobs.status = 'running'))"
            f" RETURNING {_QUALIFIED}",
            [asdict(end) for end in ends],
        )
        jobs = [Job(**row) for row in rows]
        # a statement of its own, which sees the events written until the rows were locked
        await self._db.execute(
            "INSERT INTO job_events (workspace_id, job_id, sequence, event, data)"
            " SELECT ended.workspace_id, ended.id,"
            " (SELECT COALESCE(max(sequence), 0) + 1 FROM job_events WHERE job_id = ended.id),"
            " ended.status, ended.data"
            " FROM unnest($1::text[], $2::text[], $3::text[], $4::jsonb[])"
            " AS ended (workspace_id, id, status, data)",
            [job.workspace_id for job in jobs],
            [job.id for job in jobs],
            [job.status for job in jobs],
            [{"status": job.status, "progress": job.progress} for job in jobs],
        )
        return {job.id: job for job in jobs}

    async def release(self, workspace_id: str, job_id: str, run: int, *, counted: bool) -> bool:
        """Return a running job to the queue; not ``counted``: as if the run had never happened."""
        tag = await self._db.execute(
            "UPDATE jobs SET status = 'queued', updated_at = now(),"
            " runs = runs - CASE WHEN $4::boolean THEN 0 ELSE 1 END"
            " WHERE workspace_id = $1 AND id = $2 AND runs = $3 AND status = 'running'",
            workspace_id,
            job_id,
            run,
            counted,
        )
        return tag == "UPDATE 1"

    async def reset(self, workspace_id: str, job_id: str) -> Job | None:
        """Put a failed or cancelled job back to queued as if it were new; None for others."""
        row = await self._db.fetchrow(
            "UPDATE jobs SET status = 'queued', progress = 0, output = NULL, error = NULL,"
            " warnings = '[]', runs = 0, cancel_requested = false,"
            " started_at = NULL, finished_at = NULL, updated_at = now()"
            " WHERE workspace_id = $1 AND id = $2"
            f" AND status IN ('failed', 'cancelled') RETURNING {_COLUMNS}",
            workspace_id,
            job_id,
        )
        if row is None:
            return None
        await self.write_event(
            workspace_id, job_id, "progress", {"status": "queued", "progress": 0}
        )
        return Job(**row)

    async def request_cancel(self, workspace_id: str, job_id: str) -> None:
        """Ask the worker that runs the job to stop."""
        await self._db.execute(
            "UPDATE jobs SET cancel_requested = true, updated_at = now()"
            " WHERE workspace_id = $1 AND id = $2 AND finished_at IS NULL",
            workspace_id,
            job_id,
        )

    async def to_stop(self, runs: dict[str, int]) -> list[str]:
        """Those of the running jobs (run numbers by id) that must stop: cancelled, overtaken by
        another run, or gone."""
        rows = await self._db.fetch(
            "SELECT mine.id FROM unnest($1::text[], $2::int[]) AS mine (id, run)"
            " LEFT JOIN jobs ON jobs.id = mine.id WHERE jobs.id IS NULL"
            " OR jobs.cancel_requested OR jobs.runs <> mine.run OR jobs.status <> 'running'",
            list(runs),
            list(runs.values()),
        )
        return [row["id"] for row in rows]

    async def forgotten(self, seconds: float, limit: int = 100) -> list[Job]:
        """Active jobs of every workspace that are missing in the queue and unchanged for so
        long."""
        rows = await self._db.fetch(
            f"SELECT {_COLUMNS} FROM jobs WHERE status IN ('queued', 'running')"
            " AND updated_at < now() - $1 * interval '1 second'"
            " AND NOT EXISTS (SELECT 1 FROM pgqueuer WHERE dedupe_key = jobs.id)"
            " ORDER BY updated_at LIMIT $2 FOR UPDATE SKIP LOCKED",
            seconds,
            limit,
        )
        return [Job(**row) for row in rows]

    # ------------------------------------------------------------------ events

    async def write_event(
        self, workspace_id: str, job_id: str, event: str, data: dict[str, Any]
    ) -> None:
        """Write the job's next event; the caller holds the job's row in a transaction."""
        await self._db.execute(
            "INSERT INTO job_events (workspace_id, job_id, sequence, event, data)"
            " SELECT $1, $2, COALESCE(max(sequence), 0) + 1, $3, $4"
            " FROM job_events WHERE job_id = $2",
            workspace_id,
            job_id,
            event,
            data,
        )

    async def events(
        self, workspace_id: str, job_id: str, *, after: int = 0, limit: int = 100
    ) -> list[JobEvent]:
        """The job's events after number ``after``, in order."""
        rows = await self._db.fetch(
            "SELECT job_id, sequence, event, data FROM job_events"
            " WHERE workspace_id = $1 AND job_id = $2 AND sequence > $3"
            " ORDER BY sequence LIMIT $4",
            workspace_id,
            job_id,
            after,
            limit,
        )
        return [JobEvent(**row) for row in rows]

    async def latest_events(self, job_ids: Sequence[str]) -> dict[str, int]:
        """The number of each job's last event; jobs without events are not in it."""
        rows = await self._db.fetch(
            "SELECT job_id, max(sequence) AS last FROM job_events"
            " WHERE job_id = ANY($1::text[]) GROUP BY job_id",
            list(job_ids),
        )
        return {row["job_id"]: row["last"] for row in rows}

    async def _one(self, workspace_id: str, job_id: str, suffix: str = "") -> Job | None:
        row = await self._db.fetchrow(
            f"SELECT {_COLUMNS} FROM jobs WHERE workspace_id = $1 AND id = $2{suffix}",
            workspace_id,
            job_id,
        )
        return Job(**row) if row else None

    async def list(
        self,
        workspace_id: str,
        *,
        type: str | None = None,
        status: str | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> list[Job]:
        """Jobs that are not items of a batch, newest first, from the one below id ``after`` on."""
        rows = await self._db.fetch(
            f"SELECT {_COLUMNS} FROM jobs WHERE workspace_id = $1 AND parent_id IS NULL"
            " AND ($2::text IS NULL OR type = $2) AND ($3::text IS NULL OR status = $3)"
            " AND ($4::text IS NULL OR id < $4) ORDER BY id DESC LIMIT $5",
            workspace_id,
            type,
            status,
            after,
            limit,
        )
        return [Job(**row) for row in rows]
