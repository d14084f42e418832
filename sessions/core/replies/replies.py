"""The agent's side of a conversation: one reply at a time, from the first token to the heard end.

Rules
- At most one reply is current. A speculative one exists for the shell only: nothing of it is
  told or heard until ``release``; cancelled before that, it never happened.
- A released reply ends exactly once, in ``ReplyDone`` and ``RecordTurn``: heard to its end,
  cut (``PlayoutStopped`` says where), or failed. One that was stopped waits in ``_stopping``
  for that answer and is no longer current, so the next reply may begin.
- A reply is ordered only when it is settled what was heard of the one before: its history
  would lack that otherwise.
- Results that name any other reply are those of the dead and are dropped here.
"""

from media.formats import samples_of
from sessions.core.call import Call
from sessions.core.commands import CancelReply, ReleaseReply, StartReply, StopPlayout
from sessions.core.config import SessionConfig
from sessions.core.events import (
    ClauseReady,
    ClauseStarted,
    PlayoutFinished,
    PlayoutStopped,
    ReplyClause,
    ReplyFailed,
    ReplyGenerated,
    RequestReply,
    ToolUseRequested,
)
from sessions.core.items import Item, Message, ReplyStatus
from sessions.core.latency import Moments
from sessions.core.notices import Fault, PlayoutBegan, PlayoutEnded, ReplyText
from sessions.core.prompt import composed
from sessions.core.states import State, Trigger
from sessions.core.tools.tool_calls import ToolUses

from .records import ReplyRecords
from .reply import Reply, announcement, created, history_for

APOLOGY = "Sorry, something went wrong on my side. Could you say that again?"
"""Spoken, once, where an engine failed in the middle of a reply."""

PLAYOUT_STALLED = "playout_stalled"

_PROGRESS_SECONDS = 30.0
_STOP_SECONDS = 2.0


