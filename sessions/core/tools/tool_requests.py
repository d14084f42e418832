"""What a client may bring of tool calls: outputs, approvals, and calls of an earlier conversation.

Rules as in ``requests``: each takes effect or is refused with a ``Fault``.
"""

from sessions.core.call import Call
from sessions.core.events import AddToolOutput, AddToolUse
from sessions.core.items import Item, ToolUse, ToolUseState
from sessions.core.notices import ItemAdded
from sessions.core.transcript import DuplicateItem, UnknownItem


class ToolRequests:
    """Carries out what the client brings."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def add_output(self, event: AddToolOutput) -> None:
        """The output of a call that was the client's to carry out."""
        call = self._call
        made = call.transcript.open_tool_use(event.tool_use_id)
        if made is None:
            call.refuse(
                "tool_call_not_found",
                f"No call {event.tool_use_id!r} of yours waits for an output in this conversation.",
                "item.call_id",
                event.event_id,
            )
            return
        item = Item("", "user", "", output=(event.tool_use_id, event.output))
        self._add(item, event.item_id, event.after, event.event_id)

    def add_call(self, event: AddToolUse) -> None:
        """A call that was made before, so that its output can follow."""
        made = ToolUse(event.tool_use_id, event.name, event.arguments)
        if self._call.transcript.has_tool_use(event.tool_use_id):
            self._call.refuse(
                "tool_call_exists",
                f"A call {event.tool_use_id!r} exists already.",
                "item.call_id",
                event.event_id,
            )
            return
        item = Item("", "assistant", "", tool_use=made, state=ToolUseState.MADE)
        self._add(item, event.item_id, event.after, event.event_id)

    def _add(
        self, item: Item, item_id: str | None, after: str | None, event_id: str | None
    ) -> None:
        call = self._call
        if item_id is not None and item_id.startswith(call.own_items):
            call.refuse(
                "invalid_item_id",
                f"Item ids that begin with {call.own_items!r} are the server's own. "
                "Choose another or leave it out.",
                "item.id",
                event_id,
            )
            return
        item = item.named(item_id or call.next_item_id())
        try:
            previous = call.transcript.add(item, after)
        except DuplicateItem:
            call.refuse(
                "item_id_exists", f"An item {item_id!r} exists already.", "item.id", event_id
            )
        except UnknownItem:
            call.refuse(
                "item_not_found",
                f"There is no item {after!r} in this conversation.",
                "previous_item_id",
                event_id,
            )
        else:
            call.tell(ItemAdded(item, previous))
