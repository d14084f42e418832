"""The caller's input audio, and the open utterance in it.

Rules
- One utterance is open at a time. Input before ``_floor`` belongs to an earlier turn or was
  cleared, and is never part of another.
- A window with nothing but the agent's own voice counts as silence, unless the client switched that
  off or uses push to talk.
- The ``state`` of an utterance (``states.UTTERANCE``) changes only by ``move``, and by the methods
  that are named for what happened.
"""

from collections import deque
from dataclasses import dataclass, field, replace

from media.formats import HEARING_RATE
from sessions.core.call import Call, Moments, Timer
from sessions.core.commands import DropTranscription, FinishTranscription, StartTranscription
from sessions.core.config import TurnMode
from sessions.core.events import (
    PartialTranscript,
    RequestReply,
    TranscriptionFailed,
    VoiceWindow,
)
from sessions.core.notices import SpeechStarted, SpeechStopped
from sessions.core.states import UTTERANCE, UtteranceState, UtteranceTrigger
from sessions.languages.packs import pack_of, words_of

from .speech_gate import SpeechGate, samples

HINT_MS = 128
"""Silence that separates speech from speech."""
EARLY_HINT_MS = 64
"""The silence after which the turn may be over: transcribe, score, speculate. In 110 recorded turns
the text is requested 1.78 times a turn so, 1.63 times after 128 ms; in 99 of them the words are the
same."""

_HINT = samples(HINT_MS)
_EARLY_HINT = samples(EARLY_HINT_MS)
_RESUMED = samples(64)
"""Speech after the request for the text that means: the caller goes on."""
_LAG = samples(100)
"""How much of the sound a recogniser may miss and still have heard the last word."""
ECHO = 0.8
"""From this value on, a window (or an overlap, on average) is nothing but the agent's own voice."""
_ECHO_WINDOWS = 64
"""Two seconds: the longest overlap."""
_ECHO_LEAST = 6
_FADED_DB = 28.0
"""A window so far below the speech before it ends that speech, or begins a pause. With 16 dB, gaps
within words count, too: of 48 recordings spoken over a reply, 10 have one in their first 0.7 s;
with 28 dB 3 have one, all before a pause."""
_LOUD_PART = 0.8
_STARVED_SECONDS = 1.0
"""After so long without a window, the input has run dry."""
_TEXT_SECONDS = 4.0
"""How long to wait for a final text if the partial one can stand in for it."""
_TEXT_SECONDS_ALONE = 10.0
"""How long to wait if it cannot: there is none, or it covers only part of the sound."""
_TEXT_SECONDS_CROWDED = 22.0
"""The same while a recogniser has other utterances to transcribe first: it gives up after 20 s."""
_LONG_TURN_SECONDS = 10.0
"""Half of a turn's length beyond this is added to the wait: a long turn takes longer to transcribe,
and its partial text may be far behind."""

_AWAITING_TEXT = (UtteranceState.TRANSCRIBING, UtteranceState.ENDING, UtteranceState.COMMITTED)


