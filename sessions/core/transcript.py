"""What was said and what was heard: the items of a conversation, in order.

The chat model's history is made of them; in it an assistant's item is what the caller *heard*.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from .items import Item, Message

MAXIMUM_ITEMS = 1_000
_MAXIMUM_MESSAGES = 24
_MAXIMUM_CHARACTERS = 6_000


class DuplicateItem(Exception):
    """An item with that id exists."""


class UnknownItem(Exception):
    """No item has that id."""


class Transcript:
    """The items of one conversation, in order."""

    def __init__(self) -> None:
        self._items: dict[str, Item] = {}
        self._order: list[str] = []

    def __len__(self) -> int:
        return len(self._order)

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

    def delete(self, item_id: str) -> None:
        """Remove an item; raises UnknownItem."""
        self.get(item_id)
        del self._items[item_id]
        self._order.remove(item_id)

    def messages(self, instructions: str, extra: Iterable[Message] = ()) -> tuple[Message, ...]:
        """The history for the chat model: instructions, then the newest messages that fit.

        Bounds: 24 messages, 6,000 characters; whole messages are left out, oldest first."""
        said: list[Message] = []
        for item in self:
            content = item.text if item.heard is None else item.heard
            if content.strip():
                said.append(Message(item.role, content))
        said.extend(extra)
        kept: list[Message] = []
        room = _MAXIMUM_CHARACTERS
        for message in reversed(said[-_MAXIMUM_MESSAGES:]):
            room -= len(message.content)
            if kept and room < 0:
                break
            kept.append(message)
        kept.reverse()
        system = (Message("system", instructions),) if instructions else ()
        return (*system, *kept)
