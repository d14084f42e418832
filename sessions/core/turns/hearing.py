"""The input stream as the conversation hears it: the speech gate and the open utterance on it.

Rules: one utterance is open at a time. Input before ``floor`` belongs to an earlier turn, or
was cleared, and is never part of another.
"""

from collections import deque

from media.formats import HEARING_RATE
from sessions.core.call import Call
from sessions.core.commands import DropTranscription, FinishTranscription, StartTranscription
from sessions.core.config import TurnMode
from sessions.core.events import VoiceWindow
from sessions.core.notices import SpeechStarted, SpeechStopped

from .endpointing import HINT_MS, SpeechGate, samples
from .utterance import Utterance

_ECHO_WINDOWS = 64
"""Two seconds: the longest overlap."""
_ECHO_LEAST = 6
_RESUMED_MS = 64
"""Speech after the text was asked for that means: the caller goes on."""


class Hearing:
    """Opens, questions and drops utterances."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self.gate = SpeechGate()
        self.utterance: Utterance | None = None
        self.voice_at: float | None = None
        """When the last voiced window came."""
        self.window_at: float | None = None
        """When the last window came; None once the input has run dry."""
        self._floor = 0
        self._echoes: deque[float] = deque(maxlen=_ECHO_WINDOWS)
        """Of the voiced windows of the present speech."""

    def look(self, event: VoiceWindow) -> None:
        """Advance by one window of audio."""
        call, gate, voice = self._call, self.gate, event.voice
        threshold = call.detection.threshold
        if call.detection.mode is not TurnMode.NONE:
            voice = call.level.voice(event, threshold, call.state)
        gate.look(event.position, voice, threshold)
        self.window_at = call.now
        if gate.last_voice == gate.position:
            self.voice_at = call.now
            self._echoes.append(event.echo)
        if self.utterance is None and self.silent:
            self.rest()

    @property
    def silent(self) -> bool:
        """Whether the caller has been silent long enough to think of an end."""
        return self.gate.silence >= samples(HINT_MS)

    def echo(self, last: int | None = None) -> float | None:
        """How much the present speech, or its ``last`` voiced windows, sound like what was being
        played, 0..1; None while there are too few."""
        heard = list(self._echoes)[-(last or _ECHO_WINDOWS) :]
        return sum(heard) / len(heard) if len(heard) >= (last or _ECHO_LEAST) else None

    def rest(self) -> None:
        """Forget the present speech: what follows is a new onset."""
        self.gate.rest()
        self._call.level.take()
        self._echoes.clear()

    @property
    def resumed(self) -> bool:
        """Whether the caller spoke on after the open utterance's text was asked for."""
        more = self.gate.voiced - self.opened().voiced_when_asked
        return more >= samples(_RESUMED_MS)

    def opened(self) -> Utterance:
        """The open utterance; there must be one."""
        if self.utterance is None:
            raise RuntimeError(f"no open utterance while {self._call.state}")
        return self.utterance

    def begin(self, start: int) -> Utterance:
        """Open an utterance that starts at ``start``, but not before the floor."""
        call = self._call
        utterance = Utterance(
            call.next_turn(), call.next_item_id(), max(self._floor, start, 0), call.config.language
        )
        self.utterance = utterance
        call.order(StartTranscription(utterance.turn, utterance.start))
        return utterance

    def begin_at_onset(self) -> None:
        """Open an utterance where the caller's speech set in, with padding before it."""
        padding = samples(self._call.detection.prefix_padding_ms)
        utterance = self.begin(self.gate.onset - padding)
        self._call.tell(SpeechStarted(utterance.item_id, utterance.start))

    def ask_text(self) -> Utterance:
        """Have the open utterance transcribed up to here."""
        utterance = self.opened()
        utterance.ask(self.gate.position, self.gate.voiced, self._call.now)
        self._call.order(FinishTranscription(utterance.turn, self.gate.position))
        return utterance

    def speech_stopped(self) -> None:
        """Tell that the open utterance's speech has ended."""
        self._call.tell(SpeechStopped(self.opened().item_id, self.gate.last_voice))

    def hand_over(self) -> Utterance:
        """The open utterance, which is open no longer: a turn now."""
        utterance = self.opened()
        utterance.seconds = (self.gate.position - utterance.start) / HEARING_RATE
        utterance.level = self._call.level.take()
        self._forget()
        return utterance

    def drop(self) -> None:
        """Forget the open utterance, if any, and all audio so far."""
        utterance = self.utterance
        self._forget()
        if utterance is not None:
            self._call.order(DropTranscription(utterance.turn))

    def _forget(self) -> None:
        self.utterance = None
        self._floor = self.gate.position
        self.rest()