@dataclass(slots=True)
class Utterance:
    """One utterance, as far as it is known. Positions in input samples."""

    turn: int
    item_id: str
    start: int
    language: str = "en"
    onset: int = 0
    """Where its speech set in."""
    state: UtteranceState = UtteranceState.SPEAKING
    partial: str = ""
    covered: int = 0
    """How far the recogniser of partial texts has heard."""
    asked: int = 0
    """Position up to which its text was last requested."""
    asked_at: float = 0.0
    silence_when_asked: int = _HINT
    voiced_when_asked: int = 0
    final: str | None = None
    """The text up to ``asked``; None before it arrives."""
    failure: TranscriptionFailed | None = None
    """Why there is no text up to ``asked``, if the recogniser failed."""
    probability: float | None = None
    """The turn detector's probability that it is over."""
    scored: int | None = None
    """Position up to which the turn detector was last asked."""
    asked_again: bool = False
    """Its text was requested once more, after a longer silence."""
    speculations: int = 0
    reply_wanted: bool = False
    request: RequestReply | None = None
    """The client's request for the reply."""
    seconds: float = 0.0
    is_clip: bool = False
    """It is the speech of an item, which nobody said in the call."""
    questions: int = 0
    """How often the language detector was asked about it."""
    questioned: int = 0
    """Samples of speech that it had when the detector was asked last."""
    awaits_language: bool = False
    """The detector has not answered."""
    held_text: str | None = None
    """Its final text, if that came before its language was known."""
    language_uncertain: bool = False
    """The detector's last answer left it open."""
    unspoken: str = ""
    """Its language, where that is heard and not spoken; else empty."""
    crowded_out: bool = False
    """Its words wait for a recogniser."""
    level: float | None = None
    """The caller's level in dBFS; None if it was too short to measure or is not over."""
    moments: Moments = field(default_factory=Moments)

    def move(self, trigger: UtteranceTrigger) -> None:
        """Change the state as the table says; raises IllegalTransition."""
        self.state = UTTERANCE.after(self.state, trigger)

    @property
    def has_text(self) -> bool:
        """Whether the text up to ``asked`` has arrived, or never will."""
        return self.final is not None

    @property
    def awaits_text(self) -> bool:
        """Whether its text was requested and has not arrived."""
        return self.state in _AWAITING_TEXT

    @property
    def text(self) -> str:
        """The best text so far."""
        return self.partial if self.final is None else self.final

    @property
    def partial_stands_in(self) -> bool:
        """Whether the partial text may stand in for the final one: it has words, and covers the
        sound to the end of speech. Half a number is no number."""
        if self.state is UtteranceState.SPEAKING or not self.partial.strip():
            return False
        return self.covered >= self.asked - self.silence_when_asked - _LAG

    @property
    def text_due(self) -> float | None:
        """The deadline of its text; None if none is awaited."""
        if not self.awaits_text:
            return None
        if self.partial_stands_in:
            seconds = _TEXT_SECONDS
        else:
            seconds = _TEXT_SECONDS_CROWDED if self.crowded_out else _TEXT_SECONDS_ALONE
        seconds += max(0.0, self.seconds - _LONG_TURN_SECONDS) / 2
        return self.asked_at + seconds

    @property
    def wordless(self) -> bool:
        """Whether its text says nothing: it is empty, or only a word that recognisers of whole
        utterances make of noise, while the streaming one heard no word."""
        if self.final is None or self.failure is not None:
            return False
        words = " ".join(words_of(self.final))
        return not words or (words in pack_of(self.language).invented and not self.partial)

    def speaks(self, language: str) -> None:
        """It is in another language than was assumed: discard the text so far."""
        self.language, self.partial, self.covered, self.held_text = language, "", 0, None

    def hear_out(self, event: PartialTranscript) -> None:
        """Take a partial text after the turn has ended: the recogniser is behind. What it hears
        beyond the turn belongs to the next one."""
        if self.covered < self.asked:
            self.partial, self.covered = event.text, event.position

    def ask(self, position: int, voiced: int, now: float) -> None:
        """Note that its text up to ``position`` is requested."""
        self.move(UtteranceTrigger.TEXT_REQUESTED)
        self.asked, self.asked_at, self.voiced_when_asked = position, now, voiced

    def take_text(self, text: str, now: float) -> None:
        """The text of the open utterance arrived."""
        self.move(UtteranceTrigger.TEXT_ARRIVED)
        self.final, self.failure, self.moments.transcript = text, None, now

    def fail(self, failure: TranscriptionFailed, now: float) -> None:
        """Transcription failed, and nothing can stand in for the text."""
        self.move(UtteranceTrigger.TEXT_FAILED)
        self.final, self.failure, self.moments.transcript = "", failure, now

    def go_on(self) -> None:
        """The caller went on: drop the conclusions drawn from the silence."""
        self.move(UtteranceTrigger.SPEECH_RESUMED)
        self.final = self.failure = self.probability = self.moments.transcript = None
        self.scored, self.asked_again = None, False


