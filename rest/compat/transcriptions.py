"""OpenAI's ``POST /v1/audio/transcriptions``: what a recording says, at once or as it is heard."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from aiohttp import web

from pipelines.transcription.timed_text import TimedSegment
from rest.http.departure import unless_gone
from rest.http.errors import ApiError, Unavailable
from rest.http.operation import EVENT_STREAM, AnyOperation, AnyRequest, Operation, Request
from rest.jobs.stt import WRITE

from .client_stream import ClientGone, ClientStream
from .listener import Heard, Listener
from .models import TAG
from .transcript_view import Transcript, logprobs_of, shown, usage_of
from .transcription_form import TranscriptionForm, read_form

HEARING_SECONDS = 15 * 60.0
"""From the recording's arrival to the transcript."""


class CompatTranscriptions:
    """One operation."""

    def __init__(self, listener: Listener, *, seconds: float = HEARING_SECONDS) -> None:
        self._listener = listener
        self._seconds = seconds

    def operations(self) -> Sequence[AnyOperation]:
        """See Resource."""
        return [
            Operation(
                method="POST",
                path="/v1/audio/transcriptions",
                tag=TAG,
                summary="Create transcription",
                handler=self._create,
                upload=True,
                scope=WRITE,
                deadline=None,
                unused_form=("label",),
            )
        ]

    async def _create(self, request: Request[None, None]) -> web.StreamResponse:
        return await unless_gone(request.http, self._answer(request))

    async def _answer(self, request: AnyRequest) -> web.StreamResponse:
        form = read_form(request.file)
        heard = await self._listener.open(request, form)
        if form.stream:
            return await self._stream(request, form, heard)
        async with in_time(self._seconds):
            await self._listener.hear(request, heard)
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
            pass  # nobody reads on
        return stream.response


@contextlib.asynccontextmanager
async def in_time(seconds: float) -> AsyncGenerator[None, None]:
    """Raises Unavailable where what is inside takes longer."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise Unavailable(
            f"It was not over within {seconds:g} s and was given up.",
            openai_code="timeout",
            reason="timeout",
            retry_after=5,
        ) from error


def _delta(segment: TimedSegment, form: TranscriptionForm, *, first: bool) -> dict[str, Any]:
    text = segment.text if first else f" {segment.text}"
    told: dict[str, Any] = {"type": "transcript.text.delta", "delta": text}
    if form.logprobs:
        told["logprobs"] = logprobs_of([segment])
    return told


def _done(heard: Heard, form: TranscriptionForm) -> dict[str, Any]:
    told: dict[str, Any] = {"type": "transcript.text.done", "text": heard.text}
    usage = usage_of(heard.text, heard.duration_ms, form.model)
    if usage["type"] == "tokens":  # the event has no other
        told["usage"] = usage
    if form.logprobs:
        told["logprobs"] = logprobs_of(heard.segments)
    return told
