"""Model ids that stock clients bring along, served by whatever this server has.

A client of OpenAI's API names OpenAI's own models (``?model=gpt-realtime``, ``gpt-4o-mini``,
transcription by ``whisper-1``, speech by ``tts-1``). An engine that really serves the id goes
first; where none does, such an id means the default. Any other unknown id stays an error.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from media.vad import SileroModel
from pipelines.engines.base import (
    ChatModel,
    ModelUnavailable,
    Speaker,
    StreamingTranscriber,
    Transcriber,
    TurnDetector,
)
from pipelines.engines.chat.call_names import CallNames, NameFault, NameField
from rest.compat.stock_names import CHAT, REALTIME, SPEECH, TRANSCRIPTION
from sessions.engines import LiveEngines

DEFAULT = "default"
_TALKS = re.compile(f"{REALTIME.pattern}|{CHAT.pattern}")

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
        return _find(self._engines.chat, model_id, _TALKS)

    def speaker(self, model_id: str, language: str, voice: str = DEFAULT) -> Speaker:
        """Text-to-speech."""
        return _find(lambda known: self._engines.speaker(known, language, voice), model_id, SPEECH)

    def name_faults(self, names: CallNames) -> tuple[NameFault, ...]:
        """Every name that is not served in calls, by itself or as the default."""
        stock: tuple[tuple[NameField, re.Pattern[str]], ...] = (
            ("model", _TALKS),
            ("transcription_model", TRANSCRIPTION),
            ("speech_model", SPEECH),
        )
        faulty = {fault.field for fault in self._engines.name_faults(names)}
        for field, pattern in stock:
            if field in faulty and pattern.fullmatch(getattr(names, field)):
                names = replace(names, **{field: DEFAULT})  # type: ignore[arg-type]
        return self._engines.name_faults(names)

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
