"""Which windows of the input are the caller's speech: voiced ones that are not too soft.

Rules
- The speech gate is hysteresis over the VAD's windows, and counts in samples of the input stream.
- Voices that are too soft to be the caller's are a television, or people near by.
- The level of a turn is that of its loud parts (the 80th percentile of its voiced windows,
  smoothed). The caller's level is the median of the last turns that had words. Before the first of
  them, the only gate is against softer speech within the same turn.
- A voiced window ``GATE_DB`` or more below the caller's level counts as silence: it opens no turn,
  prolongs none and interrupts nothing.
- A caller who becomes softer is not locked out. Rejected speech that began after a pause, while the
  call is idle, lowers the gate by 3 dB per second. Once such a turn has words, everything at its
  level is heard, until a turn at the old level comes. A voice that also continues during the
  caller's own turns, as a television does, lowers the gate by only 0.5 dB per second.
- Within a turn, the gate is ``GATE_DB`` below that turn's own level.

Arithmetic on windows of 32 ms; no clock.
"""

import math
from bisect import insort
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from media.formats import HEARING_RATE, samples_of
from sessions.core.events import VoiceWindow
from sessions.core.states import State


def samples(milliseconds: float) -> int:
    """Milliseconds as samples of the input stream."""
    return samples_of(milliseconds, HEARING_RATE)


RELEASE_DROP = 0.15
"""Hysteresis: speech ends below ``threshold - RELEASE_DROP``."""

_ONSET = samples(96)
_LEAST_PAUSE = samples(64)
LEAST_THRESHOLD = 0.05
"""The lowest probability of a voiced window, whatever the turn detection's threshold."""

GATE_DB = 14.0
"""On 22 recordings it rejects 0.5 % of the voiced windows of the speaker whose level was learnt,
and all but 0.1 % of those of a speaker 20 dB softer."""

_RISE, _FALL = 0.5, 0.2
"""How far the smoothed power follows a louder and a softer window. It must fall slowly, because of
the soft sounds and endings of words; at 0.2 it is 14 dB lower after 0.5 s."""
_LOUD_PART = 0.8
_TURNS = 5
_TURN_WINDOWS = 8
"""A turn with fewer voiced windows (0.26 s) says nothing about the caller's level."""
_OWN_WINDOWS = 20
"""After so many voiced windows (0.64 s), a running turn has a level of its own."""
_OWN_MAXIMUM = 2_000
"""A minute of voiced windows."""
_LOUDER_DB = 10.0
"""A turn this much above the level replaces it: the learnt level was not the caller's. A turn this
much below it comes from a softer caller."""
_LET_IN_DB = 8.0
"""How much further the gate falls for a softer caller who has the floor."""
_PAUSE = samples(700)
_LOWERED_DB = 3.0
_LOWERED_BACKGROUND_DB = 0.5
_BACKGROUND = samples(600)
_BACKGROUND_GONE = samples(5_000)
_SILENT_POWER = 1e-10

_IDLE = (State.LISTENING, State.THINKING, State.USING_TOOLS)


@dataclass(slots=True)
class SpeechGate:
    """Hysteresis over VAD windows: where speech began, and how long it has been silent.

    ``onset``: the first sample of the current or last speech; ``last_voice``: the sample after its
    last voiced window; ``position``: the end of the last window; ``quiet``: how far the input is
    known to be silent, if that is further."""

    position: int = 0
    quiet: int = 0
    onset: int = 0
    last_voice: int = 0
    speaking: bool = False
    pause: int = 0
    """Samples of the last silence that speech has ended; shorter ones than 64 ms do not count."""
    _run_start: int | None = None
    _voiced: int = 0

    def look(self, position: int, voice: float, threshold: float) -> None:
        """Take the next window, which ends at ``position`` (never before the last one)."""
        width = max(0, position - self.position)
        start, self.position = self.position, position
        level = threshold - RELEASE_DROP if self.speaking else threshold
        if voice >= max(LEAST_THRESHOLD, level):
            if self._run_start is None:
                self._run_start, self._voiced = start, 0
            self._voiced += width
            if start - self.last_voice >= _LEAST_PAUSE:
                self.pause = start - self.last_voice
            self.last_voice = position
            if not self.speaking and self._voiced >= _ONSET:
                self.speaking, self.onset = True, self._run_start
        elif not self.speaking:
            self._run_start = None

    @property
    def silence(self) -> int:
        """Samples since the last voiced window."""
        return max(self.position, self.quiet) - self.last_voice

    @property
    def voiced(self) -> int:
        """Samples of voiced windows since the onset; 0 while not speaking."""
        return self._voiced if self.speaking else 0

    def rest(self) -> None:
        """Forget the current speech: what follows is a new onset."""
        self.speaking, self._run_start, self._voiced = False, None, 0


