"""What a conversation is told to be: the session configuration, in the core's own words.

Frozen and complete: a change is a new value (``dataclasses.replace``). Wire spellings live in
the channels; defaults and ranges are those of the OpenAI Realtime session object.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from media.formats import AudioFormat


class TurnMode(StrEnum):
    """Who decides that the caller's turn has ended."""

    SERVER_VAD = "server_vad"
    SEMANTIC_VAD = "semantic_vad"
    NONE = "none"
    """Push to talk: only a commit ends the turn."""


class Eagerness(StrEnum):
    """How soon a semantic end of turn is believed."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    AUTO = "auto"


@dataclass(frozen=True, slots=True)
class TurnDetection:
    """When a turn starts and ends, and what follows from it. Times in milliseconds."""

    mode: TurnMode = TurnMode.SEMANTIC_VAD
    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 500
    eagerness: Eagerness = Eagerness.AUTO
    create_response: bool = True
    interrupt_response: bool = True
    idle_timeout_ms: int | None = None


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """Everything a client may set about its conversation."""

    model: str = "default"
    """Chat model id, as the engine registry names it."""
    instructions: str = ""
    voice: str = "default"
    speed: float = 1.0
    language: str = "en"
    speech_model: str = "default"
    """Text-to-speech model id."""
    transcription_model: str = "default"
    output_audio: bool = True
    """False: the reply is text only (``output_modalities: ["text"]``)."""
    max_output_tokens: int = 512
    temperature: float = 0.4
    input_format: AudioFormat = AudioFormat()
    output_format: AudioFormat = AudioFormat()
    turn_detection: TurnDetection = TurnDetection()
    max_call_ms: int = 3_600_000
    extensions: frozenset[str] = field(default_factory=frozenset)
    """Names of the ``blab.*`` events the client asked for; empty for a strict client."""
