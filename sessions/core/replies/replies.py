"""The agent's side of a conversation: its replies, from the first token to the heard end.

Rules
- At most one reply is current. A speculative one exists for the shell only: nothing of it is
  published or heard until ``release``; cancelled before that, it never happened.
- A released reply ends exactly once, in ``ReplyDone`` and ``RecordTurn``: heard to its end,
  cut (``PlayoutStopped`` says where), or failed. One that was stopped waits in ``_stopping``
  for that answer and is no longer current, so the next reply may begin.
- A reply is started only when it is settled what was heard of the one before: its history
  would lack that otherwise.
- Side replies are written beside the conversation (``out_of_band``, as text): they are no item, are
  never played, move no state, and run beside the current reply and each other, ``MOST_SIDE`` at
  once.
- Results that name any other reply are those of the dead and are dropped here.
"""

from media.formats import milliseconds_of, samples_of
from sessions.core.call import Call, Moments, Timer
from sessions.core.commands import (
    CancelReply,
    PausePlayout,
    ReleaseReply,
    ResumePlayout,
    SpeakFiller,
    StartReply,
    StopPlayout,
)
from sessions.core.config import SessionConfig
from sessions.core.events import (
    ClauseReady,
    ClauseStarted,
    PlayoutFinished,
    PlayoutPaused,
    PlayoutStopped,
    ReplyClause,
    ReplyFailed,
    ReplyGenerated,
    RequestReply,
    ToolUseRequested,
)
from sessions.core.items import Message, ReplyStatus
from sessions.core.notices import (
    Fault,
    PlayoutBegan,
    PlayoutEnded,
    PlayoutHeld,
    PlayoutResumed,
)
from sessions.core.prompt import composed
from sessions.core.states import ReplyTrigger, State, Trigger
from sessions.core.tools import ToolUses
from sessions.languages.packs import pack_of

from .reply import Reply, ReplyRecords, created, history_for, overridden, same_history

PLAYOUT_STALLED = "playout_stalled"
MOST_SIDE = 4
"""Side replies written at once; more are refused."""

_PROGRESS_SECONDS = 30.0
_STOP_SECONDS = 2.0


