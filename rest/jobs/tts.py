"""Speech as a resource: jobs that make takes, and speech as a stream."""

from collections.abc import Sequence
from typing import Any

import msgspec
from aiohttp import web

from pipelines.jobs.job import ApiWarning, JobType, NewJob
from pipelines.jobs.queue import JobQueue
from pipelines.speech.order import SpeechOrder
from rest.http.decoding import warn
from rest.http.errors import NotFound
from rest.http.operation import EVENT_STREAM, Answer, AnyOperation, AnyRequest, Operation, Request
from store.database import Database
from store.tenants.jobs import Job, Jobs

from .outputs import JOBS
from .speech_requests import SpeechChecks, TtsCreate
from .tts_stream import TtsStream
from .view import JobRef, JobViews

READ, WRITE = "tts:read", "tts:write"


class TtsResource:
    """The contract's tag TTS."""

    def __init__(
        self, database: Database, checks: SpeechChecks, stream: TtsStream, views: JobViews
    ) -> None:
        self._jobs = Jobs(database)
        self._queue = JobQueue(database)
        self._checks = checks
        self._stream = stream
        self._views = views

    def operations(self) -> Sequence[AnyOperation]:
        """See Resource."""
        one = "/api/tts/{id}"
        accepted: dict[str, Any] = {
            "data": JobRef,
            "scope": WRITE,
            "status": 202,
            "outcome": "Job accepted",
        }
        return [
            Operation(
                method="POST",
                path="/api/tts",
                tag="TTS",
                summary="Synthesize speech (async job)",
                handler=self._create,
                body=TtsCreate,
                idempotent=True,
                **accepted,
            ),
            Operation(
                method="GET",
                path=one,
                tag="TTS",
                summary="Get a TTS job (+ signed audioUrl)",
                handler=self._get,
                data=JOBS[JobType.TTS],
                scope=READ,
            ),
            Operation(
                method="POST",
                path=f"{one}/regenerate",
                tag="TTS",
                summary="Re-run a TTS job",
                handler=self._regenerate,
                idempotent=True,
                **accepted,
            ),
            Operation(
                method="POST",
                path="/api/tts/stream",
                tag="TTS",
                summary="Stream synthesis — SSE of base64 audio chunks (play-as-you-go)",
                handler=self._speak,
                body=TtsCreate,
                scope=WRITE,
                media=EVENT_STREAM,
                deadline=None,
                outcome="text/event-stream — `chunk` (base64 audio) frames then `done`",
            ),
        ]

    async def _create(self, request: Request[TtsCreate, None]) -> Answer:
        order = await self._checks.order(request.workspace_id, request.body)
        return await self._submit(request.workspace_id, order)

    async def _get(self, request: Request[None, None]) -> Answer:
        return Answer(self._views.view(request, await self._job(request)))

    async def _regenerate(self, request: Request[None, None]) -> Answer:
        job = await self._job(request)
        order = msgspec.convert(job.input, SpeechOrder)
        await self._checks.choice(request.workspace_id, order)
        return await self._submit(request.workspace_id, order)

    async def _speak(self, request: Request[TtsCreate, None]) -> web.StreamResponse:
        workspace_id = request.workspace_id
        asked = request.body
        unused = {"delivery": asked.delivery != "verbatim", "polish": asked.polish}
        warn(
            request.http,
            [
                ApiWarning("no_effect", f"{name} has no effect on a stream.", name)
                for name, sent in unused.items()
                if sent
            ],
        )
        order = await self._checks.order(workspace_id, asked)
        choice = await self._checks.choice(workspace_id, order, streaming=True)
        return await self._stream.answer(request, order, choice)

    async def _submit(self, workspace_id: str, order: SpeechOrder) -> Answer:
        new = NewJob(JobType.TTS, msgspec.to_builtins(order))
        job = await self._queue.submit(workspace_id, new)
        return Answer(JobRef(job.id, job.status))

    async def _job(self, request: AnyRequest) -> Job:
        job = await self._jobs.get(request.workspace_id, request.path())
        if job is None or job.type != JobType.TTS:
            raise NotFound("There is no such TTS job.")
        return job
