"""SmartTurn: is the caller's turn complete? Judged from the sound of its last 8 seconds.

Model: Smart Turn v3.2 (BSD-2-Clause), https://github.com/pipecat-ai/smart-turn; a Whisper-tiny
encoder with a classifier head, int8, 8.7 MB. Its output is named logits and is a probability.

Rules
- Call it only on audio in which the VAD has heard speech: it calls mere noise complete (0.98).
- Give it the turn with the silence after it (it was trained with about 200 ms): it judges the
  end of what it is given.
- One inference is 30-50 ms on one thread, whatever the length.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from media.formats import HEARING_RATE, SAMPLE_BYTES
from pipelines.engines.executor import EngineExecutor

from .log_mel import Floats, log_mel

SPAN = 8 * HEARING_RATE
"""Samples the model looks at."""


def features(pcm: bytes) -> Floats:
    """The model's input [1, 80, 800]: the last 8 s of ``pcm``, shorter audio padded in front.

    The samples are brought to zero mean and unit variance first, as in its training."""
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

        ``deadline`` (seconds) bounds each call of ``score``."""
        self._model = model
        self._deadline = deadline
        self._executor = EngineExecutor(self.model_id, workers, queue_limit)
        self._session: Any = None
        self.load_seconds = 0.0

    async def warm(self) -> None:
        """Load the model and judge once, so that the first call is as fast as the tenth."""
        await self._executor.run(self._load, deadline=60)
        await self._executor.run(self._infer, bytes(SAMPLE_BYTES), deadline=60)

    async def score(self, pcm: bytes) -> float:
        """Probability 0..1 that the speech at the end of ``pcm`` is a complete turn."""
        if len(pcm) < SAMPLE_BYTES or len(pcm) % SAMPLE_BYTES:
            raise ValueError(f"{len(pcm)} bytes are no whole, positive number of samples")
        return await self._executor.run(self._infer, pcm, deadline=self._deadline)

    async def close(self) -> None:
        """End the threads and free the model."""
        await self._executor.close()
        self._session = None

    def _load(self) -> Any:
        if self._session is None:
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
