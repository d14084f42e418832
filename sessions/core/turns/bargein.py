"""Speech over the reply: an interruption, or not?

Rules
- Speech longer than ``BARGE_IN_MS`` pauses the playout first; what it is, is decided by its
  words: the first partial that is an interruption confirms it at once, a final text that is
  none refutes it at once.
- A final text alone does not confirm: recognisers of whole utterances make words of a hum. It
  waits for the partial, ``AGREEMENT_MS`` of silence at most; where both speak, the partial's
  word counts. Two seconds of speech, or four without any answer, decide by what there is.
- Speech that sounds like what was being played (``ECHO`` of it, by its signal) is refuted whatever
  its words look like. It is listened to on: once it sounds like somebody else, that may be an
  interruption, silence or not.
- Confirmed, the reply is cancelled and the caller has the floor. Refuted, the words are
  forgotten and playout resumes where it stopped; the next suspicion waits for silence.
"""

from media.formats import milliseconds_of
from sessions.core.call import Call
from sessions.core.commands import PausePlayout, ResumePlayout
from sessions.core.events import PlayoutPaused
from sessions.core.notices import PlayoutHeld, PlayoutResumed
from sessions.core.replies.replies import Replies
from sessions.core.states import State, Trigger

from .backchannel import Overlap, classify
from .endpointing import BARGE_IN_MS, samples
from .hearing import Hearing

AGREEMENT_MS = 500
_SPEECH_MAXIMUM_MS = 2_000
_DECISION_SECONDS = 4.0
ECHO = 0.8
"""Mean of an overlap's windows from which it is an echo; callers stay below it (``media.echo``)."""
_NO_ECHO = 0.55
_NO_ECHO_WINDOWS = 12
"""So many windows (0.4 s) below ``_NO_ECHO`` are somebody else's."""


class BargeIn:
    """Suspects, confirms and refutes interruptions."""

    def __init__(self, call: Call, replies: Replies, hearing: Hearing) -> None:
        self._call = call
        self._replies = replies
        self._hearing = hearing
        self._since = 0.0
        self._deaf = False
        """One was refuted: wait for silence before suspecting the next."""
        self._echoed = False
        """It was an echo by its signal."""

    def listen(self) -> None:
        """The reply is heard: is the caller speaking over it?"""
        call, gate, reply = self._call, self._hearing.gate, self._replies.current
        if self._hearing.silent:
            self._deaf = False
        elif self._deaf and self._echoed and self._other_voice():
            self._deaf = False
            self._hearing.rest()
        if reply is None or not call.detection.interrupt_response or self._deaf:
            return
        if gate.voiced < samples(BARGE_IN_MS):
            return
        call.move(Trigger.BARGE_IN_SUSPECTED)
        self._since = call.now
        reply.paused = None
        call.order(PausePlayout(reply.number))
        self._hearing.begin_at_onset()

    def on_paused(self, event: PlayoutPaused) -> None:
        """Playout stands still."""
        reply = self._replies.current
        if reply and reply.number == event.reply and self._call.state is State.BARGE_IN:
            reply.paused = event.heard
            heard_ms = milliseconds_of(event.heard, reply.spoken.rate or 1)
            self._call.tell(PlayoutHeld(reply.reply_id, reply.item_id, heard_ms))

    def weigh(self) -> None:
        """Another window of the overlap."""
        hearing, utterance = self._hearing, self._hearing.opened()
        if utterance.asked is not None:
            if hearing.resumed:
                utterance.went_on()
            elif utterance.final is not None and hearing.gate.silence >= samples(AGREEMENT_MS):
                self.decide()
        elif hearing.silent:
            hearing.ask_text()
        elif hearing.gate.position - hearing.gate.onset >= samples(_SPEECH_MAXIMUM_MS):
            self.decide()

    def hear_partial(self, text: str) -> None:
        """Some words of the overlap: enough to confirm, never to refute."""
        if self._overlap(text) is Overlap.INTERRUPTION:
            self.confirm()

    def hear_final(self, text: str) -> None:
        """All the words of the overlap: enough to refute, not to confirm while more may come."""
        if self._overlap(text) is not Overlap.INTERRUPTION:
            self.refute()
        elif self._hearing.window_at is None:
            self.decide()

    def decide(self) -> None:
        """By the words there are: the partial's, else the final text's."""
        utterance = self._hearing.opened()
        if self._overlap(utterance.partial or utterance.text) is Overlap.INTERRUPTION:
            self.confirm()
        else:
            self.refute()

    def confirm(self) -> None:
        """The caller has the floor; a reply that still stands is cancelled."""
        self._call.move(Trigger.BARGE_IN_CONFIRMED)
        self._replies.cancel("turn_detected")

    def refute(self) -> None:
        """It was none: forget the words, go on playing where it stopped."""
        call, reply = self._call, self._replies.current
        self._echoed = self._is_echo()
        self._hearing.speech_stopped()
        self._hearing.drop()
        self._deaf = True
        call.move(Trigger.BARGE_IN_REFUTED)
        if reply is not None:
            reply.progress = call.now
            call.order(ResumePlayout(reply.number))
            call.tell(PlayoutResumed(reply.reply_id, reply.item_id))

    def deadline(self) -> float | None:
        """When the overlap is refuted for want of words."""
        if self._call.state is not State.BARGE_IN:
            return None
        return self._since + _DECISION_SECONDS

    def _overlap(self, text: str) -> Overlap:
        reply = self._replies.current
        by_words = classify(text, reply.playing if reply else "")
        if by_words is Overlap.INTERRUPTION and self._is_echo():
            return Overlap.ECHO
        return by_words

    def _is_echo(self) -> bool:
        echo = self._hearing.echo()
        return echo is not None and echo >= ECHO

    def _other_voice(self) -> bool:
        echo = self._hearing.echo(_NO_ECHO_WINDOWS)
        return echo is not None and echo < _NO_ECHO
