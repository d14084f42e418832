"""Models and capabilities as resources: what is live, as the engines and the upstream report it."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct

from pipelines.engines.base import ModelUnavailable
from pipelines.engines.catalogue import Catalogue
from pipelines.engines.engine import EngineStatus, Role
from pipelines.speech.job import EXPRESSIVE, EXPRESSIVE_FORMATS, STABLE
from rest.http.fields import AUDIO_FORMATS, MAX_TEXT
from rest.http.operation import Answer, AnyOperation, Operation, Request
from rest.jobs.speech_requests import MAX_SPEED, MIN_SPEED

from .capabilities import CHAT, Capabilities, CapabilitiesView, PlatformLimits
from .survey import Survey, Surveyed

_MODALITIES = {
    Role.VAD: "vad",
    Role.TURN: "turn_detection",
    Role.LANGUAGE: "language_detection",
    Role.STREAMING_TRANSCRIPTION: "stt",
    Role.TRANSCRIPTION: "stt",
    Role.FILE_TRANSCRIPTION: "stt",
    Role.CHAT: "llm",
    Role.SPEECH: "tts",
    Role.TRANSLATION: "translation",
    Role.CLONING: "voice_cloning",
}
_STREAMING = frozenset({Role.VAD, Role.STREAMING_TRANSCRIPTION, Role.CHAT, Role.SPEECH})
_UPSTREAM_NAMES = (
    (re.compile(r"whisper|transcribe|\bstt\b|\basr\b|parakeet|canary", re.I), "stt"),
    (re.compile(r"\btts\b|speech|kokoro|piper|\bvoice\b", re.I), "tts"),
    (re.compile(r"embed|rerank", re.I), "embedding"),
)
"""What an upstream's model does, guessed from its name: the upstream's list says no more."""


class ModelView(Struct, rename="camel", kw_only=True):
    """The contract's Model, and more. ``provider``: embedded, upstream, or alias: a name that
    stands for what is in ``maps_to`` now. ``uses``: what it does here. ``languages`` empty: not
    known, or none in particular. ``voices``: how many builtin ones."""

    id: str
    modality: str
    name: str
    provider: str
    available: bool
    reason: str | None = None
    languages: list[str]
    formats: list[str]
    voices: int = 0
    streaming: bool
    maps_to: list[str] = []
    uses: list[str] = []
    limits: dict[str, Any] = {}


class ModelResource:
    """The contract's tag Models. Any credential will do."""

    def __init__(
        self,
        engines: Catalogue,
        survey: Survey,
        capabilities: Capabilities,
        limits: PlatformLimits,
    ) -> None:
        self._engines = engines
        self._survey = survey
        self._capabilities = capabilities
        self._limits = limits

    def operations(self) -> Sequence[AnyOperation]:
        """See Resource."""
        return [
            Operation(
                method="GET",
                path="/api/models",
                tag="Models",
                summary="Live model list (Qevron discovery)",
                handler=self._list,
                data=list[ModelView],
            ),
            Operation(
                method="GET",
                path="/api/capabilities",
                tag="Models",
                summary="Live capabilities",
                handler=self._show,
                data=CapabilitiesView,
            ),
        ]

    async def _show(self, _request: Request[None, None]) -> Answer:
        return Answer(await self._capabilities.view())

    async def _list(self, _request: Request[None, None]) -> Answer:
        surveyed = await self._survey.taken()
        aliases = [
            self._speech_alias(STABLE, "Blab Stable", surveyed),
            self._speech_alias(EXPRESSIVE, "Blab Expressive", surveyed),
            self._chat_alias(),
        ]
        models = [self._shown(statuses) for statuses in _grouped(self._engines.statuses())]
        return Answer([*aliases, *models])

    def _speech_alias(self, model: str, name: str, surveyed: Surveyed) -> ModelView:
        languages = surveyed.live(model)
        return ModelView(
            id=model,
            modality="tts",
            name=name,
            provider="alias",
            available=bool(languages),
            reason=None if languages else "No engine that is live speaks for it.",
            languages=languages,
            formats=list(AUDIO_FORMATS if model == STABLE else EXPRESSIVE_FORMATS),
            voices=len(self._engines.voices(model)),
            streaming=model == STABLE,
            maps_to=surveyed.engines(model),
            uses=["speech"],
            limits=self._limits_of("tts"),
        )

    def _chat_alias(self) -> ModelView:
        reason, maps_to = None, []
        try:
            maps_to = [self._engines.check_chat(CHAT)]
        except ModelUnavailable as error:
            reason = str(error)
        return ModelView(
            id=CHAT,
            modality="llm",
            name="Verinova Stable",
            provider="alias",
            available=reason is None,
            reason=reason,
            languages=[],
            formats=[],
            streaming=True,
            maps_to=maps_to,
            uses=["chat"],
        )

    def _shown(self, statuses: list[EngineStatus]) -> ModelView:
        first = statuses[0]
        live = [status for status in statuses if status.live]
        modality = _modality(first)
        languages = {tag for status in live or statuses for tag in status.languages}
        return ModelView(
            id=first.model_id,
            modality=modality,
            name=first.model_id,
            provider="upstream" if first.upstream else "embedded",
            available=bool(live),
            reason=None if live else first.reason or None,
            languages=sorted(languages),
            formats=list(AUDIO_FORMATS) if modality == "tts" else [],
            voices=len(self._engines.voices(first.model_id)) if modality == "tts" else 0,
            streaming=any(status.role in _STREAMING for status in statuses),
            uses=[str(status.role) for status in statuses if _MODALITIES[status.role] == modality],
            limits=self._limits_of(modality),
        )

    def _limits_of(self, modality: str) -> dict[str, Any]:
        if modality == "tts":
            return {"maxCharacters": MAX_TEXT, "minSpeed": MIN_SPEED, "maxSpeed": MAX_SPEED}
        if modality == "stt":
            limits = self._limits
            return {"maxBytes": limits.max_upload_bytes, "maxSeconds": limits.max_media_seconds}
        return {}


def _grouped(statuses: Iterable[EngineStatus]) -> list[list[EngineStatus]]:
    """The statuses grouped by model and modality, in their order."""
    groups: dict[tuple[str, str], list[EngineStatus]] = {}
    for status in statuses:
        groups.setdefault((status.model_id, _modality(status)), []).append(status)
    return list(groups.values())


def _modality(status: EngineStatus) -> str:
    """What a model does; an upstream lists all of its models as if they were chat models."""
    if status.upstream and status.role is Role.CHAT:
        for pattern, modality in _UPSTREAM_NAMES:
            if pattern.search(status.model_id):
                return modality
    return _MODALITIES[status.role]