class Replies:
    """Starts, releases, cancels and ends replies."""

    def __init__(self, call: Call, tools: ToolUses) -> None:
        self._call = call
        self._tools = tools
        self._records = ReplyRecords(call, tools)
        self._current: Reply | None = None
        self._stopping: dict[int, Reply] = {}
        self._side: dict[int, Reply] = {}

    @property
    def current(self) -> Reply | None:
        """The reply that is being made or heard; for others to look at only."""
        return self._current

    @property
    def settled(self) -> bool:
        """Whether it is known what was heard of every reply before the current one."""
        return not self._stopping

    @property
    def side_full(self) -> bool:
        """Whether no more side replies can be begun now."""
        return len(self._side) >= MOST_SIDE

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
        if script is None:
            self._tools.give_up()
        moments.restart()
        self._current = reply = self._new(turn, config or self._call.config, moments)
        reply.user_text, reply.extra, reply.script = user_text, extra, script
        reply.request, reply.rounds = request, rounds
        if self.settled:
            self._start(reply)
        self._set_timers()

    def start_side(self, request: RequestReply) -> None:
        """Begin a side reply and release it."""
        call = self._call
        config = overridden(call.config, request)
        reply = self._new(call.next_turn(), config, Moments())
        reply.request, reply.side = request, True
        self._side[reply.number] = reply
        reply.move(ReplyTrigger.RELEASED)
        self._start(reply)
        call.publish(created(reply))
        self._set_timers()

    def start_again(self, cancelled: Reply) -> None:
        """Make a cancelled reply anew and release it: what cancelled it was nothing."""
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
        """Whether the current reply is a speculation that would be started just so now."""
        reply = self._current
        return (
            reply is not None
            and not (request is not None and request.apart)
            and not reply.released
            and reply.config == config
            and same_history(reply.history, self._call.prompts.messages(composed(config)))
            and reply.tools == self._tools.offered(config)
        )

    def release(self, user_text: str | None = None) -> None:
        """Release the current reply, now an answer to ``user_text``, as soon as it is started."""
        if (reply := self._current) is None:
            raise RuntimeError("no reply to release")
        reply.user_text = reply.user_text if user_text is None else user_text
        reply.move(ReplyTrigger.RELEASED)
        if reply.started:
            self._release(reply)
        self._set_timers()

    def cancel(self, reason: str) -> None:
        """Stop the current reply, if any; its end follows with the playout's answer."""
        reply, self._current = self._current, None
        if reply is None:
            return
        if not reply.started:
            if reply.released:
                self._records.record(reply, ReplyStatus.CANCELLED, "")
            reply.move(ReplyTrigger.CANCELLED)
        else:
            self._call.order(CancelReply(reply.number))
            if reply.released:
                reply.reason = reason
                self._stop(reply)
            else:
                reply.move(ReplyTrigger.CANCELLED)
        self._set_timers()

    def cancel_side(self, reply_id: str, reason: str) -> bool:
        """Stop the side reply of that id; False where there is none."""
        reply = next((r for r in self._side.values() if r.reply_id == reply_id), None)
        if reply is not None:
            self._cancel_side(reply, reason)
        return reply is not None

    def close(self) -> None:
        """The call ends, and every reply with it."""
        self.cancel("call_ended")
        for reply in list(self._side.values()):
            self._cancel_side(reply, "call_ended")

    def truncate(self, item_id: str, audio_end_ms: int) -> bool:
        """Take the client's word for how much it played, clamped to what there was.

        False where the item is no assistant's item with audio still known. Raises UnknownItem."""
        self._call.transcript.get(item_id)
        replies = (self._current, *self._stopping.values())
        reply = next((r for r in replies if r and r.item_id == item_id), None)
        if reply is None:
            return self._records.truncate(item_id, audio_end_ms)
        if not reply.config.output_audio:
            return False
        reply.limit = max(0, samples_of(audio_end_ms, reply.spoken.rate))
        if reply is self._current:
            self.cancel("client_cancelled")
        return True

    # ------------------------------------------------------------------ playout

    def pause(self) -> None:
        """Have the playout paused: the caller seems to interrupt."""
        if (reply := self._current) is not None:
            reply.paused = None
            self._call.order(PausePlayout(reply.number))
            self._set_timers()

    def resume(self) -> None:
        """Have the playout go on where it stopped."""
        if (reply := self._current) is not None:
            reply.progress = self._call.now
            self._call.order(ResumePlayout(reply.number))
            self._call.publish(PlayoutResumed(reply.reply_id, reply.item_id))
            self._set_timers()

    def speak_filler(self, text: str) -> None:
        """Have the current reply, whose answer is slow, begin with ``text``."""
        if (reply := self._current) is not None:
            reply.moments.clause = self._call.now
            self._call.order(SpeakFiller(reply.number, text))

    def on_paused(self, event: PlayoutPaused) -> None:
        """Playout stands still."""
        reply = self._current
        if reply and reply.number == event.reply and self._call.state is State.BARGE_IN:
            reply.paused = event.heard
            heard_ms = milliseconds_of(event.heard, reply.spoken.rate or 1)
            self._call.publish(PlayoutHeld(reply.reply_id, reply.item_id, heard_ms))

    def on_clause_started(self, event: ClauseStarted) -> None:
        """A clause begins to be audible."""
        call = self._call
        reply = self._of(event.reply) or self._stopping.get(event.reply)
        if reply is None or not reply.released:
            return
        if not reply.audible:
            reply.move(ReplyTrigger.HEARD)
            if call.state is State.THINKING and reply is self._current:
                call.move(Trigger.REPLY_AUDIBLE)
            call.publish(PlayoutBegan(reply.reply_id, reply.item_id))
            reply.moments.sent = call.now
            reply.latency = reply.moments.latency(reply.turn, reply.reply_id)
            if reply.latency is not None:
                call.publish(reply.latency)
        self._records.publish_text(reply, event.clause + 1)
        if reply is self._current:
            self._progress(reply)

    def on_playout_finished(self, event: PlayoutFinished) -> None:
        """The caller has heard all there is. While a barge-in is undecided the state stays."""
        if event.reply in self._stopping:
            self.on_playout_stopped(PlayoutStopped(event.reply, event.heard, event.heard))
        call, reply = self._call, self._of(event.reply)
        if reply is None or not reply.released:
            return
        self._current = None
        self._records.publish_text(reply, len(reply.clauses))
        status, reason = reply.outcome
        samples = reply.spoken.samples if reply.failure is None else event.heard
        self._records.finish(reply, status, reason, samples)
        call.publish(PlayoutEnded(reply.reply_id, reply.item_id))
        if call.state in (State.SPEAKING, State.THINKING):
            call.move(Trigger.REPLY_ENDED)
            if reply.failure is not None:
                self._apologise(reply)
        self._set_timers()

    def on_playout_stopped(self, event: PlayoutStopped) -> None:
        """The flushed reply's last heard sample is known."""
        reply = self._stopping.pop(event.reply, None)
        if reply is None:
            return
        if (failure := reply.failure) is not None:
            self._records.finish(reply, ReplyStatus.FAILED, failure.code, event.heard)
        else:
            self._records.finish(reply, ReplyStatus.CANCELLED, reply.reason, event.heard)
        waiting = self._current
        if self.settled and waiting is not None and not waiting.started:
            self._start(waiting)
            if waiting.released:
                self._release(waiting)
        self._set_timers()

    # ------------------------------------------------------------------ generation

    def on_clause_ready(self, event: ClauseReady) -> None:
        """The first clause is on its way to the TTS."""
        reply = self._of(event.reply)
        if reply and reply.moments.clause is None:
            reply.moments.clause = self._call.now
            self._progress(reply)

    def on_clause(self, event: ReplyClause) -> None:
        """More of a reply exists."""
        reply = self._of(event.reply) or self._side.get(event.reply)
        if reply is None:
            return
        if reply.moments.audio is None and event.samples:
            reply.moments.audio = self._call.now
        reply.spoken.add(event.text, event.samples, event.rate)
        reply.begins_with_filler = reply.begins_with_filler or event.filler
        reply.clauses.append(event.text)
        if reply.released:
            if len(reply.clauses) == 1:
                self._records.add_message(reply)
            if not reply.config.output_audio:
                self._records.publish_text(reply, len(reply.clauses))
        self._progress(reply)

    def on_tool_use(self, event: ToolUseRequested) -> None:
        """It uses a tool; that begins when the reply has ended."""
        reply = self._of(event.reply)
        if reply is not None and not reply.generated:
            reply.tool_uses.append((event.name, event.arguments))
            self._progress(reply)

    def on_generated(self, event: ReplyGenerated) -> None:
        """Nothing more will be generated."""
        reply = self._of(event.reply) or self._side.get(event.reply)
        if reply is None or reply.generated:
            return
        reply.result = event
        self._progress(reply)
        if reply.released:
            self._finish_if_silent(reply)

    def on_failed(self, event: ReplyFailed) -> None:
        """An engine failed: keep what was said, say so, stay in the call."""
        call = self._call
        if (side := self._side.pop(event.reply, None)) is not None:
            side.result = event
            self._records.finish(side, ReplyStatus.FAILED, event.code, 0)
            self._set_timers()
            return
        reply = self._of(event.reply)
        if reply is None or reply.generated:
            return
        if not reply.released:
            self.cancel(event.code)
            return
        call.publish(Fault(event.code, event.message, server=True))
        reply.result = event
        if reply.audible:
            self._progress(reply)
            return
        self.cancel(event.code)
        call.move(Trigger.REPLY_ENDED)
        self._apologise(reply)

    # ------------------------------------------------------------------ deadlines

    def on_stop_overdue(self) -> None:
        """A playout does not say how much was heard: count it as where it was paused."""
        for number, stopping in list(self._stopping.items()):
            if stopping.progress + _STOP_SECONDS <= self._call.now:
                self.on_playout_stopped(PlayoutStopped(number, stopping.paused or 0, 0))

    def on_overdue(self) -> None:
        """The current reply makes no progress: give it up."""
        reply = self._current
        if reply is None:
            return
        if not reply.generated:
            self.on_failed(_too_slow(reply))
        elif not reply.released:
            self.cancel(PLAYOUT_STALLED)
        else:
            message = "The reply could not be played to its end."
            self._call.publish(Fault("PROVIDER_ERROR", message, server=True))
            self.cancel(PLAYOUT_STALLED)
            self._call.move(Trigger.REPLY_ENDED)

    def on_side_overdue(self) -> None:
        """Side replies make no progress: give them up."""
        for reply in list(self._side.values()):
            if reply.progress + _PROGRESS_SECONDS <= self._call.now:
                self._call.order(CancelReply(reply.number))
                self.on_failed(_too_slow(reply))

    def _set_timers(self) -> None:
        timers, reply = self._call.timers, self._current
        stops = (stopping.progress + _STOP_SECONDS for stopping in self._stopping.values())
        timers.set(Timer.PLAYOUT_STOP, min(stops, default=None))
        sides = (side.progress + _PROGRESS_SECONDS for side in self._side.values())
        timers.set(Timer.SIDE_REPLIES, min(sides, default=None))
        if reply is not None and reply.started and self._call.state is not State.BARGE_IN:
            due = reply.progress + _PROGRESS_SECONDS + reply.seconds
            timers.set(Timer.REPLY_PROGRESS, due)
        else:
            timers.set(Timer.REPLY_PROGRESS, None)

    def _progress(self, reply: Reply) -> None:
        """It came a step further."""
        reply.progress = self._call.now
        self._set_timers()

    # ------------------------------------------------------------------ within

    def _new(self, turn: int, config: SessionConfig, moments: Moments) -> Reply:
        call = self._call
        number = call.next_reply()
        return Reply(
            number=number,
            turn=turn,
            user_text="",
            reply_id=f"resp_{call.call_id}_{number}",
            item_id=f"{call.own_items}r{number}",
            config=config,
            moments=moments,
            progress=call.now,
        )

    def _of(self, number: int) -> Reply | None:
        reply = self._current
        return reply if reply and reply.started and reply.number == number else None

    def _start(self, reply: Reply) -> None:
        """Have the shell generate it."""
        reply.move(ReplyTrigger.STARTED)
        reply.progress = self._call.now
        reply.history = history_for(reply, self._call.prompts)
        if reply.in_conversation and reply.script is None:
            reply.tools = self._tools.offered(reply.config)
        self._call.order(
            StartReply(
                reply.turn,
                reply.number,
                reply.reply_id,
                reply.item_id,
                reply.history,
                reply.config,
                reply.script,
                side=reply.side,
                tools=reply.tools,
            )
        )

    def _stop(self, reply: Reply) -> None:
        """Have the playout flushed; the answer ends the reply."""
        reply.move(ReplyTrigger.CANCELLED)
        reply.progress = self._call.now
        self._stopping[reply.number] = reply
        self._call.order(StopPlayout(reply.number))

    def _cancel_side(self, reply: Reply, reason: str) -> None:
        del self._side[reply.number]
        self._call.order(CancelReply(reply.number))
        self._records.finish(reply, ReplyStatus.CANCELLED, reason, 0)
        self._set_timers()

    def _release(self, reply: Reply) -> None:
        call = self._call
        reply.progress = call.now
        call.publish(created(reply))
        if reply.clauses:
            self._records.add_message(reply)
        call.order(ReleaseReply(reply.number))
        if not reply.config.output_audio:
            self._records.publish_text(reply, len(reply.clauses))
        if reply.generated:
            self._finish_if_silent(reply)

    def _apologise(self, failed: Reply) -> None:
        """Say that something went wrong, unless saying it is what went wrong."""
        if failed.script is not None or not failed.config.output_audio:
            return
        self._call.move(Trigger.REPLY_REQUESTED)
        script = pack_of(failed.config.language).spoken.apology
        self.start(failed.turn, "", Moments(), config=failed.config, script=script)
        self.release()

    def _finish_if_silent(self, reply: Reply) -> None:
        """End a complete reply that has no audio to wait for."""
        if reply.spoken.samples:
            return
        self._records.publish_text(reply, len(reply.clauses))
        if reply.side:
            del self._side[reply.number]
            self._records.finish(reply, *reply.outcome, 0)
        else:
            self._current = None
            self._records.finish(reply, *reply.outcome, 0)
            self._call.move(Trigger.REPLY_ENDED)
        self._set_timers()


def _too_slow(reply: Reply) -> ReplyFailed:
    return ReplyFailed(reply.number, "PROVIDER_ERROR", "The reply took too long.")
