"""Model ids that stock clients bring along, served by whatever this server has.

A client of OpenAI's Realtime API names OpenAI's own models (``?model=gpt-realtime``,
transcription by ``whisper-1``). An engine that really serves the id goes first; where none
does, such an id means the default. Any other unknown id stays an error.
"""

import re
from collections.abc import Callable
from typing import TypeVar

from media.silero import SileroModel
from pipelines.engines.base import (
    ChatModel,
    ModelUnavailable,
    Speaker,
    StreamingTranscriber,
    Transcriber,
    TurnDetector,
)
from rest.compat.stock_names import REALTIME, TRANSCRIPTION
from sessions.engines import LiveEngines

DEFAULT = "default"

_Engine = TypeVar("_Engine")


class StockModels:
    """LiveEngines that also know the names of others."""

    def __init__(self, engines: LiveEngines) -> None:
        self._engines = engines

    def hearing(self, model_id: str) -> StreamingTranscriber:
        """Incremental speech-to-text."""
        return _find(self._engines.hearing, model_id, TRANSCRIPTION)

    def transcriber(self, model_id: str) -> Transcriber:
        """Speech-to-text of a whole utterance."""
        return _find(self._engines.transcriber, model_id, TRANSCRIPTION)

    def chat(self, model_id: str) -> ChatModel:
        """The chat model."""
        return _find(self._engines.chat, model_id, REALTIME)

    def speaker(self, model_id: str, language: str) -> Speaker:
        """Text-to-speech: a realtime session names voices, not models."""
        return self._engines.speaker(model_id, language)

    @property
    def turn_detector(self) -> TurnDetector:
        """The semantic end of turn."""
        return self._engines.turn_detector

    @property
    def vad_model(self) -> SileroModel:
        """Voice activity."""
        return self._engines.vad_model


def _find(look_up: Callable[[str], _Engine], model_id: str, stock: re.Pattern[str]) -> _Engine:
    try:
        return look_up(model_id)
    except ModelUnavailable:
        if stock.fullmatch(model_id) is None:
            raise
        return look_up(DEFAULT)
