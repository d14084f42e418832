"""Capabilities: what this server can do now, and what is missing where it cannot.

Only live engines are claimed: all of them are surveyed (rest.resources.survey),
and what is unavailable says why.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from msgspec import Struct

from media.files.limits import DEFAULT_LIMITS
from pipelines.engines.base import ModelUnavailable
from pipelines.engines.catalogue import Catalogue
from pipelines.engines.engine import EngineStatus, Role
from pipelines.speech.delivery import MAX_CHARACTERS as MAX_PREPARED
from pipelines.speech.job import EXPRESSIVE, EXPRESSIVE_FORMATS, STABLE
from pipelines.speech.script import TAGS
from pipelines.transcription.subtitles import FORMATS as EXPORTS
from rest.http.fields import AUDIO_FORMATS, MAX_TEXT
from rest.jobs.speech_requests import MAX_ITEMS, MAX_SPEED, MIN_SPEED

from .survey import SpokenLanguage, Survey, Surveyed


class SpeechModel(Struct, rename="camel"):
    """What one of the speech models does. ``languages``: how each is spoken; ``cloned_voices``:
    whether it speaks with them now."""

    id: str
    available: bool
    languages: dict[str, SpokenLanguage]
    formats: list[str]
    streaming: bool
    voices: int
    cloned_voices: bool
    emotion: bool


class SpeedRange(Struct):
    """Bounds of ``speed``; 1 is the voice's own."""

    minimum: float
    maximum: float


class Speech(Struct, rename="camel"):
    """``languages`` are those of ``blab-stable``. ``delivery``: what is done now; what needs a
    chat model that is not there is spoken verbatim. ``tags``: expression tags by language."""

    available: bool
    models: list[SpeechModel]
    languages: dict[str, SpokenLanguage]
    formats: list[str]
    speed: SpeedRange
    delivery: list[str]
    tags: dict[str, list[str]]
    polish: bool
    streaming: bool
    max_characters: int
    max_prepared_characters: int


class Hearing(Struct, rename="camel"):
    """``languages`` empty: whatever the upstream hears. ``models``: those of recordings."""

    available: bool
    reason: str | None
    models: list[str]
    languages: list[str]
    language_detection: bool
    word_times: bool
    exports: list[str]


class Chat(Struct, rename="camel"):
    """The chat model that ``name`` stands for; ``note``: why it is that one."""

    available: bool
    reason: str | None
    name: str
    model: str | None
    note: str | None = None


class VoiceCloning(Struct, rename="camel"):
    """``method`` ``style_match``: the nearest that the engine's own styles come to the sample."""

    available: bool
    reason: str | None
    method: str
    languages: list[str]


class Dubbing(Struct, rename="camel"):
    """``targets``: languages into which each source language is dubbed, being translated by a
    translator, and spoken. ``drafts``: those that a chat model would translate, which may say
    something else; they need ``allowDraft``."""

    available: bool
    reason: str | None
    targets: dict[str, list[str]]
    drafts: dict[str, list[str]]


class Batch(Struct, rename="camel"):
    """How many texts one batch takes."""

    max_items: int


class LiveLanguage(Struct, rename="camel"):
    """How a language is heard and spoken in calls. ``hearing``, ``speech``: the engines;
    ``word_error_rate``: the share of words heard wrongly, as measured; ``reason``: why no call is
    held in it now."""

    available: bool
    hearing: str | None
    speech: str | None
    word_error_rate: float | None
    reason: str | None


class Realtime(Struct, rename="camel"):
    """Live calls, the paths at which they are opened, and their languages. ``language_detection``:
    whether the language is recognised from what the caller says."""

    available: bool
    websocket: str
    webrtc: str
    languages: dict[str, LiveLanguage]
    language_detection: bool


class Limits(Struct, rename="camel"):
    """``requests_per_minute`` 0: no limit."""

    max_upload_bytes: int
    max_media_seconds: float
    max_text_characters: int
    requests_per_minute: int


class PluginView(Struct):
    """A package that adds engines. ``reason``: why it adds none."""

    package: str
    engines: list[str]
    available: bool
    reason: str | None


class CapabilitiesView(Struct, rename="camel"):
    """What this server can do now."""

    tts: Speech
    stt: Hearing
    llm: Chat
    voice_cloning: VoiceCloning
    dubbing: Dubbing
    batch: Batch
    realtime: Realtime
    limits: Limits
    plugins: list[PluginView]


CHAT = "verinova-stable"
"""The contract's name for the chat model."""
HEARING = "default"
CLONING_METHOD = "style_match"
"""A voice is matched to the sample, not copied from it."""


@dataclass(frozen=True, slots=True)
class PlatformLimits:
    """What this installation accepts: bytes of an upload, seconds of audio, requests per minute (0:
    no limit)."""

    max_upload_bytes: int = 2 * 1024**3
    max_media_seconds: float = DEFAULT_LIMITS.max_seconds
    requests_per_minute: int = 600


