"""Everything that can happen in a call: the events that the shell feeds into
``Conversation.handle``.

Rules
- Results of engines and of the playout carry the number of their ``turn`` or ``reply``; the core
  drops those of ended turns and replies.
- Input positions are samples at ``HEARING_RATE`` since the call began. Reply positions are samples
  at the reply's own rate since its first sample.
- ``now`` (seconds, monotonic) is never stored in an event.
- A turn is one utterance of the caller, numbered from 1. A reply is one attempt to answer, numbered
  from 1; a turn may have several, because speculation may be cancelled.

The core answers with ``commands`` and ``notices``; the nouns are in ``items``.
"""

from dataclasses import dataclass

from sessions.core.config import ListedTool

from .checkpoint import Checkpoint
from .config import SessionConfig
from .items import RequestReply as RequestReply
from .items import Role

# ---------------------------------------------------------------------------- events: input audio


@dataclass(frozen=True, slots=True)
class VoiceWindow:
    """The VAD scored a window that ends at ``position``; ``voice``: probability of speech, 0..1."""

    position: int
    voice: float
    level: float | None = None
    """dBFS of the window's power, -100 for silence; None: not measured (logs of version 0.1)."""
    echo: float = 0.0
    """How much the last 0.6 s sound like the playout: 0 not at all, 1 nothing else."""


@dataclass(frozen=True, slots=True)
class SilenceHeard:
    """Part of the next window has come, and there is no speech in it up to ``position``."""

    position: int


@dataclass(frozen=True, slots=True)
class PartialTranscript:
    """The text of the turn so far; a later one may revise it. ``position``: how far the recogniser
    has heard the input."""

    turn: int
    text: str
    position: int


@dataclass(frozen=True, slots=True)
class FinalTranscript:
    """The text of the turn's audio up to ``position``."""

    turn: int
    text: str
    position: int
    waited: float = 0.0
    """Seconds since the request, if the recogniser was too busy to begin at once."""


@dataclass(frozen=True, slots=True)
class TranscriptionWaits:
    """The turn waits for a recogniser, after ``ahead`` other utterances; comes once a turn."""

    turn: int
    ahead: int


@dataclass(frozen=True, slots=True)
class TurnScored:
    """The turn detector's probability that the turn is complete, as of ``position``."""

    turn: int
    position: int
    probability: float


@dataclass(frozen=True, slots=True)
class LanguageDetected:
    """Answer to DetectLanguage: ``turn`` is spoken in ``language`` up to ``position``, with
    ``probability`` 0..1 among those that it may be; 0 where the detector failed."""

    turn: int
    position: int
    language: str
    probability: float


@dataclass(frozen=True, slots=True)
class LanguagesFound:
    """What the caller may speak has changed, because engines were loaded: see SessionConfig."""

    languages: tuple[str, ...]
    unspoken: tuple[str, ...]
    coming: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TranscriptionFailed:
    """Transcription of the turn failed."""

    turn: int
    code: str
    message: str


# ---------------------------------------------------------------------------- events: the reply


@dataclass(frozen=True, slots=True)
class FirstToken:
    """The chat model's first token of the reply came."""

    reply: int


@dataclass(frozen=True, slots=True)
class ClauseReady:
    """The chat model finished the reply's first clause, which now goes to the TTS."""

    reply: int


@dataclass(frozen=True, slots=True)
class ReplyClause:
    """A clause was generated and, for an audio reply, synthesised into ``samples`` samples.

    Clauses arrive in order; their ``text`` joins to the full reply. One clause may come in
    several parts: the first has the text, the others only samples."""

    reply: int
    text: str
    samples: int
    rate: int
    filler: bool = False
    """It comes from SpeakFiller and is no part of the answer."""


@dataclass(frozen=True, slots=True)
class ToolUseRequested:
    """The reply uses a tool; ``arguments`` are complete and as the chat model wrote them."""

    reply: int
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ReplyGenerated:
    """The reply was generated to its end; playout may go on."""

    reply: int
    prompt_tokens: int = 0
    completion_tokens: int = 0
    truncated: bool = False
    """True if the token limit cut it."""
    empty: int = 0
    """How many empty answers were retried."""
    cached_tokens: int = 0
    """The part of ``prompt_tokens`` that the model had read before."""


