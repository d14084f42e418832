"""Engine: how an engine declares itself; EngineStatus: where it stands.

Each engine has a declaration in its own file, ``ENGINE = Engine(role=…, id=…, load=…)``, which
``catalogue`` lists. A declaration is data: reading it loads nothing and imports no vendor's
library. A package of a third party declares its engines in the same way (see ``plugins``).
"""

import importlib.util
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from pipelines.engines.resources import usable_cores
from pipelines.weights.manifest import Model

from .base import EngineFailed
from .jobs import VoiceInfo

DEFAULT = "default"
"""The model id that stands for the configured or best engine."""
LOADING = "loading"
"""The reason of an engine that is just being loaded."""
FETCHING = "its weights are being fetched"
"""That of one whose weights come in the background."""


class Role(StrEnum):
    """What an engine does, in a conversation or in jobs."""

    VAD = "vad"
    TURN = "turn_detection"
    LANGUAGE = "language_detection"
    STREAMING_TRANSCRIPTION = "streaming_transcription"
    TRANSCRIPTION = "transcription"
    CHAT = "chat"
    SPEECH = "speech"
    FILE_TRANSCRIPTION = "file_transcription"
    TRANSLATION = "translation"
    CLONING = "voice_cloning"


NEEDED = frozenset(
    {Role.VAD, Role.STREAMING_TRANSCRIPTION, Role.TRANSCRIPTION, Role.CHAT, Role.SPEECH}
)
"""Without one of these no call can be answered; without TURN, silence decides."""

Key = tuple[Role, str]
"""A role and an engine's id."""


def _chat_threads() -> int:
    cores = usable_cores()
    return 2 if cores == 2 else max(1, cores - 1)


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What a deployment chooses about its engines. A model id of None means the best embedded one.

    ``threads`` are those of the chat model: one less than the cores, so that it does not stall
    speech recognition, but two on two cores, where one would be too slow (see ``llama_server``)."""

    models_dir: Path
    profile: str = "small"
    upstream_url: str | None = None
    upstream_key: str | None = field(default=None, repr=False)
    chat_model: str | None = None
    speech_model: str | None = None
    transcription_model: str | None = None
    threads: int = field(default_factory=_chat_threads)
    chat_slots: int = 2
    """Answers generated at once."""
    calls: int = 4
    """Calls at once."""
    chat_names: Mapping[str, str] = field(default_factory=lambda: {"verinova-stable": DEFAULT})
    """Contract name to chat model id."""
    speech_names: Mapping[str, str] = field(default_factory=lambda: {"blab-stable": DEFAULT})
    """Contract name to text-to-speech model id."""
    transcription_names: Mapping[str, str] = field(
        default_factory=lambda: {"verinova-stable": DEFAULT}
    )
    """Contract name to speech-to-text model id."""

    def configured(self) -> list[Key]:
        """Every engine that is named here, embedded or not."""
        wanted = (
            (Role.CHAT, self.chat_model),
            (Role.SPEECH, self.speech_model),
            (Role.TRANSCRIPTION, self.transcription_model),
            *((Role.CHAT, name) for name in self.chat_names.values()),
            *((Role.SPEECH, name) for name in self.speech_names.values()),
            *((Role.TRANSCRIPTION, name) for name in self.transcription_names.values()),
        )
        named = ((role, name) for role, name in wanted if name is not None and name != DEFAULT)
        return list(dict.fromkeys(named))


def _good(_language: str) -> str:
    return "good"


def _nothing_to_add(_language: str) -> str | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """The declaration of an engine. An id belongs to one package; it may serve several roles."""

    role: Role
    id: str
    load: Callable[..., Awaitable[Any]]
    """``load(settings, *needs)``: the engine, loaded and warm; what it must provide is the protocol
    of its role in ``base`` or ``jobs``, and ``async close()``. Called once, when the engine is
    first needed. Raises EngineError; must not block the event loop (see ``executor``)."""
    weights: tuple[Model, ...] = ()
    """The files it reads in ``settings.models_dir``, and where they are fetched from."""
    library: str = ""
    """The module of an optional dependency, which is installed with ``extra``."""
    extra: str = ""
    """What to install for ``library``, as pip takes it: ``blab[jobs]``."""
    languages: tuple[str, ...] = ("en",)
    """First subtags of the languages it serves; empty: any."""
    needs: tuple[Key, ...] = ()
    """Engines that it is made of: they are loaded first and passed to ``load``."""
    on_demand: bool = False
    """Whether the first job that asks for it loads it, not the server's start: calls do not use it
    unless it is configured."""
    background: bool = False
    """Whether a server loads it when calls are ready: it serves calls, and none waits for it."""
    voices: tuple[VoiceInfo, ...] = ()
    """A speaker's own voices; a call or job that names one of them gets this engine."""
    monolingual_voices: bool = False
    """Whether each voice speaks its own language only, whatever language is requested."""
    expressive: bool = False
    """A speaker with ``bound(voice, recipe=…, emotion=…, language=…)``, which speaks with feeling
    and with cloned voices."""
    quality: Callable[[str], str] = _good
    """How well a speaker is understood in a language: good, weak or robotic."""
    word_errors: Mapping[str, float] = field(default_factory=dict)
    """How well a transcriber of calls understands a language: the share of words it gets wrong, as
    measured."""
    unspoken: Callable[[str], str | None] = _nothing_to_add
    """Why a language is not among ``languages``, where there is more to say."""

    def __post_init__(self) -> None:
        if not self.id or self.id == DEFAULT or self.id.split() != [self.id]:
            raise ValueError(f"{self.id!r} cannot be an engine's id")

    @property
    def key(self) -> Key:
        """What it is known by."""
        return self.role, self.id

    def missing(self, models_dir: Path) -> str:
        """The library that is not installed, or the files that are not in the models directory, as
        a reason; empty if nothing is missing."""
        if self.library and importlib.util.find_spec(self.library) is None:
            return f"{self.library} is not installed: pip install '{self.extra}'"
        missing = [file for model in self.weights for file in missing_files(models_dir, model)]
        if not missing:
            return ""
        more = f" and {len(missing) - 1} more files" if missing[1:] else ""
        return f"weights missing ({missing[0]}{more}): run `blab models fetch`"


