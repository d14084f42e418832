"""The caller's time: where the carrier sent nothing there was silence.

Rules: the carrier's timestamps (ms since the stream began) say where a frame stands. A hole of a
frame or more is silence, at most ``MAX_GAP_MS`` of it: more tells the listener nothing. Smaller
deviations are jitter of the stamps. A frame without a stamp, or one that is behind, follows the
one before.
"""

from media.formats import milliseconds_of

MAX_GAP_MS = 2_000
_JITTER_MS = 20


class Timeline:
    """Where the next frame is expected."""

    def __init__(self, rate: int) -> None:
        """``rate``: Hz of the samples."""
        self._rate = rate
        self._expected: int | None = None

    def gap(self, timestamp: int | None, samples: int) -> int:
        """Take a frame of ``samples`` at ``timestamp``; samples of silence before it."""
        length = milliseconds_of(samples, self._rate)
        if timestamp is None:
            if self._expected is not None:
                self._expected += length
            return 0
        missing = timestamp - self._expected if self._expected is not None else 0
        self._expected = timestamp + length
        if missing < _JITTER_MS:
            return 0
        return min(missing, MAX_GAP_MS) * self._rate // 1000
