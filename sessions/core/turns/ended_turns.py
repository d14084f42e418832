"""Turns that are over: committed to the transcript, given their text, answered.

Rules
- A turn waits here until its text is there; only then is it answered or recorded.
- At most one waiting turn is to be answered, and only while THINKING.
- When the caller speaks while a reply is being thought of, that reply is cancelled but *owed*:
  words that follow are answered together with it; if nothing follows (a cough), it is made
  after all.
"""

from sessions.core.call import Call
from sessions.core.commands import (
    DropTranscription,
    FinishTranscription,
    RecordTurn,
    TranscribeClip,
)
from sessions.core.events import ClauseStarted, FinalTranscript, RequestReply
from sessions.core.items import Item, ReplyStatus
from sessions.core.notices import InputCommitted, ItemAdded, TranscriptFailed, TranscriptFinal
from sessions.core.replies.replies import Replies
from sessions.core.replies.reply import Reply, overridden
from sessions.core.states import State, Trigger
from sessions.core.transcript import UnknownItem
from sessions.core.words import words_of

from .utterance import Utterance

UNHEARD = "Sorry, I did not catch that. Could you say it again?"
"""Spoken where the caller's words could not be transcribed."""


class EndedTurns:
    """Commits turns and sees to it that they are answered."""

    def __init__(self, call: Call, replies: Replies) -> None:
        self._call = call
        self._replies = replies
        self._waiting: dict[int, Utterance] = {}
        self._stood_in: Utterance | None = None
        """The turn that is being answered by a text that only stands in for the final one."""
        self._owed: Utterance | Reply | None = None

    @property
    def newest(self) -> Utterance | None:
        """The newest turn whose text is not there yet."""
        return next(reversed(self._waiting.values()), None)

    def waiting(self) -> tuple[Utterance, ...]:
        """All turns whose text is not there yet, oldest first."""
        return tuple(self._waiting.values())

    def get(self, turn: int) -> Utterance | None:
        """The waiting turn of that number."""
        return self._waiting.get(turn)

    # ------------------------------------------------------------------ commit, text

    def commit(self, utterance: Utterance, position: int) -> None:
        """``utterance`` became a turn that ends at ``position``."""
        call, moments = self._call, utterance.moments
        moments.turn_end = call.now
        if moments.speech_end is None:
            moments.speech_end = call.now
        previous = call.transcript.last_id
        item = Item(utterance.item_id, "user", "", "completed", spoken=True)
        call.transcript.add(item)
        call.tell(InputCommitted(utterance.item_id, previous))
        call.tell(ItemAdded(item, previous))
        self._waiting[utterance.turn] = utterance
        if utterance.final is not None:
            self.settle(utterance, utterance.final)
            return
        if utterance.asked is None:
            utterance.ask(position, 0, call.now)
            call.order(FinishTranscription(utterance.turn, position))
        self._rest_if_done()

    def transcribe(self, item_id: str, clip: int, seconds: float) -> None:
        """Have the speech that came with an item written down, as a turn of its own."""
        call = self._call
        utterance = Utterance(
            call.next_turn(), item_id, 0, call.config.language, seconds=seconds, is_clip=True
        )
        moments = utterance.moments
        moments.speech_end = moments.turn_end = call.now
        utterance.ask(0, 0, call.now)
        self._supersede(utterance)
        self._waiting[utterance.turn] = utterance
        call.order(TranscribeClip(utterance.turn, clip))

    def _supersede(self, utterance: Utterance) -> None:
        """Drop the turn of an item that was deleted and whose id ``utterance`` has now."""
        for earlier in self.waiting():
            if earlier.item_id == utterance.item_id:
                utterance.reply_wanted, utterance.request = earlier.reply_wanted, earlier.request
                self._owed = utterance if self._owed is earlier else self._owed
                del self._waiting[earlier.turn]
                self._call.order(DropTranscription(earlier.turn))

    def settle(self, utterance: Utterance, text: str, *, stand_in: bool = False) -> None:
        """The text of a turn is there: tell it, and answer it where that is wanted.

        One that stands in is told when the reply to it is heard; till then the final text, should
        it still come, takes its place."""
        call = self._call
        self.accept_stand_in()
        del self._waiting[utterance.turn]
        utterance.final = text
        if text.strip():
            call.level.learn(utterance.level)
        if utterance.moments.transcript is None:
            utterance.moments.transcript = call.now
        if stand_in and utterance.reply_wanted and self._answerable(utterance):
            self._stood_in = utterance
            self._update_text(utterance, text)
            self._answer(utterance, text)
            return
        call.order(DropTranscription(utterance.turn))
        if not self._tell_text(utterance, text):
            utterance.final = text = ""
        if utterance.reply_wanted and self._answerable(utterance):
            self._answer(utterance, text)
            return
        call.order(RecordTurn(utterance.turn, text, "", "", False, ReplyStatus.COMPLETED, None))
        if self._owed is utterance:
            self._owed = utterance if self._answerable(utterance) else None
        elif text.strip() and not utterance.is_clip:
            self._owed = None
            self._replies.tools.continuation = None
        elif call.state is State.THINKING and self._replies.current is None:
            self.answer_owed()
        self._rest_if_done()

    def replace_stand_in(self, event: FinalTranscript) -> bool:
        """The final text came before the reply to its stand-in was heard: answer that instead."""
        utterance, call = self._stood_in, self._call
        if utterance is None or (event.turn, event.position) != (utterance.turn, utterance.asked):
            return False
        reply = self._replies.current
        standing = utterance.final or ""
        if reply is None or reply.turn != utterance.turn or reply.audible:
            self.accept_stand_in()
            return True
        self._stood_in = None
        utterance.final, utterance.moments.transcript = event.text, call.now
        call.order(DropTranscription(utterance.turn))
        self._tell_text(utterance, event.text)
        if words_of(event.text) != words_of(standing) and self._answerable(utterance):
            self._replies.cancel("turn_detected")
            self._answer(utterance, event.text)
        return True

    def accept_stand_in(self) -> None:
        """The reply to a stand-in is heard, or is no more: that text is what was said."""
        utterance, self._stood_in = self._stood_in, None
        if utterance is not None:
            self._call.order(DropTranscription(utterance.turn))
            self._tell_text(utterance, utterance.final or "")

    def on_piece_started(self, event: ClauseStarted) -> None:
        """A reply is heard."""
        utterance, reply = self._stood_in, self._replies.current
        if utterance is None or reply is None or reply.number != event.reply:
            return
        if reply.turn == utterance.turn:
            self.accept_stand_in()

    def _update_text(self, utterance: Utterance, text: str) -> bool:
        """False where the client deleted the item before its text was there."""
        try:
            self._call.transcript.update(utterance.item_id, text=text)
        except UnknownItem:
            utterance.failure = None
            return False
        return True

    def _tell_text(self, utterance: Utterance, text: str) -> bool:
        """As ``_update_text``; the client is told."""
        call, failure = self._call, utterance.failure
        if not self._update_text(utterance, text):
            return False
        if failure is not None:
            call.tell(TranscriptFailed(utterance.item_id, failure.code, failure.message))
        else:
            call.tell(TranscriptFinal(utterance.item_id, text, utterance.seconds))
        return True

    # ------------------------------------------------------------------ answers

    @property
    def wanted(self) -> Utterance | None:
        """The turn that is answered as soon as its text is there."""
        return next((turn for turn in self._waiting.values() if turn.reply_wanted), None)

    def interrupt(self) -> RequestReply | None:
        """The caller speaks while a reply is being thought of: put it off.

        Returns what the client asked for and has not been told of yet."""
        self.accept_stand_in()
        wanted = self.wanted
        self._owed = wanted or self._replies.current
        if wanted is not None:
            wanted.reply_wanted = False
        self._replies.cancel("turn_detected")
        return wanted.request if wanted is not None else None

    def answer_owed(self) -> None:
        """Nothing followed: make the reply that was put off, if any."""
        owed, self._owed = self._owed, None
        if owed is None:
            return
        if self._call.state is State.LISTENING:
            self._call.move(Trigger.REPLY_REQUESTED)
        if isinstance(owed, Reply):
            self._replies.start_again(owed)
        elif owed.turn in self._waiting:
            owed.reply_wanted = True
        else:
            self._answer(owed, "")

    def want(self, utterance: Utterance) -> None:
        """``utterance``, which waits for its text, is to be answered after all."""
        self._owed = None
        utterance.reply_wanted = True

    def give_up(self) -> None:
        """Nothing that waits is to be answered."""
        self.accept_stand_in()
        self._owed = None
        for utterance in self._waiting.values():
            utterance.reply_wanted = False

    def close(self) -> None:
        """The call ends: record what was said, give the recognisers back."""
        self.accept_stand_in()
        for utterance in self._waiting.values():
            self.record_unanswered(utterance)
        self._waiting.clear()

    def record_unanswered(self, utterance: Utterance) -> None:
        """Store a turn that nothing will answer any more."""
        text = utterance.text
        call = self._call
        call.order(DropTranscription(utterance.turn))
        if text.strip():
            call.order(RecordTurn(utterance.turn, text, "", "", False, ReplyStatus.COMPLETED, None))

    def _answerable(self, utterance: Utterance) -> bool:
        said = bool(utterance.final and utterance.final.strip())
        return said or utterance.request is not None or utterance.failure is not None

    def _answer(self, utterance: Utterance, text: str) -> None:
        self._owed = None
        replies = self._replies
        config = overridden(self._call.config, utterance.request)
        if utterance.failure is not None and utterance.request is None:
            replies.cancel("turn_detected")
            replies.start(utterance.turn, "", utterance.moments, config=config, script=UNHEARD)
        elif not replies.fits(config, request := utterance.request):
            replies.cancel("turn_detected")
            replies.start(utterance.turn, text, utterance.moments, config=config, request=request)
        replies.release()

    def _rest_if_done(self) -> None:
        """Back to listening where nothing is being answered and nothing will be."""
        wanted = any(turn.reply_wanted for turn in self._waiting.values())
        if self._call.state is State.THINKING and self._replies.current is None and not wanted:
            self._call.move(Trigger.REPLY_ENDED)
