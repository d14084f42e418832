"""Everything that can happen in a call: what the shell feeds into ``Conversation.handle``.

Rules: events that are an engine's or the playout's result carry the ``turn`` or ``reply`` they
belong to; results of dead turns and replies are dropped at that one door. Positions of the
input are samples at ``HEARING_RATE`` since the call began; positions of a reply are samples at
the reply's own rate since its first sample. ``now`` (seconds, monotonic) is never stored in an
event. A turn is one utterance of the caller, numbered from 1; a reply is one attempt to answer,
numbered from 1 (a turn may see several: speculation that was cancelled).

The core's answers are in ``commands`` and ``notices``, the nouns in ``items``.
"""

from dataclasses import dataclass

from sessions.core.config import ListedTool, Tool

from .config import SessionConfig
from .items import PromptLine, Role

# ---------------------------------------------------------------------------- events: input audio


@dataclass(frozen=True, slots=True)
class VoiceWindow:
    """The VAD looked at one window ending at ``position``; ``voice`` is its probability 0..1."""

    position: int
    voice: float
    level: float | None = None
    """dBFS of the window's power, -100 for silence; None: not measured (logs of version 0.1)."""
    echo: float = 0.0
    """How much the last 0.6 s sound like what was being played: 0 not at all, 1 nothing else."""


@dataclass(frozen=True, slots=True)
class PartialTranscript:
    """The text of the turn so far; a later one may revise it. ``position``: the recogniser has
    heard the input up to there."""

    turn: int
    text: str
    position: int


@dataclass(frozen=True, slots=True)
class FinalTranscript:
    """The text of the turn's audio up to ``position``."""

    turn: int
    text: str
    position: int


@dataclass(frozen=True, slots=True)
class TurnScored:
    """The turn detector's probability that the turn is complete, as of ``position``."""

    turn: int
    position: int
    probability: float


@dataclass(frozen=True, slots=True)
class TranscriptionFailed:
    """STT gave no text for the turn."""

    turn: int
    code: str
    message: str


# ---------------------------------------------------------------------------- events: the reply


@dataclass(frozen=True, slots=True)
class ClauseReady:
    """The chat model finished the first clause of the reply; it goes to the TTS now."""

    reply: int


@dataclass(frozen=True, slots=True)
class ReplyClause:
    """A clause has been generated and, for audio replies, spoken into ``samples`` samples.

    Clauses arrive in order; ``text`` concatenates to the full reply. One clause may come in
    several parts: the first carries the text, the others only samples."""

    reply: int
    text: str
    samples: int
    rate: int
    filler: bool = False
    """It was ordered by SpeakFiller and is no part of the answer."""


@dataclass(frozen=True, slots=True)
class ToolUseRequested:
    """The reply uses a tool; ``arguments`` are complete, as the chat model wrote them."""

    reply: int
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ReplyGenerated:
    """All of the reply has been generated; playout may still go on."""

    reply: int
    prompt_tokens: int = 0
    completion_tokens: int = 0
    truncated: bool = False
    """True where the token limit cut it."""
    empty: int = 0
    """Empty answers that were requested again."""


@dataclass(frozen=True, slots=True)
class ReplyFailed:
    """An engine failed during the reply; what was generated before stays."""

    reply: int
    code: str
    message: str
    empty: int = 0
    """As in ReplyGenerated: what it failed for, where the last one said nothing too."""


@dataclass(frozen=True, slots=True)
class ClauseStarted:
    """The first sample of the reply's ReplyClause number ``clause`` (from 0) was sent."""

    reply: int
    clause: int


@dataclass(frozen=True, slots=True)
class PlayoutFinished:
    """Every sample of the reply has been heard and none will follow (it was generated to its
    end, or failed)."""

    reply: int
    heard: int


@dataclass(frozen=True, slots=True)
class PlayoutPaused:
    """Playout stands still by order; the caller heard ``heard`` of ``sent`` samples."""

    reply: int
    heard: int
    sent: int


@dataclass(frozen=True, slots=True)
class PlayoutStopped:
    """Playout was flushed by order; the caller heard ``heard`` of ``sent`` samples."""

    reply: int
    heard: int
    sent: int


# ---------------------------------------------------------------------------- events: tools


@dataclass(frozen=True, slots=True)
class ToolsListed:
    """An MCP server listed its tools."""

    label: str
    tools: tuple[ListedTool, ...]


@dataclass(frozen=True, slots=True)
class ToolListFailed:
    """An MCP server did not list its tools; the message may be shown to the client."""

    label: str
    message: str


