"""The caller's side of a conversation: turns start, end, or are dropped.

Rules
- One utterance is open at a time (``input_audio``). Ended ones get their text and their answer in
  ``ended_turns``; ``bargein`` judges speech over the reply.
- ``endpointing`` decides how much silence ends a turn, and what the chat model does before the end
  is certain.
- A turn ends once its silence is long enough and its text is there, even inside a window.
- At the first sign of an end (``EARLY_HINT_MS`` of silence) the text is requested, and then the
  turn detector's score: one after the other, because they would slow each other down and the reply
  waits for the text. More speech voids both.
- A turn without words is dropped: noise is not answered. A turn that lasts a minute, or whose audio
  runs dry, ends as it is.
"""

from media.formats import HEARING_RATE
from sessions.core.call import Call
from sessions.core.checkpoint import OpenTurn
from sessions.core.commands import DropTranscription, ScoreTurn
from sessions.core.config import SessionConfig, TurnMode
from sessions.core.events import (
    FinalTranscript,
    LanguageDetected,
    LanguagesFound,
    PartialTranscript,
    PlayoutFinished,
    RequestReply,
    SilenceHeard,
    TranscriptionFailed,
    TranscriptionWaits,
    TurnScored,
    VoiceWindow,
)
from sessions.core.notices import HearingWaits, TranscriptPartial
from sessions.core.replies.replies import Replies
from sessions.core.states import State, Trigger, UtteranceState, UtteranceTrigger
from sessions.core.tools import ToolUses

from .bargein import BargeIn, Overlap, classify
from .caller_pace import CUT_OFF_MS, CallerPace
from .ended_turns import EndedTurns, too_late
from .endpointing import Speculation
from .input_audio import InputAudio, Utterance
from .language import CallerLanguage
from .speech_gate import samples

GRACE_MS = 1_500
"""How long after patience has run out a turn still waits for its text before it ends anyway."""

SCORE_MS = 128
"""Silence that the turn detector needs (it was trained with about 200 ms). Of 110 recorded turns it
scores 21 below 0.5 when it hears 64 ms of it, 13 with 128 ms, 8 with 640 ms. It hears just this
much, because more makes it find pauses complete, too: after "I would like to book a flight to" it
says 0.04 with 128 ms, 0.46 with 220 ms, 0.57 with 384 ms."""
SECOND_LOOK_MS = 448
"""Silence after which a text that looks cut off is requested once more."""
_WORTHWHILE = samples(320)
"""Patience that must be left for that."""

UTTERANCE_MAXIMUM_MS = 60_000

_CALLER_HAS_FLOOR = (State.USER_SPEAKING, State.ENDPOINTING, State.BARGE_IN)


