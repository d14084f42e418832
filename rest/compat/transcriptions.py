"""OpenAI's ``POST /v1/audio/transcriptions`` and ``/v1/audio/translations``: what a recording says.

Rules
- Memory does not depend on the recording's length, and no more than ``LIMITS`` of it is heard.
- A file in which nothing can be heard is refused before any work begins.
- What was heard is billed once, by its length, whoever ended it.
- A translation is a transcript in the recording's language, translated sentence by sentence; each
  keeps its time. Where there is no translator for that language, the recording is transcribed again
  by an engine that writes English. One that is in English already is only transcribed.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from media.files.limits import MediaError, MediaLimits
from media.formats import HEARING_RATE, SAMPLE_BYTES, milliseconds_of
from pipelines.decoding import decoded
from pipelines.dubbing.job import no_translator
from pipelines.dubbing.translation import lines_of
from pipelines.engines.base import EngineError, ModelUnavailable
from pipelines.engines.catalogue import Catalogue
from pipelines.engines.jobs import FileTranscriber
from pipelines.jobs.job import Unit
from pipelines.transcription.timed_text import TimedSegment, of_segment
from rest.http.decoding import warn
from rest.http.errors import ApiError, NoSuchModel, ValidationFailed, engine_refusal
from rest.http.operation import EVENT_STREAM, AnyOperation, AnyRequest, Handler, Operation, Request
from rest.http.waiting import ClientGone, ClientStream, in_time, unless_gone
from rest.jobs.recordings import checked_media
from rest.jobs.stt import WRITE
from rest.jobs.tts import Book

from .models import TAG, ModelNames
from .transcripts import (
    Transcript,
    TranscriptionForm,
    logprobs_of,
    read_form,
    shown,
    usage_of,
    without_effect,
)

LIMITS = MediaLimits(max_seconds=30 * 60.0)
"""Longer recordings are for jobs, which may take longer."""


@dataclass(slots=True)
class Heard:
    """What has been understood so far. ``language`` None: not known (yet)."""

    transcriber: FileTranscriber
    language: str | None
    segments: list[TimedSegment] = field(default_factory=list)
    bytes: int = 0

    @property
    def text(self) -> str:
        """All of it, on one line."""
        return " ".join(segment.text for segment in self.segments)

    @property
    def duration_ms(self) -> int:
        """Length of what was decoded."""
        return milliseconds_of(self.bytes // SAMPLE_BYTES, HEARING_RATE)


class Listener:
    """Transcribes uploads."""

    def __init__(self, engines: Catalogue, book: Book, limits: MediaLimits = LIMITS) -> None:
        self._engines = engines
        self._names = ModelNames(engines)
        self._book = book
        self._limits = limits

    async def open(self, request: AnyRequest, form: TranscriptionForm) -> Heard:
        """Prepare to hear the request's file; raises ApiError where that is not possible."""
        try:
            model = self._names.transcription(form.model, form.language)
            await checked_media(request.file.path, self._limits)
            transcriber = await self._engines.file_transcriber(model, form.language)
        except EngineError as error:
            raise engine_refusal(error) from error
        return Heard(transcriber, form.language)

    async def segments(
        self, request: AnyRequest, heard: Heard
    ) -> AsyncGenerator[TimedSegment, None]:
        """The segments as they are understood, while ``heard`` fills; raises ApiError."""
        try:
            async with contextlib.aclosing(self._segments(request, heard)) as segments:
                async for segment in segments:
                    yield segment
        finally:
            await self._booked(request, heard)

    async def in_english(self, request: AnyRequest, heard: Heard) -> list[TimedSegment]:
        """What was said, in English, by a transcriber that ``translates``; ``heard`` has been heard
        already. Raises ApiError."""
        again = Heard(heard.transcriber, heard.language)
        async with contextlib.aclosing(self._segments(request, again, english=True)) as segments:
            return [segment async for segment in segments]

    async def _segments(
        self, request: AnyRequest, heard: Heard, *, english: bool = False
    ) -> AsyncGenerator[TimedSegment, None]:
        pieces = decoded(request.file.path, limits=self._limits)
        transcriber = heard.transcriber
        try:
            async with (
                contextlib.aclosing(_counted(pieces, heard)) as pcm,
                contextlib.aclosing(
                    transcriber.transcribe_file(pcm, heard.language, english=english)
                ) as hearings,
            ):
                async for hearing in hearings:
                    heard.language = hearing.language or heard.language
                    if hearing.segment is not None and hearing.segment.text.strip():
                        segment = of_segment(hearing.segment)
                        heard.segments.append(segment)
                        yield segment
        except MediaError as error:
            raise ValidationFailed(str(error), param="file") from error
        except EngineError as error:
            raise engine_refusal(error) from error

    async def hear(self, request: AnyRequest, heard: Heard) -> None:
        """Hear all of it; raises ApiError."""
        async with contextlib.aclosing(self.segments(request, heard)) as segments:
            async for _ in segments:
                pass

    async def _booked(self, request: AnyRequest, heard: Heard) -> None:
        if heard.duration_ms:
            name, model = f"{request.id}:transcription", heard.transcriber.model_id
            unit = Unit(name, "stt", model, audio_ms=heard.duration_ms)
            await asyncio.shield(self._book(request.workspace_id, [unit]))


