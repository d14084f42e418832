"""A script: what an engine is given to say, in order, and its audio as one stream.

An expression tag is never read out: engines here do not know any, so each becomes a pause, whether
the delivery put it there or the text came with it. SSML is read as ``engines.reading.text`` does;
the texts stay as they are written, engines put them into words.

``recite`` is pulled by whoever takes the audio: nothing is spoken ahead, so its memory does not
depend on the script's length, and closing the stream stops the engine.
"""

import contextlib
import re
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass

from media.formats import SAMPLE_BYTES, samples_of
from pipelines.engines.base import Speaker
from pipelines.engines.reading.clauses import clauses
from pipelines.engines.reading.text import Pause, parts

TAGS = {"tr": ("breath", "sigh", "laugh", "clear"), "en": ("laugh", "sigh")}
"""Expression tags by language; other languages have none."""
PAUSE_MS = {"breath": 250, "sigh": 500, "laugh": 500, "clear": 350}
TAG = re.compile(r"<(breath|sigh|laugh|clear)>", re.I)


def steps(script: str) -> Iterator[str | Pause]:
    """What to say and where to pause; lazily, without anything unspeakable."""
    for part in _parts(script):
        found = TAG.fullmatch(part)
        if found:
            yield Pause(PAUSE_MS[found[1].lower()])
            continue
        for piece in parts(part):
            if isinstance(piece, Pause):
                yield piece
            else:
                yield from filter(None, map(speakable, clauses(piece)))


def speakable(clause: str) -> str:
    """``clause`` without superfluous blanks; empty if there is nothing to say."""
    plain = " ".join(clause.split())
    return plain if any(letter.isalnum() for letter in plain) else ""


def says_something(text: str) -> bool:
    """Whether ``text`` has a word besides tags and signs."""
    return any(
        letter.isalnum()
        for part in parts(TAG.sub(" ", text))
        if not isinstance(part, Pause)
        for letter in part
    )


def _parts(script: str) -> Iterator[str]:
    place = 0
    for found in TAG.finditer(script):
        if found.start() > place:
            yield script[place : found.start()]
        yield found[0]
        place = found.end()
    if place < len(script):
        yield script[place:]


@dataclass(frozen=True, slots=True)
class Sound:
    """Audio of the script; ``said``: characters of the script started so far."""

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
