"""The nouns of a conversation: its items, the transcript that keeps them in order, and the replies
that were requested of it.

The chat model's history is made from the items (``prompt``); there, an assistant's item is what the
caller *heard*.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

from .config import SessionConfig, Tool

Role = Literal["system", "user", "assistant"]

MAXIMUM_ITEMS = 1_000
"""The most items of a conversation; then each new one displaces the oldest."""


class ReplyStatus(StrEnum):
    """How a reply ended; values are those of ``response.status``."""

    COMPLETED = "completed"
    CANCELLED = "cancelled"
    INCOMPLETE = "incomplete"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Message:
    """One line of the chat model's history.

    ``tool_uses``: those of an assistant's line; ``tool_use_id``: the use whose output a tool's line
    is."""

    role: Role | Literal["tool"]
    content: str
    tool_uses: tuple["ToolUse", ...] = ()
    tool_use_id: str = ""


@dataclass(frozen=True, slots=True)
class PromptLine:
    """A line of a reply's own prompt, as a client gives it: text, or a reference to an item."""

    role: Role = "user"
    text: str = ""
    item_id: str | None = None
    """An item whose words it repeats, in place of ``role`` and ``text``."""


@dataclass(frozen=True, slots=True)
class RequestReply:
    """The client requests a reply now. Fields that are None keep the session's values."""

    instructions: str | None = None
    output_audio: bool | None = None
    max_output_tokens: int | None = None
    event_id: str | None = None
    voice: str | None = None
    prompt: tuple[PromptLine, ...] | None = None
    """Its prompt, in place of the conversation."""
    metadata: tuple[tuple[str, str], ...] = ()
    """Returned with the reply."""
    out_of_band: bool = False
    """It does not become part of the conversation."""
    tools: tuple[Tool, ...] | None = None
    """Its tools, in place of the session's."""
    servers: tuple[str, ...] | None = None
    """The labels of the session's MCP servers whose tools it may use."""
    tool_choice: str | None = None
    script: str | None = None
    """Its words, instead of a chat model's."""
    waits: bool = False
    """Made when nobody speaks; otherwise it is refused while somebody does."""
    interrupts: bool = False
    """The reply in progress is cut off for it."""
    consent: bool = False
    """It says that the call is recorded, and is heard to its end whatever happens meanwhile."""
    greeting: bool = False
    """With it the agent answers the call; it begins again where its audio does not fit the channel
    any more."""

    @property
    def apart(self) -> bool:
        """Whether a speculative reply can never stand in for it."""
        alone = self.prompt is not None or self.script is not None
        return self.out_of_band or alone or bool(self.metadata)


@dataclass(frozen=True, slots=True)
class Continuation:
    """A reply to make once the tools have returned."""

    turn: int
    config: SessionConfig
    rounds: int


@dataclass(frozen=True, slots=True)
class ToolUse:
    """One use of a tool. ``label``: the server that carries it out; empty: the client does."""

    tool_use_id: str
    name: str
    arguments: str
    label: str = ""
    approval: str | None = None
    """The item id of the approval request that allowed it."""
    reply: int = 0
    """The number of the reply that made it; 0: a reply of an earlier conversation."""


class ToolUseState(StrEnum):
    """The state of a tool use that the server carries out."""

    ASKED = "asked"
    """It waits for the client's approval; the approved use becomes an item of its own."""
    MADE = "made"
    RETURNED = "returned"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Item:
    """A conversation item: what was said, and how much of an agent's item was heard."""

    item_id: str
    role: Role
    text: str
    status: Literal["in_progress", "completed", "incomplete"] = "completed"
    spoken: bool = False
    """True if the content is audio with a transcript, False if it is text."""
    heard: str | None = None
    """For an assistant item: the prefix of ``text`` that the caller heard; None: all of it."""
    filler: int = 0
    """How many characters at the beginning of ``text`` are a filler: heard, but no part of the
    answer."""
    tool_use: ToolUse | None = None
    """The tool use that the item is."""
    state: ToolUseState = ToolUseState.MADE
    output: tuple[str, str] | None = None
    """(tool use id, output). A tool use that the server carried out holds its own output."""
    approval: tuple[str, bool] | None = None
    """(item id of the approval request, approved): the client's answer."""

    @property
    def says(self) -> bool:
        """Whether it is a message, not a matter of tools."""
        return self.tool_use is None and self.output is None and self.approval is None

    def named(self, item_id: str) -> "Item":
        """The same under another id."""
        return replace(self, item_id=item_id)


