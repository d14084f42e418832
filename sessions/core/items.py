"""The nouns of a conversation: items, and the history made of them."""

from dataclasses import dataclass
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
    """One line of the history given to the chat model."""

    role: Role
    content: str


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
