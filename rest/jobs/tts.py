"""Speech as a resource: jobs that make takes, and speech streamed while it is spoken.

Rules for the stream
- Nothing is made ahead of what the client reads: the next audio is asked for once the last is
  written, and a client that reads nothing for ``WRITE_SECONDS``, or leaves, ends the synthesis.
- What can be refused is refused before the stream begins, the engine's first failure included; a
  later failure is an ``error`` event, the last one.
- What was spoken is billed once, at the end, whoever ended it.
"""

import asyncio
import base64
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import web

from media.formats import SAMPLE_BYTES, milliseconds_of
from pipelines.engines.base import EngineError, Speaker
from pipelines.engines.jobs import JobEngines, SpeechChoice
from pipelines.jobs.job import ApiWarning, JobType, NewJob, Unit
from pipelines.jobs.queue import JobQueue
from pipelines.speech.job import AudioEncoder, EncoderMaker
from pipelines.speech.order import SpeechOrder, unspoken_part
from pipelines.speech.script import Sound, recite
from rest.http.decoding import WARNINGS, warn
from rest.http.errors import NotFound, ProviderFailed, engine_refusal
from rest.http.operation import EVENT_STREAM, Answer, AnyOperation, AnyRequest, Operation, Request
from store.database import Database
from store.tenants.jobs import Job, Jobs

from .speech_requests import SpeechChecks, TtsCreate
from .views import JOBS, JobRef, JobViews

WRITE_SECONDS = 30.0

Book = Callable[[str, Sequence[Unit]], Awaitable[None]]
"""Books units of a workspace (pipelines.jobs.usage)."""


@dataclass(slots=True)
class _Totals:
    chunks: int = 0
    bytes: int = 0
    samples: int = 0
    said: int = 0


class TtsStream:
    """Speaks orders to their askers."""

    def __init__(self, engines: JobEngines, encoder: EncoderMaker, book: Book) -> None:
        self._engines = engines
        self._encoder = encoder
        self._book = book

    async def answer(
        self, request: AnyRequest, order: SpeechOrder, choice: SpeechChoice
    ) -> web.StreamResponse:
        """The stream, at its end; raises ApiError where it could not begin."""
        totals = _Totals()
        rate = 0
        lost = unspoken_part(self._engines, choice, order.input)
        warn(request.http, [lost] if lost else [])
        try:
            speaker = await self._engines.speech(choice)
            rate = speaker.sample_rate
            sounds = recite(speaker, order.input, speed=order.speed, language=order.language)
            async with contextlib.aclosing(sounds):
                first = await anext(sounds, None)
                if first is None:
                    raise ProviderFailed("The engine made no sound of this text.")
                return await self._tell(request, order, speaker, first, sounds, totals)
        except EngineError as error:
            raise engine_refusal(error) from error
        finally:
            if totals.samples:
                name = f"{request.id}:tts_stream"
                duration = milliseconds_of(totals.samples, rate)
                unit = Unit(name, "tts", order.model, totals.said, duration)
                await asyncio.shield(self._book(request.workspace_id, [unit]))

    async def _tell(
        self,
        request: AnyRequest,
        order: SpeechOrder,
        speaker: Speaker,
        first: Sound,
        sounds: AsyncGenerator[Sound, None],
        totals: _Totals,
    ) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={"Content-Type": EVENT_STREAM, "Cache-Control": "no-store"}
        )
        encoder = self._encoder(order.format, speaker.sample_rate)
        await response.prepare(request.http)
        try:
            sound: Sound | None = first
            while sound is not None:
                totals.samples += len(sound.pcm) // SAMPLE_BYTES
                totals.said = min(sound.said, len(order.input))
                data = await asyncio.to_thread(encoder.push, sound.pcm)
                await _chunk(response, order, data, totals)
                sound = await anext(sounds, None)
            totals.said = len(order.input)
            await self._end(request.http, response, order, speaker, encoder, totals)
        except EngineError as error:
            told = engine_refusal(error)
            await _event(response, "error", {"code": told.code, "message": told.message})
        except (ConnectionError, TimeoutError):
            return response  # nobody listens any more
        with contextlib.suppress(ConnectionError):
            await response.write_eof()
        return response

    async def _end(
        self,
        http: web.Request,
        response: web.StreamResponse,
        order: SpeechOrder,
        speaker: Speaker,
        encoder: AudioEncoder,
        totals: _Totals,
    ) -> None:
        data = await asyncio.to_thread(encoder.finish)
        await _chunk(response, order, data, totals)
        done = {
            "chunks": totals.chunks,
            "bytes": totals.bytes,
            "durationMs": milliseconds_of(totals.samples, speaker.sample_rate),
            "characters": len(order.input),
            "format": order.format,
            "sampleRate": speaker.sample_rate,
            "model": order.model,
            "voice": order.voice,
            "language": order.language,
            "polished": False,
            "warnings": list(http.get(WARNINGS, ())),
        }
        await _event(response, "done", done)


async def _chunk(
    response: web.StreamResponse, order: SpeechOrder, data: bytes, totals: _Totals
) -> None:
    if not data:
        return
    audio = base64.b64encode(data).decode()
    event = {"sequence": totals.chunks, "format": order.format, "audio": audio}
    totals.chunks += 1
    totals.bytes += len(data)
    await _event(response, "chunk", event)


async def _event(response: web.StreamResponse, name: str, data: dict[str, Any]) -> None:
    async with asyncio.timeout(WRITE_SECONDS):
        await response.write(
            b"event: %s\ndata: %s\n\n" % (name.encode(), msgspec.json.encode(data))
        )


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
