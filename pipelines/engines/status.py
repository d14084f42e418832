"""EngineStatus: what an engine is, whether it is live, and if not, why."""

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What an engine does, in a conversation or in jobs."""

    VAD = "vad"
    TURN = "turn_detection"
    HEARING = "streaming_transcription"
    TRANSCRIPTION = "transcription"
    CHAT = "chat"
    SPEECH = "speech"
    FILES = "file_transcription"
    TRANSLATION = "translation"
    CLONING = "voice_cloning"


NEEDED = frozenset({Role.VAD, Role.HEARING, Role.TRANSCRIPTION, Role.CHAT, Role.SPEECH})
"""Without one of these no call can be answered; without TURN, silence decides."""


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """One engine. ``live``: it can be used; ``reason`` says why not, or is empty.

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
    """What else is to be known of it: why this chat model answers, and not a larger one."""
