"""The engines as a live session asks for them: by model id, once per turn or reply.

A protocol, so that sessions depend on what engines are (``pipelines.engines.base``) and not on
how they are found; ``pipelines.engines.registry.Engines`` is the real one.
"""

from typing import Protocol

from media.vad import SileroModel
from pipelines.engines.base import (
    ChatModel,
    Speaker,
    StreamingTranscriber,
    Transcriber,
    TurnDetector,
)
from pipelines.engines.chat.call_names import CallNames, NameFault
from sessions.core.config import SessionConfig, SessionKind


class LiveEngines(Protocol):
    """Look-ups raise ModelUnavailable where no live engine serves the id."""

    def hearing(self, model_id: str) -> StreamingTranscriber: ...

    def transcriber(self, model_id: str) -> Transcriber: ...

    def chat(self, model_id: str) -> ChatModel: ...

    def speaker(self, model_id: str, language: str, voice: str = "default") -> Speaker: ...

    def name_faults(self, names: CallNames) -> tuple[NameFault, ...]:
        """Every name that is not served in calls; loads nothing."""
        ...

    @property
    def turn_detector(self) -> TurnDetector: ...

    @property
    def vad_model(self) -> SileroModel: ...


def names_of(config: SessionConfig) -> CallNames:
    """The names that a configuration gives; live captions are neither answered nor spoken."""
    if config.kind is SessionKind.TRANSCRIPTION:
        return CallNames(
            transcription_model=config.transcription_model, language=config.language, speaks=False
        )
    return CallNames(
        config.model,
        config.transcription_model,
        config.speech_model,
        config.voice,
        config.language,
    )