class DuplicateItem(Exception):
    """An item with that id exists already."""


class UnknownItem(Exception):
    """No item has that id."""


class Transcript:
    """The items of one conversation, in order."""

    def __init__(self) -> None:
        self._items: dict[str, Item] = {}
        self._order: list[str] = []

    def __len__(self) -> int:
        return len(self._order)

    def __contains__(self, item_id: object) -> bool:
        return item_id in self._items

    def __iter__(self) -> Iterator[Item]:
        return (self._items[item_id] for item_id in self._order)

    def __reversed__(self) -> Iterator[Item]:
        return (self._items[item_id] for item_id in reversed(self._order))

    @property
    def last_id(self) -> str | None:
        """Id of the last item."""
        return self._order[-1] if self._order else None

    def get(self, item_id: str) -> Item:
        """The item; raises UnknownItem."""
        try:
            return self._items[item_id]
        except KeyError:
            raise UnknownItem(item_id) from None

    def add(self, item: Item, after: str | None = None) -> str | None:
        """Insert ``item`` and return the id of the one before it.

        ``after``: an item's id, "root" for the very beginning, None for the end. The 1,001st item
        displaces the oldest. Raises UnknownItem, DuplicateItem."""
        if item.item_id in self._items:
            raise DuplicateItem(item.item_id)
        if after is None:
            index = len(self._order)
        elif after == "root":
            index = 0
        else:
            self.get(after)
            index = self._order.index(after) + 1
        previous = self._order[index - 1] if index else None
        if len(self._order) >= MAXIMUM_ITEMS:
            self.delete(self._order[0])
            index = max(0, index - 1)
        self._items[item.item_id] = item
        self._order.insert(index, item.item_id)
        return previous

    def update(self, item_id: str, *, text: str, heard: str | None = None) -> Item:
        """Complete an item with its text, and the prefix that was heard; raises UnknownItem."""
        whole = heard is None or heard == text
        changed = replace(
            self.get(item_id),
            text=text,
            heard=heard,
            status="completed" if whole else "incomplete",
        )
        self._items[item_id] = changed
        return changed

    def place(self, item_id: str) -> tuple[Item, str | None]:
        """The item, and the id of the one before it; raises UnknownItem."""
        item = self.get(item_id)
        index = self._order.index(item_id)
        return item, self._order[index - 1] if index else None

    def settle_tool_use(self, item_id: str, output: str, *, failed: bool) -> None:
        """Complete a tool use of the server with its output and move it to the end; raises
        UnknownItem."""
        item = self.get(item_id)
        state = ToolUseState.FAILED if failed else ToolUseState.RETURNED
        returned = (item.tool_use.tool_use_id if item.tool_use else "", output)
        self._items[item_id] = replace(item, state=state, output=returned)
        self._order.remove(item_id)
        self._order.append(item_id)

    def has_tool_use(self, tool_use_id: str) -> bool:
        """Whether a tool use has that id."""
        return any(item.tool_use and item.tool_use.tool_use_id == tool_use_id for item in self)

    def open_tool_use(self, tool_use_id: str) -> Item | None:
        """The client's tool use of that id, if it has no output yet."""
        found = None
        for item in self:
            use = item.tool_use
            if item.output is not None and item.output[0] == tool_use_id:
                return None
            if use is not None and use.tool_use_id == tool_use_id and not use.label:
                found = item
        return found

    def delete(self, item_id: str) -> None:
        """Remove an item; raises UnknownItem."""
        self.get(item_id)
        del self._items[item_id]
        self._order.remove(item_id)
