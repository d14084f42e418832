"""BoundSpeaker: a speaker with the voice and language that a job chose, at any speed.

Speeds that the engine does not speak at are made of the nearest one that it does and a stretch of
its audio, chunk by chunk.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from media.stretch import MAX_TEMPO, MIN_TEMPO, stretch

from .base import Speaker

EMBEDDED_SPEEDS = (0.5, 2.0)
"""The slowest and the fastest that every embedded engine speaks at."""


class BoundSpeaker:
    """A Speaker that speaks with one voice whatever it is asked for."""

    def __init__(
        self,
        speaker: Speaker,
        voice: str,
        language: str,
        *,
        speeds: tuple[float, float] = EMBEDDED_SPEEDS,
    ) -> None:
        """``speeds``: the slowest and the fastest of ``speaker``'s own."""
        self.model_id = speaker.model_id
        self.sample_rate = speaker.sample_rate
        self.voices: tuple[str, ...] = ("default",)
        self._speaker = speaker
        self._voice = voice
        self._language = language
        self._slowest, self._fastest = speeds

    async def speak(
        self,
        text: str,
        *,
        voice: str = "default",  # noqa: ARG002 - it is bound
        speed: float = 1.0,
        language: str = "en",  # noqa: ARG002 - it is bound
    ) -> AsyncGenerator[bytes, None]:
        """As the speaker's own."""
        own = min(max(speed, self._slowest), self._fastest)
        tempo = min(max(speed / own, MIN_TEMPO), MAX_TEMPO)
        audio = self._speaker.speak(text, voice=self._voice, speed=own, language=self._language)
        async with aclosing(audio):
            async for pcm in audio:
                if tempo == 1.0:
                    yield pcm
                else:
                    yield await asyncio.to_thread(stretch, pcm, self.sample_rate, tempo)
