"""Fitting spoken lines to the time of the lines they stand for. Pure; all lengths in samples.

Rules
- A line never begins before the original and never overlaps the next: it uses the silence behind
  the original, then it is spoken faster, by ``MAX_TEMPO`` at most.
- A line that is too long even so pushes the next one back, by ``late`` at most; one that is longer
  has no place. So no line is ever later than ``late``, or than the beginning of the next one.
- A line shorter than the original is spoken slower, by ``MIN_TEMPO`` at most.
"""

from dataclasses import dataclass

MIN_TEMPO, MAX_TEMPO = 0.8, 1.3
NEARLY = 0.04
"""A line so little too short is left as it is: nobody hears the gap, everybody hears stretching."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a spoken line goes, and how fast it is spoken."""

    start: int
    tempo: float


def place(
    spoken: int, start: int, end: int, free: int, until: int | None, late: int = 0
) -> Place | None:
    """The place of ``spoken`` samples for an original from ``start`` to ``end``; None where they
    do not fit.

    ``free``: where the last line has ended; ``until``: where this one must have, None: nowhere;
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
