"""The caller's ear: plays reply audio by a playout clock and remembers what was heard when.

Rules: the timeline counts samples at ``rate`` since ``start``; at time t everything before
``(t - start) * rate`` has been heard and cannot be changed. Audio that arrives is played behind
what is already waiting; where nothing waits, silence is heard. ``flush`` drops what waits. The
ear of a stream that never pauses (``live``) catches up after a burst: silence that waits for more
than ``CATCH_UP_MS`` is dropped.
Pure: time is an argument (seconds, any monotonic clock).
"""

from collections import deque
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.int16]

AUDIBLE = 100
"""A sample is audible when its magnitude exceeds this (about -50 dBFS)."""

CATCH_UP_MS = 20.0


class Player:
    """Playout of one call. ``rate`` in Hz; ``limit_s`` bounds what is remembered (seconds)."""

    def __init__(
        self, rate: int, start: float, *, live: bool = False, limit_s: float = 3600.0
    ) -> None:
        self.rate = rate
        self.start = start
        self._live = live
        self._limit = int(limit_s * rate)
        self._waiting: deque[Samples] = deque()
        self._waiting_samples = 0
        self._timeline: Samples = np.zeros(rate * 10, np.int16)
        self._cursor = 0
        self.flushed_samples = 0

    def feed(self, pcm: bytes, now: float) -> None:
        """Take reply audio (PCM16 LE mono); an odd last byte raises ValueError."""
        self.advance(now)
        samples = np.frombuffer(pcm, dtype="<i2").astype(np.int16)
        self._waiting.append(samples)
        self._waiting_samples += len(samples)
        while self._live and self.waiting_ms > CATCH_UP_MS and not len(_loud(self._waiting[0])):
            self._waiting_samples -= len(self._waiting.popleft())

    def flush(self, now: float) -> int:
        """Drop what has not been heard; returns how many samples that were."""
        self.advance(now)
        dropped = self._waiting_samples
        self._waiting.clear()
        self._waiting_samples = 0
        self.flushed_samples += dropped
        return dropped

    def advance(self, now: float) -> None:
        """Hear everything up to ``now``."""
        target = min(round((now - self.start) * self.rate), self._limit)
        if target > len(self._timeline):
            grown = np.zeros(max(target, 2 * len(self._timeline)), np.int16)
            grown[: len(self._timeline)] = self._timeline
            self._timeline = grown
        while self._cursor < target:
            if not self._waiting:
                self._cursor = target
                return
            wanted = target - self._cursor
            chunk = self._waiting.popleft()
            if len(chunk) > wanted:
                self._waiting.appendleft(chunk[wanted:])
                chunk = chunk[:wanted]
            self._waiting_samples -= len(chunk)
            self._timeline[self._cursor : self._cursor + len(chunk)] = chunk
            self._cursor += len(chunk)

    @property
    def waiting_ms(self) -> float:
        """How much audio waits to be played."""
        return self._waiting_samples * 1000 / self.rate

    def heard(self) -> Samples:
        """The whole timeline so far, silence included (a view)."""
        return self._timeline[: self._cursor]

    def audible_after(self, moment: float) -> float | None:
        """When the first audible sample at or after ``moment`` was heard; None: not yet."""
        offset = self._offset(moment)
        loud = _loud(self.heard()[offset:])
        return self.start + (offset + int(loud[0])) / self.rate if len(loud) else None

    def audible_until(self, moment: float) -> float | None:
        """When the last audible sample before ``moment`` was heard; None: there was none."""
        end = min(self._offset(moment), self._cursor)
        while end > 0:
            begin = max(0, end - self.rate)
            loud = _loud(self._timeline[begin:end])
            if len(loud):
                return self.start + (begin + int(loud[-1])) / self.rate
            end = begin
        return None

    def _offset(self, moment: float) -> int:
        return max(0, round((moment - self.start) * self.rate))

    def stretches(self, gap_s: float = 0.5) -> list[tuple[float, float]]:
        """(begin, end) of every audible stretch; stretches are parted by ``gap_s`` of silence."""
        loud = _loud(self.heard())
        if not len(loud):
            return []
        breaks = np.flatnonzero(np.diff(loud) > gap_s * self.rate) + 1
        edges = [0, *breaks.tolist(), len(loud)]
        return [
            (self.start + int(loud[a]) / self.rate, self.start + int(loud[b - 1]) / self.rate)
            for a, b in pairwise(edges)
        ]


def audible(pcm: bytes) -> bool:
    """Whether PCM16 LE holds an audible sample."""
    return bool(len(_loud(np.frombuffer(pcm, dtype="<i2"))))


def _loud(samples: Samples) -> npt.NDArray[np.intp]:
    return np.flatnonzero((samples > AUDIBLE) | (samples < -AUDIBLE))
