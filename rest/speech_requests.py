"""What a request asks to have spoken, checked before anything is begun."""

import asyncio
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from pipelines.engines.base import ModelUnavailable
from pipelines.engines.jobs import JobEngines, SpeechChoice
from pipelines.speech_language import language_of
from pipelines.speech_order import (
    DEFAULT_VOICE,
    ClonedVoices,
    SpeechOrder,
    UnknownVoice,
    Unspeakable,
    check_limits,
    choose,
)
from pipelines.speech_script import says_something

from .errors import NoSuchModel, NotFound, ValidationFailed
from .fields import AudioFormat, ModelId, SpokenLanguage, Text, VoiceId


class TtsCreate(Struct, kw_only=True):
    """The contract's TtsCreate."""

    model: Literal["blab-stable", "blab-expressive"]
    input: Text
    voice: VoiceId = DEFAULT_VOICE
    language: SpokenLanguage | None = None
    format: AudioFormat = field(default="mp3", name="response_format")
    speed: Annotated[float, Meta(ge=0.25, le=4)] = 1.0
    delivery: Literal["verbatim", "natural", "expressive"] = "verbatim"
    polish: bool = False
    emotion: Annotated[int, Meta(ge=0, le=100)] | None = None


class BatchItem(Struct):
    """One text of a batch; ``voice`` in place of the batch's."""

    input: Text
    voice: VoiceId | None = None


class BatchCreate(Struct, kw_only=True):
    """The contract's BatchCreate."""

    model: ModelId
    items: Annotated[list[BatchItem], Meta(min_length=1, max_length=200)]
    voice: VoiceId = DEFAULT_VOICE
    language: SpokenLanguage | None = None
    format: AudioFormat = field(default="mp3", name="response_format")
    polish: bool = False


class SpeechChecks:
    """Turns requests into orders that can be carried out."""

    def __init__(self, engines: JobEngines, cloned: ClonedVoices) -> None:
        self._engines = engines
        self._cloned = cloned

    async def order(self, workspace_id: str, asked: TtsCreate, where: str = "") -> SpeechOrder:
        """The order; ``where`` is put before the names of fields. Raises ApiError."""
        if not says_something(asked.input):
            raise ValidationFailed("There is nothing to say in it.", param=f"{where}input")
        language: str | None = asked.language
        if language is None:
            language = await asyncio.to_thread(language_of, asked.input)
        order = SpeechOrder(
            model=asked.model, input=asked.input, language=language,
            voice=asked.voice or DEFAULT_VOICE, format=asked.format, speed=asked.speed,
            delivery=asked.delivery, polish=asked.polish, emotion=asked.emotion,
        )  # fmt: skip
        await self.choice(workspace_id, order, where=where)
        return order

    async def choice(
        self, workspace_id: str, order: SpeechOrder, *, streaming: bool = False, where: str = ""
    ) -> SpeechChoice:
        """Who speaks the order; raises NotFound and NoSuchModel."""
        try:
            check_limits(order, streaming=streaming)
            return await choose(workspace_id, order, self._engines, self._cloned)
        except UnknownVoice as error:
            raise NotFound("There is no such voice.", param=f"{where}voice") from error
        except Unspeakable as error:
            raise NoSuchModel(str(error), param=error.param) from error
        except ModelUnavailable as error:
            raise NoSuchModel(str(error), param="model") from error
