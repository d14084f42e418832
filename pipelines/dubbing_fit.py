"""Fitting spoken lines to the time of the lines they stand for. Pure; all lengths in samples.

Rules
- A line never begins before the original and never overlaps the next: it uses the silence behind
  the original, then it is spoken faster, by ``MAX_TEMPO`` at most.
- A line that is too long even so pushes the next one back; pauses bring it home again.
- A line shorter than the original is spoken slower, by ``MIN_TEMPO`` at most.
"""

from dataclasses import dataclass

MIN_TEMPO, MAX_TEMPO = 0.8, 1.35
NEARLY = 0.04
"""A line so little too short is left as it is: nobody hears the gap, everybody hears stretching."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a spoken line goes, and how fast it is spoken."""

    start: int
    tempo: float


def place(spoken: int, start: int, end: int, free: int, until: int | None) -> Place:
    """The place of ``spoken`` samples for an original from ``start`` to ``end``.

    ``free``: where the last line has ended; ``until``: where this one must have; None: nowhere."""
    begin = max(start, free)
    room = spoken if until is None else until - begin
    if spoken > room:
        return Place(begin, min(MAX_TEMPO, spoken / room) if room > 0 else MAX_TEMPO)
    own = min(end - begin, room)
    tempo = max(MIN_TEMPO, spoken / own) if spoken < own else 1.0
    return Place(begin, 1.0 if 1 - tempo < NEARLY else tempo)
