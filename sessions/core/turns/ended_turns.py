"""Ended turns: committed to the transcript, given their text, and answered.

Rules
- A turn waits here for its text; then it is answered or recorded.
- At most one waiting turn is to be answered, and only while THINKING.
- When the caller speaks while a reply is being generated, the reply is cancelled but *postponed*:
  words that follow are answered together with that turn; if none follow (a cough), the reply is
  made after all.
"""

from sessions.core.call import Call, Moments, Timer
from sessions.core.checkpoint import OpenTurn, PendingReply
from sessions.core.commands import (
    DropTranscription,
    FinishTranscription,
    RecordTurn,
    RestartTranscription,
    TranscribeClip,
)
from sessions.core.events import (
    ClauseStarted,
    FinalTranscript,
    PartialTranscript,
    RequestReply,
    TranscriptionFailed,
)
from sessions.core.items import Item, ReplyStatus, UnknownItem
from sessions.core.notices import InputCommitted, ItemAdded, TranscriptFailed, TranscriptFinal
from sessions.core.replies.replies import Replies
from sessions.core.replies.reply import Reply, overridden
from sessions.core.states import State, Trigger, UtteranceState, UtteranceTrigger
from sessions.core.tools import ToolUses
from sessions.languages.packs import pack_of, words_of

from .input_audio import Utterance

AUDIO_LOST = "audio_lost"
_AUDIO_LOST_WORDS = "The connection was lost before these words were transcribed."
MOST_WAITING = 8
"""While this many turns wait for their text, items that are speech are refused."""


