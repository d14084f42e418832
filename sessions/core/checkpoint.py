"""A conversation at one moment: what it needs to go on later, on this node or another.

Rules
- It holds what was said and decided, not what was being computed. Audio that had not become text is
  lost with the node that heard it; so are recognisers, scores and speculative replies.
- It is plain data: encoded and decoded again (JSON, MessagePack) it is equal to what it was.
- ``VERSION`` changes when the meaning of a field does. A node does not resume another version's.

``resuming`` makes checkpoints and goes on from them.
"""

from dataclasses import dataclass

from .config import SessionConfig, Tool
from .items import Continuation, Item, RequestReply, ToolUse

VERSION = 1


@dataclass(frozen=True, slots=True)
class Numbers:
    """The last numbers that were given, so that none is given twice."""

    turns: int = 0
    replies: int = 0
    items: int = 0
    tool_lists: int = 0


@dataclass(frozen=True, slots=True)
class OpenReply:
    """A reply that was wanted and has not ended. Positions in samples at ``rate``."""

    number: int
    turn: int
    user_text: str
    reply_id: str
    item_id: str
    config: SessionConfig
    request: RequestReply | None = None
    script: str | None = None
    rounds: int = 0
    created: bool = False
    """The client knows of it."""
    audible: bool = False
    texts: tuple[str, ...] = ()
    """Its clauses so far, and in ``ends`` the position where each of them ends."""
    ends: tuple[int, ...] = ()
    rate: int = 0
    published: str | None = None
    """The text that was published; None: not even its item."""
    heard: int = 0
    """Position up to which the caller heard it."""
    filler: int = 0
    """How many characters at the beginning are a filler."""
    complete: bool = False
    """It was generated to its end."""
    tool_uses: tuple[tuple[str, str], ...] = ()
    tools: tuple[Tool, ...] = ()
    before: str = ""
    """What the caller heard of the same answer before an earlier resumption."""


@dataclass(frozen=True, slots=True)
class OpenTurn:
    """A turn of the caller that is neither answered nor recorded."""

    turn: int
    item_id: str
    text: str
    """The best text so far."""
    seconds: float = 0.0
    committed: bool = False
    """Its item is in the history."""
    wanted: bool = False
    """It is to be answered."""
    request: RequestReply | None = None
    """The client's request for the answer."""


@dataclass(frozen=True, slots=True)
class PendingReply:
    """A reply that is to be made unless the caller says something."""

    turn: int
    config: SessionConfig
    request: RequestReply | None = None
    script: str | None = None


@dataclass(frozen=True, slots=True)
class RunningTool:
    """A tool use of the server whose outcome is not known. ``index``: its place in its reply."""

    item_id: str
    index: int


@dataclass(frozen=True, slots=True)
class AskedTool:
    """A tool use that waits for the client's approval (item ``item_id``)."""

    item_id: str
    use: ToolUse
    tool: Tool
    onward: Continuation


@dataclass(frozen=True, slots=True)
class UnfinishedTools:
    """The tool uses that have not ended."""

    running: tuple[RunningTool, ...] = ()
    asked: tuple[AskedTool, ...] = ()
    continuation: Continuation | None = None


@dataclass(frozen=True, slots=True)
class CallerHabits:
    """What was learnt about the caller."""

    levels: tuple[float, ...] = ()
    """dBFS of the last turns."""
    pace: float = 1.0
    """The factor of ``CallerPace``."""


@dataclass(frozen=True, slots=True)
class Moving:
    """The part of a checkpoint that changes while somebody speaks."""

    numbers: Numbers = Numbers()
    elapsed: float = 0.0
    """Seconds since the call began."""
    reply: OpenReply | None = None
    """The current reply, unless it was speculative."""
    open_turn: OpenTurn | None = None
    """What the caller was saying, as far as it had words."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A conversation at one moment. ``moving`` may be replaced by a newer one."""

    call_id: str
    config: SessionConfig
    moving: Moving = Moving()
    rested: bool = False
    """The agent has spoken: a silence from now on counts as idle."""
    items: tuple[Item, ...] = ()
    since: str = ""
    """The first item of the prompt, once its beginning was cut."""
    ended: tuple[OpenReply, ...] = ()
    """Replies that do not go on: stopped ones, and side replies."""
    turns: tuple[OpenTurn, ...] = ()
    """Ended turns that wait for their text, oldest first."""
    pending: PendingReply | None = None
    held: RequestReply | None = None
    """A reply that was requested while the caller spoke."""
    tools: UnfinishedTools = UnfinishedTools()
    habits: CallerHabits = CallerHabits()
    version: int = VERSION
