"""Recorded speech: read from a file into the line's format, written back, and its loud part."""

import wave
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.int16]

LOUD_RMS = 330.0
"""A 10 ms window is speech when its RMS exceeds this (-40 dBFS)."""


@dataclass(frozen=True, slots=True)
class Recording:
    """PCM16 mono samples at ``rate`` Hz. ``first`` and ``last`` bound the loud part (samples)."""

    samples: Samples
    rate: int
    first: int
    last: int

    @classmethod
    def of(cls, samples: Samples, rate: int) -> "Recording":
        """A recording with its loud part found; all of it where nothing is loud."""
        window = rate // 100
        whole = samples[: len(samples) // window * window].astype(np.float64)
        levels = np.sqrt(np.mean(whole.reshape(-1, window) ** 2, axis=1))
        loud = np.flatnonzero(levels > LOUD_RMS)
        if not len(loud):
            return cls(samples, rate, 0, len(samples))
        return cls(samples, rate, int(loud[0]) * window, (int(loud[-1]) + 1) * window)

    @classmethod
    def read(cls, path: Path, rate: int) -> "Recording":
        """Decode an audio file and resample it to mono at ``rate`` Hz.

        Raises ValueError naming the file where it holds no readable audio, and OSError."""
        path.stat()
        pieces: list[Samples] = []
        try:
            with av.open(str(path), metadata_errors="ignore") as container:
                resampler = av.AudioResampler(format="s16", layout="mono", rate=rate)
                for frame in container.decode(audio=0):
                    pieces += [piece.to_ndarray()[0] for piece in resampler.resample(frame)]
                pieces += [piece.to_ndarray()[0] for piece in resampler.resample(None)]
        except (av.FFmpegError, IndexError) as error:
            raise ValueError(f"{path} holds no readable audio: {error}") from error
        samples = np.concatenate(pieces) if pieces else np.zeros(0, np.int16)
        if not len(samples):
            raise ValueError(f"{path} holds no audio")
        return cls.of(samples.astype(np.int16), rate)

    @property
    def seconds(self) -> float:
        """Length of the whole recording."""
        return len(self.samples) / self.rate


def write_wav(path: Path, samples: Samples, rate: int) -> None:
    """Write PCM16 mono as a WAV file; raises OSError."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())
