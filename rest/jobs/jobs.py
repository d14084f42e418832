"""Jobs as a resource: listed, shown, deleted, cancelled, retried, followed as a stream of events.

The events (SSE: numbered, resumable) lie in Postgres, so every node can send them. A stream ends
after the event that ended the job; a job that is retried afterwards has later events, and the
stream goes on to those.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from aiohttp import web
from msgspec import Meta

from pipelines.jobs.artifacts import Artifacts
from pipelines.jobs.job import JobStatus
from pipelines.jobs.queue import JobQueue
from rest.http.errors import NotFound, WrongState
from rest.http.event_stream import EventStream, StreamEnded, event_bytes, last_seen
from rest.http.fields import JobType
from rest.http.operation import (
    EVENT_STREAM,
    Answer,
    AnyOperation,
    AnyRequest,
    Operation,
    Request,
    unknown_value,
)
from rest.http.pagination import Cursors, PageQuery
from rest.http.watch import Watch
from store.database import Database
from store.ids import is_id
from store.tenants.jobs import Job, JobEvent, Jobs

from .kinds import JobRef, JobView, JobViews

_TERMINAL = ("completed", "failed", "cancelled")


class JobEventStreams:
    """Answers ``GET /api/jobs/{id}/events``."""

    def __init__(self, jobs: Jobs, watch: Watch, views: JobViews) -> None:
        self._jobs = jobs
        self._watch = watch
        self._views = views

    async def answer(self, request: AnyRequest) -> web.StreamResponse:
        """Stream until the job has ended; raises NotFound before it begins."""
        job_id = request.path()
        if not is_id(job_id) or await self._jobs.get(request.workspace_id, job_id) is None:
            raise NotFound("There is no such job.")
        with self._watch.of(request.workspace_id, job_id) as happened:
            stream = EventStream(request.http)
            with contextlib.suppress(StreamEnded):
                await stream.begin()
                await self._send(request, job_id, stream, happened)
        return stream.response

    async def _send(
        self, request: AnyRequest, job_id: str, stream: EventStream, happened: asyncio.Event
    ) -> None:
        number = last_seen(request.http)
        while True:
            happened.clear()
            before = await self._jobs.get(request.workspace_id, job_id)
            events = await self._jobs.events(request.workspace_id, job_id, after=number)
            job = await self._jobs.get(request.workspace_id, job_id) if events else before
            if before is None or job is None:
                return  # deleted
            for event in events:
                number = event.sequence
                over = event.event in _TERMINAL
                if over and (event is not events[-1] or job.active):
                    continue  # it was retried afterwards
                await stream.send(self._rendered(request, job, event))
                if over:
                    return
            if not events and not before.active:
                return
            if not events:
                await stream.wait(happened)

    def _rendered(self, request: AnyRequest, job: Job, event: JobEvent) -> bytes:
        data: dict[str, Any] = {"jobId": job.id, **event.data}
        if event.event in _TERMINAL:
            view = self._views.view(request, job)
            data |= {"output": view.output, "error": view.error, "warnings": view.warnings}
        return event_bytes(event.sequence, event.event, msgspec.json.encode(data))


READ = "jobs:read"


class JobsQuery(PageQuery):
    """What is listed. ``status`` is free text in the contract: an unknown one matches nothing,
    which a warning says."""

    type: JobType | None = None
    status: Annotated[str, Meta(max_length=50)] | None = None


class JobResource:
    """The contract's tag Jobs. ``watch.context`` must be among the application's contexts."""

    def __init__(
        self, database: Database, artifacts: Artifacts, views: JobViews, cursors: Cursors
    ) -> None:
        self._jobs = Jobs(database)
        self._queue = JobQueue(database)
        self._artifacts = artifacts
        self._views = views
        self._cursors = cursors
        self.watch = Watch(self._jobs.latest_events)
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
        return await self._cursors.page(
            query,
            lambda after, limit: self._jobs.list(
                request.workspace_id,
                type=query.type,
                status=query.status,
                limit=limit,
                after=after,
            ),
            lambda job: self._views.view(request, job),
            warnings=unknown_value("status", query.status, JobStatus),
        )

    async def _get(self, request: Request[None, None]) -> Answer:
        return Answer(self._views.view(request, await self._job(request)))

    async def _delete(self, request: Request[None, None]) -> Answer:
        job = await self._job(request)
        removed = await self._artifacts.delete_job(request.workspace_id, job.id)
        if removed is None:
            raise WrongState("The job is still active: cancel it first.", reason="job_active")
        return Answer({"id": job.id, "deleted": True, "artifactsDeleted": removed})

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
                "Only a failed or cancelled job can be retried.", reason="job_not_failed"
            )
        return Answer(JobRef(job.id, job.status))

    async def _job(self, request: AnyRequest) -> Job:
        return await request.stored("job", self._jobs.get)


def _absent() -> NotFound:
    return NotFound("There is no such job.")
