"""Which language the caller speaks, if the session leaves that to the caller.

Rules
- The core asks the language detector about a turn once the turn has ``ENOUGH_MS`` of speech,
  and again at its end if the first answer was not ``CERTAIN``. It asks the detector about a
  shorter turn at its end, and only while the language is undecided.
- The first turn of ``ENOUGH_MS`` decides, whatever a short turn suggested before, and by its end
  rather than by its beginning. From then on, the language changes only if such a turn is clearly
  (``CLEAR``) in another; short turns inherit it.
- While the language is undecided, a short turn changes it only if the detector is ``SURE``.
- Once ``SETTLED`` turns in a row were certainly in the call's language, the core asks about each
  ``EVERY``-th turn only, until an answer is less certain. The words cannot replace the detector: a
  recogniser makes words of its own language out of any other.
- A turn that is clearly (``CLEAR``) in a language that is heard and not spoken changes nothing: its
  text is made in that language, and a sentence in the call's answers it. A short turn after it, if
  the detector is ``SURE`` of the same language, is taken for one, too.
- The end of a turn waits for the detector only while the language is undecided or the first answer
  was not certain, at most ``WAIT_MS``. Recognition goes on meanwhile in the language so far. If
  that was the wrong one, the turn is recognised again, and a reply to the wrong text is dropped.
"""

from collections import deque
from dataclasses import dataclass, replace

from sessions.core.call import Call
from sessions.core.commands import DetectLanguage, RestartTranscription
from sessions.core.config import SessionConfig
from sessions.core.events import LanguageDetected, LanguagesFound
from sessions.core.notices import LanguageChanged, LanguagesChanged, LanguageUnspoken
from sessions.core.replies.replies import Replies
from sessions.core.states import UtteranceState, UtteranceTrigger

from .ended_turns import EndedTurns
from .input_audio import InputAudio, Utterance
from .speech_gate import samples

ENOUGH_MS = 1_500
"""Cut there, 23 of 25 recordings are recognised (two of synthetic voices are not), and the English
ones with 0.987 or more (Whisper base)."""
LIKELY = 0.5
"""Probability for the first turn that is long enough: below it, the next one decides. Its end needs
no more than its beginning: of 288 turns in German, Spanish and Italian, 286 are then recognised as
the first one of a call, with ``CLEAR`` 283, with the mean of both answers 277."""
CLEAR = 0.8
"""For later turns."""
SURE = 0.9
"""For short ones: of nine of up to 1.3 s none is taken so surely for another foreign language, but
most for English."""
CERTAIN = 0.99
"""A German turn of a synthetic voice was English with 0.91 to 0.985 after 1.5 s, and German with
1.0 at its end; nearly all English turns reach 0.99."""
WAIT_MS = 400
"""The detector takes 0.11 s in the median, 0.3 s at most, on two busy cores."""

SETTLED = 2
EVERY = 3
"""A caller who changes the language is heard wrongly for two turns at most. Of 160 turns that were
heard in a wrong language, a classifier of texts knew that of 11 only."""

_MORE_MS = 200
"""So much more speech makes a second question worth while: "Wie viel kostet die Fahrkarte nach
München?" is English after 1.5 s, with 0.75, and German at its end, with less than half a second
more."""
_QUESTIONS = 2
_MOST_OPEN = 4
"""Turns about which an answer is awaited; the oldest is forgotten."""


@dataclass(frozen=True, slots=True)
class _Question:
    """The detector was asked about a turn up to ``position``, with ``voiced`` samples of speech."""

    position: int
    voiced: int
    item_id: str


