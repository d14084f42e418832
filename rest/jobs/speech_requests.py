"""Requests for speech, checked before anything is started."""

import asyncio
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

from pipelines.engines.base import ModelUnavailable
from pipelines.engines.catalogue import Catalogue
from pipelines.engines.jobs import SpeechChoice
from pipelines.speech.job import (
    DEFAULT_VOICE,
    SpeechOrder,
    UnknownVoice,
    Unspeakable,
    check_limits,
    choose,
    unspoken_part,
)
from pipelines.speech.language import LANGUAGES, language_of
from pipelines.speech.script import says_something
from rest.http.errors import NoSuchModel, NotFound, ValidationFailed
from rest.http.fields import AudioFormat, ModelId, SpokenLanguage, Text, VoiceId
from store.tenants.voices import Voices

MIN_SPEED, MAX_SPEED = 0.25, 4
"""1 is the voice's own."""
MAX_ITEMS = 200
"""Items of a batch at most."""
MAX_LISTED = 60
"""Voices that a refusal lists at most."""


SpeechModel = Annotated[
    Literal["blab-stable", "blab-expressive"],
    Meta(
        description="blab-stable = fast engine (streaming, cloned voices, all formats)."
        " blab-expressive = emotional engine (curated voices, mp3/wav, no streaming).",
        examples=["blab-stable"],
    ),
]
Language = Annotated[
    SpokenLanguage, Meta(description="Explicit synthesis language (omitted ⇒ auto-detect)")
]
Delivery = Annotated[
    Literal["verbatim", "natural", "expressive"],
    Meta(
        description="LLM prosody pre-pass before synthesis. `natural` repairs punctuation/rhythm"
        " for delivery; `expressive` additionally inserts sparing expression tags (verified per"
        " language: tr: <breath> <sigh> <laugh> <clear> · en: <laugh> <sigh>; other languages get"
        " natural-level treatment). Words are never changed — the job's take shows the exact"
        " spoken script, whose length is what gets billed. Ignored on /api/tts/stream."
    ),
]
Polish = Annotated[
    bool,
    Meta(
        description="Broadcast post-chain on the rendered audio: de-esser → gentle 2:1"
        " compression → EBU R128 loudness normalization (-16 LUFS) → true-peak limiter."
    ),
]
Emotion = Annotated[
    int,
    Meta(
        ge=0,
        le=100,
        description="Emotion intensity — blab-expressive only (mapped to the engine's"
        " exaggeration). Omitted ⇒ engine default (~55).",
    ),
]
BatchPolish = Annotated[
    bool,
    Meta(description="Broadcast polish chain applied to every clip (see TtsCreate.polish)."),
]


class TtsCreate(Struct, kw_only=True):
    """The contract's TtsCreate."""

    model: SpeechModel
    input: Text
    voice: VoiceId = DEFAULT_VOICE
    language: Language | UnsetType = UNSET
    format: AudioFormat = field(default="mp3", name="response_format")
    speed: Annotated[float, Meta(ge=MIN_SPEED, le=MAX_SPEED)] = 1.0
    delivery: Delivery = "verbatim"
    polish: Polish = False
    emotion: Emotion | UnsetType = UNSET


class BatchItem(Struct):
    """One text of a batch; ``voice`` in place of the batch's."""

    input: Text
    voice: VoiceId | UnsetType = UNSET


class BatchCreate(Struct, kw_only=True):
    """The contract's BatchCreate, and ``partial``: run what can be run and list what is refused,
    instead of refusing all. ``items`` are checked one by one by who takes them (``BatchItem``)."""

    CHECKED_LATER: ClassVar[tuple[str, ...]] = ("items",)

    model: ModelId
    items: Annotated[
        list[Any],
        Meta(
            min_length=1,
            max_length=MAX_ITEMS,
            extra_json_schema={"items": msgspec.json.schema(BatchItem)["$defs"]["BatchItem"]},
        ),
    ]
    partial: bool = False
    voice: VoiceId = DEFAULT_VOICE
    language: SpokenLanguage | UnsetType = UNSET
    format: AudioFormat = field(default="mp3", name="response_format")
    polish: BatchPolish = False


class SpeechChecks:
    """Turns requests into orders that the engines can carry out."""

    def __init__(self, engines: Catalogue, cloned: Voices) -> None:
        self._engines = engines
        self._cloned = cloned

    async def order(self, workspace_id: str, asked: TtsCreate, where: str = "") -> SpeechOrder:
        """The order; ``where`` is prefixed to the names of fields. Raises ApiError."""
        if not says_something(asked.input):
            raise ValidationFailed("It contains nothing to say.", param=f"{where}input")
        guessed = asked.language is UNSET
        if asked.language is UNSET:
            language = await self.guess(asked.model, asked.voice, asked.input)
        else:
            language = asked.language
        order = SpeechOrder(
            model=asked.model,
            input=asked.input,
            language=language,
            voice=asked.voice or DEFAULT_VOICE,
            format=asked.format,
            speed=asked.speed,
            delivery=asked.delivery,
            polish=asked.polish,
            emotion=None if asked.emotion is UNSET else asked.emotion,
        )
        await self.choice(workspace_id, order, where=where, guessed=guessed)
        return order

    async def guess(self, model: str, voice: str, text: str) -> str:
        """The language of a text for which none was sent, as ``voice`` can speak it."""
        known = self._engines.voice_languages(model, voice or DEFAULT_VOICE)
        return await asyncio.to_thread(language_of, text, known.spoken or LANGUAGES, known.own)

    async def choice(
        self,
        workspace_id: str,
        order: SpeechOrder,
        *,
        streaming: bool = False,
        where: str = "",
        guessed: bool = False,
    ) -> SpeechChoice:
        """The engine and voice that speak the order; raises NotFound and NoSuchModel. ``guessed``:
        its language is from ``guess``, which a refusal mentions."""
        try:
            check_limits(order, streaming=streaming)
            choice = await choose(workspace_id, order, self._engines, self._cloned)
            unspoken_part(self._engines, choice, order.input)
        except UnknownVoice as error:
            raise NotFound(self._no_voice(order), param=f"{where}voice") from error
        except Unspeakable as error:
            if error.param == "input":
                raise ValidationFailed(str(error), param=f"{where}input") from error
            raise NoSuchModel(str(error), param=error.param) from error
        except ModelUnavailable as error:
            spoken = self._engines.voice_languages(order.model, order.voice).spoken
            if guessed and spoken and order.language not in spoken:
                raise NoSuchModel(
                    f"{error}. The language {order.language!r} was guessed from the text:"
                    " send language where it is another.",
                    param=f"{where}language",
                ) from error
            raise NoSuchModel(str(error), param="model") from error
        return choice

    def _no_voice(self, order: SpeechOrder) -> str:
        """The message that there is no such voice, with those that there are."""
        known = [DEFAULT_VOICE, *[info.id for info in self._engines.voices(order.model)]]
        listed = ", ".join(known[:MAX_LISTED]) + (" …" if len(known) > MAX_LISTED else "")
        return (
            f"There is no such voice: send one of {listed}, or the id of a voice of"
            " this workspace. GET /api/voices/catalog has them all."
        )