class Capabilities:
    """Asks the engines. ``answers_calls``: whether a live call would be answered now."""

    def __init__(
        self,
        engines: Catalogue,
        survey: Survey,
        limits: PlatformLimits,
        answers_calls: Callable[[], bool],
        *,
        polish: bool = True,
    ) -> None:
        self._engines = engines
        self._survey = survey
        self._limits = limits
        self._answers_calls = answers_calls
        self._polish = polish

    async def view(self) -> CapabilitiesView:
        """What is live now."""
        surveyed = await self._survey.taken()
        limits = self._limits
        chat, hearing = self._chat(), self._hearing()
        return CapabilitiesView(
            tts=self._speech(surveyed, chat),
            stt=hearing,
            llm=chat,
            voice_cloning=self._cloning(surveyed),
            dubbing=_dubbing(surveyed, hearing),
            batch=Batch(MAX_ITEMS),
            realtime=self._realtime(),
            limits=Limits(
                max_upload_bytes=limits.max_upload_bytes,
                max_media_seconds=limits.max_media_seconds,
                max_text_characters=MAX_TEXT,
                requests_per_minute=limits.requests_per_minute,
            ),
            plugins=[
                PluginView(
                    plugin.distribution,
                    list(plugin.engines),
                    not plugin.reason,
                    plugin.reason or None,
                )
                for plugin in self._engines.plugins
            ],
        )

    def _speech(self, surveyed: Surveyed, chat: Chat) -> Speech:
        models = [self._speech_model(surveyed, model) for model in surveyed.spoken]
        return Speech(
            available=any(model.available for model in models),
            models=models,
            languages=surveyed.spoken[STABLE],
            formats=list(AUDIO_FORMATS),
            speed=SpeedRange(MIN_SPEED, MAX_SPEED),
            delivery=["verbatim", "natural", "expressive"] if chat.available else ["verbatim"],
            tags={tag: [f"<{name}>" for name in names] for tag, names in TAGS.items()},
            polish=self._polish,
            streaming=models[0].available,
            max_characters=MAX_TEXT,
            max_prepared_characters=MAX_PREPARED,
        )

    def _speech_model(self, surveyed: Surveyed, model: str) -> SpeechModel:
        expressive = model == EXPRESSIVE
        return SpeechModel(
            id=model,
            available=bool(surveyed.live(model)),
            languages=surveyed.spoken[model],
            formats=list(EXPRESSIVE_FORMATS if expressive else AUDIO_FORMATS),
            streaming=not expressive,
            voices=len(self._engines.voices(model)),
            cloned_voices=not expressive and bool(surveyed.cloned),
            emotion=expressive,
        )

    def _hearing(self) -> Hearing:
        live = [
            one
            for one in self._engines.statuses()
            if one.live and one.role is Role.FILE_TRANSCRIPTION
        ]
        reason = _lack(lambda: self._engines.check_transcription(HEARING, None))
        return Hearing(
            available=reason is None,
            reason=reason,
            models=[one.model_id for one in live],
            languages=_languages(live),
            language_detection=reason is None,
            word_times=reason is None,
            exports=list(EXPORTS),
        )

    def _chat(self) -> Chat:
        try:
            model = self._engines.check_chat(CHAT)
        except ModelUnavailable as error:
            return Chat(available=False, reason=str(error), name=CHAT, model=None)
        notes = [
            status.note
            for status in self._engines.statuses()
            if (status.role, status.model_id) == (Role.CHAT, model)
        ]
        note = next(iter(notes), "") or None
        return Chat(available=True, reason=None, name=CHAT, model=model, note=note)

    def _realtime(self) -> Realtime:
        languages = {
            tag: LiveLanguage(
                available=one.reason is None,
                hearing=one.hearing,
                speech=one.speech,
                word_error_rate=one.word_errors,
                reason=one.reason,
            )
            for tag, one in self._engines.call_languages().items()
        }
        return Realtime(
            available=self._answers_calls(),
            websocket="/v1/realtime",
            webrtc="/v1/realtime/calls",
            languages=languages,
            language_detection=_lack(lambda: self._engines.language_detector) is None,
        )

    def _cloning(self, surveyed: Surveyed) -> VoiceCloning:
        reason = _lack(self._engines.check_cloning)
        if reason is None and not surveyed.cloned:
            reason = "No engine that is live speaks with cloned voices."
        languages = surveyed.cloned if reason is None else []
        return VoiceCloning(
            available=reason is None, reason=reason, method=CLONING_METHOD, languages=languages
        )


def _dubbing(surveyed: Surveyed, hearing: Hearing) -> Dubbing:
    spoken = set(surveyed.live(STABLE))

    def dubbed(pairs: dict[str, list[str]]) -> dict[str, list[str]]:
        found = {
            source: [target for target in targets if target in spoken]
            for source, targets in pairs.items()
            if not hearing.languages or source in hearing.languages
        }
        return {source: targets for source, targets in found.items() if targets}

    if not hearing.available:
        return Dubbing(available=False, reason=hearing.reason, targets={}, drafts={})
    targets, drafts = dubbed(surveyed.translated), dubbed(surveyed.drafts)
    reason = None
    if not targets:
        reason = "No language is translated and spoken" + (
            ", but as a draft: send allowDraft." if drafts else "."
        )
    return Dubbing(available=reason is None, reason=reason, targets=targets, drafts=drafts)


def _languages(statuses: list[EngineStatus]) -> list[str]:
    if any(not status.languages for status in statuses):
        return []
    return sorted({tag for status in statuses for tag in status.languages})


def _lack(check: Callable[[], Any]) -> str | None:
    """Why a check fails; None where it passes."""
    try:
        check()
    except ModelUnavailable as error:
        return str(error)
    return None
