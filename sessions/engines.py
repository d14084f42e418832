"""The engines as a live session asks for them: by model id, once per turn or reply.

A protocol, so that sessions depend on what engines are (``pipelines.engines.base``) and not on
how they are found; ``pipelines.engines.registry.Engines`` is the real one.
"""

from typing import Protocol

from media.silero import SileroModel
from pipelines.engines.base import (
    ChatModel,
    Speaker,
    StreamingTranscriber,
    Transcriber,
    TurnDetector,
)


class LiveEngines(Protocol):
    """Look-ups raise ModelUnavailable where no live engine serves the id."""

    def hearing(self, model_id: str) -> StreamingTranscriber: ...

    def transcriber(self, model_id: str) -> Transcriber: ...

    def chat(self, model_id: str) -> ChatModel: ...

    def speaker(self, model_id: str, language: str) -> Speaker: ...

    @property
    def turn_detector(self) -> TurnDetector: ...

    @property
    def vad_model(self) -> SileroModel: ...
