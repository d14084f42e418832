"""What was said and what was heard: the items of a conversation, in order.

The chat model's history is made of them; in it an assistant's item is what the caller *heard*.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import takewhile

from .items import Item, Message, PromptLine, ToolUseState
from .prompt import ANSWER_NOW, History, history, joined, words_of_item

MAXIMUM_ITEMS = 1_000


class DuplicateItem(Exception):
    """An item with that id exists."""


class UnknownItem(Exception):
    """No item has that id."""


class Transcript:
    """The items of one conversation, in order."""

    def __init__(self) -> None:
        self._items: dict[str, Item] = {}
        self._order: list[str] = []
        self._since = ""
        """The first item of the last history: the next one begins there too, if it can."""

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

        ``after``: an item's id, "root" for the very beginning, None for the end. Of 1,000 items
        the oldest is dropped for the next. Raises UnknownItem, DuplicateItem."""
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
        """Give an item its text (and heard prefix), which ends it; raises UnknownItem."""
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
        """Give a tool use of the server's its output, and move it to the end; raises
        UnknownItem."""
        item = self.get(item_id)
        state = ToolUseState.FAILED if failed else ToolUseState.RETURNED
        returned = (item.tool_use.tool_use_id if item.tool_use else "", output)
        self._items[item_id] = replace(item, state=state, output=returned)
        self._order.remove(item_id)
        self._order.append(item_id)

    def has_tool_use(self, tool_use_id: str) -> bool:
        """Whether there is a tool use of that id."""
        return any(item.tool_use and item.tool_use.tool_use_id == tool_use_id for item in self)

    def open_tool_use(self, tool_use_id: str) -> Item | None:
        """The client's tool use of that id, where it has no output yet."""
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

    def messages(self, instructions: str, extra: Iterable[Message] = ()) -> tuple[Message, ...]:
        """The prompt of the next reply: instructions, then the newest of what was said that fits.

        ``extra``: messages that are not in the transcript yet. Rules as in ``history``."""
        system, said = self._history(instructions, extra)
        return (*system, *said.closed())

    def beginning(self, instructions: str, extra: Iterable[Message] = ()) -> tuple[Message, ...]:
        """How ``messages`` is going to begin, whatever is said next."""
        system, said = self._history(instructions, extra)
        return (*system, *said.messages)

    def prompt(self, instructions: str, lines: Iterable[PromptLine]) -> tuple[Message, ...]:
        """A prompt of a reply's own; items that have been deleted since are left out."""
        said: list[Message] = []
        for line in lines:
            item = Item("", line.role, line.text) if line.item_id is None else None
            item = item or self._items.get(line.item_id or "")
            if item is not None and (message := words_of_item(item)):
                said.append(message)
        lead = list(takewhile(lambda message: message.role == "system", said))
        system = _system(instructions, [message.content for message in lead])
        rest = History(joined(said[len(lead) :], ANSWER_NOW), "", ())
        return (*system, *rest.closed(ANSWER_NOW, ANSWER_NOW))

    def _history(
        self, instructions: str, extra: Iterable[Message]
    ) -> tuple[tuple[Message, ...], History]:
        items = list(self)
        lead = list(takewhile(lambda item: item.role == "system" and item.says, items))
        said = history(items[len(lead) :], extra, self._since)
        self._since = said.first
        return _system(instructions, [item.text for item in lead]), said


def _system(instructions: str, added: list[str]) -> tuple[Message, ...]:
    """One system message: the instructions, and what the client put before all that was said."""
    parts = [part for part in (instructions, *added) if part.strip()]
    return (Message("system", "\n\n".join(parts)),) if parts else ()
