"""A script as one stream of audio: clause after clause, silence where it pauses.

Pulled by whoever takes the audio: nothing is spoken ahead, so the memory it takes does not depend
on the script's length, and closing the stream stops the engine.
"""

import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from media.formats import SAMPLE_BYTES, samples_of
from pipelines.engines.base import Speaker
from pipelines.engines.reading.script import Pause

from .script import steps


@dataclass(frozen=True, slots=True)
class Sound:
    """Audio of the script; ``said`` characters of what is to be said are begun with it."""

    pcm: bytes
    said: int


async def recite(
    speaker: Speaker, script: str, *, voice: str = "default", speed: float, language: str
) -> AsyncGenerator[Sound, None]:
    """PCM16 mono at the speaker's rate; raises EngineError."""
    said = 0
    for step in steps(script):
        if isinstance(step, Pause):
            samples = samples_of(round(step.milliseconds / speed), speaker.sample_rate)
            yield Sound(bytes(SAMPLE_BYTES * samples), said)
            continue
        said += len(step)
        stream = speaker.speak(step, voice=voice, speed=speed, language=language)
        async with contextlib.aclosing(stream):
            async for pcm in stream:
                yield Sound(pcm, said)
