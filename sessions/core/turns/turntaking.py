"""The caller's side of a conversation: when a turn starts and when it ends.

Rules
- One utterance is open at a time (``hearing``); ended ones get their text and their answer in
  ``ended_turns``; what is said over the reply is judged in ``bargein``.
- At the first hint of an end (``HINT_MS`` of silence) the text is asked for, and once it is there
  the turn detector: one after the other, because they would slow each other down and the text is
  what the reply waits for. The reply is started speculatively when the text is a whole and the
  melody does not speak against an end, else shortly before patience runs out. More speech voids
  all of it.
- A turn without a word is dropped: noise is not answered. A turn that lasts a minute, or whose
  audio runs dry, is ended as it stands.
"""

from collections.abc import Callable
from functools import partial

from sessions.core.call import Call
from sessions.core.commands import DropTranscription, ScoreTurn
from sessions.core.config import SessionConfig, TurnMode
from sessions.core.events import (
    FinalTranscript,
    PartialTranscript,
    PlayoutFinished,
    PlayoutPaused,
    RequestReply,
    TranscriptionFailed,
    TurnScored,
    VoiceWindow,
)
from sessions.core.items import Message
from sessions.core.notices import TranscriptPartial
from sessions.core.replies.replies import Replies
from sessions.core.states import State, Trigger

from .backchannel import Overlap, classify
from .bargein import BargeIn
from .completeness import Ending
from .ended_turns import EndedTurns
from .endpointing import COMPLETE, patience, samples
from .hearing import Hearing
from .preparation import Preparation
from .utterance import Utterance

GRACE_MS = 1_500
"""How long beyond its patience an endpoint waits for the text before it ends the turn anyway."""

HEAD_START_MS = 450
"""How long before the end of patience a reply is begun: about what its first audio takes."""

UTTERANCE_MAXIMUM_MS = 60_000
SPECULATIONS = 3
"""Replies begun for one turn before its end is certain, at most."""

_STARVED_SECONDS = 1.0
_TEXT_SECONDS = 4.0
"""Waiting for a final text where a partial one could stand in for it."""
_TEXT_SECONDS_ALONE = 10.0
"""Where none can: there is no partial text, or it covers only part of the sound."""
_LONG_TURN_SECONDS = 10.0
"""Half of what a turn is longer than this is waited more: it takes longer to write down, and its
partial text may be far behind."""
_EXPIRIES = 16

_CALLER_HAS_FLOOR = (State.USER_SPEAKING, State.ENDPOINTING, State.BARGE_IN)