class TurnTaking:
    """Opens, ends and drops the caller's turns."""

    def __init__(self, call: Call, replies: Replies, tools: ToolUses, ended: EndedTurns) -> None:
        self._call = call
        self._replies = replies
        self._tools = tools
        self._ended = ended
        self._audio = InputAudio(call)
        self._bargein = BargeIn(call, replies, self._audio)
        self._language = CallerLanguage(call, self._audio, replies, ended)
        self._speculation = Speculation(call, self._audio, replies, tools)
        self._ended_at: int | None = None
        """Position of the last voice of the turn before, and the patience that it met."""
        self._ended_patience = 0
        self._awaited: int | None = None
        """Where the silence of the open utterance is long enough, as of the last weighing."""

    @property
    def utterance(self) -> Utterance | None:
        """The open utterance."""
        return self._audio.utterance

    @property
    def awaited(self) -> int | None:
        """Where in the input the open utterance ends if silence goes on; None if that is open."""
        return self._awaited if self._call.state is State.ENDPOINTING else None

    # ------------------------------------------------------------------ the input stream

    def on_silence(self, event: SilenceHeard) -> None:
        """Part of the next window has come, without speech."""
        gate = self._audio.gate
        if self._call.state is State.ENDPOINTING and event.position > gate.position:
            gate.quiet = event.position
            self._weigh_silence()

    def on_window(self, event: VoiceWindow) -> None:
        """Take the next window of audio."""
        audio, start = self._audio, self._audio.gate.position
        audio.look(event)
        if audio.gate.speaking:
            self._language.listen()
        if self._call.config.turn_detection.mode is TurnMode.NONE:
            self._buffer(start)
            return
        match self._call.state:
            case State.LISTENING | State.THINKING | State.USING_TOOLS:
                if audio.gate.speaking:
                    self._speech_started()
            case State.USER_SPEAKING:
                spoken = audio.gate.position - audio.opened().start
                if audio.paused:
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
        """No more windows will come: treat what follows as endless silence."""
        self._audio.run_dry()
        match self._call.state:
            case State.USER_SPEAKING:
                self._pause()
                self._force_end()
            case State.ENDPOINTING:
                self._force_end()
            case State.BARGE_IN:
                if self._audio.opened().state is UtteranceState.SPEAKING:
                    self._audio.ask_text()

    def _buffer(self, start: int) -> None:
        """Push to talk: everything since the last commit is one utterance, up to a minute.

        A longer one is committed in parts; parts without speech are dropped."""
        audio, utterance = self._audio, self._audio.utterance
        if utterance is None:
            audio.begin(start)
        elif audio.gate.position - utterance.start >= samples(UTTERANCE_MAXIMUM_MS):
            if audio.gate.speaking:
                self.commit()
            else:
                audio.drop()

    def _speech_started(self) -> None:
        call, request = self._call, None
        if call.state is State.THINKING:
            may_interrupt = call.detection.interrupt_response and self._replies.interruptible
            if self._replies.current is not None and not may_interrupt:
                return
            request = self._ended.postpone()
        elif call.state is State.USING_TOOLS and not call.detection.interrupt_response:
            return
        call.move(Trigger.SPEECH_STARTED)
        self._audio.begin_at_onset().request = request

    # ------------------------------------------------------------------ the end of a turn

    def _pause(self) -> None:
        """First sign of an end: request the text."""
        self._call.move(Trigger.SPEECH_PAUSED)
        self._audio.ask_text()
        self._language.hear_end()
        self._guess(self._audio.opened())

    def _guess(self, utterance: Utterance) -> None:
        if not self._only_waits(utterance):
            self._speculation.guess_reply(utterance)

    def _weigh_silence(self) -> None:
        audio, utterance = self._audio, self._audio.opened()
        self._awaited = None
        if utterance.state is UtteranceState.ENDING:
            return
        if audio.resumed:
            self._speculation.went_on(utterance, audio.gate.pause)
            audio.go_on()
            self._replies.cancel("turn_detected")
            self._call.move(Trigger.SPEECH_RESUMED)
            return
        self._ask_score(utterance)
        patience = self._speculation.patience(utterance)
        missing = patience - audio.gate.silence
        if missing <= 0 and (utterance.has_text or missing <= -samples(GRACE_MS)):
            if not self._language.awaited(utterance, -missing):
                self._end_turn()
        else:
            if missing > 0:
                self._awaited = audio.gate.last_voice + patience
            self._speculate(utterance)
            self._look_again(utterance, missing)

    def _look_again(self, utterance: Utterance, missing: int) -> None:
        """Ask for the text once more where it looks cut off: recognisers end what stops abruptly
        with a comma, and mishear its last word."""
        if (
            utterance.state is UtteranceState.TRANSCRIBED
            and not utterance.asked_again
            and missing >= _WORTHWHILE
            and self._audio.gate.silence >= samples(SECOND_LOOK_MS)
            and self._call.config.turn_taking.second_look
            and self._speculation.may_change(utterance)
        ):
            self._audio.ask_again()

    def _speculate(self, utterance: Utterance) -> None:
        if not self._only_waits(utterance):
            self._speculation.begin_reply(utterance)

    def _force_end(self) -> None:
        """No more input will come: end the turn as soon as its text arrives."""
        utterance = self._audio.opened()
        if utterance.has_text:
            self._end_turn()
        elif utterance.state is UtteranceState.TRANSCRIBING:
            utterance.move(UtteranceTrigger.INPUT_ENDED)

    def _end_turn(self) -> None:
        """The turn is over: commit and answer it, or drop it if nothing was said."""
        self._audio.speech_stopped()
        utterance = self._audio.opened()
        if utterance.wordless or self._only_waits(utterance):
            self._drop_turn()
        else:
            asked_for = utterance.request is not None
            self._hand_over(answer=self._call.config.answers or asked_for)

    def _only_waits(self, utterance: Utterance) -> bool:
        """Whether the caller only says something like "okay" while a tool is running."""
        return self._tools.busy and classify(utterance.final or "", "") is Overlap.BACKCHANNEL

    def _hand_over(self, *, answer: bool) -> None:
        self._learn_pace(self._audio.opened())
        utterance = self._audio.hand_over()
        utterance.moments.speech_end = self._audio.voice_at
        utterance.reply_wanted = answer
        if not answer:  # an answer was wanted when a reply was started, but no longer is
            self._replies.cancel("turn_detected")
        self._call.move(Trigger.TURN_ENDED)
        self._ended.commit(utterance, self._audio.gate.position)

    def _learn_pace(self, utterance: Utterance) -> None:
        """A turn has ended: was it the rest of the one before, and how patient was that end?"""
        pace, gate = self._speculation.pace, self._audio.gate
        if self._ended_at is not None:
            apart = utterance.onset - self._ended_at
            if apart < samples(CUT_OFF_MS):
                pace.went_on(apart, self._ended_patience)
        pace.turn_ended()
        self._ended_at, self._ended_patience = (
            gate.last_voice,
            self._speculation.plain_patience(utterance),
        )

    def _drop_turn(self, *, keep: bool = False) -> None:
        """Nothing was said: drop the turn, and make the reply that it postponed."""
        self._replies.cancel("turn_detected")
        if keep:
            self._audio.speech_stopped()
        self._audio.drop(keep=keep)
        self._call.move(Trigger.TURN_DROPPED)
        self._ended.answer_postponed()

    # ------------------------------------------------------------------ engine results

    def on_partial(self, event: PartialTranscript) -> None:
        """More words of the open turn, or other ones."""
        if self._ended.on_partial(event):
            return
        utterance = self._audio.utterance
        if utterance is None or event.turn != utterance.turn:
            return
        utterance.covered = max(utterance.covered, event.position)
        self._audio.set_timer()
        if event.text == utterance.partial:
            return
        utterance.partial = event.text
        self._audio.set_timer()
        self._call.publish(TranscriptPartial(utterance.item_id, event.text))
        if self._call.state is State.BARGE_IN:
            self._bargein.hear_partial(event.text)
            self._take_floor()
        elif self._call.state is State.USER_SPEAKING:
            self._speculation.read_words(utterance)
        elif self._call.state is State.ENDPOINTING:
            self._guess(utterance)

    def on_final(self, event: FinalTranscript) -> None:
        """The requested text; if it is late, it still replaces a failure."""
        if self._ended.on_final(event):
            return
        utterance = self._asked_about(event.turn, event.position)
        if utterance is None or (utterance.asked_again and not event.text.strip()):
            return
        ending = utterance.state is UtteranceState.ENDING
        utterance.take_text(event.text, self._call.now)
        self._speculation.discard_other(utterance)
        self._weigh_text(utterance, ending=ending)

    def on_language(self, event: LanguageDetected | LanguagesFound) -> None:
        """Which language a turn is spoken in, as was asked; or which may be spoken now."""
        self._language.take(event)
        self._audio.set_timer()

    def on_scored(self, event: TurnScored) -> None:
        """The requested score of the turn detector."""
        utterance = self._audio.utterance
        if utterance is not None and (event.turn, event.position) == (
            utterance.turn,
            utterance.scored,
        ):
            utterance.probability = event.probability
            if self._call.state is State.ENDPOINTING:
                self._weigh_silence()

    def on_failed(self, event: TranscriptionFailed) -> None:
        """Transcription failed: use the partial text, or none."""
        if self._ended.on_failed(event):
            return
        utterance = self._audio.utterance
        if utterance is None or utterance.turn != event.turn or not utterance.awaits_text:
            return
        ending = utterance.state is UtteranceState.ENDING
        if utterance.partial_stands_in:
            utterance.take_text(utterance.partial, self._call.now)
        else:
            utterance.fail(event, self._call.now)
        self._weigh_text(utterance, ending=ending)

    def on_waits(self, event: TranscriptionWaits) -> None:
        """A turn's words wait for a recogniser: be patient with them, and publish that."""
        utterance = self._audio.utterance
        if utterance is None or utterance.turn != event.turn:
            utterance = self._ended.waiting(event.turn)
        if utterance is None or utterance.crowded_out:
            return
        utterance.crowded_out = True
        self._audio.set_timer()
        self._ended.set_timer()
        self._call.publish(HearingWaits(utterance.item_id, event.ahead))

    def on_text_overdue(self) -> None:
        """The open utterance's text is overdue."""
        self.on_failed(too_late(self._audio.opened().turn))

    def _asked_about(self, turn: int, position: int) -> Utterance | None:
        """The open utterance, if a result for ``turn`` and ``position`` is the one it awaits."""
        utterance = self._audio.utterance
        if utterance is None or utterance.state is UtteranceState.SPEAKING:
            return None
        return utterance if (turn, position) == (utterance.turn, utterance.asked) else None

    def _weigh_text(self, utterance: Utterance, *, ending: bool) -> None:
        """Act on the open utterance's text, or its failure. ``ending``: the turn waited for it."""
        self._audio.set_timer()
        if self._call.state is State.BARGE_IN:
            self._bargein.hear_final(utterance.text)
            self._take_floor()
        elif self._call.state is State.ENDPOINTING:
            if ending:
                self._end_turn()
            else:
                self._weigh_silence()

    def _ask_score(self, utterance: Utterance) -> None:
        """Ask the turn detector, once for each silence, when the text is there."""
        gate = self._audio.gate
        if (
            utterance.scored is None
            and utterance.has_text
            and gate.silence >= samples(SCORE_MS)
            and self._call.detection.mode is TurnMode.SEMANTIC_VAD
        ):
            utterance.scored = gate.last_voice + samples(SCORE_MS)
            self._call.order(ScoreTurn(utterance.turn, utterance.scored))

    # ------------------------------------------------------------------ barge-in

    def on_playout_finished(self, event: PlayoutFinished) -> None:
        """The reply ended; a barge-in that was still undecided becomes an ordinary turn."""
        self._replies.on_playout_finished(event)
        if self._call.state is State.BARGE_IN and self._replies.current is None:
            self.yield_floor()

    def on_barge_in_overdue(self) -> None:
        """No words have decided the overlap in time."""
        self._bargein.decide()
        self._take_floor()

    def yield_floor(self) -> None:
        """Give the caller the floor: the reply that they spoke over is gone."""
        self._bargein.confirm()
        self._take_floor()

    def _take_floor(self) -> None:
        """After a confirmed barge-in, continue with the overlap as an open utterance."""
        utterance, call = self._audio.utterance, self._call
        if call.state is not State.USER_SPEAKING or utterance is None:
            return
        if utterance.state is not UtteranceState.SPEAKING:
            call.move(Trigger.SPEECH_PAUSED)
            if utterance.has_text:
                self._ask_score(utterance)
        if self._audio.dry:
            self.on_input_ended()

    # ------------------------------------------------------------------ by hand

    def commit(self, request: RequestReply | None = None) -> bool:
        """End the open turn now; False if there is none. ``request``: how to answer it."""
        call, audio, utterance = self._call, self._audio, self._audio.utterance
        if utterance is None:
            return False
        if call.state is State.BARGE_IN:
            self._bargein.confirm()
        self._language.hear_end()
        speaking = utterance.state is UtteranceState.SPEAKING
        if speaking or audio.gate.voiced != utterance.voiced_when_asked:
            if not speaking:
                audio.go_on()
            if call.state in _CALLER_HAS_FLOOR:
                self._replies.cancel("turn_detected")
        utterance.request = request or utterance.request
        if call.state in _CALLER_HAS_FLOOR:
            audio.speech_stopped()
            self._hand_over(answer=call.config.answers or utterance.request is not None)
        else:
            self._ended.commit(audio.hand_over(), audio.gate.position)
        return True

    def clear(self, *, keep: bool = False) -> None:
        """Drop the input since the last turn; ``keep``: leave it open for a commit by hand."""
        match self._call.state:
            case State.BARGE_IN:
                self._bargein.refute(keep=keep)
            case State.USER_SPEAKING | State.ENDPOINTING:
                self._drop_turn(keep=keep)
            case _:
                self._audio.drop(keep=keep)

    def configure(self, config: SessionConfig) -> None:
        """Adopt ``config``. Push to talk keeps what is being said; switched off, it drops that."""
        before = self._call.config
        manual = before.turn_detection.mode is TurnMode.NONE
        if manual != (config.turn_detection.mode is TurnMode.NONE):
            self.clear(keep=not manual)
        self._call.configure(config)
        self._language.configure(before, config)
        self._speculation.read_instructions()

    def open_turn(self) -> OpenTurn | None:
        """What the caller is saying, as far as it has words that count, for a checkpoint."""
        call, utterance = self._call, self._audio.utterance
        if utterance is None or call.detection.mode is TurnMode.NONE or utterance.wordless:
            return None
        over_reply = call.state is State.BARGE_IN
        if not utterance.text.strip() or (over_reply and not self._bargein.interrupts):
            return None
        if self._tools.busy and classify(utterance.text, "") is Overlap.BACKCHANNEL:
            return None
        return OpenTurn(
            utterance.turn,
            utterance.item_id,
            utterance.text,
            max(0, self._audio.gate.position - utterance.start) / HEARING_RATE,
            wanted=call.config.answers or utterance.request is not None,
            request=utterance.request,
        )

    @property
    def language_decided(self) -> bool:
        """Whether it was found out which language the caller speaks."""
        return self._language.decided

    @property
    def pace(self) -> CallerPace:
        """How long the caller pauses."""
        return self._speculation.pace

    def close(self) -> None:
        """The call ends: record what was said, and release the recognisers."""
        self._ended.close()
        utterance = self._audio.utterance
        if utterance is None:
            return
        if self._call.state is State.BARGE_IN:
            self._call.order(DropTranscription(utterance.turn))
        else:
            self._ended.record_unanswered(utterance)
