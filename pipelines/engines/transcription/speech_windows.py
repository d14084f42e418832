"""A recording of any length, cut into windows of speech and transcribed window by window.

Constant memory however long the recording is: one window is with the recogniser and one chunk of
audio with the voice detection at a time, so the recogniser sets the reader's pace. Positions are
exact, in samples at HEARING_RATE from the start of the recording.

Rules
- Silence is skipped: a window begins ``LEAD`` before speech and ends ``TAIL`` after it.
- Pauses within speech stay in a window (context helps recognition, and each window has a fixed cost
  of seconds), but the longer it is, the shorter the pause that ends it: ``PATIENCE``.
- Continuous speech is cut at ``LONGEST``, at the least probable speech in the last part.
- If no language is given, the recording's is that of the first window for which the recogniser is
  sure; until then each window is heard in its own best guess.
- Times come out in order: no word begins before the one before it has ended. Recognisers let words
  begin early and end late around a pause; here none reaches into one, and the words beside a
  silence begin and end where the sound does (``word_edges``).
"""

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Sequence,
)
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from media.formats import HEARING_RATE, SAMPLE_BYTES
from media.vad import CONTEXT, WINDOW, SileroModel
from pipelines.engines.base import Word
from pipelines.engines.jobs import Segment, Transcribed

from .word_edges import Span, settled, silences

FRAME_BYTES = WINDOW * SAMPLE_BYTES
ONSET, OFFSET = 0.5, 0.35
"""Speech probabilities from which speech begins, and under which a frame is silence."""


def frames(seconds: float) -> int:
    """The whole frames in ``seconds``."""
    return int(seconds * HEARING_RATE / WINDOW)


LEAD = frames(0.2)
TAIL = frames(0.3)
LONGEST = frames(28.0)
"""Whisper takes 30 s at once."""

EARLIEST_CUT = frames(17.0)
PATIENCE = ((frames(20.0), frames(0.3)), (frames(12.0), frames(1.0)), (0, frames(2.5)))
"""Length of a window, and the pause that ends it from that length on; all in frames."""

SMOOTHING = 5
"""Frames over which probabilities are averaged to find where to cut."""

Samples = npt.NDArray[np.int16]


PAUSE, MARGIN = frames(0.2), 2
"""Frames of silence that count as a pause, and how many at either end still belong to speech."""


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """A stretch of speech. ``start``: position of its first sample in the recording; ``pauses``:
    starts and ends of the silences within, in samples of the recording."""

    start: int
    samples: Samples
    pauses: tuple[tuple[int, int], ...] = ()

    @property
    def end(self) -> int:
        """One past its last sample."""
        return self.start + len(self.samples)


