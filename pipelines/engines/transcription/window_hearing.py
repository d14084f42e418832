"""Recordings of any length, understood window by window.

Rules
- One window is with the recogniser and one piece of audio with the voice detection at a time:
  memory does not depend on the recording's length, and the recogniser's pace is the reader's.
- The language of a recording, where nobody says it, is that of the first window about which the
  recogniser is sure; until then each window is heard in its own best guess.
- Times come out in order: no word begins before the one before it has ended. Recognisers let words
  begin early and end late where there is a pause; none reaches into one here.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass

from media.formats import HEARING_RATE
from media.silero import SileroModel
from pipelines.engines.base import Word
from pipelines.engines.jobs import Hearing, Segment

from .speech_windows import SpeechWindows, Window

SILENCE_TOLD = 10 * HEARING_RATE
"""Samples of silence after which progress is told."""


@dataclass(frozen=True, slots=True)
class Understood:
    """What a window says. ``language``: what it is in; ``sure``: whether to go by that."""

    segments: tuple[Segment, ...]
    language: str | None
    sure: bool = True


Understand = Callable[[Window, str | None], Awaitable[Understood]]
"""A window and its language, None where it is to be found out."""


async def hear_windows(
    pcm: AsyncIterator[bytes], language: str | None, vad: SileroModel, understand: Understand
) -> AsyncGenerator[Hearing, None]:
    """What ``understand`` says of each window of speech; what it raises passes through."""
    windows = SpeechWindows(vad)
    told = 0
    async for piece in pcm:
        for window in await asyncio.to_thread(_all, windows.push, piece):
            found = await understand(window, language)
            for hearing in _hearings(window, found):
                yield hearing
            told = window.end
            language = language or (found.language if found.sure else None)
        if windows.done - told >= SILENCE_TOLD:
            told = windows.done
            yield Hearing(told, None, language)
    for window in await asyncio.to_thread(_all, windows.finish):
        found = await understand(window, language)
        for hearing in _hearings(window, found):
            yield hearing
        language = language or found.language
    yield Hearing(windows.done, None, language)


def timed_segment(
    window: Window, text: str, begin: float, end: float, words: Iterable[tuple[str, float, float]]
) -> Segment:
    """A segment from times in seconds within ``window``, kept within it and in order."""

    def sample(seconds: float, least: int) -> int:
        return min(max(window.start + round(seconds * HEARING_RATE), least), window.end)

    placed: list[Word] = []
    last = window.start
    for word, word_begin, word_end in words:
        if word.strip():
            start = sample(word_begin, last)
            start, last = _out_of_pauses(start, sample(word_end, start), window.pauses)
            placed.append(Word(word.strip(), start, last))
    start = placed[0].start if placed else sample(begin, window.start)
    stop = placed[-1].end if placed else sample(end, start)
    return Segment(start, stop, text.strip(), tuple(placed))


def _out_of_pauses(start: int, end: int, pauses: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """A word's span without the pause at either end of it, or the lesser part beside a pause."""
    for begin, over in pauses:
        if begin >= end or over <= start or (begin <= start and over >= end):
            continue
        if end - over >= begin - start:
            start = over
        else:
            end = begin
    return start, end


def _hearings(window: Window, found: Understood) -> Iterable[Hearing]:
    spoken = [segment for segment in found.segments if segment.text]
    for segment in spoken[:-1]:
        yield Hearing(segment.end, segment, found.language)
    yield Hearing(window.end, spoken[-1] if spoken else None, found.language)


def _all(step: Callable[..., Iterable[Window]], *args: bytes) -> list[Window]:
    """The windows that a step completes; runs on a thread."""
    return list(step(*args))
