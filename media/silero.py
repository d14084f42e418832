"""SileroModel: the Silero voice activity network on onnxruntime, shared by every call.

Model: Silero VAD v5/v6 (MIT), https://github.com/snakers4/silero-vad. It judges windows of 512
samples at 16 kHz (32 ms), each preceded by the last 64 samples of the window before it, and
carries a recurrent state of shape [2, 1, 128]. The session is stateless and may run in many
threads at once; each call keeps its own state and context.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from .formats import HEARING_RATE

WINDOW = 512
"""Samples of one window (32 ms)."""

CONTEXT = 64
"""Samples of the window before that the network wants to see again."""

Floats = npt.NDArray[np.float32]


class SileroModel:
    """One onnxruntime session over ``silero_vad.onnx``; load once per process (about 30 ms)."""

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session: Any = onnxruntime.InferenceSession(
            str(path), sess_options=options, providers=["CPUExecutionProvider"]
        )
        self._rate = np.array(HEARING_RATE, dtype=np.int64)

    @staticmethod
    def initial_state() -> Floats:
        """The state before the first window."""
        return np.zeros((2, 1, 128), dtype=np.float32)

    def run(self, samples: Floats, state: Floats) -> tuple[float, Floats]:
        """Speech probability of one window and the state after it.

        ``samples`` is float32 [1, CONTEXT + WINDOW] in -1..1."""
        probability, after = self._session.run(
            None, {"input": samples, "state": state, "sr": self._rate}
        )
        return float(probability[0, 0]), after
