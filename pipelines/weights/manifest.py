"""The manifest: every model there is, and what a start fetches.

``small`` does every operation of the platform: a spoken conversation in English (CALL_MODELS, about
0.6 GB) and the jobs (JOB_MODELS, about 0.5 GB). ``standard`` is the same for now; ``full`` adds the
larger chat model, which answers better where there are the cores and the memory for it.
"""

from .call_models import (
    MOONSHINE_TINY_EN,
    QWEN_05B,
    QWEN_15B,
    SILERO_VAD,
    SMART_TURN,
    VOSK_SMALL_EN,
)
from .job_models import KOKORO, SPEAKER_ENCODER, WHISPER_BASE
from .model import Model

_CALLS = (SILERO_VAD, SMART_TURN, VOSK_SMALL_EN, MOONSHINE_TINY_EN, QWEN_05B)
_JOBS = (WHISPER_BASE, SPEAKER_ENCODER, KOKORO)

MODELS: dict[str, Model] = {model.name: model for model in (*_CALLS, QWEN_15B, *_JOBS)}

CALL_MODELS: tuple[str, ...] = tuple(model.name for model in _CALLS)
JOB_MODELS: tuple[str, ...] = tuple(model.name for model in _JOBS)
"""What no call waits for."""

PROFILES: dict[str, tuple[str, ...]] = {
    "small": (*CALL_MODELS, *JOB_MODELS),
    "standard": (*CALL_MODELS, *JOB_MODELS),
    "full": (*CALL_MODELS, QWEN_15B.name, *JOB_MODELS),
}
"""Names of models, in the order in which they are fetched."""
