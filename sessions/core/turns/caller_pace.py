"""How long this caller pauses: the factor by which the agent's patience is stretched.

Rules
- A pause after which the same turn went on, measured against the patience it met, says how close
  the agent came to cutting the caller off. Patience grows until the pause would have filled
  ``_FILLED`` of it.
- A turn that begins less than ``CUT_OFF_MS`` after the end of the one before was its continuation:
  the caller was cut off, and the silence between them is such a pause.
- Each turn without a near one brings the factor a quarter of the way back; after three of them the
  caller is answered a little sooner than others.

A caller who pauses for about 0.7 s between two sentences of every turn is cut off in the first of
eight turns; in all eight where nothing is learnt. Arithmetic on samples; no clock.
"""

from .speech_gate import samples

CUT_OFF_MS = 1_000
LONGEST = 2.4
MOST_EXTRA_MS = 600
"""Bounds of the factor, and of what it adds: 380 ms become 910 ms at most, 1,150 ms 1,750 ms."""
SHORTEST = 0.85

_PAUSE = samples(250)
"""Shorter silences are part of speaking: of 68 pauses in 110 recorded turns 30 were."""
_FILLED = 0.8
_LEARNT = 0.6
_FORGOTTEN = 0.25
_FLUENT_TURNS = 3


class CallerPace:
    """Learns from the caller's pauses."""

    def __init__(self) -> None:
        self.factor = 1.0
        """What patience is multiplied by."""
        self._fluent = 0
        """Turns in a row without a near pause."""
        self._near = False

    def went_on(self, silence: int, patience: int) -> None:
        """The caller went on after ``silence``; ``patience`` would have been met without a factor.

        Both in samples."""
        if silence < _PAUSE or patience <= 0:
            return
        needed = min(LONGEST, silence / patience / _FILLED)
        if needed > 1.0:
            self._near = True
            self.factor += _LEARNT * max(0.0, needed - self.factor)

    def turn_ended(self) -> None:
        """A turn with words is over."""
        self._fluent = 0 if self._near else self._fluent + 1
        if not self._near:
            normal = SHORTEST if self._fluent >= _FLUENT_TURNS else 1.0
            self.factor += _FORGOTTEN * (normal - self.factor)
        self._near = False
