"""The configuration of a conversation, and of the tools it may use, in the core's own words.

Values are frozen and complete: a change is a new value (``dataclasses.replace``). The wire spells
them in its own way (``gateway.channels.wire``). Defaults and ranges are those of the OpenAI
Realtime session object.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from media.formats import AudioFormat

AUTO, NONE, REQUIRED = "auto", "none", "required"

HTTP_LABEL = "blab.http"
"""The server's label when a use of an HTTP tool is published like one of an MCP tool."""


class SessionKind(StrEnum):
    """What a conversation is for."""

    REALTIME = "realtime"
    TRANSCRIPTION = "transcription"
    """Live captions: the caller is transcribed, and nobody answers."""


class TurnMode(StrEnum):
    """Who decides that the caller's turn has ended."""

    SERVER_VAD = "server_vad"
    SEMANTIC_VAD = "semantic_vad"
    NONE = "none"
    """Push to talk: only a commit ends the turn."""


class Eagerness(StrEnum):
    """How readily the end of a turn is accepted in ``semantic_vad``."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    AUTO = "auto"


class Extension(StrEnum):
    """A group of Blab's own server events that a client may request. ``session.blab.events`` names
    it by the event's type without ``blab.``."""

    LATENCY = "latency"
    TRANSCRIPT_PARTIAL = "transcript.partial"
    PLAYOUT = "playout"
    CALL = "call"
    LANGUAGE = "language"
    HEARING = "hearing"
    RESUMPTION = "resumption"


@dataclass(frozen=True, slots=True)
class TurnDetection:
    """When a turn starts and ends, and what follows. Times in milliseconds."""

    mode: TurnMode = TurnMode.SEMANTIC_VAD
    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 500
    eagerness: Eagerness = Eagerness.AUTO
    create_response: bool = True
    interrupt_response: bool = True
    idle_timeout_ms: int | None = None


@dataclass(frozen=True, slots=True)
class TurnTakingSettings:
    """The parts of turn taking that can be switched off, to see what each is worth.

    All but ``early_resume`` and ``level_gate`` concern ``semantic_vad`` only."""

    graded_endings: bool = True
    """A finished melody shortens the wait after words that seldom end a sentence."""
    second_look: bool = True
    """A text that looks cut off is requested once more when the silence has grown."""
    adaptive_pause: bool = True
    """The caller's own pauses within turns set how patient the agent is."""
    counted_dictation: bool = True
    """How many digits or letters were announced decides whether more must come."""
    early_hint: bool = True
    """The text is requested after 64 ms of silence instead of 128 ms."""
    partial_speculation: bool = False
    """The reply is begun with the partial transcript, before the final one has come. Off: of 110
    recorded turns over a telephone line the embedded recogniser's partial transcript had the final
    one's words in 26 at the first hint, so that three of four such replies are made for nothing."""
    early_resume: bool = True
    """Playout goes on after a short sound without words, before the final text is there."""
    level_gate: bool = True
    """Voices far below the caller's level count as silence."""


class ToolKind(StrEnum):
    """Who carries out a use of the tool."""

    FUNCTION = "function"
    HTTP = "http"
    MCP = "mcp"


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool. ``parameters``: a JSON schema, as JSON."""

    name: str
    description: str = ""
    parameters: str = '{"type":"object","properties":{}}'
    kind: ToolKind = ToolKind.FUNCTION
    server: str = ""
    """The label of its MCP server."""
    ask: bool = False
    """Each use waits for the client's approval."""
    url: str = ""
    method: str = "POST"
    sealed: str = ""
    """Its request headers, encrypted; ``sessions.tools`` opens them."""
    timeout_ms: int = 15_000
    fixed: bool = False
    """It belongs to the agent: a client's list of tools does not remove it."""

    @property
    def label(self) -> str:
        """The label of the server that carries it out; empty for a client's function."""
        return HTTP_LABEL if self.kind is ToolKind.HTTP else self.server


