"""Pitch: the fundamental frequency of speech over time, by autocorrelation.

After Boersma, "Accurate short-term analysis of the fundamental frequency" (1993): the
autocorrelation of a windowed frame divided by that of the window; of peaks that are nearly as
high, the shortest period. Good enough to compare how lively two readings of a text are.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

FRAME_SECONDS = 0.04
STEP_SECONDS = 0.01
LOWEST, HIGHEST = 60.0, 450.0
"""Hz between which the pitch of a voice is searched."""

_VOICED = 0.6
"""Autocorrelation at a period from which a frame is voiced."""
_NEARLY = 0.88
"""Share of the highest peak that another must reach to be preferred."""
_QUIETEST = 2e-3
"""Share of the loudest frame's power below which a frame does not count."""
_ODD = 10.0
"""Semitones from the median beyond which a frame was misjudged."""


def pitch(samples: npt.NDArray[np.int16], rate: int) -> Floats:
    """Hz of each voiced frame in PCM16 samples; empty if none is."""
    size, step = int(FRAME_SECONDS * rate), int(STEP_SECONDS * rate)
    if len(samples) < size:
        return np.zeros(0)
    frames = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float64), size)[::step]
    frames = frames - frames.mean(axis=1, keepdims=True)
    window = np.hanning(size)
    own = _autocorrelation(window[None])[0]
    peaks = _autocorrelation(frames * window) / (own / own[0] + 1e-3)
    shortest, longest = int(rate / HIGHEST), int(rate / LOWEST)
    power = peaks[:, :1] + 1e-9
    inside = (peaks / power)[:, shortest:longest]
    best = inside.max(axis=1)
    rising = inside[:, 1:-1] > inside[:, :-2]
    falling = inside[:, 1:-1] >= inside[:, 2:]
    wanted = rising & falling & (inside[:, 1:-1] > _NEARLY * best[:, None])
    first = np.where(wanted.any(axis=1), wanted.argmax(axis=1) + 1, inside.argmax(axis=1))
    loud = power[:, 0] > power.max() * _QUIETEST
    found: Floats = rate / (first + shortest)[(best > _VOICED) & loud]
    return found


def melody(frequencies: Floats) -> float:
    """How much the pitch moves: standard deviation in semitones, misjudged frames left out."""
    if not len(frequencies):
        return 0.0
    semitones = 12 * np.log2(frequencies / np.median(frequencies))
    return float(semitones[np.abs(semitones) < _ODD].std())


def _autocorrelation(frames: Floats) -> Floats:
    size = frames.shape[1]
    length = 1 << (2 * size - 1).bit_length()
    spectrum = np.fft.rfft(frames, length)
    correlation: Floats = np.fft.irfft(np.abs(spectrum) ** 2, length)[:, :size]
    return correlation
