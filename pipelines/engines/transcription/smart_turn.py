"""SmartTurn: is the caller's turn complete? Judged by the sound of its last 8 seconds.

Model: Smart Turn v3.2 (BSD-2-Clause), https://github.com/pipecat-ai/smart-turn; a Whisper-tiny
encoder with a classifier head, int8, 8.7 MB. Its output is named logits but is a probability.

Rules
- Only score audio in which the VAD has detected speech: mere noise scores as complete (0.98).
- Include the silence after the turn (it was trained with about 200 ms): it judges the end of its
  input.
- One inference is 30-50 ms on one thread, whatever the length.

Its input is Whisper's log-mel spectrogram (Radford et al., "Robust Speech Recognition via
Large-Scale Weak Supervision", 2022, section 2.2): 80 channels, 25 ms Hann windows, 10 ms steps,
16 kHz. Mel scale and area normalisation are Slaney's (Auditory Toolbox, 1998): linear below 1 kHz,
logarithmic above. The signal is mirrored at both ends, the last frame dropped; values are log10,
floored 8 below the loudest, then (x + 4) / 4.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from media.formats import HEARING_RATE, SAMPLE_BYTES
from pipelines.engines.engine import Engine, EngineSettings, Role, warmed
from pipelines.engines.executor import EngineExecutor
from pipelines.weights.manifest import MODELS

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


SPAN = 8 * HEARING_RATE
"""Samples the model looks at."""


def features(pcm: bytes) -> Floats:
    """The model's input [1, 80, 800]: the last 8 s of ``pcm``, shorter audio padded in front.

    The samples are normalised to zero mean and unit variance first, as in its training."""
    recent = np.frombuffer(pcm[-SPAN * SAMPLE_BYTES :], "<i2").astype(np.float32)
    recent *= np.float32(1 / 32768)
    samples: Floats = np.zeros(SPAN, dtype=np.float32)
    if len(recent):
        samples[-len(recent) :] = recent
    samples -= samples.mean()
    samples /= np.sqrt(samples.var() + np.float32(1e-7))
    return log_mel(samples)[None]


class SmartTurn:
    """TurnDetector on onnxruntime."""

    model_id = "smart-turn-v3.2"

    def __init__(
        self, model: Path, *, workers: int = 1, queue_limit: int = 16, deadline: float = 2.0
    ) -> None:
        """``model`` is the ONNX file; it is loaded by ``warm`` or the first ``score``.

        ``deadline`` (seconds) bounds each ``score``."""
        self._model = model
        self._deadline = deadline
        self._executor = EngineExecutor(self.model_id, workers, queue_limit, role=Role.TURN)
        self._session: Any = None
        self.load_seconds = 0.0

    async def warm(self) -> None:
        """Load the model and judge once, so that the first call is as fast as the tenth."""
        await self._executor.run(self._load, deadline=60)
        await self._executor.run(self._infer, bytes(SAMPLE_BYTES), deadline=60)

    async def score(self, pcm: bytes) -> float:
        """Probability 0..1 that the speech at the end of ``pcm`` is a complete turn."""
        if len(pcm) < SAMPLE_BYTES or len(pcm) % SAMPLE_BYTES:
            raise ValueError(f"{len(pcm)} bytes are not a whole, positive number of samples")
        return await self._executor.run(self._infer, pcm, deadline=self._deadline)

    async def close(self) -> None:
        """End the threads and free the model."""
        await self._executor.close()
        self._session = None

    def _load(self) -> Any:
        if self._session is None:
            import onnxruntime

            began = time.monotonic()

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            options.inter_op_num_threads = 1
            options.log_severity_level = 3
            self._session = onnxruntime.InferenceSession(
                str(self._model), sess_options=options, providers=["CPUExecutionProvider"]
            )
            self.load_seconds = time.monotonic() - began
        return self._session

    def _infer(self, pcm: bytes) -> float:
        (probability,) = self._load().run(None, {"input_features": features(pcm)})
        return float(probability[0, 0])


async def _load(settings: EngineSettings) -> SmartTurn:
    model_id = SmartTurn.model_id
    return await warmed(SmartTurn(settings.models_dir / model_id / f"{model_id}-cpu.onnx"))


ENGINE = Engine(
    role=Role.TURN, id=SmartTurn.model_id, weights=(MODELS[SmartTurn.model_id],), load=_load
)