@dataclass(frozen=True, slots=True)
class ToolServer:
    """An MCP server. Its tools are listed when a configuration first names it."""

    label: str
    url: str
    sealed: str = ""
    allowed: tuple[str, ...] | None = None
    """The names of the tools to offer; None: all."""
    ask: bool = True
    """Uses wait for the client's approval, except for the tools named in ``trusted``."""
    asked: tuple[str, ...] = ()
    """The names of the tools that need approval although ``ask`` is False."""
    trusted: tuple[str, ...] = ()
    timeout_ms: int = 15_000
    fixed: bool = False

    def asks(self, name: str) -> bool:
        """Whether uses of the tool wait for approval."""
        return name in self.asked or (self.ask and name not in self.trusted)


@dataclass(frozen=True, slots=True)
class ListedTool:
    """A tool as its MCP server describes it."""

    name: str
    description: str
    parameters: str


@dataclass(frozen=True, slots=True)
class Recording:
    """The call is recorded."""

    consent: str = ""
    """What the agent says before anything else; empty: nothing."""
    keep_days: int | None = None
    """How long the recording is kept; None: as long as the workspace keeps recordings."""


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """Everything a client may set about its conversation."""

    kind: SessionKind = SessionKind.REALTIME
    model: str = "default"
    """Chat model id, as the catalogue of engines names it."""
    instructions: str = ""
    """The client's own; the chat model reads ``prompt.composed``."""
    agent_name: str = ""
    """The name the agent gives itself; empty: Blab."""
    voice: str = "default"
    speed: float = 1.0
    language: str = "en"
    """Spoken in the call now (BCP 47): heard, thought and answered in."""
    detects_language: bool = True
    """The language is the caller's, one of ``languages``; False: it stays ``language``."""
    languages: tuple[str, ...] = ()
    """What the caller may speak, as the shell found out."""
    unspoken: tuple[str, ...] = ()
    """What the caller may speak and the agent cannot; of fewer than two languages, these included,
    none is detected."""
    coming: tuple[str, ...] = ()
    """Languages whose engines are being fetched or loaded: they are among ``languages`` later."""
    language_hints: tuple[str, ...] = ()
    """The caller speaks one of these; empty: any language that can be heard and spoken."""
    language_known: bool = False
    """``language`` was found out earlier in the conversation: it changes only for a turn that is
    clearly in another."""
    speech_model: str = "default"
    """Text-to-speech model id."""
    transcription_model: str = "default"
    publishes_transcripts: bool = True
    """False: the caller's words are used but not published (``transcription: null``)."""
    suppresses_echo: bool = True
    """Treat the agent's own voice in the caller's microphone as silence."""
    noise_reduction: Literal["near_field", "far_field"] | None = None
    """Stored and shown to the client; the audio is not filtered."""
    output_audio: bool = True
    """False: the reply is text only (``output_modalities: ["text"]``)."""
    max_output_tokens: int = 512
    truncation: Literal["auto", "disabled"] | float = "auto"
    """As requested (a number is a retention ratio). Only shown to the client: the history has
    bounds of its own."""
    temperature: float = 0.4
    input_format: AudioFormat = AudioFormat()
    output_format: AudioFormat = AudioFormat()
    turn_detection: TurnDetection = TurnDetection()
    turn_taking: TurnTakingSettings = TurnTakingSettings()
    max_call_ms: int = 3_600_000
    tools: tuple[Tool, ...] = ()
    """The client's functions, and HTTP tools."""
    servers: tuple[ToolServer, ...] = ()
    """MCP servers. Their tools are offered once they have been listed."""
    tool_choice: str = AUTO
    """"auto", "none", "required", or the name of the one tool that must be used."""
    extensions: frozenset[Extension] = field(default_factory=frozenset)
    """Blab's own events that the client requested; empty for a strict client."""
    recording: Recording | None = None
    """The agent's; no client can change it."""
    greeting: str = ""
    """What the agent says when the call begins; empty: it waits for the caller. No client can
    change it."""
    agent_version: int | None = None
    """The version of the agent with which the call begins, for its record."""

    @property
    def answers(self) -> bool:
        """Whether the agent answers a turn without a request by the client."""
        return self.kind is SessionKind.REALTIME and self.turn_detection.create_response

    @property
    def records(self) -> bool:
        """Whether the call is recorded. One in which a consent text could not be spoken (live
        captions, written answers) is not."""
        speaks = self.kind is SessionKind.REALTIME and self.output_audio
        return self.recording is not None and (speaks or not self.recording.consent)
