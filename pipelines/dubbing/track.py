"""The sound track of a dubbing: lines spoken in time, mixed over the recording, stored as files.

- ``SpeechTrack`` speaks the lines into one file, as long as what was spoken so far. Only one line
  is in memory at a time.
- ``mix_files`` lays it over the recording, block by block. The recording is lowered during the
  speech (``Ducking``), along straight lines in decibels, so that no step is audible.
- ``DubbingFiles`` mixes, encodes and stores the results as artifacts. Its methods return members of
  the job's output; names that end in ``Key`` refer to objects.

Rules (``place``; pure, lengths in samples)
- A line never begins before the original and never overlaps the next: it uses the silence after
  the original, then it is spoken faster, by at most ``MAX_TEMPO``.
- A line that is still too long delays the next one, by at most ``late``; a longer one has no place.
  So no line is ever later than ``late``, or than the beginning of the next one.
- A line shorter than the original is spoken slower, down to ``MIN_TEMPO``.
"""

import asyncio
import contextlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from media.files.encode import encode_file
from media.files.isolated import decode, replace_audio
from media.files.limits import MediaError, MediaLimits
from media.filters import stretch
from media.formats import SAMPLE_BYTES, milliseconds_of, samples_of
from media.loudness import measure, normalise
from pipelines.decoding import carried_out, pulled
from pipelines.engines.base import Speaker
from pipelines.engines.speech.read_aloud import trimmed
from pipelines.jobs.artifacts import Artifacts
from pipelines.jobs.job import JobRun, Progress
from pipelines.speech.job import CONTENT_TYPES
from pipelines.speech.script import recite
from pipelines.transcription.subtitles import SubtitleFormat, render
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


UNDER_DB = -18.0
"""Level of the recording under the speech."""
RAMP_MS = 150
"""Duration of the fade down, and of the fade up."""
_HOLD_MS = 500
"""Between two passages of speech closer than this the recording stays low."""

Span = tuple[int, int]
"""First sample, and the one after the last."""


class Ducking:
    """The recording's gain over time; ``spans``, in order, are where it is lowered."""

    def __init__(self, spans: Sequence[Span], rate: int, under_db: float = UNDER_DB) -> None:
        ramp, hold = samples_of(RAMP_MS, rate), samples_of(_HOLD_MS, rate)
        places: list[int] = []
        levels: list[float] = []
        for begin, end in _joined(spans, max(hold, 2 * ramp + 1)):
            places += (begin - ramp, begin, end, end + ramp)
            levels += (0.0, under_db, under_db, 0.0)
        self._places = np.array(places or [0], np.float64)
        self._levels = np.array(levels or [0.0], np.float64)

    def gains(self, begin: int, samples: int) -> npt.NDArray[np.float32]:
        """Factors for ``samples`` samples from sample ``begin`` on."""
        at = np.arange(begin, begin + samples, dtype=np.float64)
        decibels = np.interp(at, self._places, self._levels)
        return np.power(10.0, decibels / 20).astype(np.float32)