class CallerLanguage:
    """Asks for the language of turns and decides the call's."""

    def __init__(self, call: Call, audio: InputAudio, replies: Replies, ended: EndedTurns) -> None:
        self._call = call
        self._audio = audio
        self._replies = replies
        self._ended = ended
        self.decided = False
        """The language was found out."""
        self._decided_by: int | None = None
        """The turn that decided it."""
        self._agreed = 0
        """Turns in a row that were certainly in the call's language."""
        self._passed: deque[int] = deque(maxlen=EVERY - 1)
        """The turns since then that were not asked about."""
        self._unspoken = ""
        """The language of the last turn, where that is not spoken."""
        self._questions: dict[int, _Question] = {}
        """The last one about each turn, until it is answered."""

    def configure(self, before: SessionConfig, after: SessionConfig) -> None:
        """Another configuration holds: what was decided counts while the choice is the same."""
        if not after.detects_language or before.language != after.language:
            self.decided, self._agreed = False, 0
        if after.detects_language and after.language_known:
            self.decided = True

    def take(self, event: LanguageDetected | LanguagesFound) -> None:
        """The detector's answer about a turn, or what the caller may speak from now on."""
        if isinstance(event, LanguagesFound):
            self._found(event)
        else:
            self._detected(event)

    def _found(self, event: LanguagesFound) -> None:
        call = self._call
        if not call.config.detects_language:
            return
        found = replace(
            call.config,
            languages=event.languages,
            unspoken=event.unspoken,
            coming=event.coming,
        )
        if found != call.config:
            call.configure(found)
            call.publish(LanguagesChanged(found))

    def listen(self) -> None:
        """Another window of speech: ask once there is enough of it."""
        utterance, voiced = self._audio.utterance, self._audio.gate.voiced
        if utterance is None or utterance.questions or voiced < samples(ENOUGH_MS):
            return
        if not self._passes(utterance):
            self._ask(utterance)

    def hear_end(self) -> None:
        """The caller pauses, or the turn is ended by hand: ask by what there is."""
        utterance, voiced = self._audio.opened(), self._audio.gate.voiced
        if not utterance.questions:
            if not self.decided and voiced:
                self._ask(utterance)
        elif (
            utterance.language_uncertain
            and utterance.questions < _QUESTIONS
            and voiced >= utterance.questioned + samples(_MORE_MS)
        ):
            self._ask(utterance)

    def awaited(self, utterance: Utterance, overdue: int) -> bool:
        """Whether the end of the turn waits for the language, ``overdue`` samples after it was
        due."""
        open_question = not self.decided or utterance.questions > 1
        return utterance.awaits_language and open_question and overdue < samples(WAIT_MS)

    def _detected(self, event: LanguageDetected) -> None:
        """An answer that comes when the turn has been answered already still counts for those to
        come."""
        question = self._questions.get(event.turn)
        if question is None or question.position != event.position:
            return
        del self._questions[event.turn]
        open_one = self._audio.utterance
        opened = open_one is not None and open_one.turn == event.turn
        utterance = open_one if opened else self._ended.waiting(event.turn)
        self._note_agreement(question, event)
        again = None
        if self._decides(question, event):
            self._change(question, event)
            again = self._call.config.language
        unspoken = self._is_unspoken(question, event)
        if utterance is None:
            return
        if unspoken:
            again = self._note_unspoken(utterance, event)
        elif utterance.unspoken:
            utterance.unspoken = ""
            again = again or self._take_back(utterance, event)
        utterance.awaits_language = False
        utterance.language_uncertain = event.probability < CERTAIN
        if not opened:
            self._ended.on_language(utterance, again)
        elif again is not None:
            self._hear_again(utterance, again)
        elif utterance.state is not UtteranceState.SPEAKING:
            self.hear_end()

    def _passes(self, utterance: Utterance) -> bool:
        """Whether there is no need to ask about the turn."""
        if self._agreed < SETTLED:
            return False
        if utterance.turn in self._passed:
            return True
        if len(self._passed) == self._passed.maxlen:
            return False
        self._passed.append(utterance.turn)
        return True

    def _note_agreement(self, question: _Question, event: LanguageDetected) -> None:
        self._passed.clear()
        agrees = event.language == self._call.config.language and event.probability >= CERTAIN
        if not agrees:
            self._agreed = 0
        elif question.voiced >= samples(ENOUGH_MS):
            self._agreed += 1

    def _ask(self, utterance: Utterance) -> None:
        config, gate = self._call.config, self._audio.gate
        candidates = (*config.languages, *config.unspoken)
        if not config.detects_language or len(candidates) < 2:
            return
        utterance.questions += 1
        utterance.questioned, utterance.awaits_language = gate.voiced, True
        question = _Question(gate.position, gate.voiced, utterance.item_id)
        self._questions[utterance.turn] = question
        while len(self._questions) > _MOST_OPEN:
            del self._questions[next(iter(self._questions))]
        self._call.order(DetectLanguage(utterance.turn, question.position, candidates))

    def _decides(self, question: _Question, event: LanguageDetected) -> bool:
        """Whether the call's language changes."""
        config = self._call.config
        long_enough = question.voiced >= samples(ENOUGH_MS)
        if not config.detects_language or event.language not in config.languages:
            return False
        settled = self.decided and event.turn != self._decided_by
        needed = (CLEAR if settled else LIKELY) if long_enough else SURE
        if event.probability < needed or (settled and not long_enough):
            return False
        if long_enough and not self.decided:
            self.decided, self._decided_by = True, event.turn
        return event.language != config.language

    def _change(self, question: _Question, event: LanguageDetected) -> None:
        call = self._call
        call.configure(replace(call.config, language=event.language))
        call.publish(LanguageChanged(call.config, question.item_id, event.probability))
        self._cancel_unreleased()

    def _is_unspoken(self, question: _Question, event: LanguageDetected) -> bool:
        """Whether the turn is in a language that is heard and not spoken."""
        long_enough = question.voiced >= samples(ENOUGH_MS)
        known = event.language in self._call.config.unspoken
        if known and long_enough:
            known = event.probability >= CLEAR
        elif known:
            known = event.probability >= SURE and event.language == self._unspoken
        if known or long_enough:
            self._unspoken = event.language if known else ""
        return known

    def _note_unspoken(self, utterance: Utterance, event: LanguageDetected) -> str | None:
        """The turn is in such a language. Returns it, where the turn must be heard again."""
        before, utterance.unspoken = utterance.unspoken, event.language
        if before == event.language:
            return None
        self._cancel_unreleased()
        item_id, probability = utterance.item_id, event.probability
        self._call.publish(LanguageUnspoken(event.language, item_id, probability))
        return event.language

    def _take_back(self, utterance: Utterance, event: LanguageDetected) -> str:
        """The turn is in the call's language after all."""
        config = self._call.config
        self._call.publish(LanguageChanged(config, utterance.item_id, event.probability))
        return config.language

    def _cancel_unreleased(self) -> None:
        reply = self._replies.current
        if reply is not None and not reply.released:
            self._replies.cancel("turn_detected")

    def _hear_again(self, utterance: Utterance, language: str) -> None:
        """The open utterance is heard again, in its own language."""
        utterance.speaks(language)
        self._call.order(RestartTranscription(utterance.turn, language))
        if utterance.state is UtteranceState.SPEAKING:
            return
        ending = utterance.state is UtteranceState.ENDING
        self._audio.ask_text_again()
        if ending:
            utterance.move(UtteranceTrigger.INPUT_ENDED)
