"""Every notice that the core publishes, in the order of events.

A notice reaches the shell in the command ``Publish``; the channel's wire format renders it.
Positions are samples at ``HEARING_RATE`` since the call began.
"""

from dataclasses import dataclass
from typing import Literal

from sessions.core.config import ListedTool

from .config import SessionConfig
from .items import Item, ReplyStatus


@dataclass(frozen=True, slots=True)
class SessionOpened:
    """The call has begun, or goes on over another connection."""

    config: SessionConfig
    begun: tuple["BegunReply", ...] = ()
    """Replies that began before the call was resumed; each ends now."""


@dataclass(frozen=True, slots=True)
class SessionChanged:
    """The session has a new configuration."""

    config: SessionConfig


@dataclass(frozen=True, slots=True)
class LanguageChanged:
    """The caller speaks another language, ``config.language``, from item ``item_id`` on.
    ``probability``: the detector's, 0..1."""

    config: SessionConfig
    item_id: str
    probability: float


@dataclass(frozen=True, slots=True)
class LanguageUnspoken:
    """Item ``item_id`` is in a language that is heard here and that no voice speaks: it is answered
    by a sentence that says so."""

    language: str
    item_id: str
    probability: float


@dataclass(frozen=True, slots=True)
class LanguagesChanged:
    """The caller may speak other languages than before, ``config.languages``."""

    config: SessionConfig


@dataclass(frozen=True, slots=True)
class HearingWaits:
    """The words of item ``item_id`` wait for a recogniser, after ``ahead`` other utterances."""

    item_id: str
    ahead: int


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """The caller started speaking at ``position``."""

    item_id: str
    position: int


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    """The caller stopped speaking at ``position`` (the last sample of speech)."""

    item_id: str
    position: int


@dataclass(frozen=True, slots=True)
class InputCommitted:
    """The caller's turn became an item."""

    item_id: str
    previous_item_id: str | None


@dataclass(frozen=True, slots=True)
class InputCleared:
    """The input since the last commit was dropped."""


@dataclass(frozen=True, slots=True)
class TranscriptPartial:
    """The caller's words so far; they may be revised."""

    item_id: str
    text: str


@dataclass(frozen=True, slots=True)
class TranscriptFinal:
    """The caller's words."""

    item_id: str
    text: str
    seconds: float


@dataclass(frozen=True, slots=True)
class TranscriptFailed:
    """The caller's words could not be recognised."""

    item_id: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class ItemAdded:
    """An item was added to the history."""

    item: Item
    previous_item_id: str | None


@dataclass(frozen=True, slots=True)
class ItemRetrieved:
    """Answer to RetrieveItem."""

    item: Item


@dataclass(frozen=True, slots=True)
class ItemDeleted:
    """An item was removed from the history."""

    item_id: str


@dataclass(frozen=True, slots=True)
class ItemTruncated:
    """An assistant item now ends where the caller stopped hearing it."""

    item_id: str
    audio_end_ms: int
    heard: str


@dataclass(frozen=True, slots=True)
class ReplyCreated:
    """A reply was released."""

    reply_id: str
    item_id: str
    output_audio: bool
    max_output_tokens: int | None = None
    voice: str | None = None
    metadata: tuple[tuple[str, str], ...] = ()
    in_conversation: bool = True


@dataclass(frozen=True, slots=True)
class ReplyItemAdded:
    """The reply has its first words: its message was added to the history."""

    reply_id: str
    item_id: str
    previous_item_id: str | None
    output_audio: bool
    in_conversation: bool = True


@dataclass(frozen=True, slots=True)
class BegunReply:
    """A reply that has been published in part."""

    created: ReplyCreated
    added: ReplyItemAdded | None


@dataclass(frozen=True, slots=True)
class ReplyToolUse:
    """A tool use with which a reply ended. ``index``: its place among the reply's items."""

    item: Item
    previous_item_id: str | None
    index: int


@dataclass(frozen=True, slots=True)
class ReplyText:
    """More text of the reply; the audio of an audio reply is on its way."""

    reply_id: str
    item_id: str
    delta: str
    output_audio: bool


@dataclass(frozen=True, slots=True)
class ReplyDone:
    """The reply has ended; ``text`` is what ReplyText published of it, ``heard`` what was heard.

    Only ``RecordTurn`` has the text that was generated but never published."""

    reply_id: str
    item_id: str
    status: ReplyStatus
    reason: str | None
    text: str
    heard: str
    output_audio: bool
    prompt_tokens: int = 0
    completion_tokens: int = 0
    code: str | None = None
    message: str | None = None
    tool_uses: tuple[ReplyToolUse, ...] = ()
    audio_seconds: float = 0.0
    """The length of the speech synthesised for it, heard or not."""
    cached_tokens: int = 0
    """The part of ``prompt_tokens`` that the model had read before."""


