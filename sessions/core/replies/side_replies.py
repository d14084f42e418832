"""Side replies: written beside the conversation for the client (``out_of_band``, as text).

Rules
- They become no item, are never played and move no state.
- They run beside the current reply and each other, ``MOST_SIDE`` at once.
"""

from sessions.core.call import Call, Moments, Timer
from sessions.core.commands import CancelReply
from sessions.core.events import ReplyClause, ReplyFailed, ReplyGenerated, RequestReply
from sessions.core.items import ReplyStatus
from sessions.core.states import ReplyTrigger
from sessions.core.tools import ToolUses

from .reply import (
    PROGRESS_SECONDS,
    Reply,
    ReplyRecords,
    created,
    new_reply,
    overridden,
    too_slow,
)

MOST_SIDE = 4
"""Side replies written at once; more are refused."""


class SideReplies:
    """Starts, cancels and ends side replies."""

    def __init__(self, call: Call, tools: ToolUses) -> None:
        self._call = call
        self._tools = tools
        self._records = ReplyRecords(call, tools)
        self._replies: dict[int, Reply] = {}

    @property
    def open(self) -> tuple[Reply, ...]:
        """Those that have not ended; read them only."""
        return tuple(self._replies.values())

    @property
    def full(self) -> bool:
        """Whether no more can be started now."""
        return len(self._replies) >= MOST_SIDE

    def start(self, request: RequestReply) -> None:
        """Start and release a side reply."""
        call = self._call
        reply = new_reply(call, call.next_turn(), overridden(call.config, request), Moments())
        reply.request, reply.side = request, True
        self._replies[reply.number] = reply
        reply.move(ReplyTrigger.RELEASED)
        reply.start(call, self._tools)
        call.publish(created(reply))
        self._set_timer()

    def cancel(self, reply_id: str, reason: str) -> bool:
        """Cancel the side reply with that id; False if there is none."""
        reply = next((r for r in self._replies.values() if r.reply_id == reply_id), None)
        if reply is not None:
            self._cancel(reply, reason)
        return reply is not None

    def close(self, reason: str) -> None:
        """Cancel all of them: the call ends."""
        for reply in list(self._replies.values()):
            self._cancel(reply, reason)

    def on_clause(self, event: ReplyClause) -> None:
        """A clause was generated."""
        if (reply := self._replies.get(event.reply)) is None:
            return
        reply.take(event, self._call.now)
        if len(reply.clauses) == 1:
            self._records.add_message(reply)
        self._records.publish_text(reply, len(reply.clauses))
        reply.progress = self._call.now
        self._set_timer()

    def on_generated(self, event: ReplyGenerated) -> None:
        """A side reply was generated to its end."""
        if (reply := self._replies.get(event.reply)) is not None:
            reply.result = event
            self._finish(reply, *reply.outcome)

    def on_failed(self, event: ReplyFailed) -> None:
        """An engine failed."""
        if (reply := self._replies.get(event.reply)) is not None:
            reply.result = event
            self._finish(reply, ReplyStatus.FAILED, event.code)

    def on_overdue(self) -> None:
        """Give up the side replies that make no progress."""
        for reply in list(self._replies.values()):
            if reply.progress + PROGRESS_SECONDS <= self._call.now:
                self._call.order(CancelReply(reply.number))
                self.on_failed(too_slow(reply))

    def _cancel(self, reply: Reply, reason: str) -> None:
        self._call.order(CancelReply(reply.number))
        self._finish(reply, ReplyStatus.CANCELLED, reason)

    def _finish(self, reply: Reply, status: ReplyStatus, reason: str | None) -> None:
        del self._replies[reply.number]
        self._records.finish(reply, status, reason, 0)
        self._set_timer()

    def _set_timer(self) -> None:
        dues = (reply.progress + PROGRESS_SECONDS for reply in self._replies.values())
        self._call.timers.set(Timer.SIDE_REPLIES, min(dues, default=None))
