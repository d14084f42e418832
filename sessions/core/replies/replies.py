"""The agent's side of a conversation: its replies, from the first token to the last heard sample.

Rules
- At most one reply is current. A speculative reply exists for the shell only: nothing of it is
  published or heard before ``release``, and if it is cancelled before that, it leaves no trace.
- A released reply ends exactly once, with ``ReplyDone`` and ``RecordTurn``: heard to its end, cut
  (``PlayoutStopped`` says where) or failed. A stopped reply waits for that answer in
  ``_stopping``; it is no longer current, so the next one may be created.
- A reply is started only when it is known how much of the previous one was heard, because its
  history contains that.
- Results for any other reply are late and are dropped here.
- A reply that was heard in part before the call was resumed ends there. Another one goes on with
  it: it speaks the rest of the text, or, if that had not been written to its end, asks the chat
  model to go on. Both are one answer in the record of the turn.
"""

from media.formats import milliseconds_of, samples_of
from sessions.core.call import Call, Moments, Timer
from sessions.core.commands import (
    CancelReply,
    PausePlayout,
    ReleaseReply,
    ResumePlayout,
    SpeakFiller,
    StopPlayout,
)
from sessions.core.config import SessionConfig
from sessions.core.events import (
    ClauseReady,
    ClauseStarted,
    FirstToken,
    PlayoutFinished,
    PlayoutHeard,
    PlayoutPaused,
    PlayoutStopped,
    ReplyClause,
    ReplyFailed,
    ReplyGenerated,
    RequestReply,
    ToolUseRequested,
)
from sessions.core.items import Message, ReplyStatus
from sessions.core.notices import Fault, PlayoutBegan, PlayoutEnded, PlayoutHeld, PlayoutResumed
from sessions.core.prompt import composed
from sessions.core.states import ReplyTrigger, State, Trigger
from sessions.core.tools import ToolUses
from sessions.languages.packs import pack_of

from .reply import (
    PROGRESS_SECONDS,
    Reply,
    ReplyRecords,
    created,
    new_reply,
    same_history,
    too_slow,
)

PLAYOUT_STALLED = "playout_stalled"
CALL_RESUMED = "call_resumed"
GO_ON = "(The line was cut off after these words. Go on with your answer from there.)"
_STOP_SECONDS = 2.0


