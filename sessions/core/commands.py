"""Everything the core can order the shell to do.

Each command names the turn or reply it concerns; the shell executes them in order and feeds
what comes of them back as events of the same number.
"""

from dataclasses import dataclass

from sessions.core.config import Tool, ToolServer

from .config import SessionConfig
from .items import Message, ReplyStatus
from .notices import Latency, Notice


@dataclass(frozen=True, slots=True)
class StartTranscription:
    """Begin to transcribe the turn, from input sample ``position`` on."""

    turn: int
    position: int


@dataclass(frozen=True, slots=True)
class TranscribeClip:
    """Transcribe the audio that came with an item, as the turn; answer with FinalTranscript at
    position 0."""

    turn: int
    clip: int


@dataclass(frozen=True, slots=True)
class FinishTranscription:
    """Transcribe the turn's audio up to ``position``; answer with FinalTranscript.

    May be ordered again for the same turn at a later position: the caller went on."""

    turn: int
    position: int


@dataclass(frozen=True, slots=True)
class DropTranscription:
    """The turn needs no recogniser any more; release it."""

    turn: int


@dataclass(frozen=True, slots=True)
class ScoreTurn:
    """Ask the turn detector about the audio up to ``position``; answer with TurnScored."""

    turn: int
    position: int


@dataclass(frozen=True, slots=True)
class StartReply:
    """Generate a reply to ``history``. Until ReleaseReply nothing of it may leave."""

    turn: int
    reply: int
    reply_id: str
    item_id: str
    history: tuple[Message, ...]
    config: SessionConfig
    script: str | None = None
    """Speak this text instead of asking the chat model (apologies, prompts)."""
    side: bool = False
    """It is written beside the conversation's own replies and never played."""
    tools: tuple[Tool, ...] = ()
    """What it may use."""


@dataclass(frozen=True, slots=True)
class SpeakFiller:
    """The answer is slow: say ``text`` at the reply's beginning, unless the answer has begun."""

    reply: int
    text: str


@dataclass(frozen=True, slots=True)
class PrepareReply:
    """A hint: the next prompt will begin like this; have the chat model read it ahead."""

    history: tuple[Message, ...]
    config: SessionConfig
    tools: tuple[Tool, ...] = ()


@dataclass(frozen=True, slots=True)
class ListTools:
    """Ask the server for its tools; answer with ToolsListed or ToolListFailed."""

    server: ToolServer


@dataclass(frozen=True, slots=True)
class RunTool:
    """Carry out a tool use; answer with ToolReturned. ``server``: an MCP tool's."""

    tool_use_id: str
    arguments: str
    tool: Tool
    server: ToolServer | None


@dataclass(frozen=True, slots=True)
class CancelTool:
    """Stop carrying out a tool use; no answer is expected any more."""

    tool_use_id: str


@dataclass(frozen=True, slots=True)
class ReleaseReply:
    """The reply may be heard and published from now on."""

    reply: int


@dataclass(frozen=True, slots=True)
class CancelReply:
    """Stop generating the reply. StopPlayout follows where it had been released."""

    reply: int


@dataclass(frozen=True, slots=True)
class PausePlayout:
    """Stand still at once; answer with PlayoutPaused."""

    reply: int


@dataclass(frozen=True, slots=True)
class ResumePlayout:
    """Go on from the heard sample."""

    reply: int


@dataclass(frozen=True, slots=True)
class StopPlayout:
    """Flush: nothing more of the reply may be heard; answer with PlayoutStopped."""

    reply: int


@dataclass(frozen=True, slots=True)
class Publish:
    """Publish a notice to the client and to whoever observes the call."""

    notice: Notice


@dataclass(frozen=True, slots=True)
class RecordTurn:
    """Store one finished turn. Latencies as in ``Latency``; texts as said and as heard."""

    turn: int
    user_text: str
    reply_text: str
    heard_text: str
    interrupted: bool
    status: ReplyStatus
    latency: Latency | None
    usage: tuple[int, int] = (0, 0)
    """Prompt and completion tokens."""


@dataclass(frozen=True, slots=True)
class CloseCall:
    """End the call; nothing follows."""

    reason: str


Command = (
    StartTranscription
    | TranscribeClip
    | FinishTranscription
    | DropTranscription
    | ScoreTurn
    | StartReply
    | SpeakFiller
    | PrepareReply
    | ListTools
    | RunTool
    | CancelTool
    | ReleaseReply
    | CancelReply
    | PausePlayout
    | ResumePlayout
    | StopPlayout
    | Publish
    | RecordTurn
    | CloseCall
)
