"""The client's requests: items, replies, configuration, and how they are refused.

Rules: every request either takes effect or is refused with a ``Fault`` that carries the client's
event id. None raises and none ends the call.
"""

from sessions.core.replies.replies import Replies
from sessions.core.replies.reply import overridden
from sessions.core.replies.side_replies import MOST_SIDE, SideReplies
from sessions.core.tools import ToolUses
from sessions.core.turns.ended_turns import MOST_WAITING, EndedTurns
from sessions.core.turns.input_audio import Utterance
from sessions.core.turns.turntaking import TurnTaking

from .call import Call, Moments
from .config import SessionKind, TurnMode
from .events import (
    AddItem,
    AddToolOutput,
    AddToolUse,
    ClearInput,
    ClearOutput,
    CommitInput,
    ConfigureSession,
    DeleteItem,
    KeyPressed,
    RequestCancel,
    RequestReply,
    RetrieveItem,
    TruncateItem,
)
from .items import DuplicateItem, Item, ToolUse, ToolUseState, UnknownItem
from .notices import (
    InputCleared,
    ItemAdded,
    ItemDeleted,
    ItemRetrieved,
    KeyReceived,
    SessionChanged,
)
from .states import State, Trigger

CLIENT_CANCELLED = "client_cancelled"
CONSENT_IN_PROGRESS = "consent_in_progress"
_ANSWERING = (State.THINKING, State.SPEAKING, State.BARGE_IN, State.USING_TOOLS)


