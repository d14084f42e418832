"""OpenAI's ``POST /v1/audio/translations``: what a recording says, in English.

The recording is transcribed in its own language and translated sentence by sentence; each keeps its
time. Where there is no translator for that language it is transcribed again by an engine that
writes English. One that is already in English is only transcribed.
"""

import asyncio
import contextlib
from collections.abc import Sequence

from aiohttp import web

from pipelines.dubbing.job import no_translator
from pipelines.dubbing.translation import lines_of
from pipelines.engines.base import EngineError, ModelUnavailable
from pipelines.engines.catalogue import Catalogue
from pipelines.jobs.job import Unit
from pipelines.transcription.timed_text import TimedSegment
from rest.http.errors import NoSuchModel, ValidationFailed, engine_refusal
from rest.http.operation import AnyOperation, AnyRequest, Operation, Request
from rest.http.waiting import in_time, unless_gone
from rest.jobs.stt import WRITE
from rest.jobs.tts import Book

from .models import TAG
from .transcriptions import HEARING_SECONDS, Heard, Listener
from .transcripts import Transcript, read_form, shown

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
        return [
            Operation(
                method="POST",
                path="/v1/audio/translations",
                tag=TAG,
                summary="Create translation",
                handler=self._create,
                upload=True,
                scope=WRITE,
                deadline=None,
                unused_form=("label",),
            )
        ]

    async def _create(self, request: Request[None, None]) -> web.StreamResponse:
        return await unless_gone(request.http, self._answer(request))

    async def _answer(self, request: AnyRequest) -> web.Response:
        form = read_form(request.file, translates=True)
        heard = await self._listener.open(request, form)
        async with in_time(self._seconds):
            await self._listener.hear(request, heard)
            segments = await self._in_english(request, heard, allow_draft=form.allow_draft)
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
