"""Jobs as a resource: listed, shown, deleted, cancelled, tried again, followed."""

from collections.abc import Sequence
from typing import Annotated, Any, Protocol

from msgspec import Meta, Struct

from pipelines.jobs.job import JobStatus
from pipelines.jobs.queue import JobQueue
from rest.http.errors import NotFound, WrongState
from rest.http.fields import DEFAULT_LIMIT, Cursor, JobType, Limit
from rest.http.operation import (
    EVENT_STREAM,
    Answer,
    AnyOperation,
    AnyRequest,
    Operation,
    Request,
    unknown_value,
)
from store.database import Database
from store.ids import is_id
from store.tenants.jobs import Job, Jobs

from .events import JobEventStreams, JobWatch
from .view import JobRef, JobView, JobViews

READ = "jobs:read"


class JobsQuery(Struct, rename="camel"):
    """What is listed. ``status`` is free text in the contract: an unknown one matches nothing,
    which a warning says."""

    type: JobType | None = None
    status: Annotated[str, Meta(max_length=50)] | None = None
    cursor: Cursor | None = None
    limit: Limit = DEFAULT_LIMIT


class Cursors(Protocol):
    """Hides ids in opaque cursors (rest.http.pagination); ``decode`` raises ValidationFailed."""

    def encode(self, id: str, /) -> str: ...

    def decode(self, text: str, /) -> str: ...


class JobArtifacts(Protocol):
    """Deletes what jobs made (pipelines.jobs.artifacts)."""

    async def delete_of_job(self, workspace_id: str, job_id: str) -> int: ...


class JobResource:
    """The contract's tag Jobs. ``watch.context`` must be among the application's contexts."""

    def __init__(
        self, database: Database, artifacts: JobArtifacts, views: JobViews, cursors: Cursors
    ) -> None:
        self._jobs = Jobs(database)
        self._queue = JobQueue(database)
        self._artifacts = artifacts
        self._views = views
        self._cursors = cursors
        self.watch = JobWatch(self._jobs)
        self._streams = JobEventStreams(self._jobs, self.watch, views)

    def operations(self) -> Sequence[AnyOperation]:
        """See Resource."""
        one = "/api/jobs/{id}"
        return [
            Operation(
                method="GET",
                path="/api/jobs",
                tag="Jobs",
                summary="List jobs",
                handler=self._list,
                data=list[JobView],
                scope=READ,
                query=JobsQuery,
            ),
            Operation(
                method="GET",
                path=one,
                tag="Jobs",
                summary="Get a job",
                handler=self._get,
                data=JobView,
                scope=READ,
            ),
            Operation(
                method="DELETE",
                path=one,
                tag="Jobs",
                summary="Delete a terminal job (cascades storage artifacts; 409 while active)",
                handler=self._delete,
                scope=READ,
                conflicts=True,
            ),
            Operation(
                method="POST",
                path=f"{one}/cancel",
                tag="Jobs",
                summary="Cancel a job",
                handler=self._cancel,
                data=JobView,
                scope=READ,
                conflicts=True,
            ),
            Operation(
                method="POST",
                path=f"{one}/retry",
                tag="Jobs",
                summary="Retry a failed job",
                handler=self._retry,
                data=JobRef,
                scope=READ,
                status=202,
                outcome="Job accepted",
                conflicts=True,
            ),
            Operation(
                method="GET",
                path=f"{one}/events",
                tag="Jobs",
                summary="SSE progress stream (text/event-stream)",
                handler=self._streams.answer,
                scope=READ,
                media=EVENT_STREAM,
                deadline=None,
                outcome="SSE stream of progress/completed/failed events",
            ),
        ]

    async def _list(self, request: Request[None, JobsQuery]) -> Answer:
        query = request.query
        jobs = await self._jobs.list(
            request.workspace_id,
            type=query.type,
            status=query.status,
            limit=query.limit + 1,
            after=self._cursors.decode(query.cursor) if query.cursor is not None else None,
        )
        shown, more = jobs[: query.limit], len(jobs) > query.limit
        return Answer(
            [self._views.view(request, job) for job in shown],
            next_cursor=self._cursors.encode(shown[-1].id) if more else None,
            has_more=more,
            warnings=unknown_value("status", query.status, JobStatus),
        )

    async def _get(self, request: Request[None, None]) -> Answer:
        return Answer(self._views.view(request, await self._job(request)))

    async def _delete(self, request: Request[None, None]) -> Answer:
        job = await self._job(request)
        items = await self._jobs.children(request.workspace_id, job.id)
        if any(one.active for one in (job, *items)):
            raise _active()
        removed = 0
        for one in (*items, job):
            removed += await self._artifacts.delete_of_job(request.workspace_id, one.id)
        if not await self._jobs.delete(request.workspace_id, job.id):
            raise _active()  # it was retried meanwhile
        data: dict[str, Any] = {"id": job.id, "deleted": True, "artifactsDeleted": removed}
        return Answer(data)

    async def _cancel(self, request: Request[None, None]) -> Answer:
        await self._job(request)
        job = await self._queue.cancel(request.workspace_id, request.path())
        if job is None:
            raise _absent()
        if job.status in (JobStatus.COMPLETED, JobStatus.FAILED):
            raise WrongState("The job is over: it cannot be cancelled.", reason="job_terminal")
        return Answer(self._views.view(request, job))

    async def _retry(self, request: Request[None, None]) -> Answer:
        await self._job(request)
        job = await self._queue.retry(request.workspace_id, request.path())
        if job is None:
            raise WrongState(
                "Only a failed or cancelled job can be tried again.", reason="job_not_failed"
            )
        return Answer(JobRef(job.id, job.status))

    async def _job(self, request: AnyRequest) -> Job:
        job_id = request.path()
        job = await self._jobs.get(request.workspace_id, job_id) if is_id(job_id) else None
        if job is None:
            raise _absent()
        return job


def _absent() -> NotFound:
    return NotFound("There is no such job.")


def _active() -> WrongState:
    return WrongState("The job is still active: cancel it first.", reason="job_active")