class CallerLevel:
    """Learns the caller's level and rejects speech far below it. Levels in dBFS."""

    def __init__(self) -> None:
        self.lowered = 0.0
        """How many dB the gate is lower than ``GATE_DB`` says."""
        self._turns: deque[float] = deque(maxlen=_TURNS)
        self._own: list[float] = []
        """The smoothed levels of the current speech, sorted."""
        self._power = 0.0
        self._position = 0
        self._pause = 0
        """Samples since the last window that resembled speech."""
        self._apart = True
        """The rejected speech began after a pause, while nobody else spoke."""
        self._background = 0
        """Samples of softer speech during the caller's turns."""

    @property
    def turns(self) -> tuple[float, ...]:
        """The levels of the last turns, oldest first."""
        return tuple(self._turns)

    @property
    def learnt(self) -> float | None:
        """The caller's level; None before the first turn with words."""
        return _median(self._turns) if self._turns else None

    def voice(self, window: VoiceWindow, threshold: float, state: State) -> float:
        """The probability that the caller speaks in ``window``: the VAD's, or 0 if it is too soft.

        ``threshold``: the turn detection's; ``state``: the conversation's before the window."""
        width, self._position = max(0, window.position - self._position), window.position
        if window.level is None:
            return window.voice
        level = self._smoothed(window.level)
        if window.voice < threshold - RELEASE_DROP:
            self._pause += width
            if self._pause >= _PAUSE:
                self._apart = True
            if self._pause >= _BACKGROUND_GONE:
                self._background = 0
            return window.voice
        self._pause = 0
        if level < self._gate(state):
            self._reject(width, state)
            return 0.0
        if self.learnt is None or level >= self.learnt - _LOUDER_DB:
            self._apart = False
        if window.voice >= threshold and len(self._own) < _OWN_MAXIMUM:
            insort(self._own, level)
        return window.voice

    def take(self) -> float | None:
        """The level of the speech that has ended, which is forgotten; None if it was too short."""
        own, self._own = self._own, []
        return _loud_part(own) if len(own) >= _TURN_WINDOWS else None

    def learn(self, level: float | None) -> None:
        """Learn the level of a turn that had words: the caller spoke."""
        if level is None:
            return
        before = self.learnt
        if before is not None and level > before + _LOUDER_DB:
            self._turns.clear()
        self._turns.append(level)
        below = _median(self._turns) - level
        self.lowered = 0.0 if below <= _LOUDER_DB else max(self.lowered, below)

    def _smoothed(self, level: float) -> float:
        power = 10 ** (level / 10)
        self._power += (_RISE if power > self._power else _FALL) * (power - self._power)
        return 10 * math.log10(max(self._power, _SILENT_POWER))

    def _gate(self, state: State) -> float:
        """The level below which speech is rejected."""
        learnt, gate = self.learnt, -math.inf
        if learnt is not None:
            gate = learnt - GATE_DB - self.lowered
            if self.lowered and state not in _IDLE:
                gate -= _LET_IN_DB
        if state not in _IDLE and len(self._own) >= _OWN_WINDOWS:
            gate = max(gate, _loud_part(self._own) - GATE_DB)
        return gate

    def _reject(self, width: int, state: State) -> None:
        if state not in _IDLE:
            self._apart = False
            if state is State.ENDPOINTING:
                self._background += width
        elif self._apart:
            background = self._background >= _BACKGROUND
            rate = _LOWERED_BACKGROUND_DB if background else _LOWERED_DB
            self.lowered += rate * width / HEARING_RATE


def _median(levels: Iterable[float]) -> float:
    """The median; of two in the middle, the louder one."""
    found = sorted(levels)
    return found[len(found) // 2]


def _loud_part(levels: list[float]) -> float:
    return levels[int(_LOUD_PART * (len(levels) - 1))]
