"""Survey: what the engines can do now, language by language.

Asking them looks for weights on disk several hundred times: the event loop runs between two
questions, and one result serves everybody for ``SECONDS``.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast

from msgspec import Struct

from pipelines.engines.base import ModelUnavailable
from pipelines.engines.catalogue import Catalogue
from pipelines.engines.jobs import SpeechChoice
from pipelines.engines.kokoro.voices import KOKORO as CLONING_ENGINE
from pipelines.speech.job import EXPRESSIVE, STABLE
from pipelines.speech.language import LANGUAGES

SECONDS = 5.0
SPEECH_MODELS = (STABLE, EXPRESSIVE)

Quality = Literal["good", "weak", "robotic", "unknown", "none"]


class SpokenLanguage(Struct):
    """How a language is spoken: ``quality`` as measured, unknown for an upstream's engine, none
    where nobody speaks it now; ``reason`` says why then."""

    quality: Quality
    engine: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Surveyed:
    """The result."""

    spoken: dict[str, dict[str, SpokenLanguage]]
    """By model and language."""
    cloned: list[str]
    """Languages that cloned voices speak."""
    translated: dict[str, list[str]]
    """Target languages by source language, of a translator."""
    drafts: dict[str, list[str]]
    """Those of a chat model."""

    def live(self, model: str) -> list[str]:
        """Languages that ``model`` speaks now."""
        return [tag for tag, one in self.spoken[model].items() if one.quality != "none"]

    def engines(self, model: str) -> list[str]:
        """The engines that speak for ``model`` now."""
        spoken = self.spoken[model].values()
        return sorted({one.engine for one in spoken if one.engine is not None})


class Survey:
    """Asks the engines."""

    def __init__(
        self,
        engines: Catalogue,
        seconds: float = SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engines = engines
        self._seconds = seconds
        self._clock = clock
        self._lock = asyncio.Lock()
        self._last: tuple[float, Surveyed] | None = None

    async def taken(self) -> Surveyed:
        """What the engines can do, at most ``SECONDS`` old."""
        async with self._lock:
            if self._last is None or self._clock() - self._last[0] >= self._seconds:
                self._last = self._clock(), await self._take()
            return self._last[1]

    async def _take(self) -> Surveyed:
        spoken: dict[str, dict[str, SpokenLanguage]] = {model: {} for model in SPEECH_MODELS}
        cloned, translated, drafts = [], {}, {}
        for tag in LANGUAGES:
            for model in SPEECH_MODELS:
                spoken[model][tag] = self._spoken(SpeechChoice(model, tag))
                await asyncio.sleep(0)
            recipe = {"engine": CLONING_ENGINE}
            if self._spoken(SpeechChoice(STABLE, tag, recipe=recipe)).quality != "none":
                cloned.append(tag)
            await asyncio.sleep(0)
        for source in LANGUAGES:
            found = {target: self._draft(source, target) for target in LANGUAGES}
            translated[source] = [target for target, draft in found.items() if draft is False]
            drafts[source] = [target for target, draft in found.items() if draft]
            await asyncio.sleep(0)
        return Surveyed(
            spoken=spoken,
            cloned=cloned,
            translated=translated,
            drafts=drafts,
        )

    def _spoken(self, choice: SpeechChoice) -> SpokenLanguage:
        try:
            engine = self._engines.speech_engine(choice)
        except ModelUnavailable as error:
            return SpokenLanguage("none", reason=str(error))
        return SpokenLanguage(cast(Quality, engine.quality), engine.model_id)

    def _draft(self, source: str, target: str) -> bool | None:
        """Whether the translation is a draft; None where there is none."""
        if source == target:
            return None
        try:
            return self._engines.translation_engine("default", source, target).draft
        except ModelUnavailable:
            return None
