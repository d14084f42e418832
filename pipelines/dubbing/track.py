"""SpeechTrack: the spoken lines of a dubbing as one file, fitted to the time of the originals.

Only one line is in memory at a time. The file is as long as what was spoken so far.

Rules (``place``; pure, lengths in samples)
- A line never begins before the original and never overlaps the next: it uses the silence after
  the original, then it is spoken faster, by at most ``MAX_TEMPO``.
- A line that is still too long delays the next one, by at most ``late``; a longer one has no place.
  So no line is ever later than ``late``, or than the beginning of the next one.
- A line shorter than the original is spoken slower, down to ``MIN_TEMPO``.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from media.filters import stretch
from media.formats import SAMPLE_BYTES, milliseconds_of, samples_of
from pipelines.engines.base import Speaker
from pipelines.engines.speech.read_aloud import trimmed
from pipelines.speech.script import recite
from pipelines.transcription.timed_text import TimedSegment

MIN_TEMPO, MAX_TEMPO = 0.8, 1.3
NEARLY = 0.04
"""A line too short by less than this is not stretched: nobody hears the gap, but stretching."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a spoken line goes, and its tempo."""

    start: int
    tempo: float


def place(
    spoken: int, start: int, end: int, free: int, until: int | None, late: int = 0
) -> Place | None:
    """The place of ``spoken`` samples for an original from ``start`` to ``end``; None if they do
    not fit.

    ``free``: the end of the last line; ``until``: where this one must end, None: anywhere;
    ``late``: how far beyond that it may go."""
    begin = max(start, free)
    room = spoken if until is None else until - begin
    if room <= 0:
        return None
    if spoken > room:
        if spoken > (room + late) * MAX_TEMPO:
            return None
        return Place(begin, min(MAX_TEMPO, spoken / room))
    own = min(end - begin, room)
    tempo = max(MIN_TEMPO, spoken / own) if spoken < own else 1.0
    return Place(begin, 1.0 if 1 - tempo < NEARLY else tempo)


RATE = 48_000
"""Hz of the track and of the mix: every codec accepts it."""
BREATH_MS = 80
"""Least silence between two lines."""
LATE_MS = 500
"""A line starts at most this long after its original."""
FASTER = 1.2
"""Speed at which a line that does not fit is spoken again, before it is stretched."""
_TAIL_MS = 60


@dataclass(frozen=True, slots=True)
class SpokenLine:
    """Where a line is heard, in ms, and by how much its tempo was raised (1.3: so much shorter)."""

    start_ms: int
    end_ms: int
    tempo: float


class SpeechTrack:
    """Speaks lines one after the other into ``path``."""

    def __init__(self, path: Path, speaker: Speaker, language: str) -> None:
        self._path = path
        self._speaker = speaker
        self._language = language
        self._end = 0
        self.spoken_ms = 0
        """Milliseconds of speech as the engine produced it, which is billed."""

    async def speak(self, text: str, line: TimedSegment, until_ms: int | None) -> SpokenLine | str:
        """Speak ``text`` in place of ``line``; returns the reason if that is impossible.

        ``until_ms``: where the next line begins, or the recording ends. Raises EngineError."""
        for speed in (1.0, FASTER):
            pcm = bytearray()
            sounds = recite(self._speaker, text, speed=speed, language=self._language)
            async with contextlib.aclosing(sounds):
                async for sound in sounds:
                    pcm += sound.pcm
            placed = await asyncio.to_thread(self._place, bytes(pcm), line, until_ms)
            if isinstance(placed, SpokenLine):
                samples = len(pcm) // SAMPLE_BYTES
                self.spoken_ms += milliseconds_of(samples, self._speaker.sample_rate)
                break
        return placed

    def _place(self, pcm: bytes, line: TimedSegment, until_ms: int | None) -> SpokenLine | str:
        rate, breath = self._speaker.sample_rate, samples_of(BREATH_MS, RATE)
        sound = trimmed(np.frombuffer(pcm, "<i2"), rate, _TAIL_MS)
        if not len(sound):
            return "the engine produced no sound"
        found = place(
            round(len(sound) * RATE / rate),
            start=samples_of(line.start_ms, RATE),
            end=samples_of(line.end_ms, RATE),
            free=self._end + breath if self._end else 0,
            until=None if until_ms is None else samples_of(until_ms, RATE) - breath,
            late=samples_of(LATE_MS, RATE) - breath,
        )
        if found is None:
            return "it takes longer to say than there is time"
        made = stretch(sound.tobytes(), rate, found.tempo, RATE)
        with self._path.open("ab") as file:
            _silence(file.write, found.start - self._end)
            file.write(made)
        self._end = found.start + len(made) // SAMPLE_BYTES
        return SpokenLine(
            milliseconds_of(found.start, RATE), milliseconds_of(self._end, RATE), found.tempo
        )


def _silence(write: Callable[[bytes], object], samples: int) -> None:
    while samples > 0:
        step = min(samples, RATE)
        write(bytes(step * SAMPLE_BYTES))
        samples -= step
