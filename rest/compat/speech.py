"""OpenAI's ``POST /v1/audio/speech``: a text as audio, sent while it is spoken.

OpenAI's voice names mean the voice that suits the text's language; a builtin or a cloned voice is
named by its id. ``language``, which OpenAI does not have, says what the text is in; without it the
language is guessed. ``instructions`` and other fields are accepted and have no effect.

Rules
- Nothing is made ahead of what the client reads; a client that leaves ends the synthesis.
- What can be refused is refused before the first byte, the engine's first failure included.
- What was spoken is billed once, at the end, whoever ended it.
"""

import asyncio
import base64
import contextlib
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from aiohttp import web
from msgspec import UNSET, Meta, Struct, UnsetType

from media.files.encode import Encoder
from media.formats import SAMPLE_BYTES, milliseconds_of
from media.resample import Resampler
from pipelines.engines.base import EngineError
from pipelines.engines.jobs import JobEngines, SpeechChoice
from pipelines.engines.speech.read_aloud import OPENAI_VOICES
from pipelines.jobs.job import Unit
from pipelines.jobs.usage import SPOKEN_TOKEN_MS, audio_tokens
from pipelines.speech.job import CONTENT_TYPES, AudioEncoder, EncoderMaker
from pipelines.speech.order import DEFAULT_VOICE, SpeechOrder, unspoken_part
from pipelines.speech.script import Sound, recite, says_something
from rest.http.decoding import warn
from rest.http.errors import ProviderFailed, ValidationFailed, engine_refusal
from rest.http.fields import ModelId, VoiceId
from rest.http.operation import EVENT_STREAM, AnyOperation, AnyRequest, Operation, Request
from rest.http.waiting import ClientGone, ClientStream, Slots, slot, unless_gone
from rest.jobs.speech_requests import MAX_SPEED, MIN_SPEED, Language, SpeechChecks
from rest.jobs.tts import WRITE, Book

from .model_names import ModelNames
from .models import TAG

PCM = "pcm"
PCM_RATE = 24_000
"""Hz; the samples are 16 bit, little-endian, mono."""


class PlainSamples:
    """An AudioEncoder that changes nothing but the rate."""

    def __init__(self, rate: int) -> None:
        self._resampler = Resampler(rate, PCM_RATE)
        self._late = self._resampler.delay * SAMPLE_BYTES

    def push(self, pcm: bytes) -> bytes:
        """Samples in, samples out."""
        return self._without_delay(self._resampler.push(pcm))

    def finish(self) -> bytes:
        """The last samples."""
        return self._without_delay(self._resampler.flush())

    def _without_delay(self, made: bytes) -> bytes:
        skipped = min(self._late, len(made))
        self._late -= skipped
        return made[skipped:]


def encoder(format: str, rate: int, samples: int | None = None, /) -> AudioEncoder:
    """An EncoderMaker that knows ``pcm``, too."""
    return PlainSamples(rate) if format == PCM else Encoder(format, rate, samples)


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
            raise engine_refusal(error) from error
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
        await stream.fail(engine_refusal(error))
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


MAX_INPUT = 4096
"""Characters, as OpenAI has it."""


class VoiceRef(Struct):
    """A voice by its id."""

    id: VoiceId


class SpeechCreate(Struct, kw_only=True):
    """OpenAI's SpeechCreateParams."""

    model: ModelId
    input: Annotated[str, Meta(max_length=MAX_INPUT)]
    voice: VoiceId | VoiceRef = DEFAULT_VOICE
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] = "mp3"
    speed: Annotated[float, Meta(ge=MIN_SPEED, le=MAX_SPEED)] = 1.0
    stream_format: Literal["audio", "sse"] = "audio"
    language: Language | UnsetType = UNSET


class CompatSpeech:
    """One operation."""

    def __init__(
        self, engines: JobEngines, checks: SpeechChecks, answer: SpokenAnswer, slots: Slots
    ) -> None:
        self._engines = engines
        self._names = ModelNames(engines)
        self._checks = checks
        self._answer = answer
        self._slots = slots

    def operations(self) -> Sequence[AnyOperation]:
        """See Resource."""
        return [
            Operation(
                method="POST",
                path="/v1/audio/speech",
                tag=TAG,
                summary="Create speech",
                handler=self._create,
                body=SpeechCreate,
                scope=WRITE,
                deadline=None,
            )
        ]

    async def _create(self, request: Request[SpeechCreate, None]) -> web.StreamResponse:
        return await unless_gone(request.http, self._speak(request))

    async def _speak(self, request: Request[SpeechCreate, None]) -> web.StreamResponse:
        asked = request.body
        if not says_something(asked.input):
            raise ValidationFailed("There is nothing to say in it.", param="input")
        events = asked.stream_format == "sse"
        model = self._names.speech(asked.model)
        voice = self._voice(asked, model)
        guessed = asked.language is UNSET
        if asked.language is UNSET:
            language = await self._checks.guess(model, voice, asked.input)
        else:
            language = asked.language
        order = SpeechOrder(
            model=model,
            input=asked.input,
            language=language,
            voice=voice,
            format=asked.response_format,
            speed=asked.speed,
        )
        choice = await self._checks.choice(
            request.workspace_id, order, streaming=events, guessed=guessed
        )
        with slot(self._slots):
            return await self._answer.answer(request, order, choice, events=events)

    def _voice(self, asked: SpeechCreate, model: str) -> str:
        """The voice's id; OpenAI's names are kept where the engine has them."""
        voice = asked.voice.id if isinstance(asked.voice, VoiceRef) else asked.voice
        if voice not in OPENAI_VOICES:
            return voice or DEFAULT_VOICE
        known = any(info.id == voice for info in self._engines.voices(model))
        return voice if known else DEFAULT_VOICE
