"""What a client may ask for: items, replies, configuration, and the words of a refusal.

Rules: every request either takes effect or is refused with a ``Fault`` that carries the
client's event id; none raises, none ends the call.
"""

from .call import Call
from .events import (
    AddItem,
    CancelResponse,
    ClearInput,
    ClearOutput,
    CommitInput,
    ConfigureSession,
    DeleteItem,
    RequestResponse,
    RetrieveItem,
    TruncateItem,
)
from .items import Item
from .latency import Moments
from .notices import InputCleared, ItemAdded, ItemDeleted, ItemRetrieved, SessionChanged
from .replies import Replies
from .reply import overridden
from .transcript import DuplicateItem, UnknownItem
from .turns import State, Trigger
from .turntaking import TurnTaking

CLIENT_CANCELLED = "client_cancelled"


class ClientRequests:
    """Carries out what the client asks for."""

    def __init__(self, call: Call, replies: Replies, turns: TurnTaking) -> None:
        self._call = call
        self._replies = replies
        self._turns = turns

    def configure(self, event: ConfigureSession) -> None:
        """Another configuration holds from now on."""
        self._turns.configured(event.config)
        self._call.tell(SessionChanged(event.config))

    def commit(self, event: CommitInput) -> None:
        """End the turn by hand."""
        if not self._turns.commit():
            self._call.refuse(
                "input_audio_buffer_commit_empty",
                "Nothing to commit: no audio has come since the last commit. "
                "Send input_audio_buffer.append first.",
                event_id=event.event_id,
            )

    def clear(self, _event: ClearInput) -> None:
        """Drop the open turn."""
        self._turns.clear()
        self._call.tell(InputCleared())

    def add_item(self, event: AddItem) -> None:
        """Put a message into the history."""
        call = self._call
        if event.item_id is not None and event.item_id.startswith(call.own_items):
            call.refuse(
                "invalid_item_id",
                f"Item ids that begin with {call.own_items!r} are the server's own. "
                "Choose another or leave it out.",
                "item.id",
                event.event_id,
            )
            return
        item_id = event.item_id or call.next_item_id()
        item = Item(item_id, event.role, event.text)
        try:
            previous = call.transcript.add(item, event.after)
        except DuplicateItem:
            call.refuse(
                "item_id_exists", f"An item {item_id!r} exists already.", "item.id", event.event_id
            )
        except UnknownItem:
            self._unknown(event.after or "", "previous_item_id", event.event_id)
        else:
            call.tell(ItemAdded(item, previous))

    def delete_item(self, event: DeleteItem) -> None:
        """Take an item out of the history."""
        try:
            self._call.transcript.delete(event.item_id)
        except UnknownItem:
            self._unknown(event.item_id, "item_id", event.event_id)
        else:
            self._call.tell(ItemDeleted(event.item_id))

    def retrieve_item(self, event: RetrieveItem) -> None:
        """Show an item as it stands."""
        try:
            item = self._call.transcript.get(event.item_id)
        except UnknownItem:
            self._unknown(event.item_id, "item_id", event.event_id)
        else:
            self._call.tell(ItemRetrieved(item))

    def truncate_item(self, event: TruncateItem) -> None:
        """Cut an assistant's item where the client stopped playing it."""
        was_current = self._speaks(event.item_id)
        try:
            truncated = self._replies.truncate(event.item_id, event.audio_end_ms)
        except UnknownItem:
            self._unknown(event.item_id, "item_id", event.event_id)
            return
        if not truncated:
            self._call.refuse(
                "invalid_item",
                f"Item {event.item_id!r} holds no audio of the assistant to truncate.",
                "item_id",
                event.event_id,
            )
        elif was_current:
            self._after_cancel()

    def respond(self, event: RequestResponse) -> None:
        """Answer now."""
        call = self._call
        if call.state in (State.USER_SPEAKING, State.ENDPOINTING):
            self._turns.commit(event)
            return
        if call.state is not State.LISTENING:
            call.refuse(
                "conversation_already_has_active_response",
                "A response is in progress. Cancel it or wait for response.done.",
                event_id=event.event_id,
            )
            return
        call.move(Trigger.REPLY_REQUESTED)
        newest = self._turns.ended.newest
        if newest is not None:
            newest.request = event
            self._turns.ended.want(newest)
            return
        moments = Moments(speech_end=call.now, turn_end=call.now, transcript=call.now)
        config = overridden(call.config, event)
        self._replies.start(call.next_turn(), self._typed(), moments, config=config)
        self._replies.release()

    def cancel(self, event: CancelResponse) -> None:
        """Stop the reply in progress."""
        call, reply = self._call, self._replies.current
        asked = event.response_id
        speculative = reply is not None and not reply.released
        if (
            call.state not in (State.THINKING, State.SPEAKING, State.BARGE_IN)
            or speculative
            or (asked is not None and (reply is None or reply.response_id != asked))
        ):
            call.refuse(
                "response_cancel_not_active",
                "There is no such response in progress to cancel.",
                "response_id" if asked else None,
                event.event_id,
            )
            return
        self._turns.ended.give_up()
        self._replies.cancel(CLIENT_CANCELLED)
        self._after_cancel()

    def clear_output(self, _event: ClearOutput) -> None:
        """Stop what is being heard; harmless when nothing is."""
        if self._call.state in (State.SPEAKING, State.BARGE_IN):
            self._replies.cancel(CLIENT_CANCELLED)
            self._after_cancel()

    def _typed(self) -> str:
        """What the caller wrote last, where that is what is being answered."""
        last = next((item for item in reversed(self._call.transcript)), None)
        return last.text if last and last.role == "user" and not last.spoken else ""

    def _after_cancel(self) -> None:
        if self._call.state is State.BARGE_IN:
            self._turns.yield_floor()
        elif self._call.state in (State.THINKING, State.SPEAKING):
            self._call.move(Trigger.REPLY_ENDED)

    def _speaks(self, item_id: str) -> bool:
        reply = self._replies.current
        return reply is not None and reply.released and reply.item_id == item_id

    def _unknown(self, item_id: str, param: str, event_id: str | None) -> None:
        self._call.refuse(
            "item_not_found", f"There is no item {item_id!r} in this conversation.", param, event_id
        )