@dataclass(frozen=True, slots=True)
class ReplyFailed:
    """An engine failed during the reply; what was generated before stays."""

    reply: int
    code: str
    message: str
    empty: int = 0
    """As in ReplyGenerated; the failure if the last answer was empty too."""


@dataclass(frozen=True, slots=True)
class ClauseStarted:
    """The first sample of the reply's ReplyClause number ``clause`` (from 0) was sent."""

    reply: int
    clause: int


@dataclass(frozen=True, slots=True)
class PlayoutHeard:
    """The reply's first sample was heard, ``ago`` seconds before this became known."""

    reply: int
    ago: float = 0.0


@dataclass(frozen=True, slots=True)
class PlayoutFinished:
    """All samples of the reply have been heard, and none will follow: it was generated to its end,
    or failed."""

    reply: int
    heard: int


@dataclass(frozen=True, slots=True)
class PlayoutPaused:
    """Playout was paused as ordered; the caller heard ``heard`` of ``sent`` samples."""

    reply: int
    heard: int
    sent: int


@dataclass(frozen=True, slots=True)
class PlayoutStopped:
    """Playout was flushed as ordered; the caller heard ``heard`` of ``sent`` samples."""

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
    """An MCP server failed to list its tools; the message may be shown to the client."""

    label: str
    message: str


@dataclass(frozen=True, slots=True)
class ToolReturned:
    """A tool use was carried out; if ``failed``, ``output`` says why it was not."""

    tool_use_id: str
    output: str
    failed: bool = False


# ---------------------------------------------------------------------------- events: the client


@dataclass(frozen=True, slots=True)
class CallStarted:
    """The first event of every call."""

    config: SessionConfig


@dataclass(frozen=True, slots=True)
class CallResumed:
    """The first event of a call that goes on from ``checkpoint``, instead of CallStarted."""

    checkpoint: Checkpoint


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
    """The client drops the input since the last commit."""

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
    """The item is speech, to be transcribed: the number under which the shell keeps its audio."""
    seconds: float = 0.0
    """The length of the clip."""
    reply: bool = False
    """The agent replies to it when nobody speaks."""


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
    """The client approves or refuses a tool use. ``request_id``: item of the request."""

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
    """The client requests an item as the server holds it."""

    item_id: str
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class TruncateItem:
    """The client reports how much of an assistant item it played, in ms; clamped, never refused."""

    item_id: str
    audio_end_ms: int
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class RequestCancel:
    """The client cancels the reply in progress (or the named one)."""

    reply_id: str | None = None
    event_id: str | None = None
    reformatted: bool = False
    """Its audio no longer fits the channel: the shell cancels it, not the client."""


@dataclass(frozen=True, slots=True)
class ClearOutput:
    """The client drops the audio that has not been played yet (WebRTC)."""

    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class KeyPressed:
    """The caller pressed a key of their telephone: 0-9, ``*``, ``#``, A-D; ``at`` in Unix s."""

    digit: str
    at: int


@dataclass(frozen=True, slots=True)
class InputEnded:
    """No more input audio will come, but the peer is still connected."""


@dataclass(frozen=True, slots=True)
class HangUp:
    """The peer is gone, or somebody ends the call."""

    reason: str


@dataclass(frozen=True, slots=True)
class Tick:
    """``next_deadline()`` has been reached."""


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
"""What the client requests, or the caller by a key press."""

Event = (
    VoiceWindow
    | SilenceHeard
    | PartialTranscript
    | FinalTranscript
    | TranscriptionWaits
    | TurnScored
    | LanguageDetected
    | LanguagesFound
    | TranscriptionFailed
    | FirstToken
    | ClauseReady
    | ReplyClause
    | ToolUseRequested
    | ReplyGenerated
    | ReplyFailed
    | ClauseStarted
    | PlayoutHeard
    | PlayoutFinished
    | PlayoutPaused
    | PlayoutStopped
    | ToolsListed
    | ToolListFailed
    | ToolReturned
    | CallStarted
    | CallResumed
    | ClientRequest
    | InputEnded
    | HangUp
    | Tick
)