class InputAudio:
    """Opens utterances, has them transcribed, and hands them over or drops them."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self.gate = SpeechGate()
        self.utterance: Utterance | None = None
        """The open utterance."""
        self.voice_at: float | None = None
        """When the last voiced window came."""
        self.dry = True
        """No window has come since the input ran dry."""
        self._timed = False
        """The open utterance began with speech, so windows must follow."""
        self._floor = 0
        self._echoes: deque[float] = deque(maxlen=_ECHO_WINDOWS)
        """The echo of each voiced window of the current speech."""
        self._levels: deque[float] = deque(maxlen=_ECHO_WINDOWS)
        """The levels of its windows in dBFS."""

    def look(self, event: VoiceWindow) -> None:
        """Take the next window of audio."""
        call, gate, voice = self._call, self.gate, event.voice
        detection = call.detection
        echo = event.echo if call.config.suppresses_echo else 0.0
        if detection.mode is not TurnMode.NONE:
            heard = replace(event, voice=0.0) if echo >= ECHO else event
            voice = heard.voice
            if call.config.turn_taking.level_gate:
                voice = call.level.voice(heard, detection.threshold, call.state)
        if event.level is not None:
            self._levels.append(event.level)
        gate.look(event.position, voice, detection.threshold)
        self.dry = False
        if self._timed:
            call.timers.set(Timer.INPUT, call.now + _STARVED_SECONDS)
        if gate.last_voice == gate.position:
            self.voice_at = call.now
        if gate.last_voice == gate.position or (
            echo >= ECHO and event.voice >= detection.threshold
        ):
            self._echoes.append(echo)
        if self.utterance is None and self.silent:
            self.rest()

    def run_dry(self) -> None:
        """No more windows will come."""
        self.dry = True
        self._call.timers.set(Timer.INPUT, None)

    @property
    def silent(self) -> bool:
        """Whether the speech before is over: what follows is speech of its own."""
        return self.gate.position - self.gate.last_voice >= _HINT

    @property
    def paused(self) -> bool:
        """Whether the caller has been silent long enough for a possible end."""
        early = self._call.config.turn_taking.early_hint
        return self.gate.position - self.gate.last_voice >= (_EARLY_HINT if early else _HINT)

    def echo(self, last: int | None = None) -> float | None:
        """How much the current speech (or its ``last`` voiced windows) sounds like the playout.

        From 0 to 1; None if there are too few windows."""
        heard = list(self._echoes)[-(last or _ECHO_WINDOWS) :]
        return sum(heard) / len(heard) if len(heard) >= (last or _ECHO_LEAST) else None

    @property
    def faded(self) -> bool:
        """Whether the current speech seems over by its level; the VAD notices some 90 ms later."""
        if len(self._levels) < _ECHO_LEAST:
            return False
        loud = sorted(self._levels)[int(_LOUD_PART * (len(self._levels) - 1))]
        return self._levels[-1] <= loud - _FADED_DB

    def rest(self) -> None:
        """Forget the current speech: what follows is a new onset."""
        self.gate.rest()
        self._call.level.take()
        self._echoes.clear()
        self._levels.clear()

    @property
    def resumed(self) -> bool:
        """Whether the caller went on after the open utterance's text was requested."""
        return self.gate.voiced - self.opened().voiced_when_asked >= _RESUMED

    def opened(self) -> Utterance:
        """The open utterance; raises RuntimeError if there is none."""
        if self.utterance is None:
            raise RuntimeError(f"no open utterance while {self._call.state}")
        return self.utterance

    def begin(self, start: int) -> Utterance:
        """Open an utterance that starts at ``start``, or at the floor if that is later."""
        call = self._call
        utterance = Utterance(
            call.next_turn(), call.next_item_id(), max(self._floor, start, 0), call.config.language
        )
        self.utterance = utterance
        call.order(StartTranscription(utterance.turn, utterance.start))
        return utterance

    def begin_at_onset(self) -> Utterance:
        """Open an utterance at the onset of speech, with padding before it."""
        padding = samples(self._call.detection.prefix_padding_ms)
        utterance = self.begin(self.gate.onset - padding)
        utterance.onset = self.gate.onset
        self._call.publish(SpeechStarted(utterance.item_id, utterance.start))
        self._timed = True
        self._call.timers.set(Timer.INPUT, self._call.now + _STARVED_SECONDS)
        return utterance

    def ask_text(self) -> None:
        """Request the text of the open utterance up to the current position."""
        utterance = self.opened()
        utterance.ask(self.gate.position, self.gate.voiced, self._call.now)
        utterance.silence_when_asked = self.gate.silence
        self._call.order(FinishTranscription(utterance.turn, self.gate.position))
        self.set_timer()

    def ask_again(self) -> None:
        """Have the open utterance, whose text is there, transcribed with more silence behind it."""
        utterance = self.opened()
        utterance.asked, utterance.asked_again = self.gate.position, True
        self._call.order(FinishTranscription(utterance.turn, self.gate.position))

    def ask_text_again(self) -> None:
        """Request the open utterance's text anew."""
        utterance = self.opened()
        probability = utterance.probability
        utterance.go_on()
        self.ask_text()
        utterance.probability = probability

    def go_on(self) -> None:
        """The open utterance goes on: its text up to here is no longer requested."""
        self.opened().go_on()
        self.set_timer()

    def speech_stopped(self) -> None:
        """Publish that the open utterance's speech has ended."""
        self._call.publish(SpeechStopped(self.opened().item_id, self.gate.last_voice))

    def hand_over(self) -> Utterance:
        """Close the open utterance and return it: it is a turn now."""
        utterance = self.opened()
        utterance.seconds = (self.gate.position - utterance.start) / HEARING_RATE
        utterance.level = self._call.level.take()
        self._forget()
        return utterance

    def drop(self, *, keep: bool = False) -> None:
        """Drop the open utterance, if any, and all audio so far. ``keep``: only what was concluded
        from its silences; it stays open until it is committed."""
        utterance = self.utterance
        if keep:
            if utterance is not None and utterance.state is not UtteranceState.SPEAKING:
                utterance.go_on()
            self._timed = False
            self._call.timers.set(Timer.INPUT, None)
            self.set_timer()
            return
        self._forget()
        if utterance is not None:
            utterance.move(UtteranceTrigger.DROPPED)
            self._call.order(DropTranscription(utterance.turn))

    def set_timer(self) -> None:
        """Update the deadline for the open utterance's text, after a change to the utterance."""
        due = self.utterance.text_due if self.utterance is not None else None
        self._call.timers.set(Timer.OPEN_TEXT, due)

    def _forget(self) -> None:
        self.utterance = None
        self._timed = False
        self._call.timers.set(Timer.INPUT, None)
        self._call.timers.set(Timer.OPEN_TEXT, None)
        self._floor = self.gate.position
        self.rest()