class EndedTurns:
    """Commits turns and has them answered."""

    def __init__(self, call: Call, replies: Replies, tools: ToolUses) -> None:
        self._call = call
        self._replies = replies
        self._tools = tools
        self._waiting: dict[int, Utterance] = {}
        self._standing_in: Utterance | None = None
        """The turn whose partial text is being answered in place of the final one."""
        self._postponed: Utterance | Reply | None = None

    @property
    def full(self) -> bool:
        """Whether too many turns wait for their text to take another clip."""
        return len(self._waiting) >= MOST_WAITING

    # ------------------------------------------------------------------ commit

    def commit(self, utterance: Utterance, position: int) -> None:
        """Commit ``utterance`` as a turn that ends at ``position``."""
        call, moments = self._call, utterance.moments
        moments.turn_end = call.now
        if moments.speech_end is None:
            moments.speech_end = call.now
        previous = call.transcript.last_id
        item = Item(utterance.item_id, "user", "", "completed", spoken=True)
        call.transcript.add(item)
        call.publish(InputCommitted(utterance.item_id, previous))
        call.publish(ItemAdded(item, previous))
        if utterance.has_text:
            utterance.move(UtteranceTrigger.TURN_ENDED)
            self._settle(utterance, utterance.text)
            return
        if utterance.state is UtteranceState.SPEAKING:
            utterance.ask(position, 0, call.now)
            call.order(FinishTranscription(utterance.turn, position))
        self._wait(utterance)
        self._rest_if_done()

    def transcribe(self, item_id: str, clip: int, seconds: float) -> None:
        """Have the speech of an item transcribed, as a turn of its own."""
        call = self._call
        utterance = Utterance(
            call.next_turn(), item_id, 0, call.config.language, seconds=seconds, is_clip=True
        )
        moments = utterance.moments
        moments.speech_end = moments.turn_end = call.now
        utterance.ask(0, 0, call.now)
        self._supersede(utterance)
        self._wait(utterance)
        call.order(TranscribeClip(utterance.turn, clip))

    def _wait(self, utterance: Utterance) -> None:
        utterance.move(UtteranceTrigger.TURN_ENDED)
        self._waiting[utterance.turn] = utterance
        self.set_timer()

    def _supersede(self, utterance: Utterance) -> None:
        """Drop the turn of a deleted item whose id ``utterance`` has taken over."""
        for earlier in tuple(self._waiting.values()):
            if earlier.item_id == utterance.item_id:
                utterance.reply_wanted, utterance.request = earlier.reply_wanted, earlier.request
                self._postponed = utterance if self._postponed is earlier else self._postponed
                del self._waiting[earlier.turn]
                earlier.move(UtteranceTrigger.DROPPED)
                self._call.order(DropTranscription(earlier.turn))

    # ------------------------------------------------------------------ text

    def on_partial(self, event: PartialTranscript) -> bool:
        """A partial text; False if no waiting turn has that number."""
        if (waiting := self._waiting.get(event.turn)) is None:
            return False
        waiting.hear_out(event)
        self.set_timer()
        return True

    def on_final(self, event: FinalTranscript) -> bool:
        """A final text; False if no ended turn has that number."""
        if (waiting := self._waiting.get(event.turn)) is not None:
            if waiting.asked != event.position:
                return True
            if waiting.awaits_language:
                waiting.held_text = event.text
            else:
                self._take_text(waiting, UtteranceTrigger.TEXT_ARRIVED, event.text)
            return True
        return self._replace_stand_in(event)

    def on_failed(self, event: TranscriptionFailed) -> bool:
        """Transcription failed: use the partial text, or none. False if no waiting turn has that
        number."""
        if (waiting := self._waiting.get(event.turn)) is None:
            return False
        trigger, text = UtteranceTrigger.TEXT_ARRIVED, waiting.partial
        if waiting.held_text is not None:
            self._take_text(waiting, trigger, waiting.held_text)
            return True
        if not waiting.partial_stands_in:
            trigger, text = UtteranceTrigger.TEXT_FAILED, ""
            waiting.failure = event
        if waiting.reply_wanted:
            self._stand_in(waiting, text)
        else:
            self._take_text(waiting, trigger, text)
        return True

    def waiting(self, turn: int) -> Utterance | None:
        """The ended turn of that number, where it waits for its text."""
        return self._waiting.get(turn)

    def on_language(self, utterance: Utterance, language: str | None) -> None:
        """The language of a waiting turn is known; ``language``: the one in which its text is made
        anew, if that was another."""
        if language is not None:
            utterance.speaks(language)
            utterance.asked_at = self._call.now
            self._call.order(RestartTranscription(utterance.turn, language))
            self._call.order(FinishTranscription(utterance.turn, utterance.asked))
            self.set_timer()
        elif utterance.held_text is not None:
            self._take_text(utterance, UtteranceTrigger.TEXT_ARRIVED, utterance.held_text)

    def set_timer(self) -> None:
        """Update the deadline for the texts of ended turns, after a change to one of them."""
        dues = (utterance.text_due for utterance in self._waiting.values())
        due = min((moment for moment in dues if moment is not None), default=None)
        self._call.timers.set(Timer.COMMITTED_TEXT, due)

    def on_overdue(self) -> None:
        """The text of a waiting turn is overdue."""
        for turn, utterance in self._waiting.items():
            if utterance.text_due is not None and utterance.text_due <= self._call.now:
                self.on_failed(too_late(turn))
                return

    def on_clause_started(self, event: ClauseStarted) -> None:
        """The caller starts to hear a clause."""
        utterance, reply = self._standing_in, self._replies.current
        if utterance is None or reply is None or reply.number != event.reply:
            return
        if reply.turn == utterance.turn:
            self._keep_stand_in()

    def _take_text(self, utterance: Utterance, trigger: UtteranceTrigger, text: str) -> None:
        """End the wait of a turn with its text, or with none."""
        self._keep_stand_in()
        self._end_wait(utterance, trigger, text)
        self._settle(utterance, text)

    def _end_wait(self, utterance: Utterance, trigger: UtteranceTrigger, text: str) -> None:
        del self._waiting[utterance.turn]
        self.set_timer()
        utterance.move(trigger)
        utterance.final = text
        utterance.moments.transcript = self._call.now

    def _settle(self, utterance: Utterance, text: str) -> None:
        """Publish a turn's final text, and answer or record the turn."""
        call = self._call
        self._keep_stand_in()
        if text.strip():
            call.level.learn(utterance.level)
        call.order(DropTranscription(utterance.turn))
        if not self._publish_text(utterance, text):
            utterance.final = text = ""
        if utterance.reply_wanted and _answerable(utterance):
            self._answer(utterance, text)
            return
        call.order(RecordTurn(utterance.turn, text, "", "", False, ReplyStatus.COMPLETED, None))
        if self._postponed is utterance:
            self._postponed = utterance if _answerable(utterance) else None
        elif text.strip() and not utterance.is_clip:
            self._postponed = None
            self._tools.take_continuation()
        elif call.state is State.THINKING and self._replies.current is None:
            self.answer_postponed()
        self._rest_if_done()

    def _stand_in(self, utterance: Utterance, text: str) -> None:
        """Answer a turn's partial text, or ask the caller to repeat it if that is empty.

        The text is published when the reply is heard. Until then, the final text replaces it if it
        still arrives."""
        self._keep_stand_in()
        self._end_wait(utterance, UtteranceTrigger.STAND_IN_USED, text)
        if text.strip():
            self._call.level.learn(utterance.level)
        self._standing_in = utterance
        self._update_text(utterance, text)
        self._answer(utterance, text)

    def _replace_stand_in(self, event: FinalTranscript) -> bool:
        """Answer a final text that came before the reply to its stand-in was heard."""
        utterance, call = self._standing_in, self._call
        if utterance is None or (event.turn, event.position) != (utterance.turn, utterance.asked):
            return False
        reply = self._replies.current
        standing = utterance.text
        if reply is None or reply.turn != utterance.turn or reply.audible:
            self._keep_stand_in()
            return True
        self._standing_in = None
        utterance.move(UtteranceTrigger.TEXT_ARRIVED)
        utterance.final, utterance.moments.transcript = event.text, call.now
        call.order(DropTranscription(utterance.turn))
        self._publish_text(utterance, event.text)
        if words_of(event.text) != words_of(standing) and _answerable(utterance):
            self._replies.cancel("turn_detected")
            self._answer(utterance, event.text)
        return True

    def _keep_stand_in(self) -> None:
        """Make the stand-in the turn's text: the reply to it is heard, or gone."""
        utterance, self._standing_in = self._standing_in, None
        if utterance is not None:
            utterance.move(UtteranceTrigger.STAND_IN_KEPT)
            self._call.order(DropTranscription(utterance.turn))
            self._publish_text(utterance, utterance.text)

    def _update_text(self, utterance: Utterance, text: str) -> bool:
        """Set the item's text; False if the client deleted the item first."""
        try:
            self._call.transcript.update(utterance.item_id, text=text)
        except UnknownItem:
            utterance.failure = None
            return False
        return True

    def _publish_text(self, utterance: Utterance, text: str) -> bool:
        """Set and publish the item's text; False if the client deleted the item."""
        call, failure = self._call, utterance.failure
        if not self._update_text(utterance, text):
            return False
        if failure is not None:
            call.publish(TranscriptFailed(utterance.item_id, failure.code, failure.message))
        else:
            call.publish(TranscriptFinal(utterance.item_id, text, utterance.seconds))
        return True

    # ------------------------------------------------------------------ answers

    @property
    def wanted(self) -> Utterance | None:
        """The turn that will be answered as soon as its text arrives."""
        return next((turn for turn in self._waiting.values() if turn.reply_wanted), None)

    def want(self, request: RequestReply) -> bool:
        """Have the newest waiting turn answered as ``request`` says; False if none is waiting."""
        newest = next(reversed(self._waiting.values()), None)
        if newest is None:
            return False
        self._postponed = None
        newest.request, newest.reply_wanted = request, True
        return True

    def postpone(self) -> RequestReply | None:
        """Postpone the reply: the caller speaks while it is being generated.

        Returns the client's request if no reply to it has been released."""
        self._keep_stand_in()
        wanted = self.wanted
        self._postponed = wanted or self._replies.current
        if wanted is not None:
            wanted.reply_wanted = False
        self._replies.cancel("turn_detected")
        return wanted.request if wanted is not None else None

    def postpone_text(self) -> None:
        """Postpone the answer to a turn whose text is late, to say something before it."""
        if (wanted := self.wanted) is not None:
            self._postponed, wanted.reply_wanted = wanted, False

    def answer_postponed(self) -> None:
        """Nothing followed: make the postponed reply, if any."""
        postponed, self._postponed = self._postponed, None
        if postponed is None:
            return
        if self._call.state is State.LISTENING:
            self._call.move(Trigger.REPLY_REQUESTED)
        if isinstance(postponed, Reply):
            self._replies.start_again(postponed)
        elif postponed.turn in self._waiting:
            postponed.reply_wanted = True
        else:
            self._answer(postponed, "")

    def give_up(self) -> None:
        """Answer none of the waiting turns."""
        self._keep_stand_in()
        self._postponed = None
        for utterance in self._waiting.values():
            utterance.reply_wanted = False

    def close(self) -> None:
        """The call ends: record what was said, and release the recognisers."""
        self._keep_stand_in()
        for utterance in self._waiting.values():
            self.record_unanswered(utterance)
        self._waiting.clear()

    def record_unanswered(self, utterance: Utterance) -> None:
        """Record a turn that will not be answered."""
        call, text = self._call, utterance.text
        utterance.move(UtteranceTrigger.DROPPED)
        call.order(DropTranscription(utterance.turn))
        if text.strip():
            call.order(RecordTurn(utterance.turn, text, "", "", False, ReplyStatus.COMPLETED, None))

    # ------------------------------------------------------------------ resuming

    def waiting_turns(self) -> tuple[OpenTurn, ...]:
        """The turns whose text is not settled, oldest first, for a checkpoint."""
        waiting = [
            _open_turn(turn, wanted=turn.reply_wanted or turn is self._postponed)
            for turn in self._waiting.values()
        ]
        if self._standing_in is not None:
            waiting.append(_open_turn(self._standing_in, wanted=False))
        return tuple(sorted(waiting, key=lambda turn: turn.turn))

    def pending(self) -> PendingReply | None:
        """The postponed reply to a turn that has its text, for a checkpoint."""
        postponed = self._postponed
        if postponed is None or postponed.turn in self._waiting:
            return None
        if isinstance(postponed, Reply):
            config, script = postponed.config, postponed.script
        else:
            config, script = overridden(self._call.config, postponed.request), None
        return PendingReply(postponed.turn, config, postponed.request, script)

    def commit_earlier(self, turn: OpenTurn, *, answered: bool) -> None:
        """Commit a turn of before the call was resumed, with the words that were heard of it.

        ``answered``: a reply records it."""
        call = self._call
        if not turn.committed:
            previous = call.transcript.last_id
            item = Item(turn.item_id, "user", "", "completed", spoken=True)
            call.transcript.add(item)
            call.publish(InputCommitted(turn.item_id, previous))
            call.publish(ItemAdded(item, previous))
        if turn.item_id in call.transcript:
            call.transcript.update(turn.item_id, text=turn.text)
            if turn.text.strip():
                call.publish(TranscriptFinal(turn.item_id, turn.text, turn.seconds))
            else:
                call.publish(TranscriptFailed(turn.item_id, AUDIO_LOST, _AUDIO_LOST_WORDS))
        if not answered:
            text = turn.text
            call.order(RecordTurn(turn.turn, text, "", "", False, ReplyStatus.COMPLETED, None))

    def answer_earlier(self, turn: OpenTurn) -> None:
        """Answer a turn that was committed like that; one without words is to be repeated."""
        call, replies = self._call, self._replies
        config, script = overridden(call.config, turn.request), None
        if not turn.text.strip() and turn.request is None:
            script = pack_of(config.language).spoken.unheard
        call.move(Trigger.REPLY_REQUESTED)
        replies.start(
            turn.turn, turn.text, Moments(), config=config, script=script, request=turn.request
        )
        replies.release()

    def make_pending(self, reply: PendingReply) -> None:
        """Make a reply that was postponed before the call was resumed."""
        self._call.move(Trigger.REPLY_REQUESTED)
        self._replies.start(
            reply.turn,
            "",
            Moments(),
            config=reply.config,
            script=reply.script,
            request=reply.request,
        )
        self._replies.release()

    # ------------------------------------------------------------------ within

    def _answer(self, utterance: Utterance, text: str) -> None:
        self._postponed = None
        replies, request, user_text = self._replies, utterance.request, None
        config = overridden(self._call.config, request)
        script = _script(utterance, config.language)
        if script is not None:
            replies.cancel("turn_detected")
            replies.start(
                utterance.turn,
                text,
                utterance.moments,
                config=config,
                script=script,
                request=request,
            )
        elif replies.fits(config, request):
            user_text = text
        else:
            replies.cancel("turn_detected")
            replies.start(utterance.turn, text, utterance.moments, config=config, request=request)
        replies.release(user_text)

    def _rest_if_done(self) -> None:
        """Return to LISTENING if nothing is being answered and nothing will be."""
        resting = self._replies.current is None and self.wanted is None
        if resting and self._call.state is State.THINKING:
            self._call.move(Trigger.REPLY_ENDED)


def too_late(turn: int) -> TranscriptionFailed:
    """The failure of a transcription that is overdue."""
    return TranscriptionFailed(turn, "PROVIDER_ERROR", "The transcription took too long.")


def _script(utterance: Utterance, language: str) -> str | None:
    """What answers a turn that the chat model cannot answer, in the call's ``language``."""
    spoken, request = pack_of(language).spoken, utterance.request
    if utterance.unspoken and (request is None or not request.apart):
        return spoken.cannot_speak(pack_of(utterance.unspoken).name)
    return spoken.unheard if utterance.failure is not None and request is None else None


def _answerable(utterance: Utterance) -> bool:
    said = bool(utterance.final and utterance.final.strip())
    return said or utterance.request is not None or utterance.failure is not None


def _open_turn(utterance: Utterance, *, wanted: bool) -> OpenTurn:
    return OpenTurn(
        utterance.turn,
        utterance.item_id,
        utterance.text if utterance.held_text is None else utterance.held_text,
        utterance.seconds,
        committed=True,
        wanted=wanted,
        request=utterance.request,
    )
