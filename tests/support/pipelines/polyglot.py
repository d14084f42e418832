"""Scripted ears that hear other words in each language."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipelines.engines.base import Transcription
from pipelines.engines.scripted.live import (
    ScriptedEngines,
    ScriptedLanguageDetector,
    ScriptedStream,
    ScriptedTranscriber,
)


@dataclass
class PolyglotTranscriber(ScriptedTranscriber):
    """Hears ``words`` by language."""

    words: Mapping[str, str] = field(default_factory=dict)

    async def open(self, language: str = "en") -> ScriptedStream:
        self.texts = (self.words[language],)
        return await super().open(language)

    async def transcribe(self, pcm: bytes, language: str = "en") -> Transcription:
        self.texts = (self.words[language],)
        return await super().transcribe(pcm, language)


def listen_in(engines: ScriptedEngines, spoken: str, words: Mapping[str, str]) -> None:
    """Have ``engines`` hear ``words`` by language, and recognise that ``spoken`` is spoken."""
    engines.ears = PolyglotTranscriber(words=words)
    engines.languages = tuple(words)
    engines.linguist = ScriptedLanguageDetector((spoken,), 0.995)
