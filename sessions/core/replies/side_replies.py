"""Written replies beside the conversation: asked for with ``out_of_band``, as text.

Rules
- They disturb nothing: they are no item, are never played, move no state, and run beside the
  conversation's own reply and beside each other, ``MOST`` at once.
- Each ends exactly once, in ``ReplyDone`` and ``RecordTurn``.
- Results that name none of them are not theirs and are passed over.
"""

from sessions.core.call import Call
from sessions.core.commands import CancelReply, StartReply
from sessions.core.events import ReplyClause, ReplyFailed, ReplyGenerated, RequestReply
from sessions.core.items import ReplyStatus
from sessions.core.latency import Moments
from sessions.core.notices import ReplyText

from .records import ReplyRecords
from .reply import Reply, announcement, created, history_for, overridden

MOST = 4
"""Written at once; more are refused."""

_PROGRESS_SECONDS = 30.0


class SideReplies:
    """Starts, cancels and ends written replies outside the conversation."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._records = ReplyRecords(call)
        self._open: dict[int, Reply] = {}

    @property
    def full(self) -> bool:
        """Whether no more can be begun now."""
        return len(self._open) >= MOST

    def start(self, request: RequestReply) -> None:
        """Begin one and let it out."""
        call = self._call
        number = call.next_reply()
        reply = self._open[number] = Reply(
            number=number,
            turn=call.next_turn(),
            user_text="",
            reply_id=f"resp_{call.call_id}_{number}",
            item_id=f"{call.own_items}r{number}",
            config=overridden(call.config, request),
            moments=Moments(),
            progress=call.now,
            request=request,
            ordered=True,
            released=True,
        )
        reply.history = history_for(reply, call.transcript)
        call.order(
            StartReply(
                reply.turn,
                number,
                reply.reply_id,
                reply.item_id,
                reply.history,
                reply.config,
                side=True,
            )
        )
        call.tell(created(reply))

    def cancel(self, reply_id: str, reason: str) -> bool:
        """Stop the one of that id; False where there is none."""
        for reply in self._open.values():
            if reply.reply_id == reply_id:
                self._cancel(reply, reason)
                return True
        return False

    def close(self) -> None:
        """The call ends, and all of them with it."""
        for reply in list(self._open.values()):
            self._cancel(reply, "call_ended")

    # ------------------------------------------------------------------ results

    def on_piece(self, event: ReplyClause) -> None:
        """More of one is written."""
        reply = self._open.get(event.reply)
        if reply is None:
            return
        reply.progress = self._call.now
        reply.spoken.add(event.text, 0, event.rate)
        reply.pieces.append(event.text)
        reply.told = len(reply.pieces)
        if not reply.announced:
            reply.announced = True
            self._call.tell(announcement(reply, None))
        if event.text:
            self._call.tell(ReplyText(reply.reply_id, reply.item_id, event.text, False))

    def on_generated(self, event: ReplyGenerated) -> None:
        """One is complete."""
        reply = self._open.pop(event.reply, None)
        if reply is None:
            return
        reply.usage = (event.prompt_tokens, event.completion_tokens)
        if event.truncated:
            self._records.finish(reply, ReplyStatus.INCOMPLETE, "max_output_tokens", 0)
        else:
            self._records.finish(reply, ReplyStatus.COMPLETED, None, 0)

    def on_failed(self, event: ReplyFailed) -> None:
        """An engine failed: the reply's status says so."""
        reply = self._open.pop(event.reply, None)
        if reply is None:
            return
        reply.message = event.message
        self._records.finish(reply, ReplyStatus.FAILED, event.code, 0)

    # ------------------------------------------------------------------ deadlines

    def deadline(self) -> float | None:
        """When one that makes no progress is given up."""
        moments = (reply.progress + _PROGRESS_SECONDS for reply in self._open.values())
        return min(moments, default=None)

    def expire(self, now: float) -> None:
        """Give up what is overdue."""
        for reply in list(self._open.values()):
            if reply.progress + _PROGRESS_SECONDS <= now:
                self._call.order(CancelReply(reply.number))
                self.on_failed(
                    ReplyFailed(reply.number, "PROVIDER_ERROR", "The reply took too long.")
                )

    def _cancel(self, reply: Reply, reason: str) -> None:
        del self._open[reply.number]
        self._call.order(CancelReply(reply.number))
        self._records.finish(reply, ReplyStatus.CANCELLED, reason, 0)
