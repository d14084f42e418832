"""What a conversation is told to be: the session configuration, in the core's own words.

Frozen and complete: a change is a new value (``dataclasses.replace``). Wire spellings live in
the channels; defaults and ranges are those of the OpenAI Realtime session object.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from media.formats import AudioFormat
from sessions.core.tools.tools import AUTO, Tool, ToolServer


class SessionKind(StrEnum):
    """What a conversation is for."""

    REALTIME = "realtime"
    TRANSCRIPTION = "transcription"
    """Live captions: the caller is written down, nobody answers."""


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


class Extension(StrEnum):
    """A group of Blab's own server events that a client may ask for, as ``session.blab.events``
    names it: the event's type without ``blab.``."""

    LATENCY = "latency"
    TRANSCRIPT_PARTIAL = "transcript.partial"
    PLAYOUT = "playout"
    CALL = "call"


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

    kind: SessionKind = SessionKind.REALTIME
    model: str = "default"
    """Chat model id, as the engine registry names it."""
    instructions: str = ""
    """The client's own; the chat model is given ``prompt.composed``."""
    agent_name: str = ""
    """Whom the agent says it is; empty: Blab."""
    voice: str = "default"
    speed: float = 1.0
    language: str = "en"
    speech_model: str = "default"
    """Text-to-speech model id."""
    transcription_model: str = "default"
    publishes_transcripts: bool = True
    """False: the caller's words are understood and not told (``transcription: null``)."""
    noise_reduction: Literal["near_field", "far_field"] | None = None
    """Kept and told back; the audio is heard as it comes."""
    output_audio: bool = True
    """False: the reply is text only (``output_modalities: ["text"]``)."""
    max_output_tokens: int = 512
    truncation: Literal["auto", "disabled"] | float = "auto"
    """As asked for (a number: a retention ratio); told back, for history has its own bounds."""
    temperature: float = 0.4
    input_format: AudioFormat = AudioFormat()
    output_format: AudioFormat = AudioFormat()
    turn_detection: TurnDetection = TurnDetection()
    max_call_ms: int = 3_600_000
    tools: tuple[Tool, ...] = ()
    """Functions of the client's, and HTTP tools."""
    servers: tuple[ToolServer, ...] = ()
    """MCP servers, whose tools are offered once they have been listed."""
    tool_choice: str = AUTO
    """"auto", "none", "required", or the name of the one tool to be called."""
    extensions: frozenset[Extension] = field(default_factory=frozenset)
    """Blab's own events that the client asked for; empty for a strict client."""

    @property
    def answers(self) -> bool:
        """Whether the agent answers a turn of its own accord."""
        return self.kind is SessionKind.REALTIME and self.turn_detection.create_response
