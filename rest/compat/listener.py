"""Listener: a recording heard while its sender waits.

Invariants
- Memory does not depend on the recording's length, nor does it take more than ``LIMITS`` of it.
- A file in which nothing can be heard is refused before anything is begun.
- What was heard is booked once, by its length, whoever ended it.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from media.errors import MediaError
from media.files.limits import MediaLimits
from media.formats import HEARING_RATE, SAMPLE_BYTES, milliseconds_of
from pipelines.decoding import decoded
from pipelines.engines.base import EngineError
from pipelines.engines.jobs import FileTranscriber, JobEngines
from pipelines.jobs.job import Unit
from pipelines.transcription.timed_text import TimedSegment, of_segment
from rest.http.engine_refusals import refusal
from rest.http.errors import ValidationFailed
from rest.http.operation import AnyRequest
from rest.jobs.media_checks import checked_media
from rest.jobs.tts_stream import Book

from .model_names import ModelNames
from .transcription_form import TranscriptionForm

LIMITS = MediaLimits(max_seconds=30 * 60.0)
"""Longer recordings are for jobs, which may take their time."""


@dataclass(slots=True)
class Heard:
    """What has been understood so far. ``language`` None: nobody knows (yet)."""

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
    """Hears uploads."""

    def __init__(self, engines: JobEngines, book: Book, limits: MediaLimits = LIMITS) -> None:
        self._engines = engines
        self._names = ModelNames(engines)
        self._book = book
        self._limits = limits

    async def open(self, request: AnyRequest, form: TranscriptionForm) -> Heard:
        """Get ready to hear the request's file; raises ApiError where that cannot be done."""
        try:
            model = self._names.transcription(form.model, form.language)
            await checked_media(request.file.path, self._limits)
            transcriber = await self._engines.file_transcriber(model, form.language)
        except EngineError as error:
            raise refusal(error) from error
        return Heard(transcriber, form.language)

    async def segments(
        self, request: AnyRequest, heard: Heard
    ) -> AsyncGenerator[TimedSegment, None]:
        """What is said, as it is understood, while ``heard`` fills; raises ApiError."""
        try:
            async with contextlib.aclosing(self._segments(request, heard)) as segments:
                async for segment in segments:
                    yield segment
        finally:
            await self._booked(request, heard)

    async def in_english(self, request: AnyRequest, heard: Heard) -> list[TimedSegment]:
        """What is said in English, by a transcriber that ``translates``, where ``heard`` has been
        heard; raises ApiError."""
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
            raise refusal(error) from error

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
    """``pieces``, counted on their way."""
    async with contextlib.aclosing(pieces):
        async for piece in pieces:
            heard.bytes += len(piece)
            yield piece
