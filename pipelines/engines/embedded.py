"""The embedded engines: which there are, what files each needs, how each is loaded.

Loading a plan never blocks the loop (llama.cpp's constructor holds the GIL, see
``llama_server``) and leaves the engine warm.
"""

import os
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from media.vad import SileroModel
from pipelines.engines.chat.choice import CHAT_MODELS, LARGER, Verdicts, too_little_memory
from pipelines.engines.chat.llama import LlamaChat
from pipelines.engines.chat.llama_server import LlamaSettings
from pipelines.engines.cloning.voice_match import MODEL_ID as MATCHER
from pipelines.engines.cloning.voice_match import VoiceMatcher
from pipelines.engines.kokoro.engine import KokoroSpeaker
from pipelines.engines.kokoro.phonemes import Phonemizer
from pipelines.engines.kokoro.voices import ENGINE as KOKORO
from pipelines.engines.speech.hibari import HibariSpeaker
from pipelines.engines.speech.pico import VOICES as PICO_VOICES
from pipelines.engines.speech.pico import PicoSpeaker
from pipelines.engines.speech.routes import HIBARI, PICO
from pipelines.engines.transcription.moonshine import MoonshineTranscriber
from pipelines.engines.transcription.smart_turn import SmartTurn
from pipelines.engines.transcription.vosk import VoskTranscriber
from pipelines.engines.transcription.whisper import LANGUAGES as WHISPER_LANGUAGES
from pipelines.engines.transcription.whisper import MODEL_ID as WHISPER
from pipelines.engines.transcription.whisper import WhisperTranscriber
from pipelines.engines.translation.fast_translator import LANGUAGES as TRANSLATED
from pipelines.engines.translation.fast_translator import MODEL_ID as FAST_TRANSLATE
from pipelines.engines.translation.fast_translator import FastTranslator
from pipelines.weights.manifest import MODELS, PROFILES

from .base import EngineFailed
from .engine_settings import EngineSettings
from .executor import EngineExecutor
from .plan import Plan
from .status import Role

STEPPING = (LARGER,)
"""Chat models that use tools step by step (see ``told_outputs``)."""

ENCODER = "speaker-encoder"
VAD_DEADLINE = 30.0


def plans(settings: EngineSettings) -> list[Plan]:
    """What ``settings`` ask for: first what a call needs, in the order in which it does."""
    home = settings.models_dir
    silero = silero_file(home)
    smart = home / "smart-turn-v3.2" / "smart-turn-v3.2-cpu.onnx"
    vosk = VoskTranscriber(home / "vosk-small-en", recognizers=settings.calls)
    moonshine = MoonshineTranscriber(home / "moonshine-tiny-en")
    found = [
        _read("silero-vad", Role.VAD, lambda: _vad(silero)),
        _read("smart-turn-v3.2", Role.TURN, lambda: _warmed(SmartTurn(smart))),
        _read("vosk-small-en", Role.HEARING, lambda: _warmed(vosk)),
        _read("moonshine-tiny-en", Role.TRANSCRIPTION, lambda: _warmed(moonshine)),
        Plan(HIBARI, Role.SPEECH, HibariSpeaker.load),
        Plan(PICO, Role.SPEECH, PicoSpeaker.load, languages=tuple(PICO_VOICES)),
    ]
    chat = chat_model(settings)
    if chat is not None:
        found.append(chat_plan(settings, chat))
    return [*found, *_job_plans(settings)]


def _job_plans(settings: EngineSettings) -> list[Plan]:
    """Engines that no call waits for, but a configured voice."""
    home = settings.models_dir
    whisper = partial(WhisperTranscriber.load, home / WHISPER, silero_file(home))
    phonemizer = Phonemizer.found()
    matcher = partial(VoiceMatcher.load, home / ENCODER / "pretrained.pt")
    kokoro = partial(KokoroSpeaker.load, home / KOKORO, phonemizer)
    return [
        Plan(WHISPER, Role.FILES, whisper, (WHISPER, "silero-vad"), WHISPER_LANGUAGES, lazy=True),
        Plan(
            KOKORO, Role.SPEECH, kokoro, (KOKORO,), phonemizer.languages,
            lazy=settings.speech_model != KOKORO,
        ),
        Plan(
            FAST_TRANSLATE, Role.TRANSLATION, FastTranslator.load,
            languages=TRANSLATED, lazy=True,
        ),
        Plan(
            MATCHER, Role.CLONING, matcher, (ENCODER,), phonemizer.languages,
            lazy=True, needs=((Role.SPEECH, KOKORO),),
        ),
    ]  # fmt: skip


def _read(model_id: str, role: Role, load: Callable[[], Awaitable[Any]]) -> Plan:
    """An engine that reads the weights of its own name."""
    return Plan(model_id, role, load, (model_id,))


def silero_file(models_dir: Path) -> Path:
    """Where the voice activity network lies."""
    return models_dir / "silero-vad" / "silero_vad.onnx"


def chat_model(settings: EngineSettings) -> str | None:
    """The embedded chat model to load; None where an upstream's is configured.

    One only, for its memory: the configured one, else the larger one where it has proven fast
    enough here, else the best of the profile that is there."""
    if settings.chat_model in CHAT_MODELS:
        return settings.chat_model
    if settings.chat_model is not None:
        return None
    if not missing_files(settings.models_dir, LARGER) and too_little_memory() is None:
        verdict = Verdicts(settings.models_dir).read()
        if verdict is not None and not verdict.estimated and verdict.hopeful:
            return LARGER
    wanted = [m for m in CHAT_MODELS if m in PROFILES.get(settings.profile, ())]
    there = [m for m in wanted if not missing_files(settings.models_dir, m)]
    return (there or wanted or [CHAT_MODELS[-1]])[0]


def chat_plan(settings: EngineSettings, model_id: str) -> Plan:
    """How an embedded chat model is loaded."""
    load = partial(LlamaChat.load, model_id, llama(settings, model_id))
    return Plan(model_id, Role.CHAT, load, (model_id,), languages=())


def llama(settings: EngineSettings, model_id: str) -> LlamaSettings:
    """How the chat model is run."""
    (file,) = MODELS[model_id].files
    path = settings.models_dir / model_id / file.path
    return LlamaSettings(
        path,
        threads=settings.threads,
        slots=settings.chat_slots,
        queue_limit=max(4, settings.calls),
        steps=model_id in STEPPING,
    )


def lacking(models_dir: Path, plan: Plan) -> str:
    """What weights a plan lacks, or nothing."""
    missing = [file for model in plan.models for file in missing_files(models_dir, model)]
    if not missing:
        return ""
    more = f" and {len(missing) - 1} more files" if missing[1:] else ""
    return f"weights missing ({missing[0]}{more}): run `blab models fetch`"


def missing_files(models_dir: Path, model_id: str) -> list[str]:
    """Files of the model that are not in the models directory."""
    home = f"{models_dir / model_id}{os.sep}"  # asked often: strings, not paths
    return [file.path for file in MODELS[model_id].files if not os.path.isfile(home + file.path)]


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
