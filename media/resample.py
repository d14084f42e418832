"""Streaming sample-rate conversion between the rates of ``media.formats.PCM_RATES``.

A polyphase FIR (Kaiser-windowed sinc, about 60 dB of stop band) of 16 samples of the lower
rate on either side: 2 ms of delay where 8 kHz is involved, 1 ms or less elsewhere.

Invariants
- After ``n`` source samples exactly ``n // M * L`` target samples have been returned (``L / M`` is
  the reduced ratio of the rates), for any sizes of pushes: a 20 ms frame in is a 20 ms frame out.
  The *sound* in them is ``delay`` target samples late.
- ``flush`` ends the stream: ``ceil(n * L / M) + delay`` samples in all, and the object is as new.
- The output does not depend on how the input was cut into pushes.
"""

from functools import cache
from math import gcd

import numpy as np
import numpy.typing as npt

from .formats import PCM_RATES, SAMPLE_BYTES

_REACH = 16
"""Samples of the lower rate on either side of the filter's centre."""
_CUTOFF = 0.456
"""Middle of the transition band, in units of the lower rate (3648 Hz at 8 kHz)."""
_KAISER_BETA = 5.65
_LEAST, _MOST = np.float32(-32768), np.float32(32767)
_TOGETHER = 16
"""Blocks for one row of the matrix product, where their number is a multiple: for 20 ms from 24 to
16 kHz that takes 6 µs; block by block 9."""


class Resampler:
    """PCM16 mono from ``source_hz`` to ``target_hz``, a stream at a time; not shareable."""

    def __init__(self, source_hz: int, target_hz: int) -> None:
        for rate in (source_hz, target_hz):
            if rate not in PCM_RATES:
                raise ValueError(f"sample rate {rate} Hz: one of {PCM_RATES} is needed")
        self.source_hz = source_hz
        self.target_hz = target_hz
        self.delay = 0
        """Target samples by which the output lags behind the input."""
        if source_hz == target_hz:
            return
        divisor = gcd(source_hz, target_hz)
        self._up = target_hz // divisor
        self._down = source_hz // divisor
        self._weights = _weights(self._up, self._down)
        self._wide_weights = _weights(self._up, self._down, _TOGETHER)
        self._memory = self._weights.shape[0] - self._down
        self.delay = _REACH * target_hz // min(source_hz, target_hz)
        self._pending = np.zeros(self._memory, np.float32)

    def push(self, pcm: bytes | memoryview) -> bytes:
        """Take source samples and return the target samples now due."""
        if len(pcm) % SAMPLE_BYTES:
            raise ValueError(f"{len(pcm)} bytes are not whole PCM16 samples: send an even number")
        if self.source_hz == self.target_hz:
            return bytes(pcm)
        return self._convert(np.frombuffer(pcm, "<i2"))

    def flush(self) -> bytes:
        """End the stream: return what the filter still holds, and start over."""
        if self.source_hz == self.target_hz:
            return b""
        begun = len(self._pending) - self._memory
        rest = -(-begun * self._up // self._down) + self.delay
        blocks = -(-rest // self._up)
        zeros = np.zeros(blocks * self._down - begun, np.int16)
        tail = self._convert(zeros)[: rest * SAMPLE_BYTES]
        self._pending = np.zeros(self._memory, np.float32)
        return tail

    def _convert(self, samples: npt.NDArray[np.int16]) -> bytes:
        stream = np.concatenate((self._pending, samples), dtype=np.float32)
        blocks = (len(stream) - self._memory) // self._down
        if blocks == 0:
            self._pending = stream
            return b""
        rows, hop, weights = blocks, self._down, self._weights
        if not blocks % _TOGETHER:
            rows, hop, weights = blocks // _TOGETHER, hop * _TOGETHER, self._wide_weights
        item = stream.itemsize
        windows: npt.NDArray[np.float32] = np.ndarray(
            (rows, len(weights)), np.float32, stream, 0, (item * hop, item)
        )
        out = windows.copy() @ weights
        self._pending = stream[blocks * self._down :].copy()
        np.rint(out, out)
        np.maximum(out, _LEAST, out=out)  # np.clip takes three times as long
        np.minimum(out, _MOST, out=out)
        return out.astype("<i2").tobytes()


def resample(pcm: bytes | memoryview, source_hz: int, target_hz: int) -> bytes:
    """A whole recording at another rate, without delay: ``ceil(n * L / M)`` samples."""
    resampler = Resampler(source_hz, target_hz)
    out = resampler.push(pcm) + resampler.flush()
    return out[resampler.delay * SAMPLE_BYTES :]


@cache
def _weights(up: int, down: int, blocks: int = 1) -> npt.NDArray[np.float32]:
    """Filter as a matrix: a window of source samples times it gives ``up`` target samples for each
    of ``blocks``.

    Column ``r`` holds the phase of the ``r``-th target sample of a block of ``down`` source
    samples; the window is the blocks and the source samples before them that the filter reaches.
    """
    if blocks > 1:
        one = _weights(up, down)
        wide = np.zeros((len(one) + (blocks - 1) * down, blocks * up), np.float32)
        for block in range(blocks):
            rows = slice(block * down, block * down + len(one))
            wide[rows, block * up : (block + 1) * up] = one
        return wide
    high = max(up, down)
    half = _REACH * high
    n = np.arange(-half, half + 1)
    width = 2 * _CUTOFF / high
    prototype = width * np.sinc(width * n) * np.kaiser(2 * half + 1, _KAISER_BETA)
    prototype *= up / prototype.sum()
    reach = -(-len(prototype) // up)
    weights = np.zeros((reach - 1 + down, up))
    for r in range(up):
        newest, phase = divmod(r * down, up)
        taps = prototype[phase::up]
        taps = taps / taps.sum()
        weights[newest + reach - 1 - np.arange(len(taps)), r] = taps
    return weights.astype(np.float32)
