"""Levelling speech while it is being produced: one loudness for every voice, no true peak above the
limit.

Works on a phrase at a time, as engines produce it, so that nothing is delayed: a phrase of 4 s
takes some 4 ms. Loudness follows ITU-R BS.1770-4 (mono), with the K filter applied in the frequency
domain and the standard's gating of the silence around a phrase.
"""

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

TARGET_LUFS = -20.0
"""Of all speech of embedded voices."""
PEAK_DBTP = -1.0
MOST_CORRECTION_DB = 3.0
"""A phrase is corrected by at most this beyond its voice's own gain, so that a soft phrase stays a
little softer."""
SHORTEST_SECONDS = 0.4
"""Shorter phrases cannot be measured: the length of one block of the standard."""

_STEP_SECONDS = 0.1
_ABSOLUTE_GATE, _RELATIVE_GATE = -70.0, -10.0
_HELD_PEAK = 10 ** ((PEAK_DBTP - 0.7) / 20)
"""The limiter's ceiling: the interpolation errs by up to 0.5 dB, in white noise."""
_OVERSAMPLING, _TAPS = 4, 16
_FRAME_MS = 1
_HOLD_FRAMES = 5
"""Frames before and after a peak over which the limiter fades in and out."""


def loudness(samples: Floats, rate: int) -> float | None:
    """LUFS of mono samples in -1..1; None if they are shorter than ``SHORTEST_SECONDS`` or
    silent."""
    if len(samples) < int(rate * SHORTEST_SECONDS):
        return None
    size = 1 << (len(samples) - 1).bit_length()
    weighted = np.fft.irfft(np.fft.rfft(samples, size) * _k_response(rate, size), size)
    energy = np.concatenate(([0.0], np.cumsum(weighted[: len(samples)] ** 2, dtype=np.float64)))
    step, block = int(rate * _STEP_SECONDS), int(rate * SHORTEST_SECONDS)
    starts = np.arange(0, len(samples) - block + 1, step)
    powers = (energy[starts + block] - energy[starts]) / block
    powers = powers[powers > _power(_ABSOLUTE_GATE)]
    if not len(powers):
        return None
    powers = powers[powers > powers.mean() * 10 ** (_RELATIVE_GATE / 10)]
    return -0.691 + 10 * math.log10(float(powers.mean()))


def levelled(pcm: bytes, rate: int, gain_db: float) -> bytes:
    """A phrase of PCM16 mono at ``TARGET_LUFS`` and within ``PEAK_DBTP``.

    ``gain_db``: the voice's own gain, used alone if the phrase is too short to measure.
    Blocking."""
    samples = np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32768)
    found = loudness(samples, rate)
    wanted = gain_db if found is None else TARGET_LUFS - found
    gain = min(max(wanted, gain_db - MOST_CORRECTION_DB), gain_db + MOST_CORRECTION_DB)
    loud = limited(samples * np.float32(10 ** (gain / 20)), rate)
    return np.clip(np.rint(loud * 32768), -32768, 32767).astype("<i2").tobytes()


def limited(samples: Floats, rate: int) -> Floats:
    """``samples`` with no true peak above ``PEAK_DBTP``; unchanged if there is none."""
    if not len(samples) or float(np.abs(samples).max()) < _HELD_PEAK / 2:
        return samples
    frame = rate * _FRAME_MS // 1000
    peaks = np.pad(_true_peaks(samples), (0, -len(samples) % frame)).reshape(-1, frame).max(axis=1)
    if float(peaks.max()) <= _HELD_PEAK:
        return samples
    needed = np.minimum(1.0, _HELD_PEAK / np.maximum(peaks, 1e-9))
    held = _windows(np.pad(needed, 2 * _HOLD_FRAMES, constant_values=1.0)).min(axis=1)
    smooth = _windows(held).mean(axis=1)  # within each window nothing exceeds what is needed there
    middles = (np.arange(len(smooth)) + 0.5) * frame
    curve = np.interp(np.arange(len(samples)), middles, smooth)
    made: Floats = (samples * curve).astype(np.float32)
    return made


def _windows(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.lib.stride_tricks.sliding_window_view(values, 2 * _HOLD_FRAMES + 1)


def _true_peaks(samples: Floats) -> Floats:
    """For each sample the highest magnitude between it and the next."""
    peaks: Floats = np.abs(samples)
    for phase in _phases():
        between = np.abs(np.convolve(samples, phase, "full"))[_TAPS // 2 :][: len(samples)]
        np.maximum(peaks, between, out=peaks)
    return peaks


@lru_cache(maxsize=1)
def _phases() -> tuple[Floats, ...]:
    """Filters that interpolate at each quarter between two samples: windowed sinc."""
    places = np.arange(_TAPS) - (_TAPS // 2 - 1)
    found = []
    for quarter in range(1, _OVERSAMPLING):
        at = places - quarter / _OVERSAMPLING
        window = 0.5 + 0.5 * np.cos(2 * np.pi * at / (_TAPS + 1))
        taps = np.sinc(at) * window
        found.append((taps / taps.sum())[::-1].astype(np.float32))
    return tuple(found)


def _power(lufs: float) -> float:
    return float(10 ** ((lufs + 0.691) / 10))


@lru_cache(maxsize=64)
def _k_response(rate: int, size: int) -> npt.NDArray[np.complex64]:
    """The K filter at the frequencies of an FFT of ``size``: the two analogue stages that
    BS.1770 gives for 48 kHz, taken over to ``rate`` by the bilinear transform (as libebur128)."""
    z = np.exp(-2j * np.pi * np.arange(size // 2 + 1) / size)
    f, gain, q = 1681.974450955533, 3.999843853973347, 0.7071752369554196
    k = math.tan(math.pi * f / rate)
    high = 10 ** (gain / 20)
    band = high**0.4996667741545416
    shelf = (
        (high + band * k / q + k * k)
        + 2 * (k * k - high) * z
        + (high - band * k / q + k * k) * z**2
    ) / ((1 + k / q + k * k) + 2 * (k * k - 1) * z + (1 - k / q + k * k) * z**2)
    f, q = 38.13547087602444, 0.5003270373238773
    k = math.tan(math.pi * f / rate)
    a0 = 1 + k / q + k * k
    highpass = (1 - 2 * z + z**2) / (1 + 2 * (k * k - 1) / a0 * z + (1 - k / q + k * k) / a0 * z**2)
    return np.asarray(shelf * highpass, np.complex64)