class SpeechWindows:
    """Cuts one recording; ``push`` its audio, then ``finish``."""

    def __init__(self, model: SileroModel) -> None:
        self._model = model
        self._state = model.initial_state()
        self._context = np.zeros(CONTEXT, dtype=np.float32)
        self._rest = b""
        self._held: list[bytes] = []
        """Frames of the window, or the ``LEAD`` last ones before it."""
        self._chances: list[float] = []
        """The speech probability of each."""
        self._start = 0
        """Sample of the recording at which the held frames begin."""
        self._speaking = False
        self._pause = 0
        """Frames since the last one of speech."""

    @property
    def done(self) -> int:
        """Samples that were returned in windows, or skipped as silence."""
        return self._start

    def push(self, pcm: bytes) -> Iterator[Window]:
        """The windows that ``pcm`` completes. Takes 5 ms for a second of audio."""
        data = self._rest + pcm
        whole = len(data) // FRAME_BYTES * FRAME_BYTES
        self._rest = data[whole:]
        for begin in range(0, whole, FRAME_BYTES):
            frame = data[begin : begin + FRAME_BYTES]
            window = self._take(frame, self._judge(frame))
            if window is not None:
                yield window

    def finish(self) -> Iterator[Window]:
        """The last window, if speech is under way."""
        if self._rest:
            length = len(self._rest)
            frame = self._rest.ljust(FRAME_BYTES, b"\0")
            self._rest = b""
            window = self._take(frame, self._judge(frame))
            if window is not None:
                yield window
            if self._held:
                self._held[-1] = self._held[-1][: length // SAMPLE_BYTES * SAMPLE_BYTES]
        if self._speaking:
            yield self._give(len(self._held) - max(0, self._pause - TAIL))
        self._start += sum(len(frame) for frame in self._held) // SAMPLE_BYTES
        self._held, self._chances, self._speaking = [], [], False

    def _judge(self, frame: bytes) -> float:
        samples = np.frombuffer(frame, "<i2").astype(np.float32) * np.float32(1 / 32768)
        heard = np.concatenate((self._context, samples))
        self._context = samples[-CONTEXT:]
        chance, self._state = self._model.run(heard[None], self._state)
        return chance

    def _take(self, frame: bytes, chance: float) -> Window | None:
        self._held.append(frame)
        self._chances.append(chance)
        if not self._speaking:
            self._speaking = chance >= ONSET
            self._pause = 0
            if not self._speaking:
                self._drop(len(self._held) - LEAD)
            return None
        self._pause = self._pause + 1 if chance < OFFSET else 0
        length = len(self._held)
        patience = next(pause for least, pause in PATIENCE if length >= least)
        if self._pause >= patience:
            window = self._give(length - max(0, self._pause - TAIL))
            self._speaking = False
            self._drop(len(self._held) - LEAD)
            return window
        return self._give(self._cut()) if length >= LONGEST else None

    def _cut(self) -> int:
        """The frame before which speech that goes on is best cut."""
        chances = np.array(self._chances[EARLIEST_CUT:])
        smooth = np.convolve(chances, np.full(SMOOTHING, 1 / SMOOTHING), mode="same")
        inner = smooth[SMOOTHING:-SMOOTHING]
        return EARLIEST_CUT + SMOOTHING + int(np.argmin(inner))

    def _give(self, count: int) -> Window:
        """The first ``count`` frames as a window; the rest is kept."""
        samples: Samples = np.frombuffer(b"".join(self._held[:count]), "<i2")
        window = Window(self._start, samples, tuple(self._pauses(count)))
        self._drop(count)
        return window

    def _pauses(self, count: int) -> Iterator[tuple[int, int]]:
        begin = 0
        for frame, chance in enumerate([*self._chances[:count], 1.0]):
            if chance < OFFSET:
                continue
            if frame - begin >= PAUSE:
                first = begin + MARGIN if begin else 0
                last = frame - MARGIN if frame < count else count
                yield self._start + first * WINDOW, self._start + last * WINDOW
            begin = frame + 1

    def _drop(self, count: int) -> None:
        if count > 0:
            self._start += sum(len(frame) for frame in self._held[:count]) // SAMPLE_BYTES
            del self._held[:count], self._chances[:count]


SILENCE_REPORTED = 10 * HEARING_RATE
"""Samples of silence after which progress is reported."""


@dataclass(frozen=True, slots=True)
class Understood:
    """The transcript of a window. ``language``: as recognised; ``sure``: whether to rely on it."""

    segments: tuple[Segment, ...]
    language: str | None
    sure: bool = True


Understand = Callable[[Window, str | None], Awaitable[Understood]]
"""Transcribes a window; its language is None if it is to be detected."""


async def hear_windows(
    pcm: AsyncIterator[bytes], language: str | None, vad: SileroModel, understand: Understand
) -> AsyncGenerator[Transcribed, None]:
    """The result of ``understand`` for each window of speech; its errors pass through."""
    windows = SpeechWindows(vad)
    reported = 0
    async for piece in pcm:
        for window in await asyncio.to_thread(_all, windows.push, piece):
            found = await understand(window, language)
            for hearing in _parts(window, found):
                yield hearing
            reported = window.end
            language = language or (found.language if found.sure else None)
        if windows.done - reported >= SILENCE_REPORTED:
            reported = windows.done
            yield Transcribed(reported, None, language)
    for window in await asyncio.to_thread(_all, windows.finish):
        found = await understand(window, language)
        for hearing in _parts(window, found):
            yield hearing
        language = language or found.language
    yield Transcribed(windows.done, None, language)


@dataclass(frozen=True, slots=True)
class SpokenText:
    """A text of a window; times in seconds from its start. ``words``: each with its times and
    confidence, as far as the recogniser has them."""

    text: str
    begin: float
    end: float
    words: tuple[tuple[str, float, float, float], ...] = ()


def timed_segments(window: Window, texts: Sequence[SpokenText]) -> tuple[Segment, ...]:
    """Segments from what was recognised in ``window``, kept within it and in order; their words
    begin and end where the sound says so (``word_edges``)."""

    def sample(seconds: float, least: int) -> int:
        return min(max(round(seconds * HEARING_RATE), least), len(window.samples))

    spans: list[Span] = []
    last = 0
    for text in texts:
        for word, begin, end, _ in text.words:
            if word.strip():
                start = sample(begin, last)
                last = sample(end, start)
                spans.append((start, last))
    pauses = [(begin - window.start, over - window.start) for begin, over in window.pauses]
    quiet = silences(window.samples) if spans else []
    unheard = [pause for pause in pauses if not any(_overlap(pause, one) for one in quiet)]
    placed = iter(settled(spans, [*quiet, *unheard], len(window.samples)))
    segments = []
    for text in texts:
        words = []
        for word, _, _, confidence in text.words:
            if word.strip():
                start, end = _out_of_pauses(*next(placed), pauses)
                span = window.start + start, window.start + end
                words.append(Word(word.strip(), *span, confidence))
        first = words[0].start if words else window.start + sample(text.begin, 0)
        over = words[-1].end if words else max(first, window.start + sample(text.end, 0))
        segments.append(Segment(first, over, text.text.strip(), tuple(words)))
    return tuple(segments)


def _overlap(one: Span, other: Span) -> bool:
    return one[0] < other[1] and other[0] < one[1]


def _out_of_pauses(start: int, end: int, pauses: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """A word's span without a pause at its ends; of a pause inside it, the longer side is kept."""
    for begin, over in pauses:
        if begin >= end or over <= start or (begin <= start and over >= end):
            continue
        if end - over >= begin - start:
            start = over
        else:
            end = begin
    return start, end


def _parts(window: Window, found: Understood) -> Iterable[Transcribed]:
    spoken = [segment for segment in found.segments if segment.text]
    for segment in spoken[:-1]:
        yield Transcribed(segment.end, segment, found.language)
    yield Transcribed(window.end, spoken[-1] if spoken else None, found.language)


def _all(step: Callable[..., Iterable[Window]], *args: bytes) -> list[Window]:
    """The windows that a step completes; runs on a thread."""
    return list(step(*args))