async def _counted(
    pieces: AsyncGenerator[bytes, None], heard: Heard
) -> AsyncGenerator[bytes, None]:
    """``pieces``, counted as they pass."""
    async with contextlib.aclosing(pieces):
        async for piece in pieces:
            heard.bytes += len(piece)
            yield piece


# ---------------------------------------------------------------------- transcriptions


HEARING_SECONDS = 15 * 60.0
"""From the upload to the transcript."""


def _operation(path: str, summary: str, handler: Handler[None, None]) -> AnyOperation:
    return Operation(
        method="POST",
        path=path,
        tag=TAG,
        summary=summary,
        handler=handler,
        upload=True,
        scope=WRITE,
        deadline=None,
        unused_form=("label",),
    )


class CompatTranscriptions:
    """One operation."""

    def __init__(self, listener: Listener, *, seconds: float = HEARING_SECONDS) -> None:
        self._listener = listener
        self._seconds = seconds

    def operations(self) -> Sequence[AnyOperation]:
        """See Resource."""
        return [_operation("/v1/audio/transcriptions", "Create transcription", self._create)]

    async def _create(self, request: Request[None, None]) -> web.StreamResponse:
        return await unless_gone(request.http, self._answer(request))

    async def _answer(self, request: AnyRequest) -> web.StreamResponse:
        form = read_form(request.file)
        heard = await self._listener.open(request, form)
        if form.stream:
            return await self._stream(request, form, heard)
        async with in_time(self._seconds):
            await self._listener.hear(request, heard)
            warn(request.http, without_effect(form, heard.segments))
            transcript = Transcript(heard.segments, heard.language, heard.duration_ms)
            return await shown(transcript, form)

    async def _stream(
        self, request: AnyRequest, form: TranscriptionForm, heard: Heard
    ) -> web.StreamResponse:
        stream = ClientStream(request.http, EVENT_STREAM)
        segments = self._listener.segments(request, heard)
        try:
            async with in_time(self._seconds), contextlib.aclosing(segments):
                segment = await anext(segments, None)  # refused before the stream begins, if at all
                warn(request.http, without_effect(form, ()))
                await stream.begin()
                while segment is not None:
                    await stream.event(_delta(segment, form, first=len(heard.segments) == 1))
                    segment = await anext(segments, None)
            await stream.event(_done(heard, form))
            await stream.end()
        except ApiError as error:
            if not stream.begun:
                raise
            await stream.fail(error)
        except ClientGone:
            pass  # nobody is reading
        return stream.response


def _delta(segment: TimedSegment, form: TranscriptionForm, *, first: bool) -> dict[str, Any]:
    text = segment.text if first else f" {segment.text}"
    event: dict[str, Any] = {"type": "transcript.text.delta", "delta": text}
    if form.logprobs:
        event["logprobs"] = logprobs_of([segment])
    return event