class Replies:
    """Starts, releases, cancels and ends replies."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self.tools = ToolUses(call)
        self._records = ReplyRecords(call, self.tools)
        self.current: Reply | None = None
        self._stopping: dict[int, Reply] = {}

    @property
    def settled(self) -> bool:
        """Whether it is known what was heard of every reply before the current one."""
        return not self._stopping

    # ------------------------------------------------------------------ orders

    def start(
        self,
        turn: int,
        user_text: str,
        moments: Moments,
        *,
        extra: tuple[Message, ...] = (),
        config: SessionConfig | None = None,
        script: str | None = None,
        request: RequestReply | None = None,
        rounds: int = 0,
    ) -> None:
        """Begin to generate a reply, speculatively: nothing leaves before ``release``.

        ``extra`` are messages not in the transcript yet (a turn that is not committed)."""
        call = self._call
        if script is None:
            self.tools.give_up()
        number = call.next_reply()
        moments.restart()
        self.current = Reply(
            number=number,
            turn=turn,
            user_text=user_text,
            reply_id=f"resp_{call.call_id}_{number}",
            item_id=f"{call.own_items}r{number}",
            config=config or call.config,
            moments=moments,
            progress=call.now,
            script=script,
            request=request,
            extra=extra,
            rounds=rounds,
        )
        if self.settled:
            self._order(self.current)

    def start_again(self, cancelled: Reply) -> None:
        """Make a cancelled reply anew and let it out: what cancelled it was nothing."""
        self.start(
            cancelled.turn,
            "",
            cancelled.moments,
            config=cancelled.config,
            script=cancelled.script,
            request=cancelled.request,
        )
        self.release()

    def fits(self, config: SessionConfig, request: RequestReply | None = None) -> bool:
        """Whether the current reply is a speculation that would be ordered just so now."""
        reply = self.current
        return (
            reply is not None
            and not (request is not None and request.apart)
            and not reply.released
            and reply.config == config
            and reply.history == self._call.transcript.messages(composed(config))
            and reply.tools == self.tools.offered(config)
        )

    def release(self) -> None:
        """Let the current reply out, or have it let out as soon as it is ordered."""
        reply = self.current
        if reply is None:
            raise RuntimeError("no reply to release")
        reply.released = True
        if reply.ordered:
            self._let_out(reply)

    def cancel(self, reason: str) -> None:
        """Stop the current reply, if any; its end follows with the playout's answer."""
        reply, self.current = self.current, None
        if reply is None:
            return
        if not reply.ordered:
            if reply.released:
                self._records.record(reply, ReplyStatus.CANCELLED, "")
            return
        self._call.order(CancelReply(reply.number))
        if reply.released:
            reply.reason = reply.reason or reason
            self._stop(reply)

    def truncate(self, item_id: str, audio_end_ms: int) -> bool:
        """Take the client's word for how much it played, clamped to what there was.

        False where the item is no assistant's item with audio still known. Raises UnknownItem."""
        self._call.transcript.get(item_id)
        replies = (self.current, *self._stopping.values())
        reply = next((r for r in replies if r and r.item_id == item_id), None)
        if reply is None:
            return self._records.truncate(item_id, audio_end_ms)
        if not reply.config.output_audio:
            return False
        reply.limit = max(0, samples_of(audio_end_ms, reply.spoken.rate))
        if reply is self.current:
            self.cancel("client_cancelled")
        return True

    # ------------------------------------------------------------------ results

    def on_clause_ready(self, event: ClauseReady) -> None:
        """The first clause is on its way to the TTS."""
        reply = self._of(event.reply)
        if reply and reply.moments.clause is None:
            reply.moments.clause = reply.progress = self._call.now

    def on_piece(self, event: ReplyClause) -> None:
        """More of the reply exists."""
        reply = self._of(event.reply)
        if reply is None:
            return
        if reply.moments.audio is None and event.samples:
            reply.moments.audio = self._call.now
        reply.progress = self._call.now
        reply.spoken.add(event.text, event.samples, event.rate)
        reply.begins_with_filler = reply.begins_with_filler or event.filler
        reply.pieces.append(event.text)
        if reply.released:
            self._announce(reply)
        if reply.released and not reply.config.output_audio:
            self._tell_text(reply, len(reply.pieces))

    def on_piece_started(self, event: ClauseStarted) -> None:
        """A piece begins to be audible."""
        call = self._call
        reply = self._of(event.reply) or self._stopping.get(event.reply)
        if reply is None or not reply.released:
            return
        if not reply.audible:
            reply.audible = True
            if call.state is State.THINKING and reply is self.current:
                call.move(Trigger.REPLY_AUDIBLE)
            call.tell(PlayoutBegan(reply.reply_id, reply.item_id))
            reply.moments.sent = call.now
            reply.latency = reply.moments.latency(reply.turn, reply.reply_id)
            if reply.latency is not None:
                call.tell(reply.latency)
        self._tell_text(reply, event.piece + 1)
        if reply is self.current:
            reply.progress = call.now

    def on_tool_called(self, event: ToolUseRequested) -> None:
        """It calls a tool; the call is made when the reply has ended."""
        reply = self._of(event.reply)
        if reply is not None and not reply.generated:
            reply.progress = self._call.now
            reply.tool_uses.append((event.name, event.arguments))

    def on_generated(self, event: ReplyGenerated) -> None:
        """Nothing more will be generated."""
        reply = self._of(event.reply)
        if reply is None or reply.generated:
            return
        reply.generated = True
        reply.progress = self._call.now
        reply.truncated = event.truncated
        reply.usage = (event.prompt_tokens, event.completion_tokens)
        if reply.released:
            self._finish_if_silent(reply)

    def on_failed(self, event: ReplyFailed) -> None:
        """An engine failed: keep what was said, say so, stay in the call."""
        call, reply = self._call, self._of(event.reply)
        if reply is None or reply.generated:
            return
        if not reply.released:
            self.current = None
            call.order(CancelReply(reply.number))
            return
        call.tell(Fault(event.code, event.message, server=True))
        reply.reason, reply.message = event.code, event.message
        if reply.audible:
            reply.generated, reply.progress = True, call.now
            return
        self.current = None
        call.order(CancelReply(reply.number))
        self._stop(reply)
        call.move(Trigger.REPLY_ENDED)
        self._apologise(reply)

    def on_playout_finished(self, event: PlayoutFinished) -> None:
        """The caller has heard all there is. While a barge-in is undecided the state stays."""
        if event.reply in self._stopping:
            self.on_playout_stopped(PlayoutStopped(event.reply, event.heard, event.heard))
        call, reply = self._call, self._of(event.reply)
        if reply is None or not reply.released:
            return
        self.current = None
        self._tell_text(reply, len(reply.pieces))
        if reply.reason is not None:
            self._records.finish(reply, ReplyStatus.FAILED, reply.reason, event.heard)
        else:
            self._records.finish(reply, *_outcome(reply), reply.spoken.samples)
        call.tell(PlayoutEnded(reply.reply_id, reply.item_id))
        if call.state in (State.SPEAKING, State.THINKING):
            call.move(Trigger.REPLY_ENDED)
            if reply.reason is not None:
                self._apologise(reply)

    def on_playout_stopped(self, event: PlayoutStopped) -> None:
        """The flushed reply's last heard sample is known."""
        reply = self._stopping.pop(event.reply, None)
        if reply is None:
            return
        failed = reply.message is not None
        status = ReplyStatus.FAILED if failed else ReplyStatus.CANCELLED
        self._records.finish(reply, status, reply.reason, event.heard)
        waiting = self.current
        if self.settled and waiting is not None and not waiting.ordered:
            self._order(waiting)
            if waiting.released:
                self._let_out(waiting)

    # ------------------------------------------------------------------ deadlines

    def deadline(self) -> float | None:
        """When a reply that makes no progress, or does not stop, is given up."""
        moments = [reply.progress + _STOP_SECONDS for reply in self._stopping.values()]
        reply = self.current
        if reply is not None and reply.ordered and self._call.state is not State.BARGE_IN:
            moments.append(reply.progress + _PROGRESS_SECONDS + reply.seconds)
        return min(moments, default=None)

    def expire(self, now: float) -> None:
        """Give up what is overdue."""
        for number, stopping in list(self._stopping.items()):
            if stopping.progress + _STOP_SECONDS <= now:
                self.on_playout_stopped(PlayoutStopped(number, stopping.paused or 0, 0))
        reply, due = self.current, self.deadline()
        if reply is None or due is None or due > now:
            return
        if not reply.generated:
            late = ReplyFailed(reply.number, "PROVIDER_ERROR", "The reply took too long.")
            self.on_failed(late)
        elif not reply.released:
            self.cancel(PLAYOUT_STALLED)
        else:
            message = "The reply could not be played to its end."
            self._call.tell(Fault("PROVIDER_ERROR", message, server=True))
            self.cancel(PLAYOUT_STALLED)
            self._call.move(Trigger.REPLY_ENDED)

    # ------------------------------------------------------------------ within

    def _of(self, number: int) -> Reply | None:
        reply = self.current
        return reply if reply and reply.ordered and reply.number == number else None

    def _order(self, reply: Reply) -> None:
        config = reply.config
        reply.ordered, reply.progress = True, self._call.now
        reply.history = history_for(reply, self._call.transcript)
        if reply.in_conversation and reply.script is None:
            reply.tools = self.tools.offered(config)
        self._call.order(
            StartReply(
                reply.turn,
                reply.number,
                reply.reply_id,
                reply.item_id,
                reply.history,
                config,
                reply.script,
                tools=reply.tools,
            )
        )

    def _stop(self, reply: Reply) -> None:
        """Have the playout flushed; the answer ends the reply."""
        reply.progress = self._call.now
        self._stopping[reply.number] = reply
        self._call.order(StopPlayout(reply.number))

    def _let_out(self, reply: Reply) -> None:
        call, config = self._call, reply.config
        reply.progress = call.now
        call.tell(created(reply))
        if reply.pieces:
            self._announce(reply)
        call.order(ReleaseReply(reply.number))
        if not config.output_audio:
            self._tell_text(reply, len(reply.pieces))
        if reply.generated:
            self._finish_if_silent(reply)

    def _announce(self, reply: Reply) -> None:
        """Put the reply's message into the history, once there is something to say."""
        if reply.announced:
            return
        reply.announced, previous = True, None
        filler = len(reply.pieces[0]) if reply.begins_with_filler else 0
        if reply.in_conversation:
            spoken = reply.config.output_audio
            item = Item(reply.item_id, "assistant", "", "in_progress", spoken, filler=filler)
            previous = self._call.transcript.add(item)
        self._call.tell(announcement(reply, previous))

    def _apologise(self, failed: Reply) -> None:
        """Say that something went wrong, unless saying it is what went wrong."""
        if failed.script is not None or not failed.config.output_audio:
            return
        self._call.move(Trigger.REPLY_REQUESTED)
        self.start(failed.turn, "", Moments(), config=failed.config, script=APOLOGY)
        self.release()

    def _tell_text(self, reply: Reply, upto: int) -> None:
        for text in reply.pieces[reply.told : upto]:
            if text:
                self._call.tell(
                    ReplyText(reply.reply_id, reply.item_id, text, reply.config.output_audio)
                )
        reply.told = max(reply.told, min(upto, len(reply.pieces)))

    def _finish_if_silent(self, reply: Reply) -> None:
        """End a complete reply that has no audio to wait for."""
        if reply.spoken.samples:
            return
        self._tell_text(reply, len(reply.pieces))
        self.current = None
        self._records.finish(reply, *_outcome(reply), 0)
        self._call.move(Trigger.REPLY_ENDED)


def _outcome(reply: Reply) -> tuple[ReplyStatus, str | None]:
    if reply.truncated:
        return ReplyStatus.INCOMPLETE, "max_output_tokens"
    return ReplyStatus.COMPLETED, None
