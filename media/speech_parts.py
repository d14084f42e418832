"""A recording in short parts, cut at pauses, to be transcribed one by one.

Pure arithmetic on the windows of the voice detector.
"""

from collections.abc import Sequence

from .vad import WINDOW_MS

LONGEST = 20_000 // WINDOW_MS
"""Longest part in windows: what transcribers of utterances handle well."""
BREATH = 320 // WINDOW_MS
"""Windows of silence in which a cut does no harm."""
SILENCE = 3_000 // WINDOW_MS
"""Windows of silence that belong to no part."""
MARGIN = 320 // WINDOW_MS
"""Windows of silence kept on both sides of a part: speech is recognised better with it."""
LEAST = 3
"""Windows of voice below which a part is a click, not speech."""

Span = tuple[int, int]
"""Windows, from the first to the one after the last."""


def speech_parts(voiced: Sequence[bool]) -> list[Span]:
    """The parts of a recording with speech; empty if there is none.

    ``voiced``: for each window whether there is voice in it."""
    phrases = _joined(_runs(voiced), BREATH)
    parts = [part for part in _joined(phrases, SILENCE) if sum(voiced[slice(*part)]) >= LEAST]
    ends = [0, *(end for _, end in parts)]
    starts = [*(start for start, _ in parts), len(voiced)]
    return [
        (max(ends[place], start - MARGIN), min(starts[place + 1], end + MARGIN))
        for place, (start, end) in enumerate(parts)
    ]


def _runs(voiced: Sequence[bool]) -> list[Span]:
    """Stretches of voice without a break, none longer than LONGEST."""
    runs: list[Span] = []
    for place, voice in enumerate(voiced):
        if not voice:
            continue
        if runs and runs[-1][1] == place and place - runs[-1][0] < LONGEST:
            runs[-1] = (runs[-1][0], place + 1)
        else:
            runs.append((place, place + 1))
    return runs


def _joined(spans: Sequence[Span], gap: int) -> list[Span]:
    """Neighbours not more than ``gap`` apart as one, as long as that is no longer than LONGEST."""
    joined: list[Span] = []
    for start, end in spans:
        if joined and start - joined[-1][1] <= gap and end - joined[-1][0] <= LONGEST:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined
