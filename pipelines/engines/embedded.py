"""The embedded engines: which there are, what files each needs, how each is loaded.

Loading a plan never blocks the loop (llama.cpp's constructor holds the GIL, see
``llama_server``) and leaves the engine warm.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from media.silero import SileroModel
from pipelines.weights.manifest import MODELS, PROFILES

from .base import EngineFailed
from .engine_settings import EngineSettings
from .executor import EngineExecutor
from .hibari import HibariSpeaker
from .llama import LlamaChat
from .llama_server import LlamaSettings
from .moonshine import MoonshineTranscriber
from .pico import VOICES as PICO_VOICES
from .pico import PicoSpeaker
from .smart_turn import SmartTurn
from .status import Role
from .vosk import VoskTranscriber

CHAT_MODELS = ("qwen2.5-1.5b", "qwen2.5-0.5b")
"""Best first."""

HIBARI, PICO = "hibari", "pico"
VAD_DEADLINE = 30.0


@dataclass(frozen=True, slots=True)
class Plan:
    """An engine that can be loaded. ``weights`` names its models directory entry, if it has one
    (the voices lie in their packages)."""

    model_id: str
    role: Role
    load: Callable[[], Awaitable[Any]]
    weights: bool = True
    languages: tuple[str, ...] = ("en",)


def plans(settings: EngineSettings) -> list[Plan]:
    """What ``settings`` ask for, in the order in which a call needs it."""
    home = settings.models_dir
    silero = home / "silero-vad" / "silero_vad.onnx"
    smart = home / "smart-turn-v3.2" / "smart-turn-v3.2-cpu.onnx"
    vosk = VoskTranscriber(home / "vosk-small-en", recognizers=settings.calls)
    moonshine = MoonshineTranscriber(home / "moonshine-tiny-en")
    found = [
        Plan("silero-vad", Role.VAD, lambda: _vad(silero)),
        Plan("smart-turn-v3.2", Role.TURN, lambda: _warmed(SmartTurn(smart))),
        Plan("vosk-small-en", Role.HEARING, lambda: _warmed(vosk)),
        Plan("moonshine-tiny-en", Role.TRANSCRIPTION, lambda: _warmed(moonshine)),
        Plan(HIBARI, Role.SPEECH, HibariSpeaker.load, weights=False),
        Plan(PICO, Role.SPEECH, PicoSpeaker.load, weights=False, languages=tuple(PICO_VOICES)),
    ]
    chat = chat_model(settings)
    if chat is not None:
        found.append(Plan(chat, Role.CHAT, lambda: LlamaChat.load(chat, llama(settings, chat))))
    return found


def chat_model(settings: EngineSettings) -> str | None:
    """The embedded chat model to load; None where an upstream's is configured.

    One only, for its memory: the configured one, else the best of the profile that is there."""
    if settings.chat_model in CHAT_MODELS:
        return settings.chat_model
    if settings.chat_model is not None:
        return None
    wanted = [m for m in CHAT_MODELS if m in PROFILES.get(settings.profile, ())]
    there = [m for m in wanted if not missing_files(settings.models_dir, m)]
    return (there or wanted or [CHAT_MODELS[-1]])[0]


def llama(settings: EngineSettings, model_id: str) -> LlamaSettings:
    """How the chat model is run."""
    (file,) = MODELS[model_id].files
    path = settings.models_dir / model_id / file.path
    return LlamaSettings(
        path,
        threads=settings.threads,
        slots=settings.chat_slots,
        queue_limit=max(4, settings.calls),
    )


def missing_files(models_dir: Path, model_id: str) -> list[str]:
    """Files of the model that are not in the models directory."""
    home = models_dir / model_id
    return [file.path for file in MODELS[model_id].files if not (home / file.path).is_file()]


async def _vad(path: Path) -> SileroModel:
    loader = EngineExecutor("silero-vad loader", 1, 0)
    try:
        return await loader.run(SileroModel, path, deadline=VAD_DEADLINE)
    finally:
        await loader.close()


async def _warmed(engine: Any) -> Any:
    """``engine`` after its ``warm``; closed again where that fails."""
    try:
        await engine.warm()
    except EngineFailed:
        await engine.close()
        raise
    return engine
