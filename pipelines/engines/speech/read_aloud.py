"""Reading aloud, the same for every embedded voice, in calls and in jobs: a text is put into words
(``reading``), spoken by the engine, and brought to the speed and the loudness that are wanted.

Engines speak at speeds near their own only, where no word is lost; the rest is stretching at the
same pitch. Each phrase of the engine is levelled by itself, so that nothing is delayed.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass

from media.formats import SAMPLE_BYTES, samples_of
from media.level import levelled
from media.stretch import MAX_TEMPO, MIN_TEMPO, stretch
from pipelines.engines.reading.script import Pause, read

SLOWEST, FASTEST = 0.25, 4.0
"""Speeds that can be asked for; others are clamped."""
OWN_SLOWEST, OWN_FASTEST = 0.8, 1.25
"""Speeds that engines are asked for: at 1.5 and more they swallow words."""
_LONG = 500
"""Characters that are put into words off the event loop."""

Say = Callable[[str, float], AsyncGenerator[bytes, None]]
"""Text and speed to PCM16 mono, a phrase at a time."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a text is read. ``language``: a BCP 47 tag; ``rate``: the voice's, in Hz; ``gain_db``:
    what brings the voice to ``media.level.TARGET_LUFS`` (see ``voice_gains``)."""

    language: str
    rate: int
    speed: float = 1.0
    gain_db: float = 0.0


async def read_aloud(text: str, manner: Manner, say: Say) -> AsyncGenerator[bytes, None]:
    """PCM16 mono, a phrase at a time; raises what ``say`` raises."""
    speed = min(max(manner.speed, SLOWEST), FASTEST)
    own = min(max(speed, OWN_SLOWEST), OWN_FASTEST)
    tempo = min(max(speed / own, MIN_TEMPO), MAX_TEMPO)
    if len(text) > _LONG:
        steps = await asyncio.to_thread(read, text, manner.language)
    else:
        steps = read(text, manner.language)
    for step in steps:
        if isinstance(step, Pause):
            yield bytes(SAMPLE_BYTES * samples_of(round(step.milliseconds / speed), manner.rate))
            continue
        async with aclosing(say(step, own)) as audio:
            async for pcm in audio:
                yield await asyncio.to_thread(_finished, pcm, manner, tempo)


def _finished(pcm: bytes, manner: Manner, tempo: float) -> bytes:
    return levelled(stretch(pcm, manner.rate, tempo), manner.rate, manner.gain_db)
