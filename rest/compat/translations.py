"""OpenAI's ``POST /v1/audio/translations``: what a recording says, in English.

The recording is heard in its own language and translated sentence by sentence; each keeps its
time. One that is in English already is only heard.
"""

import asyncio
from collections.abc import Sequence

from aiohttp import web

from pipelines.dubbing_lines import lines_of
from pipelines.engines.base import EngineError
from pipelines.engines.jobs import JobEngines, Translator
from pipelines.jobs import Unit
from pipelines.timed_text import TimedSegment
from rest.departure import unless_gone
from rest.engine_refusals import refusal
from rest.errors import ValidationFailed
from rest.operation import Operation, Request
from rest.stt import WRITE
from rest.tts_stream import Book

from .listener import Heard, Listener
from .models import TAG
from .transcript_view import Transcript, shown
from .transcription_form import read_form
from .transcriptions import HEARING_SECONDS, in_time

ENGLISH = "en"
TRANSLATOR = "default"


class CompatTranslations:
    """One operation."""

    def __init__(
        self, engines: JobEngines, listener: Listener, book: Book, *,
        seconds: float = HEARING_SECONDS,
    ) -> None:  # fmt: skip
        self._engines = engines
        self._listener = listener
        self._book = book
        self._seconds = seconds

    def operations(self) -> Sequence[Operation]:
        """See Resource."""
        return [
            Operation(
                *("POST", "/v1/audio/translations", TAG, "Create translation", self._create),
                upload=True, scope=WRITE, deadline=None, unused_form=("label",),
            )
        ]  # fmt: skip

    async def _create(self, request: Request) -> web.StreamResponse:
        return await unless_gone(request.http, self._answer(request))

    async def _answer(self, request: Request) -> web.Response:
        form = read_form(request.file, streams=False)
        heard = await self._listener.open(request, form)
        async with in_time(self._seconds):
            await self._listener.hear(request, heard)
            segments = await self._in_english(request, heard)
            transcript = Transcript(segments, ENGLISH, heard.duration_ms, "translate")
            return await shown(transcript, form)

    async def _in_english(self, request: Request, heard: Heard) -> Sequence[TimedSegment]:
        """The lines of the transcript in English; raises ApiError."""
        if not heard.segments:
            return ()
        if heard.language is None:
            raise ValidationFailed("The recording's language was not recognised.", param="file")
        source = heard.language.partition("-")[0].lower()
        if source == ENGLISH:
            return heard.segments
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
                await self._booked(request, translator, read)
        except EngineError as error:
            raise refusal(error) from error
        return made

    async def _booked(self, request: Request, translator: Translator, characters: int) -> None:
        if characters:
            name = f"{request.id}:translation"
            unit = Unit(name, "translation", translator.model_id, characters)
            await asyncio.shield(self._book(request.workspace_id, [unit]))