class Replies:
    """Starts, releases, cancels and ends replies."""

    def __init__(self, call: Call, tools: ToolUses) -> None:
        self._call = call
        self._tools = tools
        self._records = ReplyRecords(call, tools)
        self._current: Reply | None = None
        self._stopping: dict[int, Reply] = {}

    @property
    def current(self) -> Reply | None:
        """The reply that is being generated or heard; read it only."""
        return self._current

    @property
    def stopping(self) -> tuple[Reply, ...]:
        """The stopped replies of which it is not known how much was heard; read them only."""
        return tuple(self._stopping.values())

    @property
    def interruptible(self) -> bool:
        """Whether the current reply, if any, may be cut off: all but the consent text may."""
        reply = self._current
        return reply is None or reply.request is None or not reply.request.consent

    @property
    def settled(self) -> bool:
        """Whether it is known how much was heard of every earlier reply."""
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
        filler: bool = False,
        request: RequestReply | None = None,
        rounds: int = 0,
    ) -> None:
        """Start a reply, speculatively: nothing of it leaves before ``release``.

        ``extra``: messages that are not in the transcript yet (an uncommitted turn). ``filler``:
        ``script`` is one, which the chat model does not read."""
        if script is None:
            self._tools.give_up()
        moments.restart()
        moments.begun = self._call.now
        self._current = reply = new_reply(self._call, turn, config or self._call.config, moments)
        reply.user_text, reply.extra, reply.script = user_text, extra, script
        reply.request, reply.rounds, reply.begins_with_filler = request, rounds, filler
        if self.settled:
            reply.start(self._call, self._tools)
        self._set_timers()

    def start_again(self, cancelled: Reply) -> None:
        """Make a cancelled reply again and release it: what cancelled it was only noise."""
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
        """Whether the current reply is a speculation that would be started the same way now."""
        reply, prompts = self._current, self._call.prompts
        return (
            reply is not None
            and not (request is not None and request.apart)
            and not reply.released
            and reply.config == config
            and same_history(
                reply.history, prompts.messages(composed(config), language=config.language)
            )
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
        """Stop the current reply, if any; it ends with the playout's answer."""
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
                reply.moments.discard(reply.estimated_tokens)
        self._set_timers()

    def truncate(self, item_id: str, audio_end_ms: int) -> bool:
        """Cut an item at what the client says it played, clamped to the audio there was.

        False if it is no assistant item whose audio is still known. Raises UnknownItem."""
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

    # ------------------------------------------------------------------ resuming

    def end_earlier(self, reply: Reply, heard: int, *, goes_on: bool) -> None:
        """End a reply of before the call was resumed, of which ``heard`` samples were heard.

        ``goes_on``: ``go_on`` follows."""
        status, reason = reply.outcome
        if goes_on or not _spoken_to_its_end(reply, heard):
            status, reason = ReplyStatus.CANCELLED, CALL_RESUMED
        else:
            self._records.publish_text(reply, len(reply.clauses))
        self._records.finish(reply, status, reason, heard, recorded=not goes_on)

    def goes_on(self, reply: Reply, heard: int) -> bool:
        """Whether anything is left to be said of ``reply``."""
        return not _spoken_to_its_end(reply, heard)

    def go_on(self, cut: Reply, heard: int, filler: int) -> None:
        """Make the reply that goes on with ``cut``, after its first ``heard`` samples.

        ``filler``: how many characters at its beginning are one."""
        said, whole = cut.heard(heard), cut.script or cut.spoken.text
        if not cut.config.output_audio or not cut.spoken.samples:
            said = cut.published_text
        script: str | None = None
        extra: tuple[Message, ...] = ()
        if cut.generated or cut.script is not None:
            script = whole[max(len(said), filler) :].strip()
        elif said[filler:].strip():
            extra = (Message("user", GO_ON),)
        self._call.move(Trigger.REPLY_REQUESTED)
        self.start(
            cut.turn,
            cut.user_text,
            Moments(),
            extra=extra,
            config=cut.config,
            script=script,
            request=cut.request,
            rounds=cut.rounds,
        )
        if (reply := self._current) is not None:
            reply.before = cut.before + (f"{said.strip()} " if said.strip() else "")
            if script is not None:
                reply.tool_uses, reply.tools = list(cut.tool_uses), cut.tools
        self.release()

    # ------------------------------------------------------------------ playout

    def pause(self) -> None:
        """Pause the playout: the caller seems to interrupt."""
        if (reply := self._current) is not None:
            reply.paused = None
            self._call.order(PausePlayout(reply.number))
            self._set_timers()

    def resume(self) -> None:
        """Resume the playout where it stopped."""
        if (reply := self._current) is not None:
            reply.progress = self._call.now
            self._call.order(ResumePlayout(reply.number))
            self._call.publish(PlayoutResumed(reply.reply_id, reply.item_id))
            self._set_timers()

    def speak_filler(self, text: str) -> None:
        """Begin the current reply, whose answer is slow, with ``text``."""
        if (reply := self._current) is not None:
            reply.moments.clause = self._call.now
            self._call.order(SpeakFiller(reply.number, text))

    def on_paused(self, event: PlayoutPaused) -> None:
        """Playout was paused."""
        reply = self._current
        if reply and reply.number == event.reply and self._call.state is State.BARGE_IN:
            reply.paused = event.heard
            heard_ms = milliseconds_of(event.heard, reply.spoken.rate or 1)
            self._call.publish(PlayoutHeld(reply.reply_id, reply.item_id, heard_ms))

    def on_clause_started(self, event: ClauseStarted) -> None:
        """The caller starts to hear a clause."""
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
        self._records.publish_text(reply, event.clause + 1)
        if reply is self._current:
            self._progress(reply)

    def on_playout_heard(self, event: PlayoutHeard) -> None:
        """The caller hears it."""
        reply = self._of(event.reply) or self._stopping.get(event.reply)
        if reply is not None and reply.audible:
            self._records.report_latency(reply, heard=self._call.now - event.ago)

    def on_playout_finished(self, event: PlayoutFinished) -> None:
        """The caller has heard the whole reply. The state stays while a barge-in is undecided."""
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
        """The last heard sample of a stopped reply is known."""
        reply = self._stopping.pop(event.reply, None)
        if reply is None:
            return
        if (failure := reply.failure) is not None:
            self._records.finish(reply, ReplyStatus.FAILED, failure.code, event.heard)
        else:
            self._records.finish(reply, ReplyStatus.CANCELLED, reply.reason, event.heard)
        waiting = self._current
        if self.settled and waiting is not None and not waiting.started:
            waiting.start(self._call, self._tools)
            if waiting.released:
                self._release(waiting)
        self._set_timers()

    # ------------------------------------------------------------------ generation

    def on_first_token(self, event: FirstToken) -> None:
        """The chat model has begun to answer."""
        if (reply := self._of(event.reply)) and reply.moments.token is None:
            reply.moments.token = self._call.now

    def on_clause_ready(self, event: ClauseReady) -> None:
        """The first clause goes to the TTS."""
        reply = self._of(event.reply)
        if reply and reply.moments.clause is None:
            reply.moments.clause = self._call.now
            self._progress(reply)

    def on_clause(self, event: ReplyClause) -> None:
        """A clause was generated."""
        reply = self._of(event.reply)
        if reply is None:
            return
        reply.take(event, self._call.now)
        if reply.released:
            if len(reply.clauses) == 1:
                self._records.add_message(reply)
            if not reply.config.output_audio:
                self._records.publish_text(reply, len(reply.clauses))
        self._progress(reply)

    def on_tool_use(self, event: ToolUseRequested) -> None:
        """The reply uses a tool, which starts when the reply has ended."""
        reply = self._of(event.reply)
        if reply is not None and not reply.generated:
            reply.tool_uses.append((event.name, event.arguments))
            self._progress(reply)

    def on_generated(self, event: ReplyGenerated) -> None:
        """The reply was generated to its end."""
        reply = self._of(event.reply)
        if reply is None or reply.generated:
            return
        reply.result = event
        self._progress(reply)
        if reply.released:
            self._finish_if_silent(reply)

    def on_failed(self, event: ReplyFailed) -> None:
        """An engine failed: keep what was said, apologise, stay in the call."""
        call = self._call
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
        """A playout did not report how much was heard: assume the sample at which it was paused."""
        for number, stopping in list(self._stopping.items()):
            if stopping.progress + _STOP_SECONDS <= self._call.now:
                self.on_playout_stopped(PlayoutStopped(number, stopping.paused or 0, 0))

    def on_overdue(self) -> None:
        """The current reply makes no progress: give it up."""
        reply = self._current
        if reply is None:
            return
        if not reply.generated:
            self.on_failed(too_slow(reply))
        elif not reply.released:
            self.cancel(PLAYOUT_STALLED)
        else:
            message = "The reply could not be played to its end."
            self._call.publish(Fault("PROVIDER_ERROR", message, server=True))
            self.cancel(PLAYOUT_STALLED)
            self._call.move(Trigger.REPLY_ENDED)

    def _set_timers(self) -> None:
        timers, reply = self._call.timers, self._current
        stops = (stopping.progress + _STOP_SECONDS for stopping in self._stopping.values())
        timers.set(Timer.PLAYOUT_STOP, min(stops, default=None))
        if reply is not None and reply.started and self._call.state is not State.BARGE_IN:
            due = reply.progress + PROGRESS_SECONDS + reply.seconds
            timers.set(Timer.REPLY_PROGRESS, due)
        else:
            timers.set(Timer.REPLY_PROGRESS, None)

    def _progress(self, reply: Reply) -> None:
        """The reply made progress."""
        reply.progress = self._call.now
        self._set_timers()

    # ------------------------------------------------------------------ within

    def _of(self, number: int) -> Reply | None:
        reply = self._current
        return reply if reply and reply.started and reply.number == number else None

    def _stop(self, reply: Reply) -> None:
        """Flush the playout; its answer ends the reply."""
        reply.move(ReplyTrigger.CANCELLED)
        reply.progress = self._call.now
        self._stopping[reply.number] = reply
        self._call.order(StopPlayout(reply.number))

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
        """Apologise, unless the apology is what failed."""
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
        self._current = None
        self._records.finish(reply, *reply.outcome, 0)
        self._call.move(Trigger.REPLY_ENDED)
        self._set_timers()


def _spoken_to_its_end(reply: Reply, heard: int) -> bool:
    """Whether nothing is left to be said, or done, of a reply."""
    unheard = reply.spoken.samples - heard if reply.config.output_audio else 0
    return reply.generated and unheard <= 0 and not reply.tool_uses
