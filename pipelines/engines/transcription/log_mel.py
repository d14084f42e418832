"""Log-mel spectrograms as Whisper hears them.

Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision" (2022), section
2.2: 80 channels, 25 ms Hann windows, 10 ms steps, 16 kHz. Mel scale and area normalisation are
Slaney's (Auditory Toolbox, 1998): linear below 1 kHz, logarithmic above. The signal is
mirrored at both ends, the last frame dropped; values are log10, floored 8 below the loudest,
then (x + 4) / 4.
"""

import numpy as np
import numpy.typing as npt

from media.formats import HEARING_RATE

FFT_SIZE = 400
"""Samples of one window (25 ms)."""

HOP = 160
"""Samples from one window to the next (10 ms)."""

BANDS = 80
"""Mel channels."""

Floats = npt.NDArray[np.float32]

_LINEAR_STEP = 200 / 3
"""Hz of one mel in the linear part."""

_BREAK_HZ = 1000.0
_BREAK_MEL = _BREAK_HZ / _LINEAR_STEP
_LOG_STEP = float(np.log(6.4)) / 27
"""ln of the frequency ratio of one mel in the logarithmic part."""


def hz_of_mel(mels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Frequencies (Hz) of Slaney mels."""
    above = _BREAK_HZ * np.exp(_LOG_STEP * (mels - _BREAK_MEL))
    return np.where(mels < _BREAK_MEL, mels * _LINEAR_STEP, above)


def mel_filters(bands: int = BANDS) -> Floats:
    """Triangular filters of equal area, [bands, FFT_SIZE // 2 + 1], from 0 to 8000 Hz."""
    top = _BREAK_MEL + np.log(HEARING_RATE / 2 / _BREAK_HZ) / _LOG_STEP
    edges = hz_of_mel(np.linspace(0.0, top, bands + 2))
    bins = np.linspace(0.0, HEARING_RATE / 2, FFT_SIZE // 2 + 1)
    rise = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    fall = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    area = 2.0 / (edges[2:] - edges[:-2])
    filters = np.maximum(0.0, np.minimum(rise, fall)) * area[:, None]
    return filters.astype(np.float32)


_FILTERS = mel_filters()
_WINDOW: Floats = np.hanning(FFT_SIZE + 1)[:-1].astype(np.float32)


def log_mel(samples: Floats) -> Floats:
    """Log-mel spectrogram [BANDS, len(samples) // HOP] of float32 samples at HEARING_RATE.

    Needs more than FFT_SIZE // 2 samples."""
    padded = np.pad(samples, FFT_SIZE // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, FFT_SIZE)[::HOP]
    spectrum = np.fft.rfft(frames[: len(samples) // HOP] * _WINDOW)
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    bands: Floats = np.log10(np.maximum(_FILTERS @ power.T, np.float32(1e-10)))
    np.maximum(bands, bands.max() - np.float32(8.0), out=bands)
    bands += np.float32(4.0)
    bands *= np.float32(0.25)
    return bands
