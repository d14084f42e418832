"""The time axis of a recorded call: samples at ``HEARING_RATE`` since the call began.

Both tracks and the timeline are laid on it. The caller's samples are counted by the core, the
agent's are heard at moments of the core's clock; this says where either of them is on the axis.

Rules
- The axis follows the core's clock. The caller's windows lie on it one behind the other, each
  no later than it came: jitter of the network leaves no gap.
- Before the first audio, and where none comes for more than ``GAP_SECONDS``, the caller's track has
  silence. So it has where every window of the last second came late by more than ``LATE_MS``: then
  audio is missing, or the peer's clock is slow. It is put in where nobody speaks.
- Audio that comes faster than time moves the axis ahead: nothing is dropped, and the agent, which
  answers what it has heard, stays behind it.
- It depends on the windows and their times alone, so the recorder, which has the audio, and a
  reader of the event log agree to the sample.
"""

from bisect import bisect_right

from media.formats import HEARING_RATE, samples_of
from sessions.core.events import VoiceWindow

GAP_SECONDS = 1.0
LATE_MS = 40
DRY_MS = 30
"""A reply that goes on so much later than its audio ended has run dry; less is jitter."""
_JUDGED = 32
"""Windows: a second."""
_QUIET = 0.5
"""Below this probability of speech a window is silent."""


class CallClock:
    """The axis of one call, or of one of its parts, which begins at ``started``: seconds of the
    core's clock."""

    def __init__(self, started: float) -> None:
        self._started = started
        self._ahead = 0
        """By how many samples the axis is ahead of the core's clock."""
        self._counted = 0
        """The core's position of the input so far."""
        self._end = 0
        """Where that lies on the axis."""
        self._late: int | None = None
        """The least lateness of the windows judged so far, of which there are ``_windows``."""
        self._windows = 0
        self._positions = [0]
        self._shifts = [0]
        """From each position on, how much later than counted it lies."""

    @property
    def end(self) -> int:
        """Where the caller's last window ends."""
        return self._end

    def at(self, now: float) -> int:
        """The place of a moment of the core's clock."""
        return max(0, round((now - self._started) * HEARING_RATE) + self._ahead)

    def hear(self, window: VoiceWindow, now: float) -> int:
        """Take the caller's next window; the place of its first sample."""
        count = max(0, window.position - self._counted)
        late = self.at(now) - self._end - count
        if late < 0:
            self._ahead -= late
            late = 0
        self._late = late if self._late is None else min(late, self._late)
        self._windows += 1
        if late > GAP_SECONDS * HEARING_RATE or not self._counted:
            self._shift(late)
        elif self._windows >= _JUDGED and window.voice < _QUIET:
            if self._late > samples_of(LATE_MS, HEARING_RATE):
                self._shift(self._late)
            self._late, self._windows = None, 0
        begins = self._end
        self._counted += count
        self._end += count
        return begins

    def of(self, position: int) -> int:
        """The place of an input position that the core has counted."""
        shift = self._shifts[bisect_right(self._positions, position) - 1]
        return max(0, position) + shift

    def _shift(self, samples: int) -> None:
        self._positions.append(self._counted)
        self._shifts.append(self._shifts[-1] + samples)
        self._end += samples
        self._late, self._windows = None, 0
