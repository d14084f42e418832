"""Speech as a resource: jobs that make takes, and speech streamed while it is spoken.

Rules for the stream
- Nothing is made ahead of what the client reads: the next audio is requested once the last is
  written, and a client that reads nothing for ``WRITE_SECONDS``, or leaves, ends the synthesis.
- What can be refused is refused before the stream begins, the engine's first failure included; a
  later failure is an ``error`` event, the last one.
- What was spoken is billed once, at the end, whoever ended it.
"""

import asyncio
import base64
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiohttp import web

from media.files.encode import Encoder, PlainSamples
from media.formats import SAMPLE_BYTES, milliseconds_of
from pipelines.engines.base import EngineError
from pipelines.engines.catalogue import Catalogue
from pipelines.engines.jobs import SpeechChoice
from pipelines.jobs.job import ApiWarning, JobType, Unit
from pipelines.speech.job import SpeechOrder, unspoken_part
from pipelines.speech.script import recite
from rest.http.decoding import WARNINGS, warn
from rest.http.errors import ApiError, ProviderFailed, engine_refusal
from rest.http.operation import EVENT_STREAM, Answer, AnyOperation, AnyRequest, Operation, Request
from rest.http.waiting import ClientGone, ClientStream
from store.database import Database

from .kinds import JobViews, KindJobs, look_up, submission
from .speech_requests import SpeechChecks, TtsCreate

Book = Callable[[str, Sequence[Unit]], Awaitable[None]]
"""Bills units of work to a workspace (pipelines.jobs.usage)."""
MakeEncoder = Callable[[str, int], Encoder | PlainSamples]
"""An encoder of a format, for samples at a rate in Hz."""


@dataclass(slots=True)
class Speech:
    """A text on its way to the one who asked for it. ``chunks``: the encoded audio as it is made;
    the rest: what has been spoken so far."""

    chunks: AsyncGenerator[bytes, None] = field(init=False)
    rate: int = 0
    samples: int = 0
    characters: int = 0

    @property
    def milliseconds(self) -> int:
        """How long it is."""
        return milliseconds_of(self.samples, self.rate)


class SpeechStream:
    """What makes speech while its asker waits, and bills it."""

    def __init__(self, engines: Catalogue, encoder: MakeEncoder, book: Book) -> None:
        self._engines = engines
        self._encoder = encoder
        self._book = book

    @contextlib.asynccontextmanager
    async def speech(
        self, request: AnyRequest, order: SpeechOrder, choice: SpeechChoice, name: str
    ) -> AsyncIterator[Speech]:
        """The order's speech, billed under ``name`` when the block is left; its ``chunks`` raise
        ApiError."""
        lost = unspoken_part(self._engines, choice, order.input)
        warn(request.http, [lost] if lost else [])
        speech = Speech()
        speech.chunks = self._chunks(order, choice, speech)
        try:
            async with contextlib.aclosing(speech.chunks):
                yield speech
        finally:
            if speech.samples:
                unit = Unit(
                    name=f"{request.id}:{name}",
                    type="tts",
                    model=order.model,
                    tokens=speech.characters,
                    audio_ms=speech.milliseconds,
                )
                await asyncio.shield(self._book(request.workspace_id, [unit]))

    async def _chunks(
        self, order: SpeechOrder, choice: SpeechChoice, speech: Speech
    ) -> AsyncGenerator[bytes, None]:
        try:
            speaker = await self._engines.speech(choice)
            speech.rate = speaker.sample_rate
            encoder = self._encoder(order.format, speech.rate)
            sounds = recite(speaker, order.input, speed=order.speed, language=order.language)
            async with contextlib.aclosing(sounds):
                async for sound in sounds:
                    speech.samples += len(sound.pcm) // SAMPLE_BYTES
                    speech.characters = min(sound.said, len(order.input))
                    yield await asyncio.to_thread(encoder.push, sound.pcm)
            if not speech.samples:
                raise ProviderFailed("The engine made no sound for this text.")
            speech.characters = len(order.input)
            yield await asyncio.to_thread(encoder.finish)
        except EngineError as error:
            raise engine_refusal(error) from error


class TtsStream(SpeechStream):
    """Answers ``POST /api/tts/stream``: events that carry the audio."""

    async def answer(
        self, request: AnyRequest, order: SpeechOrder, choice: SpeechChoice
    ) -> web.StreamResponse:
        """The stream, at its end; raises ApiError where it could not begin."""
        stream = ClientStream(request.http, EVENT_STREAM)
        sent = _Sent()
        async with self.speech(request, order, choice, "tts_stream") as speech:
            try:
                data: bytes | None = await anext(speech.chunks)
                await stream.begin()
                while data is not None:
                    await _send(stream, order, data, sent)
                    data = await anext(speech.chunks, None)
                await stream.event(_done(request.http, order, speech, sent), "done")
                await stream.end()
            except ApiError as error:
                if not stream.begun:
                    raise
                with contextlib.suppress(ClientGone):
                    await stream.event({"code": error.code, "message": error.message}, "error")
                    await stream.end()
            except ClientGone:
                pass  # nobody is listening
        return stream.response


@dataclass(slots=True)
class _Sent:
    chunks: int = 0
    bytes: int = 0


async def _send(stream: ClientStream, order: SpeechOrder, data: bytes, sent: _Sent) -> None:
    if not data:
        return
    audio = base64.b64encode(data).decode()
    event = {"sequence": sent.chunks, "format": order.format, "audio": audio}
    sent.chunks += 1
    sent.bytes += len(data)
    await stream.event(event, "chunk")


def _done(http: web.Request, order: SpeechOrder, speech: Speech, sent: _Sent) -> dict[str, Any]:
    return {
        "chunks": sent.chunks,
        "bytes": sent.bytes,
        "durationMs": speech.milliseconds,
        "characters": len(order.input),
        "format": order.format,
        "sampleRate": speech.rate,
        "model": order.model,
        "voice": order.voice,
        "language": order.language,
        "polished": False,
        "warnings": list(http.get(WARNINGS, ())),
    }


READ, WRITE = "tts:read", "tts:write"


class TtsResource:
    """The contract's tag TTS."""

    def __init__(
        self, database: Database, checks: SpeechChecks, stream: TtsStream, views: JobViews
    ) -> None:
        self._jobs = KindJobs(database, views, JobType.TTS, "TTS job")
        self._checks = checks
        self._stream = stream

    def operations(self) -> Sequence[AnyOperation]:
        """See Resource."""
        one = "/api/tts/{id}"
        return [
            submission(
                path="/api/tts",
                tag="TTS",
                summary="Synthesize speech (async job)",
                handler=self._create,
                body=TtsCreate,
                scope=WRITE,
            ),
            look_up(
                path=one,
                tag="TTS",
                summary="Get a TTS job (+ signed audioUrl)",
                handler=self._jobs.show,
                scope=READ,
                type=JobType.TTS,
            ),
            submission(
                path=f"{one}/regenerate",
                tag="TTS",
                summary="Re-run a TTS job",
                handler=self._regenerate,
                scope=WRITE,
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
        return await self._jobs.submit(request.workspace_id, order)

    async def _regenerate(self, request: Request[None, None]) -> Answer:
        job = await self._jobs.get(request)
        order = msgspec.convert(job.input, SpeechOrder)
        await self._checks.choice(request.workspace_id, order)
        return await self._jobs.submit(request.workspace_id, order)

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
