"""The nouns of a conversation: items, and the history made of them."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

Role = Literal["system", "user", "assistant"]


class ReplyStatus(StrEnum):
    """How a reply ended; values are those of ``response.status``."""

    COMPLETED = "completed"
    CANCELLED = "cancelled"
    INCOMPLETE = "incomplete"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Message:
    """One line of the history given to the chat model.

    ``tool_uses``: the assistant's here; ``tool_use_id``: whose output a tool's line is."""

    role: Role | Literal["tool"]
    content: str
    tool_uses: tuple["ToolUse", ...] = ()
    tool_use_id: str = ""


@dataclass(frozen=True, slots=True)
class PromptLine:
    """A line of the prompt that a client gives a reply of its own: words, or an item's words."""

    role: Role = "user"
    text: str = ""
    item_id: str | None = None
    """The item whose words they are, in place of ``role`` and ``text``."""


@dataclass(frozen=True, slots=True)
class ToolUse:
    """One use of a tool. ``label``: of the server that carries it out; empty: the client does."""

    tool_use_id: str
    name: str
    arguments: str
    label: str = ""
    approval: str | None = None
    """Item id of the request by which it was approved."""
    reply: int = 0
    """Number of the reply that made it; 0: one of an earlier conversation."""


class ToolUseState(StrEnum):
    """What has become of a tool use that the server carries out."""

    ASKED = "asked"
    """The client has been asked for its approval; the use itself follows as an item of its own."""
    MADE = "made"
    RETURNED = "returned"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Item:
    """A conversation item: what was said, and for the agent also what was heard of it."""

    item_id: str
    role: Role
    text: str
    status: Literal["in_progress", "completed", "incomplete"] = "completed"
    spoken: bool = False
    """True where the content is audio with a transcript, False where it is text."""
    heard: str | None = None
    """For an assistant item: the prefix of ``text`` that the caller heard; None: all of it."""
    filler: int = 0
    """Characters at the beginning of ``text`` that are a filler: heard, and no part of the
    answer."""
    tool_use: ToolUse | None = None
    """The item is this use of a tool."""
    state: ToolUseState = ToolUseState.MADE
    output: tuple[str, str] | None = None
    """(tool use id, output). A tool use that the server carried out has its own here."""
    approval: tuple[str, bool] | None = None
    """(approval request's item id, approved): the client's answer."""

    @property
    def says(self) -> bool:
        """Whether it is a message, and no matter of tools."""
        return self.tool_use is None and self.output is None and self.approval is None

    def named(self, item_id: str) -> "Item":
        """The same under another id."""
        return replace(self, item_id=item_id)
