"""Reading aloud, the same for every embedded voice, in calls and in jobs: a text is put into words
(``reading``), spoken by the engine, trimmed, and brought to the requested speed and loudness.

Engines are only run at speeds near their own, where no word is lost; the rest is stretching at the
same pitch. Each phrase of the engine is levelled by itself, so that nothing is delayed.

Trimming matters because the silence that a voice puts around a phrase is latency to the caller.
Sound is a 5 ms frame whose RMS is above a floor well under speech and well above a synthesiser's
noise.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from media.filters import MAX_TEMPO, MIN_TEMPO, stretch
from media.formats import SAMPLE_BYTES, samples_of
from media.level import levelled
from pipelines.engines.reading.text import Pause, read

FRAME_MS = 5
FLOOR = 80.0
"""RMS in PCM16 units (-52 dBFS) above which a frame is sound; the noise measured is 10-25."""

LEAD_MS = 10
"""Silence left before the first sound: keeps the onset of soft consonants."""

SENTENCE_PAUSE_MS = 200
CLAUSE_PAUSE_MS = 80
"""Silence left at the end: a breath after a sentence, a shorter one inside it."""

SENTENCE_ENDS = (".", "!", "?", "…", ":")


def pause_after(text: str) -> int:
    """Milliseconds of silence that belong after ``text``."""
    ended = text.rstrip("\"'”’)] \n").endswith(SENTENCE_ENDS)
    return SENTENCE_PAUSE_MS if ended else CLAUSE_PAUSE_MS


def trimmed(samples: npt.NDArray[np.int16], rate: int, pause_ms: int) -> npt.NDArray[np.int16]:
    """``samples`` with at most ``LEAD_MS`` of silence before the sound and ``pause_ms`` after it.

    Empty if there is no sound at all. Never makes silence longer than it was."""
    frame = rate * FRAME_MS // 1000
    if not len(samples):
        return samples
    padded = np.pad(samples, (0, -len(samples) % frame)).astype(np.float32)
    frames = padded.reshape(-1, frame)
    loud = np.flatnonzero(np.sqrt(np.mean(frames * frames, axis=1)) > FLOOR)
    if not len(loud):
        return samples[:0]
    start = max(0, int(loud[0]) * frame - rate * LEAD_MS // 1000)
    end = (int(loud[-1]) + 1) * frame + rate * pause_ms // 1000
    return samples[start:end]


def speakable(text: str) -> bool:
    """Whether ``text`` holds anything a voice could say."""
    return any(character.isalnum() for character in text)


OPENAI_VOICES = frozenset(
    "alloy ash ballad cedar coral echo fable marin nova onyx sage shimmer verse".split()
)
"""OpenAI's voice names, which clients send whatever server they talk to. Embedded engines have none
of them and speak with their default voice instead."""


def own_voice(voice: str) -> str:
    """``voice``, or ``default`` if it is one of OpenAI's."""
    return "default" if voice in OPENAI_VOICES else voice


GAINS = Path(__file__).with_name("voice_gains.json")


def gain_of(engine: str, voice: str) -> float:
    """The gain in dB that brings a voice to ``media.level.TARGET_LUFS``, as
    ``bench.measure_voices`` found it; 0 for an unknown voice, which is only levelled phrase by
    phrase."""
    return _gains().get(engine, {}).get(voice, 0.0)


def gain_of_mix(engine: str, weights: Mapping[str, float]) -> float:
    """The gain of a mix of voices."""
    total = sum(weights.values())
    shares = ((gain_of(engine, voice), weight) for voice, weight in weights.items())
    return sum(gain * weight for gain, weight in shares) / total if total else 0.0


@cache
def _gains() -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = json.loads(GAINS.read_text())
    return found


SLOWEST, FASTEST = 0.25, 4.0
"""Speeds that can be requested; others are clamped."""
OWN_SLOWEST, OWN_FASTEST = 0.8, 1.25
"""Speeds that engines are run at: at 1.5 and more they swallow words."""
_LONG = 500
"""Characters; longer texts are put into words off the event loop."""

Say = Callable[[str, float], AsyncGenerator[bytes, None]]
"""Text and speed to PCM16 mono, a phrase at a time."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a text is read. ``language``: a BCP 47 tag; ``rate``: the voice's, in Hz; ``gain_db``:
    see ``gain_of``."""

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
