"""A job's events as a stream (SSE): numbered, resumable, from whichever node.

The events lie in Postgres, so every node can tell them. One look every ``LOOK_SECONDS`` serves all
streams of the process; without streams nobody looks. A stream ends behind the event that ended the
job; a job that is retried afterwards has later events, and the stream goes on to those.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
from aiohttp import web

from rest.http.departure import is_gone
from rest.http.errors import NotFound, Unavailable
from rest.http.operation import EVENT_STREAM, AnyRequest
from store.errors import StoreError
from store.ids import is_id
from store.tenants.jobs import Job, JobEvent, Jobs

from .view import JobViews

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.25
HEARTBEAT_SECONDS = 15.0
DEPARTURE_SECONDS = 0.5
"""How often a waiting stream looks whether its client is still there."""
LONGEST_SECONDS = 3600.0
"""Then the client must come again; it goes on where it was."""
MAX_STREAMS = 1000
"""At once, of one process."""
WRITE_SECONDS = 10.0
"""A client that takes nothing for so long is cut."""
_TERMINAL = ("completed", "failed", "cancelled")
_LAST_NUMBER = 2**31 - 1


class JobWatch:
    """Wakes streams when their job has a new event. ``context`` owns the task that looks."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._known: dict[str, int] = {}
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._count = 0
        self._wanted = asyncio.Event()

    async def context(self, _app: web.Application) -> AsyncIterator[None]:
        """Look from the application's start to its end."""
        task = asyncio.create_task(self._look_always(), name="job-events")
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    @contextlib.contextmanager
    def of(self, job_id: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever something happened to the job; raises Unavailable."""
        if self._count >= MAX_STREAMS:
            raise Unavailable("Too many event streams are open: try again.", retry_after=5)
        happened = asyncio.Event()
        self._count += 1
        self._waiting.setdefault(job_id, set()).add(happened)
        self._wanted.set()
        try:
            yield happened
        finally:
            self._count -= 1
            self._waiting[job_id].discard(happened)
            if not self._waiting[job_id]:
                del self._waiting[job_id]
                self._known.pop(job_id, None)

    async def _look_always(self) -> None:
        while True:
            if not self._waiting:
                self._wanted.clear()
                await self._wanted.wait()
            try:
                await self._look()
            except StoreError as error:
                logger.warning("cannot look for job events: %s", error)
            await asyncio.sleep(LOOK_SECONDS)

    async def _look(self) -> None:
        latest = await self._jobs.latest_events(list(self._waiting))
        for job_id, streams in self._waiting.items():
            number = latest.get(job_id, 0)
            if number != self._known.get(job_id):
                self._known[job_id] = number
                for happened in streams:
                    happened.set()


class JobEventStreams:
    """Answers ``GET /api/jobs/{id}/events``."""

    def __init__(self, jobs: Jobs, watch: JobWatch, views: JobViews) -> None:
        self._jobs = jobs
        self._watch = watch
        self._views = views

    async def answer(self, request: AnyRequest) -> web.StreamResponse:
        """Stream until the job has ended; raises NotFound before it begins."""
        job_id = request.path()
        if not is_id(job_id) or await self._jobs.get(request.workspace_id, job_id) is None:
            raise NotFound("There is no such job.")
        with self._watch.of(job_id) as happened:
            response = web.StreamResponse(
                headers={
                    "Content-Type": EVENT_STREAM,
                    "Cache-Control": "no-store",
                    "X-Accel-Buffering": "no",
                }
            )
            await response.prepare(request.http)
            with contextlib.suppress(ConnectionError, TimeoutError):
                await self._tell(request, job_id, response, happened)
        return response

    async def _tell(
        self,
        request: AnyRequest,
        job_id: str,
        response: web.StreamResponse,
        happened: asyncio.Event,
    ) -> None:
        number = _last_seen(request.http.headers.get("Last-Event-ID", ""))
        end = time.monotonic() + LONGEST_SECONDS
        while time.monotonic() < end:
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
                    continue  # it was retried since
                await _write(response, self._rendered(request, job, event))
                if over:
                    return
            if not events and not before.active:
                return
            if events:
                continue
            if not await _news(request.http, happened):
                return
            if not happened.is_set():
                await _write(response, b": still there\n\n")

    def _rendered(self, request: AnyRequest, job: Job, event: JobEvent) -> bytes:
        data: dict[str, Any] = {"jobId": job.id, **event.data}
        if event.event in _TERMINAL:
            view = self._views.view(request, job)
            data |= {"output": view.output, "error": view.error, "warnings": view.warnings}
        body = msgspec.json.encode(data)
        return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.sequence, event.event.encode(), body)


async def _news(http: web.Request, happened: asyncio.Event) -> bool:
    """Wait until something happened, or for ``HEARTBEAT_SECONDS``; False where the client left."""
    quiet = time.monotonic() + HEARTBEAT_SECONDS
    while not happened.is_set() and time.monotonic() < quiet:
        if is_gone(http):
            return False
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(happened.wait(), DEPARTURE_SECONDS)
    return True


async def _write(response: web.StreamResponse, data: bytes) -> None:
    await asyncio.wait_for(response.write(data), WRITE_SECONDS)


def _last_seen(header: str) -> int:
    """The number in Last-Event-ID; 0 where there is none that could be ours."""
    if not (header.isascii() and header.isdigit() and len(header) < 12):
        return 0
    return min(int(header), _LAST_NUMBER)
