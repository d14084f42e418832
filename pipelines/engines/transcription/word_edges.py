"""Where words begin and end in the sound, given roughly when they were said.

A recogniser's word times are read off its attention, which is right about the order and vague about
the edges: Whisper lets the last word before a silence end too early by 130 ms in the median, and
words after a pause begin in it. Between words of fluent speech the sound has no edge, and the
recogniser's time stands; at a silence it has one, and that is taken.

Positions are samples, from the start of what is heard.
"""

from collections.abc import Collection, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from media.formats import HEARING_RATE

Span = tuple[int, int]
Samples = npt.NDArray[np.int16]

HOP = HEARING_RATE // 200
"""5 ms: how finely loudness is known."""
SMOOTHING = 5
"""Hops over which loudness is averaged."""
SILENCE = HEARING_RATE * 9 // 100
"""Shorter silences may be part of a word: a plosive is silent for up to 80 ms before it bursts."""
BELOW_PEAK_DB, ABOVE_FLOOR_DB = 36.0, 8.0
"""Quiet is what is so much quieter than the loudest parts, or little louder than the background."""
REACH = HEARING_RATE * 35 // 100
"""How far a silence may be from where the recogniser puts the boundary between two words."""
LAST_REACH = HEARING_RATE * 7 // 10
"""By how much the last word, or one before a silence, may be lengthened."""
SHORTEST = HEARING_RATE * 4 // 100
"""No word is shortened below this."""


def silences(samples: Samples) -> list[Span]:
    """The silences of at least ``SILENCE``, and those at both ends however short."""
    count = len(samples) // HOP
    if not count:
        return []
    frames = samples[: count * HOP].astype(np.float32).reshape(count, HOP)
    power = np.square(frames).mean(axis=1) + 1.0
    smooth = np.convolve(power, np.full(SMOOTHING, 1 / SMOOTHING), mode="same")
    level = 10 * np.log10(smooth)
    loud, floor = np.percentile(level, 95), np.percentile(level, 3)
    quiet = level < max(loud - BELOW_PEAK_DB, min(floor + ABOVE_FLOOR_DB, loud - 15))
    return [
        (begin, len(samples) if end == count * HOP else end)
        for begin, end in _stretches(quiet)
        if end - begin >= SILENCE or begin == 0 or end == count * HOP
    ]


def _stretches(quiet: npt.NDArray[np.bool_]) -> Iterator[Span]:
    edges = np.flatnonzero(np.diff(np.concatenate(([False], quiet, [False])).astype(np.int8)))
    for begin, end in edges.reshape(-1, 2):
        yield int(begin) * HOP, int(end) * HOP


def settled(words: Sequence[Span], quiet: Sequence[Span], length: int) -> list[Span]:
    """``words`` (in order, not overlapping) with their edges at the silences that they meet.

    A silence belongs to the boundary between two words that is nearest to it, if one is within
    ``REACH`` that no longer silence has taken; the words before and behind are stretched to its
    edges. Another silence lies within a word, and changes nothing."""
    if not words:
        return []
    starts, ends = [begin for begin, _ in words], [end for _, end in words]
    free = set(range(1, len(words)))
    inner = [span for span in quiet if span[0] > 0 and span[1] < length]
    for begin, over in sorted(inner, key=lambda span: span[0] - span[1]):
        place = _nearest(starts, ends, free, begin, over)
        if place is not None:
            ends[place - 1], starts[place] = begin, over
            free.discard(place)
    head = next((over for begin, over in quiet if begin == 0), None)
    if head is not None and abs(starts[0] - head) <= REACH and head <= ends[0] - SHORTEST:
        starts[0] = head
    tail = next((begin for begin, over in quiet if over == length), length)
    after = min((begin for begin, _ in quiet if begin >= ends[-1] - SHORTEST), default=tail)
    if starts[-1] + SHORTEST <= after <= ends[-1] + LAST_REACH and after < length:
        ends[-1] = after
    return _in_order(starts, ends)


def _nearest(
    starts: Sequence[int], ends: Sequence[int], free: Collection[int], begin: int, over: int
) -> int | None:
    """The word before which the silence lies; None if no free boundary is near."""
    best: tuple[int, int] | None = None
    for place in free:
        distance = max(0, begin - starts[place], ends[place - 1] - over)
        room = starts[place - 1] + SHORTEST <= begin and over <= ends[place] + LAST_REACH
        if distance <= REACH and room and (best is None or (distance, place) < best):
            best = (distance, place)
    return None if best is None else best[1]


def _in_order(starts: Sequence[int], ends: Sequence[int]) -> list[Span]:
    made: list[Span] = []
    for place, start in enumerate(starts):
        begin = max(start, made[-1][1] if made else 0)
        limit = starts[place + 1] if place + 1 < len(starts) else ends[place]
        made.append((begin, max(begin, min(ends[place], limit))))
    return made