def mixed(recording: Iterable[bytes], speech: Path, ducking: Ducking, rate: int) -> Iterator[bytes]:
    """``recording`` (PCM16 mono at ``rate`` Hz) with the file ``speech`` (the same) on top, as
    long as the longer of them. Blocking; raises OSError and what ``recording`` raises."""
    place = 0
    with speech.open("rb") as file:
        for piece in recording:
            low = np.frombuffer(piece, "<i2") * ducking.gains(place, len(piece) // SAMPLE_BYTES)
            place += len(low)
            words = np.frombuffer(file.read(len(piece)), "<i2")
            low[: len(words)] += words
            np.clip(np.rint(low, low), -32768, 32767, low)
            yield low.astype("<i2").tobytes()
        while rest := file.read(rate * SAMPLE_BYTES):
            yield rest


def mix_files(
    recording: Iterable[bytes], speech: Path, ducking: Ducking, rate: int, target: Path
) -> Generator[int, None, None]:
    """Write ``mixed`` to the file ``target``; yields the samples written, about every second."""
    written = 0
    with target.open("wb") as file:
        for piece in mixed(recording, speech, ducking, rate):
            file.write(piece)
            written += len(piece) // SAMPLE_BYTES
            yield written


def _joined(spans: Sequence[Span], least: int) -> Iterator[Span]:
    """The spans in order, those that overlap or are closer than ``least`` made one."""
    held: Span | None = None
    for begin, end in sorted(spans):
        if held is None:
            held = (begin, end)
        elif begin - held[1] < least:
            held = (held[0], max(held[1], end))
        else:
            yield held
            held = (begin, end)
    if held is not None:
        yield held


MAX_RECORD_BYTES = 256 * 1024
"""Size of the lines as JSON up to which they are kept in the job's record."""
_SUBTITLES: tuple[tuple[SubtitleFormat, str], ...] = (
    ("srt", "application/x-subrip"),
    ("vtt", "text/vtt"),
)


class DubbingFiles:
    """The files of one run, in the folder of ``source``, the recording; ``speech``: what is said
    over it (PCM16 mono at ``RATE``)."""

    def __init__(
        self, run: JobRun, artifacts: Artifacts, source: Path, speech: Path, limits: MediaLimits
    ) -> None:
        self._run = run
        self._artifacts = artifacts
        self._source = source
        self._speech = speech
        self._limits = limits
        self._mix = source.with_name("mix.pcm")
        self.duration_ms = 0
        """Length of the mix."""

    async def mix(
        self, spoken: Sequence[tuple[int, int]], long_ms: int, progress: Progress
    ) -> None:
        """Mix the speech over the recording of ``long_ms``, which is lowered within ``spoken``
        (ms) and sets the loudness of the speech; ``progress`` gets 0 to 100. Raises MediaError."""
        spans: list[Span] = [(samples_of(a, RATE), samples_of(b, RATE)) for a, b in spoken]
        await self._as_loud(spans)
        ducking = Ducking(spans, RATE)
        steps = pulled(
            lambda: mix_files(
                decode(self._source, RATE, self._limits), self._speech, ducking, RATE, self._mix
            )
        )
        async with contextlib.aclosing(steps):
            async for samples in steps:
                self.duration_ms = milliseconds_of(samples, RATE)
                await progress(min(100, 100 * self.duration_ms // max(1, long_ms)))

    async def _as_loud(self, spans: Sequence[Span]) -> None:
        """Bring the speech to the loudness that the recording has within ``spans``."""
        measured = await carried_out(
            lambda: measure(decode(self._source, RATE, self._limits), spans, RATE)
        )
        if measured.lufs is None:
            return
        lufs, made = measured.lufs, self._speech.with_name("loud.pcm")
        await carried_out(lambda: normalise(self._speech, made, RATE, lufs, ()))
        self._speech = made

    async def audio(self, format: str) -> dict[str, Any]:
        """The mix as a file of ``format``."""
        made = self._source.with_name(f"dubbed.{format}")
        await carried_out(lambda: encode_file(self._mix, made, format, RATE))
        key = await self._put(made.name, made, CONTENT_TYPES[format])
        return {"audioKey": key, "durationMs": self.duration_ms}

    async def video(self) -> dict[str, Any]:
        """The source's pictures with the mix; the reason if they cannot be copied."""
        made = self._source.with_name("video")
        try:
            muxed = await carried_out(lambda: replace_audio(self._source, self._mix, RATE, made))
        except MediaError as error:
            return {"videoProblem": str(error)}
        key = await self._put(f"video.{muxed.extension}", made, muxed.content_type)
        return {"videoKey": key, "videoContentType": muxed.content_type}

    async def subtitles(self, name: str, segments: Sequence[TimedSegment]) -> dict[str, Any]:
        """``source`` or ``target`` subtitles in every format."""
        made = {}
        for format, content_type in _SUBTITLES:
            text = await asyncio.to_thread(render, segments, format, duration_ms=self.duration_ms)
            key = await self._put(f"{name}.{format}", text.encode(), content_type)
            made[f"{name}{format.title()}Key"] = key
        return made

    async def lines(self, lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """What was said when: in the record, or as an artifact if it is long."""
        return await self._artifacts.keep_json(
            self._run,
            list(lines),
            member="segments",
            key_member="segmentsKey",
            name="segments.json",
            limit=MAX_RECORD_BYTES,
        )

    async def _put(self, name: str, content: Path | bytes, content_type: str) -> str:
        whole = name.startswith(("dubbed.", "video."))
        return await self._artifacts.store(
            self._run.workspace_id,
            self._run.id,
            name,
            content,
            content_type,
            duration_ms=self.duration_ms if whole else None,
        )