def missing_files(models_dir: Path, model: Model) -> list[str]:
    """Paths of the model's files that are not in the models directory."""
    home = f"{models_dir / model.name}{os.sep}"  # asked hundreds of times: strings, not paths
    return [file.path for file in model.files if not os.path.isfile(home + file.path)]


def weights_of(engines: Iterable[Engine]) -> list[Model]:
    """All their weights, in order, each once."""
    return list({model.name: model for engine in engines for model in engine.weights}.values())


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """Where an engine stands. ``live``: it can be used; ``reason`` says why not, or is empty.

    An engine that is live and not ``loaded`` is loaded by the first job that needs it."""

    model_id: str
    role: Role
    live: bool
    reason: str = ""
    load_seconds: float = 0.0
    languages: tuple[str, ...] = ("en",)
    """Languages it serves; empty: whatever its upstream serves."""
    upstream: bool = False
    loaded: bool = True
    """Whether it is in this process's memory (or is an upstream's)."""
    note: str = ""
    """What else there is to know: why this chat model answers, and not a larger one."""
    on_demand: bool = False
    background: bool = False
    word_errors: Mapping[str, float] = field(default_factory=dict)

    @property
    def in_calls(self) -> bool:
        """Whether a call can use it, now or as soon as it is loaded. An engine that only jobs load
        does not count, except a chat model, nor one that is loaded later than those of calls."""
        apart = self.background or (self.on_demand and self.role is not Role.CHAT)
        waits = apart and not self.loaded
        return (self.live or self.reason == LOADING) and not waits

    @property
    def coming(self) -> bool:
        """Whether calls can use it later: it is fetched or loaded in the background."""
        awaited = self.live or self.reason in (LOADING, FETCHING)
        return self.background and not self.loaded and awaited


_Warm = TypeVar("_Warm", bound=Any)


async def warmed(engine: _Warm) -> _Warm:
    """``engine`` after its ``warm()``; closed again where that fails."""
    try:
        await engine.warm()
    except EngineFailed:
        await engine.close()
        raise
    return engine