@dataclass(frozen=True, slots=True)
class ToolReturned:
    """A tool use was carried out; ``failed``: ``output`` says why it was not."""

    tool_use_id: str
    output: str
    failed: bool = False


# ---------------------------------------------------------------------------- events: the client


@dataclass(frozen=True, slots=True)
class CallStarted:
    """The first event of every call."""

    config: SessionConfig


@dataclass(frozen=True, slots=True)
class ConfigureSession:
    """The client changed its session; ``config`` is the complete new value."""

    config: SessionConfig
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class CommitInput:
    """The client ends the turn by hand."""

    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class ClearInput:
    """The client drops what was heard since the last commit."""

    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class AddItem:
    """The client adds a message to the history. ``after``: item id, "root" or None (the end)."""

    role: Role
    text: str
    item_id: str | None = None
    after: str | None = None
    event_id: str | None = None
    clip: int | None = None
    """It is speech that has come with it: the number under which the shell keeps the audio. Its
    words are recognised."""
    seconds: float = 0.0
    """How long that is."""


@dataclass(frozen=True, slots=True)
class AddToolOutput:
    """The client sends the output of a tool use. ``after`` as in AddItem."""

    tool_use_id: str
    output: str
    item_id: str | None = None
    after: str | None = None
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class AddToolUse:
    """The client adds a tool use of an earlier conversation."""

    tool_use_id: str
    name: str
    arguments: str
    item_id: str | None = None
    after: str | None = None
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class AnswerApproval:
    """The client approves the tool use that an item asked about, or does not."""

    request_id: str
    approve: bool
    reason: str = ""
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class DeleteItem:
    """The client removes an item from the history."""

    item_id: str
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class RetrieveItem:
    """The client asks for an item as the server holds it."""

    item_id: str
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class TruncateItem:
    """The client says how much of an assistant item it played, in ms; clamped, never refused."""

    item_id: str
    audio_end_ms: int
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class RequestReply:
    """The client asks for a reply now. None fields keep the session's values."""

    instructions: str | None = None
    output_audio: bool | None = None
    max_output_tokens: int | None = None
    event_id: str | None = None
    voice: str | None = None
    prompt: tuple[PromptLine, ...] | None = None
    """What it answers, in place of the conversation."""
    metadata: tuple[tuple[str, str], ...] = ()
    """Returned with the reply."""
    out_of_band: bool = False
    """It becomes no part of the conversation."""
    tools: tuple[Tool, ...] | None = None
    """What it may use, in place of the session's tools."""
    servers: tuple[str, ...] | None = None
    """Labels of the session's MCP servers whose tools it may use."""
    tool_choice: str | None = None

    @property
    def apart(self) -> bool:
        """Whether the reply differs from the conversation's next one in more than its manner."""
        return self.out_of_band or self.prompt is not None or bool(self.metadata)


@dataclass(frozen=True, slots=True)
class RequestCancel:
    """The client cancels the reply in progress (or the named one)."""

    reply_id: str | None = None
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class ClearOutput:
    """The client drops what has not been played yet (WebRTC)."""

    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class KeyPressed:
    """The caller pressed a key of their telephone: 0-9, ``*``, ``#``, A-D; ``at`` in Unix s."""

    digit: str
    at: int


@dataclass(frozen=True, slots=True)
class InputEnded:
    """No more input audio will come, but the peer is still there."""


@dataclass(frozen=True, slots=True)
class HangUp:
    """The peer is gone or somebody ends the call."""

    reason: str


@dataclass(frozen=True, slots=True)
class Tick:
    """The moment of ``next_deadline()`` has come."""


ClientRequest = (
    ConfigureSession
    | CommitInput
    | ClearInput
    | AddItem
    | AddToolOutput
    | AddToolUse
    | AnswerApproval
    | DeleteItem
    | RetrieveItem
    | TruncateItem
    | RequestReply
    | RequestCancel
    | ClearOutput
    | KeyPressed
)
"""What the client, or the caller by a key, asks for."""

Event = (
    VoiceWindow
    | PartialTranscript
    | FinalTranscript
    | TurnScored
    | TranscriptionFailed
    | ClauseReady
    | ReplyClause
    | ToolUseRequested
    | ReplyGenerated
    | ReplyFailed
    | ClauseStarted
    | PlayoutFinished
    | PlayoutPaused
    | PlayoutStopped
    | ToolsListed
    | ToolListFailed
    | ToolReturned
    | CallStarted
    | ClientRequest
    | InputEnded
    | HangUp
    | Tick
)
