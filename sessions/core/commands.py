"""Every command that the core gives the shell.

Each command names its turn or reply. The shell executes commands in order, and feeds their results
back as events with the same number.
"""

from dataclasses import dataclass

from sessions.core.config import Tool, ToolServer

from .config import SessionConfig
from .items import Message, ReplyStatus
from .notices import Latency, Notice


@dataclass(frozen=True, slots=True)
class StartTranscription:
    """Start transcribing the turn, from input sample ``position``."""

    turn: int
    position: int


@dataclass(frozen=True, slots=True)
class TranscribeClip:
    """Transcribe the audio of an item as the turn; answer with FinalTranscript at position 0."""

    turn: int
    clip: int


@dataclass(frozen=True, slots=True)
class FinishTranscription:
    """Transcribe the turn's audio up to ``position``; answer with FinalTranscript.

    May come again for the same turn at a later position, if the caller went on."""

    turn: int
    position: int


@dataclass(frozen=True, slots=True)
class DropTranscription:
    """Release the turn's recogniser."""

    turn: int


@dataclass(frozen=True, slots=True)
class ScoreTurn:
    """Score the audio up to ``position`` with the turn detector; answer with TurnScored."""

    turn: int
    position: int


@dataclass(frozen=True, slots=True)
class DetectLanguage:
    """Find out which of ``languages`` the turn is spoken in up to ``position``: LanguageDetected
    follows."""

    turn: int
    position: int
    languages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RestartTranscription:
    """Hear the turn again from its start, in ``language``; its final text, too."""

    turn: int
    language: str


@dataclass(frozen=True, slots=True)
class StartReply:
    """Generate a reply to ``history``. Nothing of it may leave before ReleaseReply."""

    turn: int
    reply: int
    reply_id: str
    item_id: str
    history: tuple[Message, ...]
    config: SessionConfig
    script: str | None = None
    """Speak this text instead of an answer by the chat model (apologies, prompts)."""
    side: bool = False
    """It is written beside the conversation and never played."""
    tools: tuple[Tool, ...] = ()
    """The tools that it may use."""


@dataclass(frozen=True, slots=True)
class SpeakFiller:
    """The answer is slow: begin the reply with ``text``, unless the answer has begun."""

    reply: int
    text: str


@dataclass(frozen=True, slots=True)
class PrepareReply:
    """A hint: the next prompt will begin like this, so let the chat model read it ahead."""

    history: tuple[Message, ...]
    config: SessionConfig
    tools: tuple[Tool, ...] = ()


@dataclass(frozen=True, slots=True)
class ListTools:
    """List the tools of the server; answer with ToolsListed or ToolListFailed."""

    server: ToolServer


@dataclass(frozen=True, slots=True)
class RunTool:
    """Carry out a tool use; answer with ToolReturned. ``server``: of an MCP tool."""

    tool_use_id: str
    arguments: str
    tool: Tool
    server: ToolServer | None


@dataclass(frozen=True, slots=True)
class CancelTool:
    """Stop carrying out a tool use; no answer is expected."""

    tool_use_id: str


@dataclass(frozen=True, slots=True)
class ReleaseReply:
    """Let the reply be heard and published."""

    reply: int


@dataclass(frozen=True, slots=True)
class CancelReply:
    """Stop generating the reply. StopPlayout follows if it was released."""

    reply: int


@dataclass(frozen=True, slots=True)
class PausePlayout:
    """Pause at once; answer with PlayoutPaused."""

    reply: int


@dataclass(frozen=True, slots=True)
class ResumePlayout:
    """Continue from the last heard sample."""

    reply: int


@dataclass(frozen=True, slots=True)
class StopPlayout:
    """Flush the playout, so that nothing more of the reply is heard; answer with PlayoutStopped."""

    reply: int


@dataclass(frozen=True, slots=True)
class Publish:
    """Publish a notice to the client and to the call's observers."""

    notice: Notice


@dataclass(frozen=True, slots=True)
class RecordTurn:
    """Store a finished turn, with its text as said and as heard."""

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
    """End the call."""

    reason: str


Command = (
    StartTranscription
    | TranscribeClip
    | FinishTranscription
    | DropTranscription
    | ScoreTurn
    | DetectLanguage
    | RestartTranscription
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