@dataclass(frozen=True, slots=True)
class ToolBegun:
    """The server is carrying out a tool use."""

    item_id: str
    index: int


@dataclass(frozen=True, slots=True)
class ToolEnded:
    """A tool use of the server has its output, which is in ``item``."""

    item: Item
    previous_item_id: str | None
    index: int
    failed: bool


@dataclass(frozen=True, slots=True)
class ToolListing:
    """The tools of an MCP server are being listed, have been listed, or could not be."""

    item_id: str
    label: str
    state: Literal["in_progress", "completed", "failed"]
    tools: tuple[ListedTool, ...] = ()


@dataclass(frozen=True, slots=True)
class PlayoutBegan:
    """The caller started hearing the reply."""

    reply_id: str
    item_id: str


@dataclass(frozen=True, slots=True)
class PlayoutHeld:
    """Playout was paused: the caller seems to interrupt."""

    reply_id: str
    item_id: str
    audio_end_ms: int


@dataclass(frozen=True, slots=True)
class PlayoutResumed:
    """It was no interruption; playout continues where it stopped."""

    reply_id: str
    item_id: str


@dataclass(frozen=True, slots=True)
class PlayoutEnded:
    """The caller has heard the reply to its end."""

    reply_id: str
    item_id: str


@dataclass(frozen=True, slots=True)
class PlayoutCleared:
    """The rest of the reply was dropped and will not be heard."""

    reply_id: str
    item_id: str


@dataclass(frozen=True, slots=True)
class KeyReceived:
    """The caller pressed a key of their telephone; ``at`` in Unix seconds."""

    digit: str
    at: int


@dataclass(frozen=True, slots=True)
class IdleTimeout:
    """Nobody spoke for ``idle_timeout_ms``; the agent will say something."""

    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class Latency:
    """How the caller's waiting time for one turn was spent, in ms.

    The stages lie end to end on the critical path, so they add up to ``total_ms``: work that
    speculation hid behind an earlier stage counts as 0."""

    turn: int
    reply_id: str
    endpointing_ms: int
    """From the caller's last sample of speech to the decision that the turn is over."""
    stt_ms: int
    """Until the final transcript."""
    llm_ms: int
    """Until the chat model finished the first clause, or a filler was spoken in its place."""
    tts_ms: int
    """Until the first samples of that clause."""
    gateway_ms: int
    """Until the first sample left for the caller."""
    total_ms: int
    """From the caller's last sample of speech to the first sample sent (TTFA)."""
    first_token_ms: int = 0
    """The part of ``llm_ms`` until the chat model's first token."""
    heard_ms: int | None = None
    """From the first sample sent to the first sample heard, as far as the channel knows; beyond
    ``total_ms``. None where the reply ended before."""
    head_start_ms: int = 0
    """How long before the end of the turn was certain the reply was begun; 0 if after it."""
    discarded_replies: int = 0
    """Replies begun for the turn before that, and cancelled."""
    discarded_tokens: int = 0
    """What they cost, estimated: a quarter of the characters read and written."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something was refused or failed; the call goes on."""

    code: str
    message: str
    param: str | None = None
    event_id: str | None = None
    server: bool = False
    """True if the server is at fault (an engine), False if the client is."""


@dataclass(frozen=True, slots=True)
class ResumptionHandle:
    """With ``handle`` the caller's program can resume the call, within ``window`` seconds of the
    loss of its connection. For that program alone.

    ``resumed``: the call has been resumed; ``reconnect``: this connection is about to close."""

    handle: str
    window: int
    resumed: bool = False
    reconnect: bool = False


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to a client's ping, for that client alone. ``ping_id``: its ``event_id``."""

    ping_id: str | None


Notice = (
    SessionOpened
    | SessionChanged
    | LanguageChanged
    | LanguageUnspoken
    | LanguagesChanged
    | HearingWaits
    | SpeechStarted
    | SpeechStopped
    | InputCommitted
    | InputCleared
    | TranscriptPartial
    | TranscriptFinal
    | TranscriptFailed
    | ItemAdded
    | ItemRetrieved
    | ItemDeleted
    | ItemTruncated
    | ReplyCreated
    | ReplyItemAdded
    | ReplyText
    | ReplyDone
    | ToolBegun
    | ToolEnded
    | ToolListing
    | PlayoutBegan
    | PlayoutHeld
    | PlayoutResumed
    | PlayoutEnded
    | PlayoutCleared
    | KeyReceived
    | IdleTimeout
    | Latency
    | ResumptionHandle
    | Pong
    | Fault
)
