"""HibariSpeaker: the embedded English voice, 24 kHz, with its own grapheme-to-phoneme rules.

Rules
- One session, shared: the model keeps no state between runs (checked with a fixed seed from
  four threads). At most ``workers`` phrases are synthesised at once.
- Each sentence is yielded, trimmed, as soon as it is synthesised: untrimmed it begins with
  190-340 ms and ends with 250-490 ms of silence, which a caller hears as slowness.
- Only the voice inside the package is used; nothing is downloaded.
"""

import logging
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Any

import numpy as np

from pipelines.engines.base import EngineFailed
from pipelines.engines.engine import Engine, EngineSettings, Role
from pipelines.engines.executor import EngineExecutor
from pipelines.engines.jobs import VoiceInfo

from .read_aloud import Manner, gain_of, own_voice, pause_after, read_aloud, speakable, trimmed

log = logging.getLogger(__name__)

SAMPLE_RATE = 24_000
LOAD_DEADLINE = 60.0
PHRASE_DEADLINE = 10.0
"""Seconds for one sentence, including its time in the queue (a sentence takes 10-150 ms)."""

WARM_TEXT = "Hello there. It costs $12.50, on the 3rd of March."
"""Exercises every path of the grapheme-to-phoneme rules once."""


class HibariSpeaker:
    """A Speaker for English; see ``load``."""

    sample_rate = SAMPLE_RATE

    def __init__(self, model_id: str, engine: Any, *, workers: int = 2, queue_limit: int = 16):
        """``engine`` is a ``hibari.Hibari``."""
        self.model_id = model_id
        self.voices: tuple[str, ...] = ("default", str(engine.voice))
        self._engine = engine
        self._executor = EngineExecutor(model_id, workers, queue_limit, role=Role.SPEECH)

    @classmethod
    async def load(cls, model_id: str = "hibari", *, workers: int = 2) -> "HibariSpeaker":
        """Load the model and speak once. Raises EngineFailed, EngineTimeout."""
        loader = EngineExecutor(f"{model_id} loader", 1, 0)
        try:
            engine = await loader.run(_open, deadline=LOAD_DEADLINE)
        finally:
            await loader.close()
        speaker = cls(model_id, engine, workers=workers)
        await speaker.warm()
        return speaker

    async def warm(self) -> None:
        """Speak once, so that the first call is as fast as the tenth."""
        async with aclosing(self.speak(WARM_TEXT)) as audio:
            async for _ in audio:
                pass

    async def speak(
        self, text: str, *, voice: str = "default", speed: float = 1.0, language: str = "en"
    ) -> AsyncGenerator[bytes, None]:
        """Yield PCM16, a sentence at a time. Raises EngineBusy, EngineTimeout, EngineFailed
        (also for a voice that is not in ``voices``, or a language other than English)."""
        if language.lower().split("-")[0] != "en":
            raise EngineFailed(f"{self.model_id} speaks English only, not {language!r}")
        if own_voice(voice) not in self.voices:
            raise EngineFailed(f"{self.model_id} has no voice {voice!r}; it has: {self._names()}")
        if not speakable(text):
            return
        manner = Manner(language, SAMPLE_RATE, speed, gain_of("hibari", "default"))
        async with aclosing(read_aloud(text, manner, self.raw)) as audio:
            async for pcm in audio:
                yield pcm

    def raw(self, text: str, speed: float = 1.0) -> AsyncGenerator[bytes, None]:
        """The sentences of ``text`` as the model speaks them; see ``read_aloud.Say``."""
        return self._executor.iterate(
            lambda: self._sentences(text, speed), deadline=PHRASE_DEADLINE, limit=4
        )

    async def close(self) -> None:
        """Free the threads."""
        await self._executor.close()

    def _names(self) -> str:
        return ", ".join(self.voices)

    def _sentences(self, text: str, speed: float) -> Iterator[bytes]:
        """The audio of each sentence; runs on a thread."""
        for sentence in self._engine.split_sentences(text):
            for wave in self._engine.stream(sentence, speed=speed):
                samples = (np.clip(wave, -1.0, 1.0) * 32767.0).astype("<i2")
                pcm = trimmed(samples, SAMPLE_RATE, pause_after(sentence)).tobytes()
                if pcm and speakable(sentence):
                    yield pcm


def _open() -> Any:
    from hibari import Hibari
    from hibari.voices import DEFAULT, VOICES

    if not VOICES[DEFAULT].get("bundled"):
        raise EngineFailed("hibari: the installed package contains no voice; reinstall hibari-tts")
    engine = Hibari(threads=1)
    engine.g2p("Hello")  # loads its dictionaries
    return engine


async def _load(_settings: EngineSettings) -> HibariSpeaker:
    return await HibariSpeaker.load()


ENGINE = Engine(
    role=Role.SPEECH,
    id="hibari",
    voices=(VoiceInfo("heart", "Heart", "en-US", "hibari", "female"),),
    load=_load,
)
