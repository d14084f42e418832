"""OpenAI's ``POST /v1/audio/speech``: a text as audio, sent while it is spoken.

OpenAI's voice names mean the voice that suits the text's language; a builtin or a cloned voice is
named by its id. ``language``, which OpenAI does not have, says what the text is in; without it the
language is guessed. ``instructions`` and other fields are accepted and have no effect.

Rules
- Nothing is made ahead of what the client reads; a client that leaves ends the synthesis.
- What can be refused is refused before the first byte, the engine's first failure included.
- What was spoken is billed once, at the end, whoever ended it.
"""

import base64
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from aiohttp import web
from msgspec import UNSET, Meta, Struct, UnsetType

from media.files.encode import Encoder, PlainSamples
from pipelines.engines.catalogue import Catalogue
from pipelines.engines.jobs import SpeechChoice
from pipelines.engines.speech.read_aloud import OPENAI_VOICES
from pipelines.jobs.usage import SPOKEN_TOKEN_MS, audio_tokens
from pipelines.speech.job import CONTENT_TYPES, DEFAULT_VOICE, SpeechOrder
from pipelines.speech.script import says_something
from rest.http.errors import ApiError, ValidationFailed
from rest.http.fields import ModelId, VoiceId
from rest.http.operation import EVENT_STREAM, AnyOperation, AnyRequest, Operation, Request
from rest.http.waiting import ClientGone, ClientStream, slot, unless_gone
from rest.jobs.speech_requests import MAX_SPEED, MIN_SPEED, Language, SpeechChecks
from rest.jobs.tts import WRITE, Speech, SpeechStream
from sessions.host import SessionHost

from .models import TAG, ModelNames

PCM = "pcm"


def encoder(format: str, rate: int) -> Encoder | PlainSamples:
    """An encoder of ``format``, which may also be ``pcm``, for samples at ``rate`` Hz."""
    return PlainSamples(rate) if format == PCM else Encoder(format, rate)


_TYPES = {**CONTENT_TYPES, PCM: "audio/pcm"}


class SpokenAnswer(SpeechStream):
    """Answers with bytes of audio, or with events that carry them."""

    async def answer(
        self, request: AnyRequest, order: SpeechOrder, choice: SpeechChoice, *, events: bool
    ) -> web.StreamResponse:
        """The answer, at its end; raises ApiError where it could not begin."""
        stream = ClientStream(request.http, EVENT_STREAM if events else _TYPES[order.format])
        async with self.speech(request, order, choice, "speech") as speech:
            try:
                data: bytes | None = await anext(speech.chunks)
                await stream.begin()
                while data is not None:
                    await _send(stream, data, events=events)
                    data = await anext(speech.chunks, None)
                if events:
                    await stream.event(_done(speech))
                await stream.end()
            except ApiError as error:
                if not stream.begun:
                    raise
                await stream.fail(error)
            except ClientGone:
                pass  # nobody is listening
        return stream.response


async def _send(stream: ClientStream, data: bytes, *, events: bool) -> None:
    if not events:
        await stream.write(data)
    elif data:
        audio = base64.b64encode(data).decode()
        await stream.event({"type": "speech.audio.delta", "audio": audio})


def _done(speech: Speech) -> dict[str, Any]:
    """The tokens of the text are its characters, which are what is billed."""
    spoken = audio_tokens(speech.milliseconds, SPOKEN_TOKEN_MS)
    usage = {
        "input_tokens": speech.characters,
        "output_tokens": spoken,
        "total_tokens": speech.characters + spoken,
    }
    return {"type": "speech.audio.done", "usage": usage}


MAX_INPUT = 4096
"""Characters, as in OpenAI's API."""


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
        self, engines: Catalogue, checks: SpeechChecks, answer: SpokenAnswer, host: SessionHost
    ) -> None:
        self._engines = engines
        self._names = ModelNames(engines)
        self._checks = checks
        self._answer = answer
        self._host = host

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
            raise ValidationFailed("It contains nothing to say.", param="input")
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
        with slot(self._host, request.workspace_id):
            return await self._answer.answer(request, order, choice, events=events)

    def _voice(self, asked: SpeechCreate, model: str) -> str:
        """The voice's id; OpenAI's names are kept where the engine has them."""
        voice = asked.voice.id if isinstance(asked.voice, VoiceRef) else asked.voice
        if voice not in OPENAI_VOICES:
            return voice or DEFAULT_VOICE
        known = any(info.id == voice for info in self._engines.voices(model))
        return voice if known else DEFAULT_VOICE
