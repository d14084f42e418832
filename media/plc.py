"""Packet-loss concealment for audio whose codec has none (G.711, raw PCM16).

A gap is filled with the last pitch period, repeated and faded out, after the principle of ITU-T
G.711 Appendix I. Nothing is held back, so there is no delay.

Invariants
- ``conceal(n)`` returns exactly ``n`` samples, and ``take`` as many as it was given.
- After ``FADE_MS`` of loss there is silence; memory is bounded by ``HISTORY_MS``.
"""

import numpy as np
import numpy.typing as npt

from .formats import samples_of

HISTORY_MS = 50
SHORTEST_PITCH_MS = 2.5
LONGEST_PITCH_MS = 15
"""400 Hz down to 66 Hz."""
COMPARED_MS = 20
FULL_MS = 10
"""The period is repeated at full strength for this long; then it fades."""
FADE_MS = 60
BLEND_MS = 4
"""Length of the cross-fade from the concealment to the first good audio after a loss."""

_Wave = npt.NDArray[np.float32]


class Concealer:
    """One stream at ``rate`` Hz: good audio goes through ``take``, and ``conceal`` fills the
    gaps."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._history: _Wave = np.zeros(samples_of(HISTORY_MS, rate), np.float32)
        self._period: _Wave | None = None
        self._made_up = 0

    def take(self, pcm: bytes) -> bytes:
        """Remember good audio and return it, its beginning cross-faded after a loss."""
        samples = np.frombuffer(pcm, "<i2").astype(np.float32)
        if self._period is not None:
            width = min(samples_of(BLEND_MS, self.rate), len(samples))
            rising = np.arange(1, width + 1, dtype=np.float32) / (width + 1)
            made = self._continue(self._period, width)
            samples[:width] = samples[:width] * rising + made * (1 - rising)
            self._period = None
        self._remember(samples)
        return _pcm(samples)

    def conceal(self, samples: int) -> bytes:
        """``samples`` samples in place of lost ones."""
        if self._period is None:
            self._period = self._find_period()
            self._made_up = 0
        made = self._continue(self._period, samples)
        self._remember(made)
        return _pcm(made)

    def _continue(self, period: _Wave, count: int) -> _Wave:
        """The next ``count`` samples of the repeated period, fading."""
        at = self._made_up + np.arange(count)
        self._made_up += count
        full, gone = samples_of(FULL_MS, self.rate), samples_of(FADE_MS, self.rate)
        gain = np.clip((gone - at) / (gone - full), 0, 1).astype(np.float32)
        wave: _Wave = period[at % len(period)] * gain
        return wave

    def _find_period(self) -> _Wave:
        """The last pitch period, its end blended so that it can follow itself."""
        history = self._history
        compared = samples_of(COMPARED_MS, self.rate)
        shortest = samples_of(SHORTEST_PITCH_MS, self.rate)
        longest = samples_of(LONGEST_PITCH_MS, self.rate)
        recent = history[-compared:]
        windows = np.lib.stride_tricks.sliding_window_view(history[:-shortest], compared)
        windows = windows[-(longest - shortest + 1) :]
        strength = np.sqrt((windows * windows).sum(1)) + 1.0
        best = int(np.argmax(windows @ recent / strength))
        lag = shortest + len(windows) - 1 - best
        period = history[-lag:].copy()
        width = max(lag // 4, 1)
        fading = np.arange(1, width + 1, dtype=np.float32) / (width + 1)
        before = history[-lag - width : -lag]
        period[-width:] = period[-width:] * (1 - fading) + before * fading
        return period

    def _remember(self, samples: _Wave) -> None:
        length = len(self._history)
        self._history = np.concatenate((self._history, samples[-length:]))[-length:]


def _pcm(samples: _Wave) -> bytes:
    return np.clip(np.rint(samples), -32768, 32767).astype("<i2").tobytes()
