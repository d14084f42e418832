"""SpokenAnswer: a text spoken to its asker as bytes of audio, or as events that carry them.

Invariants
- Nothing is made ahead of what the client takes; a client that leaves ends the synthesis.
- What can be refused is refused before the first byte, the engine's first failure included.
- What was spoken is booked once, at the end, whoever ended it.
"""

import asyncio
import base64
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from media.formats import SAMPLE_BYTES, milliseconds_of
from pipelines.engines.base import EngineError
from pipelines.engines.jobs import JobEngines, SpeechChoice
from pipelines.jobs.job import Unit
from pipelines.jobs.usage import SPOKEN_TOKEN_MS, audio_tokens
from pipelines.speech.job import CONTENT_TYPES, AudioEncoder, EncoderMaker
from pipelines.speech.order import SpeechOrder, unspoken_part
from pipelines.speech.recital import Sound, recite
from rest.http.decoding import warn
from rest.http.engine_refusals import refusal
from rest.http.errors import ProviderFailed
from rest.http.operation import EVENT_STREAM, AnyRequest
from rest.jobs.tts_stream import Book

from .client_stream import ClientGone, ClientStream
from .plain_samples import PCM

_TYPES = {**CONTENT_TYPES, PCM: "audio/pcm"}


@dataclass(slots=True)
class _Spoken:
    rate: int = 0
    samples: int = 0
    characters: int = 0

    @property
    def milliseconds(self) -> int:
        return milliseconds_of(self.samples, self.rate)


class SpokenAnswer:
    """Speaks orders to their askers."""

    def __init__(self, engines: JobEngines, encoder: EncoderMaker, book: Book) -> None:
        self._engines = engines
        self._encoder = encoder
        self._book = book

    async def answer(
        self, request: AnyRequest, order: SpeechOrder, choice: SpeechChoice, *, events: bool
    ) -> web.StreamResponse:
        """The answer, at its end; raises ApiError where it could not begin."""
        spoken = _Spoken()
        lost = unspoken_part(self._engines, choice, order.input)
        warn(request.http, [lost] if lost else [])
        try:
            speaker = await self._engines.speech(choice)
            spoken.rate = speaker.sample_rate
            sounds = recite(speaker, order.input, speed=order.speed, language=order.language)
            async with contextlib.aclosing(sounds):
                first = await anext(sounds, None)
                if first is None:
                    raise ProviderFailed("The engine made no sound of this text.")
                stream = ClientStream(
                    request.http, EVENT_STREAM if events else _TYPES[order.format]
                )
                encoder = self._encoder(order.format, spoken.rate)
                await _send(stream, order, encoder, first, sounds, spoken, events=events)
                return stream.response
        except EngineError as error:
            raise refusal(error) from error
        finally:
            if spoken.samples:
                name = f"{request.id}:speech"
                duration = spoken.milliseconds
                unit = Unit(name, "tts", order.model, spoken.characters, duration)
                await asyncio.shield(self._book(request.workspace_id, [unit]))


async def _send(
    stream: ClientStream,
    order: SpeechOrder,
    encoder: AudioEncoder,
    first: Sound,
    sounds: AsyncGenerator[Sound, None],
    spoken: _Spoken,
    *,
    events: bool,
) -> None:
    try:
        await stream.begin()
        sound: Sound | None = first
        while sound is not None:
            spoken.samples += len(sound.pcm) // SAMPLE_BYTES
            spoken.characters = min(sound.said, len(order.input))
            data = await asyncio.to_thread(encoder.push, sound.pcm)
            await _piece(stream, data, events=events)
            sound = await anext(sounds, None)
        spoken.characters = len(order.input)
        await _piece(stream, await asyncio.to_thread(encoder.finish), events=events)
        if events:
            await stream.event(_done(spoken.characters, spoken.milliseconds))
    except EngineError as error:
        await stream.fail(refusal(error))
    except ClientGone:
        return
    else:
        await stream.end()


async def _piece(stream: ClientStream, data: bytes, *, events: bool) -> None:
    if not events:
        await stream.write(data)
    elif data:
        audio = base64.b64encode(data).decode()
        await stream.event({"type": "speech.audio.delta", "audio": audio})


def _done(characters: int, milliseconds: int) -> dict[str, Any]:
    """The tokens of the text are its characters, which are what is billed."""
    spoken = audio_tokens(milliseconds, SPOKEN_TOKEN_MS)
    usage = {
        "input_tokens": characters,
        "output_tokens": spoken,
        "total_tokens": characters + spoken,
    }
    return {"type": "speech.audio.done", "usage": usage}
