"""What the resources of the kinds of job have in common: a job is submitted, looked up and shown.

Everything about a job that is not its order is the same for each kind: POST answers 202 with a
JobRef and honours ``Idempotency-Key``; the rate limit and the scope are checked before (endpoint);
the job and what it takes over are stored in one transaction; GET shows it with its kind's output,
and a job of another kind is as absent as another workspace's.
"""

from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from pipelines.jobs.artifacts import Artifacts
from pipelines.jobs.job import JobType, NewJob
from pipelines.jobs.queue import JobQueue
from rest.http.errors import NotFound
from rest.http.operation import REQUEST_SECONDS, Answer, AnyRequest, Handler, Operation
from store.database import Database
from store.ids import is_id
from store.tenants.jobs import Job, Jobs

from .views import JOBS, JobRef, JobViews

Body = TypeVar("Body", bound=Struct | None)


class KindJobs:
    """The jobs of one kind. ``noun``: what a refusal calls one of them."""

    def __init__(self, database: Database, views: JobViews, type: JobType, noun: str) -> None:
        self._database = database
        self._jobs = Jobs(database)
        self._queue = JobQueue(database)
        self._views = views
        self._type = type
        self._noun = noun

    async def submit(
        self,
        workspace_id: str,
        order: Any,
        *,
        takes: str | None = None,
        artifacts: Artifacts | None = None,
    ) -> Answer:
        """Store a job that carries out ``order`` (a struct or dataclass). ``takes``: key of the
        object among ``artifacts`` that it takes over, which is deleted with it; an object that an
        earlier job has stays with that one."""
        new = NewJob(self._type, msgspec.to_builtins(order))
        async with self._database.transaction() as connection:
            job = await self._queue.submit_in(connection, workspace_id, new)
            if takes is not None and artifacts is not None:
                await artifacts.claim(workspace_id, takes, job.id, connection=connection)
        return Answer(JobRef(job.id, job.status))

    async def get(self, request: AnyRequest) -> Job:
        """The job that the path names; raises NotFound."""
        job_id = request.path()
        job = await self._jobs.get(request.workspace_id, job_id) if is_id(job_id) else None
        if job is None or job.type != self._type:
            raise NotFound(f"There is no such {self._noun}.")
        return job

    async def show(self, request: AnyRequest) -> Answer:
        """That job, as it is shown."""
        return Answer(self._views.view(request, await self.get(request)))


def submission(
    *,
    path: str,
    tag: str,
    summary: str,
    handler: Handler[Body, None],
    scope: str,
    body: type[Body] | None = None,
    data: Any = JobRef,
    upload: bool = False,
    deadline: float | None = REQUEST_SECONDS,
    description: str = "",
) -> Operation[Body, None]:
    """The operation that submits a job."""
    return Operation(
        method="POST",
        path=path,
        tag=tag,
        summary=summary,
        handler=handler,
        data=data,
        scope=scope,
        body=body,
        upload=upload,
        status=202,
        outcome="Job accepted",
        idempotent=True,
        deadline=deadline,
        description=description,
    )


def look_up(
    *,
    path: str,
    tag: str,
    summary: str,
    handler: Handler[None, None],
    scope: str,
    type: JobType,
    description: str = "",
) -> Operation[None, None]:
    """The operation that shows a job."""
    return Operation(
        method="GET",
        path=path,
        tag=tag,
        summary=summary,
        handler=handler,
        data=JOBS[type],
        scope=scope,
        description=description,
    )
