"""Everything the core publishes, in the order in which it became true.

A notice reaches the shell inside the command ``Publish``; the channel's wire format renders it.
Positions are samples at ``HEARING_RATE`` since the call began.
"""

from dataclasses import dataclass
from typing import Literal

from sessions.core.config import ListedTool

from .config import SessionConfig
from .items import Item, ReplyStatus


@dataclass(frozen=True, slots=True)
class SessionOpened:
    """The call has begun."""

    config: SessionConfig


@dataclass(frozen=True, slots=True)
class SessionChanged:
    """A new configuration holds from now on."""

    config: SessionConfig


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """The caller began to speak at ``position``."""

    item_id: str
    position: int


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    """The caller's speech ended at ``position`` (the last sample of speech)."""

    item_id: str
    position: int


@dataclass(frozen=True, slots=True)
class InputCommitted:
    """The caller's turn became an item."""

    item_id: str
    previous_item_id: str | None


@dataclass(frozen=True, slots=True)
class InputCleared:
    """What was heard since the last commit is gone."""


@dataclass(frozen=True, slots=True)
class TranscriptPartial:
    """The caller's words so far, revisable."""

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
    """An item stands in the history."""

    item: Item
    previous_item_id: str | None


@dataclass(frozen=True, slots=True)
class ItemRetrieved:
    """Answer to RetrieveItem."""

    item: Item


@dataclass(frozen=True, slots=True)
class ItemDeleted:
    """An item is gone from the history."""

    item_id: str


@dataclass(frozen=True, slots=True)
class ItemTruncated:
    """An assistant item now ends where the caller stopped hearing it."""

    item_id: str
    audio_end_ms: int
    heard: str


@dataclass(frozen=True, slots=True)
class ReplyCreated:
    """A reply is released: the client may know of it."""

    reply_id: str
    item_id: str
    output_audio: bool
    max_output_tokens: int | None = None
    voice: str | None = None
    metadata: tuple[tuple[str, str], ...] = ()
    in_conversation: bool = True


@dataclass(frozen=True, slots=True)
class ReplyItemAdded:
    """The reply begins to say something: its message stands in the history."""

    reply_id: str
    item_id: str
    previous_item_id: str | None
    output_audio: bool
    in_conversation: bool = True


@dataclass(frozen=True, slots=True)
class ReplyToolUse:
    """A tool use that a reply ended in. ``index``: its place among the reply's items."""

    item: Item
    previous_item_id: str | None
    index: int


@dataclass(frozen=True, slots=True)
class ReplyText:
    """More text of the reply; for an audio reply its audio is on the way."""

    reply_id: str
    item_id: str
    delta: str
    output_audio: bool


@dataclass(frozen=True, slots=True)
class ReplyDone:
    """The reply has ended; ``text`` is what ReplyText published of it, ``heard`` what was heard.

    What was generated and never left is in ``RecordTurn`` only."""

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
    """Of speech that was made for it, heard or not."""


@dataclass(frozen=True, slots=True)
class ToolBegun:
    """The server is carrying out a tool use."""

    item_id: str
    index: int


@dataclass(frozen=True, slots=True)
class ToolEnded:
    """A tool use that the server carried out has its output, which is in ``item``."""

    item: Item
    previous_item_id: str | None
    index: int
    failed: bool


@dataclass(frozen=True, slots=True)
class ToolListing:
    """An MCP server is listing its tools, has listed them, or has failed to."""

    item_id: str
    label: str
    state: Literal["in_progress", "completed", "failed"]
    tools: tuple[ListedTool, ...] = ()


@dataclass(frozen=True, slots=True)
class PlayoutBegan:
    """The caller begins to hear the reply."""

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
    """The interruption was none; playout goes on where it stopped."""

    reply_id: str
    item_id: str


@dataclass(frozen=True, slots=True)
class PlayoutEnded:
    """The caller has heard the reply to its end."""

    reply_id: str
    item_id: str


@dataclass(frozen=True, slots=True)
class PlayoutCleared:
    """What was not heard of the reply will never be."""

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
    """Where the caller's waiting time of one turn went, in ms.

    The stages lie end to end on the critical path, so that they add up to ``total_ms``: work
    that speculation hid behind an earlier stage counts as 0."""

    turn: int
    reply_id: str
    endpointing_ms: int
    """From the caller's last sample of speech to the decision that the turn is over."""
    stt_ms: int
    """Until the final transcript was there."""
    llm_ms: int
    """Until the chat model had finished the first clause, or a filler was spoken in its place."""
    tts_ms: int
    """Until the first samples of that clause were there."""
    gateway_ms: int
    """Until the first sample left for the caller."""
    total_ms: int
    """From the caller's last sample of speech to the first sample sent (TTFA)."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something was refused or failed; the call goes on."""

    code: str
    message: str
    param: str | None = None
    event_id: str | None = None
    server: bool = False
    """True where the fault is ours (an engine), False where it is the client's."""


@dataclass(frozen=True, slots=True)
class Pong:
    """A client's ping came; for that client alone. ``ping_id``: its ``event_id``, if it had one."""

    ping_id: str | None


Notice = (
    SessionOpened
    | SessionChanged
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
    | Pong
    | Fault
)
