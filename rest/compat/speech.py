"""OpenAI's ``POST /v1/audio/speech``: a text as audio, sent while it is being spoken.

OpenAI's names of voices mean the voice that suits the text's language; a builtin or a cloned voice
is named by its id. ``language``, which OpenAI does not have, says what the text is in; otherwise it
is guessed. ``instructions`` and other fields are accepted and have no effect.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

from aiohttp import web
from msgspec import UNSET, Meta, Struct, UnsetType

from pipelines.engines.jobs import JobEngines
from pipelines.engines.speech.read_aloud import OPENAI_VOICES
from pipelines.speech.order import DEFAULT_VOICE, SpeechOrder
from pipelines.speech.script import says_something
from rest.http.departure import unless_gone
from rest.http.errors import ValidationFailed
from rest.http.fields import ModelId, VoiceId
from rest.http.operation import AnyOperation, Operation, Request
from rest.http.slot import Slots, slot
from rest.jobs.speech_requests import MAX_SPEED, MIN_SPEED, Language, SpeechChecks
from rest.jobs.tts import WRITE

from .model_names import ModelNames
from .models import TAG
from .spoken_answer import SpokenAnswer

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