class ClientRequests:
    """Carries out the client's requests."""

    def __init__(
        self,
        call: Call,
        replies: Replies,
        side: SideReplies,
        tools: ToolUses,
        turns: TurnTaking,
        ended: EndedTurns,
    ) -> None:
        self._call = call
        self._replies = replies
        self._side = side
        self._tools = tools
        self._turns = turns
        self._ended = ended
        self._held: tuple[RequestReply, Utterance | None] | None = None
        """A reply requested while the caller spoke, and the turn that it will answer too."""

    def configure(self, event: ConfigureSession) -> None:
        """Change the configuration; a session that becomes one of captions stops answering."""
        captions = event.config.kind is SessionKind.TRANSCRIPTION
        if captions and self._call.config.kind is SessionKind.REALTIME:
            self._stop_answering()
        self._turns.configure(event.config)
        self._call.publish(SessionChanged(event.config))
        self._tools.configure(event.config)

    def commit(self, event: CommitInput) -> None:
        """End the turn by hand."""
        if not self._turns.commit():
            self._call.refuse(
                "input_audio_buffer_commit_empty",
                "Nothing to commit: no audio has arrived since the last commit. "
                "Send input_audio_buffer.append first.",
                event_id=event.event_id,
            )

    def clear(self, _event: ClearInput) -> None:
        """Drop the open turn."""
        self._turns.clear()
        self._call.publish(InputCleared())

    def add_item(self, event: AddItem) -> None:
        """Add a message to the history."""
        if self._refuse_own_id(event):
            return
        reply = RequestReply(waits=True, event_id=event.event_id) if event.reply else None
        if reply is not None and not (self._may_answer(reply) and self._may_wait(reply)):
            return
        if event.clip is not None and self._ended.full:
            self._call.refuse(
                "too_many_transcriptions",
                f"{MOST_WAITING} turns are waiting for their transcript. Wait for one to arrive.",
                event_id=event.event_id,
            )
            return
        item = Item("", event.role, event.text, spoken=event.clip is not None)
        item_id = self._add(item, event)
        if item_id is not None and event.clip is not None:
            self._ended.transcribe(item_id, event.clip, event.seconds)
        if item_id is not None and reply is not None:
            self.respond(reply)

    def add_tool_output(self, event: AddToolOutput) -> None:
        """Add the output of a tool use that the client carried out."""
        if self._call.transcript.open_tool_use(event.tool_use_id) is None:
            self._call.refuse(
                "tool_call_not_found",
                f"No call {event.tool_use_id!r} in this conversation is waiting for your output.",
                "item.call_id",
                event.event_id,
            )
            return
        self._add(Item("", "user", "", output=(event.tool_use_id, event.output)), event)

    def add_tool_use(self, event: AddToolUse) -> None:
        """Add a tool use of an earlier conversation; its output may follow."""
        if self._call.transcript.has_tool_use(event.tool_use_id):
            self._call.refuse(
                "tool_call_exists",
                f"A call {event.tool_use_id!r} already exists.",
                "item.call_id",
                event.event_id,
            )
            return
        use = ToolUse(event.tool_use_id, event.name, event.arguments)
        self._add(Item("", "assistant", "", tool_use=use, state=ToolUseState.MADE), event)

    def _add(self, item: Item, event: AddItem | AddToolOutput | AddToolUse) -> str | None:
        """Add ``item`` where the client wants it; returns its id, or None if it was refused."""
        call, item_id = self._call, event.item_id
        if self._refuse_own_id(event):
            return None
        item = item.named(item_id or call.next_item_id())
        try:
            previous = call.transcript.add(item, event.after)
        except DuplicateItem:
            call.refuse(
                "item_id_exists", f"An item {item_id!r} already exists.", "item.id", event.event_id
            )
            return None
        except UnknownItem:
            self._unknown(event.after or "", "previous_item_id", event.event_id)
            return None
        call.publish(ItemAdded(item, previous))
        return item.item_id

    def _refuse_own_id(self, event: AddItem | AddToolOutput | AddToolUse) -> bool:
        own = self._call.own_items
        if event.item_id is None or not event.item_id.startswith(own):
            return False
        self._call.refuse(
            "invalid_item_id",
            f"Item ids that begin with {own!r} are reserved for the server. "
            "Choose another or leave it out.",
            "item.id",
            event.event_id,
        )
        return True

    def delete_item(self, event: DeleteItem) -> None:
        """Remove an item from the history."""
        try:
            self._call.transcript.delete(event.item_id)
        except UnknownItem:
            self._unknown(event.item_id, "item_id", event.event_id)
        else:
            self._call.publish(ItemDeleted(event.item_id))

    def retrieve_item(self, event: RetrieveItem) -> None:
        """Publish an item as it is."""
        try:
            item = self._call.transcript.get(event.item_id)
        except UnknownItem:
            self._unknown(event.item_id, "item_id", event.event_id)
        else:
            self._call.publish(ItemRetrieved(item))

    def truncate_item(self, event: TruncateItem) -> None:
        """Cut an assistant's item where the client stopped playing it."""
        was_current = self._speaks(event.item_id)
        if was_current and self._must_be_heard(event.event_id):
            return
        try:
            truncated = self._replies.truncate(event.item_id, event.audio_end_ms)
        except UnknownItem:
            self._unknown(event.item_id, "item_id", event.event_id)
            return
        if not truncated:
            self._call.refuse(
                "invalid_item",
                f"Item {event.item_id!r} has no assistant audio to truncate.",
                "item_id",
                event.event_id,
            )
        elif was_current:
            self._after_cancel()

    def respond(self, event: RequestReply) -> None:
        """Answer now."""
        call = self._call
        if not self._may_answer(event):
            return
        config = overridden(call.config, event)
        if event.out_of_band and not config.output_audio:
            self._write_beside(event)
            return
        if event.interrupts and call.state in _ANSWERING and self._replies.interruptible:
            self._stop_answering()
        if event.script is not None and call.state is not State.LISTENING:
            self._wait(event)
            return
        speaking = call.state in (State.USER_SPEAKING, State.ENDPOINTING, State.BARGE_IN)
        if speaking and not event.out_of_band:
            self._hold(event)
            return
        wanted = self._ended.wanted
        unanswered = self._replies.current is None or not self._replies.current.released
        if call.state is State.THINKING and wanted and unanswered and wanted.request is None:
            wanted.request = event  # the client has seen no reply yet, and none was released
            return
        waits = event.waits or not self._replies.interruptible
        if waits and call.state is not State.LISTENING:
            self._wait(event)
            return
        if call.state is not State.LISTENING:
            call.refuse(
                "conversation_already_has_active_response",
                "The caller is speaking, or a response is in progress. Cancel it or wait for "
                "response.done.",
                event_id=event.event_id,
            )
            return
        call.move(Trigger.REPLY_REQUESTED)
        if not event.out_of_band and self._ended.want(event):
            return
        moments = Moments(speech_end=call.now, turn_end=call.now, transcript=call.now)
        typed = "" if event.apart else self._typed()
        self._replies.start(
            call.next_turn(), typed, moments, config=config, script=event.script, request=event
        )
        self._replies.release()

    def _hold(self, event: RequestReply) -> None:
        """The caller is speaking: make the reply when they have finished, as the answer to both.

        Without turn detection nothing else would end the turn, so the request does."""
        utterance = self._turns.utterance
        if utterance is None or self._call.detection.mode is TurnMode.NONE:
            self._turns.commit(event)
            return
        if not self._may_wait(event):
            return
        if event.apart:  # with its own prompt it does not answer the caller
            self._held = event, None
            return
        utterance.request = event
        self._held = event, utterance

    @property
    def held(self) -> RequestReply | None:
        """A reply that was requested while the caller spoke."""
        return None if self._held is None else self._held[0]

    def hold(self, event: RequestReply) -> None:
        """Make the reply as soon as nobody speaks."""
        self._held = event, None

    def _wait(self, event: RequestReply) -> None:
        """Somebody speaks: make the reply when nobody does."""
        if self._may_wait(event):
            self._held = event, None

    def _may_wait(self, event: RequestReply) -> bool:
        """Whether no other reply waits; if one does, refuse the request."""
        if self._held is None or self._call.state is State.LISTENING:
            return True
        self._call.refuse(
            "conversation_already_has_active_response",
            "A response has already been requested; it follows when the caller has finished.",
            event_id=event.event_id,
        )
        return False

    def proceed(self) -> None:
        """Make the held reply if the turn that it was to answer proved to be noise."""
        if self._held is None:
            return
        event, utterance = self._held
        if utterance is not None and utterance.moments.turn_end is not None:
            self._held = None  # answered with the turn
        elif self._call.state is State.LISTENING and self._turns.utterance is None:
            self._held = None
            self.respond(event)

    def _may_answer(self, event: RequestReply) -> bool:
        """Whether a reply can be made; if not, refuse the request."""
        call = self._call
        if call.config.kind is SessionKind.TRANSCRIPTION:
            call.refuse(
                "response_not_supported",
                "A transcription session has no agent and gives no replies. Update the session "
                "to type 'realtime', or do not send response.create.",
                event_id=event.event_id,
            )
            return False
        for line in event.prompt or ():
            if line.item_id is not None and line.item_id not in call.transcript:
                self._unknown(line.item_id, "response.input", event.event_id)
                return False
        return True

    def _write_beside(self, event: RequestReply) -> None:
        if not self._side.full:
            self._side.start(event)
            return
        self._call.refuse(
            "too_many_responses",
            f"{MOST_SIDE} responses outside the conversation are in progress. Wait for a "
            "response.done.",
            event_id=event.event_id,
        )

    def cancel(self, event: RequestCancel) -> None:
        """Cancel the reply in progress."""
        call, reply = self._call, self._replies.current
        asked = event.reply_id
        if asked is not None and self._side.cancel(asked, CLIENT_CANCELLED):
            return
        if reply is not None and asked in (None, reply.reply_id) and reply.released:
            if event.reformatted and _opens(reply.request):
                self._say_again(reply.request)
                return
            if self._must_be_heard(event.event_id):
                return
        speculative = reply is not None and not reply.released
        held = self._held is not None and asked is None
        if held:
            self._forget_held()
        if (
            call.state not in _ANSWERING
            or speculative
            or (asked is not None and (reply is None or reply.reply_id != asked))
        ):
            if not held:
                call.refuse(
                    "response_cancel_not_active",
                    "No such response is in progress.",
                    "response_id" if asked else None,
                    event.event_id,
                )
            return
        self._stop_answering()

    def announce(self, consent: str) -> None:
        """Say, before anything else, that the call is recorded."""
        self.respond(RequestReply(script=consent, consent=True))

    def greet(self, greeting: str) -> None:
        """Answer the call, after the consent text where there is one."""
        self.respond(RequestReply(script=greeting, greeting=True))

    def _must_be_heard(self, event_id: str | None) -> bool:
        """Whether the reply in progress may not be cut off; then the request is refused."""
        if self._replies.interruptible:
            return False
        self._call.refuse(
            CONSENT_IN_PROGRESS,
            "The agent says that the call is recorded, which cannot be cut off.",
            event_id=event_id,
        )
        return True

    def _say_again(self, request: RequestReply | None) -> None:
        """Begin the current reply, whose audio no longer fits the channel, from its beginning."""
        self._replies.cancel(CLIENT_CANCELLED)
        self._after_cancel()
        if request is not None:
            self.respond(request)

    def _forget_held(self) -> None:
        if self._held is not None and self._held[1] is not None:
            self._held[1].request = None
        self._held = None

    def _stop_answering(self) -> None:
        """Cancel the reply, and everything that would lead to one."""
        self._forget_held()
        self._ended.give_up()
        self._tools.give_up()
        self._replies.cancel(CLIENT_CANCELLED)
        self._after_cancel()

    def clear_output(self, event: ClearOutput) -> None:
        """Stop what is being heard; harmless if nothing is."""
        if self._call.state in (State.SPEAKING, State.BARGE_IN):
            if self._must_be_heard(event.event_id):
                return
            self._replies.cancel(CLIENT_CANCELLED)
            self._after_cancel()

    def key(self, event: KeyPressed) -> None:
        """A key press: the caller is present, so the call is not idle."""
        self._call.note_activity()
        self._call.publish(KeyReceived(event.digit, event.at))

    def _typed(self) -> str:
        """The caller's last message if it was typed: it is what the reply answers."""
        last = next((item for item in reversed(self._call.transcript)), None)
        return last.text if last and last.role == "user" and not last.spoken else ""

    def _after_cancel(self) -> None:
        if self._call.state is State.BARGE_IN:
            self._turns.yield_floor()
        elif self._call.state in (State.THINKING, State.SPEAKING, State.USING_TOOLS):
            self._call.move(Trigger.REPLY_ENDED)

    def _speaks(self, item_id: str) -> bool:
        reply = self._replies.current
        return reply is not None and reply.released and reply.item_id == item_id

    def _unknown(self, item_id: str, param: str, event_id: str | None) -> None:
        self._call.refuse(
            "item_not_found", f"There is no item {item_id!r} in this conversation.", param, event_id
        )


def _opens(request: RequestReply | None) -> bool:
    """Whether a reply is one with which the call begins."""
    return request is not None and (request.consent or request.greeting)
