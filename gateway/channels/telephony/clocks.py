"""How much a carrier has played: by the marks that it returns, or else by time.

A mark sent behind audio comes back when that audio has been played, or when it was cleared; the two
look alike. So every mark has a number, and ``clear`` remembers how far they had been given out: of
those, whatever returns later was cleared and does not count as heard. Where a carrier returns
marks, wall time says nothing.

Rules of ``MarkClock``: positions are samples; heard ≤ marked ≤ sent. Cleared, ``sent`` falls back
to ``heard``. A mark that returns vouches for the ones before it.
"""

from collections import deque
from enum import Enum

_PREFIX = "blab-"


class Returned(Enum):
    """What a returned mark says."""

    PLAYED = "played"
    CLEARED = "cleared"
    UNKNOWN = "unknown"
    """None of ours, or one that was counted before."""


class MarkClock:
    """Samples sent and heard on one stream."""

    def __init__(self) -> None:
        self.heard = 0
        self._sent = 0
        self._marked = 0
        self._given = 0
        """Marks given out so far; also the newest one's number."""
        self._cleared = 0
        """The newest mark that was given out when the last clear was sent."""
        self._waiting: deque[tuple[int, int]] = deque()
        """(number, position) of marks that have not returned; bounded by what may be sent ahead."""

    @property
    def outstanding(self) -> int:
        """Samples sent and not known to be heard."""
        return self._sent - self.heard

    @property
    def unmarked(self) -> int:
        """Samples sent behind the newest mark."""
        return self._sent - self._marked

    def send(self, samples: int) -> None:
        """So many samples are on their way."""
        self._sent += samples

    def mark(self) -> str:
        """The name of a mark to be sent behind everything so far."""
        self._given += 1
        self._marked = self._sent
        self._waiting.append((self._given, self._sent))
        return f"{_PREFIX}{self._given}"

    def returned(self, name: str) -> Returned:
        """Take a mark that came back."""
        number = _number(name)
        if not 0 < number <= self._given:
            return Returned.UNKNOWN
        if number <= self._cleared:
            return Returned.CLEARED
        if not self._waiting or number < self._waiting[0][0]:
            return Returned.UNKNOWN
        while self._waiting and self._waiting[0][0] <= number:
            self.heard = self._waiting.popleft()[1]
        return Returned.PLAYED

    def clear(self) -> None:
        """What has not been heard will never be."""
        self._cleared = self._given
        self._waiting.clear()
        self._sent = self._marked = self.heard


class TimeClock:
    """What a carrier without marks still has to play: it plays in real time, from when audio was
    sent to it. Time (s) is an argument."""

    def __init__(self) -> None:
        self._silent_at = 0.0

    def send(self, seconds: float, now: float) -> None:
        """So much audio is on its way at ``now``."""
        self._silent_at = max(self._silent_at, now) + seconds

    def left(self, now: float) -> float:
        """Seconds that the carrier still plays at ``now``."""
        return max(0.0, self._silent_at - now)

    def clear(self) -> None:
        """What has not been played will never be."""
        self._silent_at = 0.0


def _number(name: str) -> int:
    digits = name.removeprefix(_PREFIX)
    return int(digits) if digits != name and len(digits) < 16 and digits.isdecimal() else 0