class TurnTaking:
    """Opens, ends and drops the caller's turns."""

    def __init__(self, call: Call, replies: Replies) -> None:
        self._call = call
        self._replies = replies
        self._hearing = Hearing(call)
        self._bargein = BargeIn(call, replies, self._hearing)
        self._ended = EndedTurns(call, replies)
        self._preparation = Preparation(call, self._hearing, replies.tools)

    @property
    def utterance(self) -> Utterance | None:
        """The open utterance."""
        return self._hearing.utterance

    @property
    def ended(self) -> EndedTurns:
        """The turns that are over."""
        return self._ended

    # ------------------------------------------------------------------ the input stream

    def on_window(self, event: VoiceWindow) -> None:
        """Advance by one window of audio."""
        hearing, start = self._hearing, self._hearing.gate.position
        hearing.look(event)
        if self._call.detection.mode is TurnMode.NONE:
            self._buffer(start)
            return
        match self._call.state:
            case State.LISTENING | State.THINKING | State.USING_TOOLS:
                if hearing.gate.speaking:
                    self._speech_started()
            case State.USER_SPEAKING:
                spoken = hearing.gate.position - hearing.opened().start
                if hearing.silent:
                    self._pause()
                elif spoken >= samples(UTTERANCE_MAXIMUM_MS):
                    self._pause()
                    self._force_end()
            case State.ENDPOINTING:
                self._weigh_silence()
            case State.SPEAKING:
                self._bargein.listen()
            case State.BARGE_IN:
                self._bargein.weigh()
                self._take_floor()

    def on_input_ended(self) -> None:
        """No more windows will come: the silence that follows is endless."""
        self._hearing.window_at = None
        match self._call.state:
            case State.USER_SPEAKING:
                self._pause()
                self._force_end()
            case State.ENDPOINTING:
                self._force_end()
            case State.BARGE_IN:
                if self._hearing.opened().asked is None:
                    self._hearing.ask_text()

    def _buffer(self, start: int) -> None:
        """Push to talk: everything since the last commit is the utterance, a minute at most.

        A longer one is committed in parts, and forgotten where it held no speech."""
        hearing, utterance = self._hearing, self._hearing.utterance
        if utterance is None:
            hearing.begin(start)
        elif hearing.gate.position - utterance.start >= samples(UTTERANCE_MAXIMUM_MS):
            if hearing.gate.speaking:
                self.commit()
            else:
                hearing.drop()

    def _speech_started(self) -> None:
        call, request = self._call, None
        if call.state is State.THINKING:
            reply = self._replies.current
            if reply is not None and not call.detection.interrupt_response:
                return
            request = self._ended.interrupt()
        elif call.state is State.USING_TOOLS and not call.detection.interrupt_response:
            return
        call.move(Trigger.SPEECH_STARTED)
        self._hearing.begin_at_onset()
        self._hearing.opened().request = request

    # ------------------------------------------------------------------ the end of a turn

    def _pause(self) -> None:
        """First hint of an end: ask for the text."""
        self._call.move(Trigger.SPEECH_PAUSED)
        self._hearing.ask_text()

    def _ask_score(self, utterance: Utterance) -> None:
        semantic = self._call.detection.mode is TurnMode.SEMANTIC_VAD
        if semantic and utterance.asked is not None:
            self._call.order(ScoreTurn(utterance.turn, utterance.asked))

    def _weigh_silence(self) -> None:
        hearing, utterance = self._hearing, self._hearing.opened()
        if utterance.forced:
            return
        if hearing.resumed:
            utterance.went_on()
            self._replies.cancel("turn_detected")
            self._call.move(Trigger.SPEECH_RESUMED)
            return
        missing = self._patience(utterance) - hearing.gate.silence
        if missing <= 0 and (utterance.final is not None or missing <= -samples(GRACE_MS)):
            self._end_turn()
        else:
            self._speculate(utterance)

    def _patience(self, utterance: Utterance) -> int:
        detection = self._call.detection
        wordless = utterance.final is not None and not utterance.final.strip()
        return patience(detection, utterance.ending, utterance.probability, wordless=wordless)

    def _force_end(self) -> None:
        utterance = self._hearing.opened()
        utterance.forced = True
        if utterance.final is not None:
            self._end_turn()

    def _end_turn(self) -> None:
        """The turn is over: commit it and answer, or drop it where nothing was said."""
        self._hearing.speech_stopped()
        utterance = self._hearing.opened()
        if utterance.wordless or self._only_waits(utterance):
            self._drop_turn()
        else:
            asked_for = utterance.request is not None
            self._hand_over(answer=self._call.config.answers or asked_for)

    def _only_waits(self, utterance: Utterance) -> bool:
        """Whether the caller says no more than "okay" to a tool that takes its time."""
        said = classify(utterance.final or "", "")
        return self._replies.tools.busy and said is Overlap.BACKCHANNEL

    def _hand_over(self, *, answer: bool) -> None:
        utterance = self._hearing.hand_over()
        utterance.moments.speech_end = self._hearing.voice_at
        utterance.reply_wanted = answer
        if not answer:  # it was wanted when a reply was begun, and is no longer
            self._replies.cancel("turn_detected")
        self._call.move(Trigger.TURN_ENDED)
        self._ended.commit(utterance, self._hearing.gate.position)

    def _drop_turn(self) -> None:
        """Nothing was said: forget it, and make the reply that it put off."""
        self._replies.cancel("turn_detected")
        self._hearing.drop()
        self._call.move(Trigger.TURN_DROPPED)
        self._ended.answer_owed()

    def _speculate(self, utterance: Utterance) -> None:
        """Start the reply before the end is certain, once it is likely or near."""
        if (
            not (utterance.final or "").strip()
            or not self._call.config.answers
            or self._replies.current is not None
            or not self._replies.settled
            or utterance.speculations >= SPECULATIONS
            or not self._likely_over(utterance)
            or self._only_waits(utterance)
        ):
            return
        utterance.speculations += 1
        said = Message("user", utterance.text)
        self._replies.start(utterance.turn, utterance.text, utterance.moments, extra=(said,))

    def _likely_over(self, utterance: Utterance) -> bool:
        by_melody = utterance.probability is None or utterance.probability >= COMPLETE
        if self._call.detection.mode is TurnMode.SERVER_VAD:
            by_melody = True
        if by_melody and utterance.ending is Ending.CLOSED:
            return True
        missing = self._patience(utterance) - self._hearing.gate.silence
        return missing <= samples(HEAD_START_MS)

    # ------------------------------------------------------------------ engine results

    def on_partial(self, event: PartialTranscript) -> None:
        """More (or other) words of the open turn."""
        if (waiting := self._ended.get(event.turn)) is not None:
            waiting.hear_out(event)
            return
        utterance = self._hearing.utterance
        if utterance is None or event.turn != utterance.turn:
            return
        utterance.covered = max(utterance.covered, event.position)
        if event.text == utterance.partial:
            return
        utterance.partial = event.text
        self._call.tell(TranscriptPartial(utterance.item_id, event.text))
        if self._call.state is State.BARGE_IN:
            self._bargein.hear_partial(event.text)
            self._take_floor()
        elif self._call.state is State.USER_SPEAKING:
            self._preparation.read_words(utterance)

    def on_final(self, event: FinalTranscript) -> None:
        """The text that was asked for; late, it still heals a failure."""
        utterance = self._hearing.utterance
        if utterance and (event.turn, event.position) == (utterance.turn, utterance.asked):
            utterance.failure = None
        self._take_text(event)

    def _take_text(self, event: FinalTranscript, *, stand_in: bool = False) -> None:
        waiting, utterance = self._ended.get(event.turn), self._hearing.utterance
        if waiting is not None:
            if waiting.asked == event.position:
                self._ended.settle(waiting, event.text, stand_in=stand_in)
            return
        if self._ended.replace_stand_in(event):
            return
        if utterance is None or (event.turn, event.position) != (utterance.turn, utterance.asked):
            return
        utterance.final = event.text
        utterance.moments.transcript = self._call.now
        if self._call.state is State.BARGE_IN:
            self._bargein.hear_final(event.text)
            self._take_floor()
        elif self._call.state is State.ENDPOINTING:
            if utterance.forced:
                self._end_turn()
            else:
                self._speculate(utterance)
                self._ask_score(utterance)

    def on_scored(self, event: TurnScored) -> None:
        """The turn detector's opinion that was asked for."""
        utterance = self._hearing.utterance
        if utterance and (event.turn, event.position) == (utterance.turn, utterance.asked):
            utterance.probability = event.probability
            if self._call.state is State.ENDPOINTING and not utterance.forced:
                self._speculate(utterance)

    def on_failed(self, event: TranscriptionFailed) -> None:
        """No text from the engine: make do with the partial one, or with none."""
        utterance = self._ended.get(event.turn) or self._hearing.utterance
        if utterance is None or utterance.turn != event.turn:
            return
        if utterance.asked is None or utterance.final is not None:
            return
        text = utterance.partial
        if not utterance.partial_stands_in:
            utterance.failure, text = event, ""
        self._take_text(FinalTranscript(event.turn, text, utterance.asked), stand_in=True)

    # ------------------------------------------------------------------ barge-in

    def on_paused(self, event: PlayoutPaused) -> None:
        """Playout stands still, as ordered."""
        self._bargein.on_paused(event)

    def on_playout_finished(self, event: PlayoutFinished) -> None:
        """The reply ended; a barge-in that was undecided till now is none, but a turn."""
        self._replies.on_playout_finished(event)
        if self._call.state is State.BARGE_IN and self._replies.current is None:
            self.yield_floor()

    def _decide_barge_in(self) -> None:
        self._bargein.decide()
        self._take_floor()

    def yield_floor(self) -> None:
        """The reply is gone while the caller speaks over it: the floor is the caller's."""
        self._bargein.confirm()
        self._take_floor()

    def _take_floor(self) -> None:
        """After a confirmed barge-in: the overlap is an utterance, perhaps at its end already."""
        utterance, call = self._hearing.utterance, self._call
        if call.state is not State.USER_SPEAKING or utterance is None:
            return
        if utterance.asked is not None:
            call.move(Trigger.SPEECH_PAUSED)
            if utterance.final is not None:
                self._ask_score(utterance)
        if self._hearing.window_at is None:
            self.on_input_ended()

    # ------------------------------------------------------------------ by hand

    def commit(self, request: RequestReply | None = None) -> bool:
        """End the open turn now; False where there is none. ``request``: answer it so."""
        call, hearing, utterance = self._call, self._hearing, self._hearing.utterance
        if utterance is None:
            return False
        if call.state is State.BARGE_IN:
            self._bargein.confirm()
        if utterance.asked is None or hearing.gate.voiced != utterance.voiced_when_asked:
            utterance.went_on()
            if call.state in _CALLER_HAS_FLOOR:
                self._replies.cancel("turn_detected")
        utterance.request = request or utterance.request
        if call.state in _CALLER_HAS_FLOOR:
            hearing.speech_stopped()
            self._hand_over(answer=call.config.answers or utterance.request is not None)
        else:
            self._ended.commit(hearing.hand_over(), hearing.gate.position)
        return True

    def clear(self) -> None:
        """Drop what was heard since the last turn."""
        match self._call.state:
            case State.BARGE_IN:
                self._bargein.refute()
            case State.USER_SPEAKING | State.ENDPOINTING:
                self._drop_turn()
            case _:
                self._hearing.drop()

    def configured(self, config: SessionConfig) -> None:
        """``config`` holds from now on; an utterance of another kind of detection cannot go on."""
        before = self._call.config
        manual = before.turn_detection.mode is TurnMode.NONE
        if manual != (config.turn_detection.mode is TurnMode.NONE):
            self.clear()
        self._call.config = config
        self._preparation.configured()

    def close(self) -> None:
        """The call ends: record what was said, give the recognisers back."""
        self._ended.close()
        utterance = self._hearing.utterance
        if utterance is None:
            return
        if self._call.state is State.BARGE_IN:
            self._call.order(DropTranscription(utterance.turn))
        else:
            self._ended.record_unanswered(utterance)

    # ------------------------------------------------------------------ deadlines

    def deadline(self) -> float | None:
        """The next moment at which waiting for audio or text is over."""
        return min((moment for moment, _ in self._waits()), default=None)

    def expire(self, now: float) -> None:
        """Act on every wait that is over; each act ends its wait and may end others."""
        for _ in range(_EXPIRIES):
            due = [wait for wait in self._waits() if wait[0] <= now]
            if not due:
                return
            due[0][1]()

    def _waits(self) -> list[tuple[float, Callable[[], None]]]:
        waits: list[tuple[float, Callable[[], None]]] = []
        hearing, utterance = self._hearing, self._hearing.utterance
        if hearing.window_at is not None and self._call.state in _CALLER_HAS_FLOOR:
            waits.append((hearing.window_at + _STARVED_SECONDS, self.on_input_ended))
        decision = self._bargein.deadline()
        if decision is not None:
            waits.append((decision, self._decide_barge_in))
        for turn in (*self._ended.waiting(), *((utterance,) if utterance else ())):
            if turn.asked is not None and turn.final is None:
                seconds = _TEXT_SECONDS if turn.partial_stands_in else _TEXT_SECONDS_ALONE
                message = "The transcription took too long."
                failed = TranscriptionFailed(turn.turn, "PROVIDER_ERROR", message)
                seconds += max(0.0, turn.seconds - _LONG_TURN_SECONDS) / 2
                waits.append((turn.asked_at + seconds, partial(self.on_failed, failed)))
        return waits