def _done(heard: Heard, form: TranscriptionForm) -> dict[str, Any]:
    event: dict[str, Any] = {"type": "transcript.text.done", "text": heard.text}
    usage = usage_of(heard.text, heard.duration_ms, form.model)
    if usage["type"] == "tokens":  # the event has no other
        event["usage"] = usage
    if form.logprobs:
        event["logprobs"] = logprobs_of(heard.segments)
    return event


# ---------------------------------------------------------------------- translations


ENGLISH = "en"
TRANSLATOR = "default"


class CompatTranslations:
    """One operation."""

    def __init__(
        self,
        engines: Catalogue,
        listener: Listener,
        book: Book,
        *,
        seconds: float = HEARING_SECONDS,
    ) -> None:
        self._engines = engines
        self._listener = listener
        self._book = book
        self._seconds = seconds

    def operations(self) -> Sequence[AnyOperation]:
        """See Resource."""
        return [_operation("/v1/audio/translations", "Create translation", self._create)]

    async def _create(self, request: Request[None, None]) -> web.StreamResponse:
        return await unless_gone(request.http, self._answer(request))

    async def _answer(self, request: AnyRequest) -> web.Response:
        form = read_form(request.file, translates=True)
        heard = await self._listener.open(request, form)
        async with in_time(self._seconds):
            await self._listener.hear(request, heard)
            segments = await self._in_english(request, heard, allow_draft=form.allow_draft)
            warn(request.http, without_effect(form, ()))
            transcript = Transcript(
                segments=segments,
                language=ENGLISH,
                duration_ms=heard.duration_ms,
                task="translate",
            )
            return await shown(transcript, form)

    async def _in_english(
        self, request: AnyRequest, heard: Heard, *, allow_draft: bool
    ) -> Sequence[TimedSegment]:
        """The lines of the transcript in English; raises ApiError."""
        if not heard.segments:
            return ()
        if heard.language is None:
            raise ValidationFailed("The recording's language was not recognised.", param="file")
        source = heard.language.partition("-")[0].lower()
        if source == ENGLISH:
            return heard.segments
        draft = True
        with contextlib.suppress(ModelUnavailable):
            draft = self._engines.translation_engine(TRANSLATOR, source, ENGLISH).draft
        if draft and heard.transcriber.translates:
            return await self._heard_in_english(request, heard)
        if draft and not allow_draft:
            pairs = self._engines.translated_pairs()
            reason = no_translator(f"from {source!r} to {ENGLISH!r}", pairs, "allow_draft")
            raise NoSuchModel(f"{reason[0].upper()}{reason[1:]}.", param="file")
        return await self._translated(request, heard, source)

    async def _heard_in_english(self, request: AnyRequest, heard: Heard) -> Sequence[TimedSegment]:
        segments = await self._listener.in_english(request, heard)
        read = sum(len(segment.text) for segment in heard.segments)
        await self._booked(request, heard.transcriber.model_id, read)
        return segments

    async def _translated(
        self, request: AnyRequest, heard: Heard, source: str
    ) -> Sequence[TimedSegment]:
        lines = await asyncio.to_thread(lambda: list(lines_of(heard.segments)))
        read = 0
        try:
            translator = await self._engines.translator(TRANSLATOR, source, ENGLISH)
            try:
                made = []
                for line in lines:
                    text = await translator.translate(line.text, source, ENGLISH)
                    read += len(line.text)
                    made.append(TimedSegment(line.start_ms, line.end_ms, text.strip()))
            finally:
                await self._booked(request, translator.model_id, read)
        except EngineError as error:
            raise engine_refusal(error) from error
        return made

    async def _booked(self, request: AnyRequest, model_id: str, characters: int) -> None:
        if characters:
            unit = Unit(
                name=f"{request.id}:translation",
                type="translation",
                model=model_id,
                tokens=characters,
            )
            await asyncio.shield(self._book(request.workspace_id, [unit]))
