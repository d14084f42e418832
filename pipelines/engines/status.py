"""EngineStatus: what an engine is, whether it is live, and if not, why."""

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What an engine does in a conversation."""

    VAD = "vad"
    TURN = "turn_detection"
    HEARING = "streaming_transcription"
    TRANSCRIPTION = "transcription"
    CHAT = "chat"
    SPEECH = "speech"


NEEDED = frozenset(Role) - {Role.TURN}
"""Without one of these no call can be answered; without TURN, silence decides."""


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """One engine. ``reason`` says why it is not live, or is empty."""

    model_id: str
    role: Role
    live: bool
    reason: str = ""
    load_seconds: float = 0.0
    languages: tuple[str, ...] = ("en",)
    """Languages it serves; empty: whatever its upstream serves."""
    upstream: bool = False
