"""Speech over the reply: an interruption, or not?

Rules
- Speech longer than ``BARGE_IN_MS`` pauses the playout. Then its words decide: the first partial
  that is an interruption confirms the barge-in, and a final text that is none refutes it.
- A final text alone does not confirm, because recognisers of whole utterances turn a hum into
  words. It waits for a partial, during at most ``AGREEMENT_MS`` of silence; if both have words, the
  partial decides. After two seconds of speech, or four without any text, the words so far decide.
- A short sound without words holds the reply only for ``HOLD_MS``. Once the caller is silent, or a
  longer sound has faded, playout resumes while the decision is still open. More speech pauses it
  again, and late words still interrupt.
- Speech that sounds like the playout (by its signal, ``ECHO`` or more) is refuted whatever its
  words are. Listening continues: once it sounds like somebody else, it may be an interruption, even
  without silence in between.
- If confirmed, the reply is cancelled and the caller has the floor. If refuted, the words are
  dropped and playout resumes where it stopped; the next suspicion waits for silence.
- Three kinds of speech do not take the floor (``classify``): backchannels ("mhm", "okay"), echoes
  of the agent's own voice, and speech without a recognisable word.
- An echo is seldom recognised word for word, so its letters are compared, roughly by their sound:
  "Opening our." is an echo of "our opening hours". Speech is an echo if its letters occur in the
  playout as one run with few differences, each of its words resembles a played one, and none of its
  words interrupts ("no", "wait") unless that very word was played.
"""

import re
import unicodedata
from enum import StrEnum

from sessions.core.call import Call, Timer
from sessions.core.replies.replies import Replies
from sessions.core.states import Trigger, UtteranceState
from sessions.languages.packs import pack_of, words_of

from .input_audio import ECHO, InputAudio, Utterance
from .speech_gate import samples

BARGE_IN_MS = 96
"""Speech over the reply after which playout is paused; the speech gate notices none sooner."""
AGREEMENT_MS = 500
HOLD_MS = 384
"""How long playout is held by a sound that ends without words. Of recordings over a telephone
line, "okay" and "yes" end 350 to 450 ms after their onset; "wait" ends after 290 ms, and its text
is there after 500."""
TEXT_MS = 608
"""How long it is held by a sound shorter than ``_SHORT_MS`` whose words are not known yet: "no",
"stop" and "wait" are as short, "mhm" and "okay" seldom."""
_SHORT_MS = 384
_LONG_MS = 480
"""A sound so long is over once it has faded: "mhm" fades 90 ms before the VAD hears its end."""
_SPEECH_MAXIMUM_MS = 2_000
_DECISION_SECONDS = 4.0
_NO_ECHO = 0.55
_NO_ECHO_WINDOWS = 12
"""This many windows (0.4 s) below ``_NO_ECHO`` are somebody else's voice."""

_ECHO_WINDOW_WORDS = 16
_ECHO_LETTERS = 120
"""How many letters of the playout are compared: 16 words of 7 letters, and longer ones are cut."""
_WORD_LETTERS = 32
"""Of a longer word, only the beginning is compared."""
_LETTERS_ALIKE = 0.75
_WORD_ALIKE = 0.6
_LONE_WORD_LETTERS = 4
"""A single word shorter than this is an echo only if exactly that word was played."""
_STRAY_LETTERS = 3
_STRAY_SHARE = 0.2
"""This share of the words, in the middle, may resemble none if they are short: "was" for "is"."""


class Overlap(StrEnum):
    """What speech over the reply turns out to be."""

    NOTHING = "nothing"
    BACKCHANNEL = "backchannel"
    ECHO = "echo"
    INTERRUPTION = "interruption"


class BargeIn:
    """Suspects, confirms and refutes interruptions."""

    def __init__(self, call: Call, replies: Replies, audio: InputAudio) -> None:
        self._call = call
        self._replies = replies
        self._audio = audio
        self._deaf = False
        """A barge-in was refuted: wait for silence before suspecting the next one."""
        self._echoed = False
        """The refuted speech was an echo, by its signal."""
        self._held_at: int | None = None
        """Position at which playout was paused; None: it goes on."""
        self._voiced = 0
        """Samples of the overlap's speech when playout was let go on."""

    def listen(self) -> None:
        """The reply is playing: suspect a barge-in if the caller speaks over it."""
        call, gate = self._call, self._audio.gate
        if self._audio.silent:
            self._deaf = False
        elif self._deaf and self._echoed and self._other_voice():
            self._deaf = False
            self._audio.rest()
        if self._deaf or self._replies.current is None:
            return
        if not (call.detection.interrupt_response and self._replies.interruptible):
            return
        if gate.voiced < samples(BARGE_IN_MS):
            return
        call.move(Trigger.BARGE_IN_SUSPECTED)
        call.timers.set(Timer.BARGE_IN, call.now + _DECISION_SECONDS)
        self._hold()
        self._audio.begin_at_onset()

    def weigh(self) -> None:
        """Judge another window of the overlap."""
        audio, utterance = self._audio, self._audio.opened()
        if self._held_at is None:
            if audio.gate.voiced - self._voiced >= samples(BARGE_IN_MS) and not self._is_echo():
                self._hold()
        elif audio.gate.silence or (audio.faded and audio.gate.voiced >= samples(_LONG_MS)):
            self._let_go_on(utterance)
        if utterance.state is not UtteranceState.SPEAKING:
            if audio.resumed:
                audio.go_on()
            elif utterance.has_text and audio.gate.silence >= samples(AGREEMENT_MS):
                self.decide()
        elif audio.paused:
            audio.ask_text()
        elif audio.gate.position - audio.gate.onset >= samples(_SPEECH_MAXIMUM_MS):
            self.decide()

    def hear_partial(self, text: str) -> None:
        """Some words of the overlap: enough to confirm, and to refute a final text without them."""
        overlap = self._overlap(text)
        if overlap is Overlap.INTERRUPTION:
            self.confirm()
        elif overlap is not Overlap.NOTHING and self._audio.opened().has_text:
            self.refute()

    def hear_final(self, text: str) -> None:
        """All words of the overlap: they may refute, but not confirm while more may come."""
        if self._audio.opened().wordless or self._overlap(text) is not Overlap.INTERRUPTION:
            self.refute()
        elif self._audio.dry:
            self.decide()

    def decide(self) -> None:
        """Decide by the words so far: the partial's, else the final text's."""
        if self.interrupts:
            self.confirm()
        else:
            self.refute()

    @property
    def interrupts(self) -> bool:
        """Whether the words so far are an interruption."""
        utterance = self._audio.opened()
        return self._overlap(utterance.partial or utterance.text) is Overlap.INTERRUPTION

    def confirm(self) -> None:
        """Give the caller the floor, and cancel the reply if there still is one."""
        self._call.timers.set(Timer.BARGE_IN, None)
        self._call.move(Trigger.BARGE_IN_CONFIRMED)
        self._replies.cancel("turn_detected")

    def refute(self, *, keep: bool = False) -> None:
        """It was no interruption: drop the words (or ``keep`` them open), and resume playout."""
        self._call.timers.set(Timer.BARGE_IN, None)
        self._echoed = self._is_echo()
        self._audio.speech_stopped()
        self._audio.drop(keep=keep)
        self._deaf = True
        self._call.move(Trigger.BARGE_IN_REFUTED)
        if self._held_at is not None:
            self._replies.resume()

    def _hold(self) -> None:
        self._held_at = self._audio.gate.position
        self._replies.pause()

    def _let_go_on(self, utterance: Utterance) -> None:
        """Let playout go on where what was heard till now is no interruption."""
        gate, held_at = self._audio.gate, self._held_at
        if held_at is None or not self._call.config.turn_taking.early_resume:
            return
        overlap = self._overlap(utterance.text or utterance.partial)
        unknown = overlap is Overlap.NOTHING and gate.voiced < samples(_SHORT_MS)
        if gate.position - held_at < samples(TEXT_MS if unknown else HOLD_MS):
            return
        if overlap is not Overlap.INTERRUPTION:
            self._held_at, self._voiced = None, gate.voiced
            self._replies.resume()

    def _overlap(self, text: str) -> Overlap:
        reply = self._replies.current
        language = self._call.config.language
        by_words = classify(text, reply.playing if reply else "", language)
        if by_words is Overlap.INTERRUPTION and self._is_echo():
            return Overlap.ECHO
        return by_words

    def _is_echo(self) -> bool:
        echo = self._audio.echo()
        return echo is not None and echo >= ECHO

    def _other_voice(self) -> bool:
        echo = self._audio.echo(_NO_ECHO_WINDOWS)
        return echo is not None and echo < _NO_ECHO


def classify(text: str, playing: str, language: str = "en") -> Overlap:
    """Classify the words ``text``, said over the reply text ``playing``.

    ``playing``: the reply up to about what is being heard; its last words are compared.
    ``language``: BCP 47, of both."""
    words, known = words_of(text), pack_of(language).overlap
    if not words:
        return Overlap.NOTHING
    if all(word in known.backchannels or word in known.filling for word in words):
        return Overlap.BACKCHANNEL
    recent = words_of(playing)[-_ECHO_WINDOW_WORDS:]
    if _contains(recent, words):
        return Overlap.ECHO
    takes_floor = any(word in known.interrupting and word not in recent for word in words)
    return Overlap.INTERRUPTION if takes_floor or not _resembles(recent, words) else Overlap.ECHO


def _contains(haystack: list[str], needle: list[str]) -> bool:
    """Whether ``needle`` occurs in ``haystack`` as one run of words."""
    width = len(needle)
    return any(haystack[i : i + width] == needle for i in range(len(haystack) - width + 1))


def _resembles(recent: list[str], words: list[str]) -> bool:
    """Whether a recogniser may have made ``words`` from a run of ``recent``."""
    played, heard = [_sound(word) for word in recent], [_sound(word) for word in words]
    letters, run = "".join(heard), "".join(played)[-_ECHO_LETTERS:]
    if len(letters) * _LETTERS_ALIKE > len(run):
        return False
    if len(heard) == 1:
        if len(letters) < _LONE_WORD_LETTERS:
            return False
        return any(_alike(letters, word) >= _LETTERS_ALIKE for word in played)
    far = [all(_alike(word, other) < _WORD_ALIKE for other in played) for word in heard]
    if far[0] or far[-1] or sum(far) > _STRAY_SHARE * len(heard):
        return False
    if any(len(word) > _STRAY_LETTERS for word, strange in zip(heard, far, strict=True) if strange):
        return False
    return _edits(letters, run, anywhere=True) <= (1 - _LETTERS_ALIKE) * len(letters)


def _sound(word: str) -> str:
    """``word`` with about one letter per sound: no accents, no h, no double letters."""
    letters = unicodedata.normalize("NFKD", word[:_WORD_LETTERS])
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    for written, sounding in (("ph", "f"), ("ck", "k"), ("qu", "kw"), ("c", "k"), ("z", "s")):
        plain = plain.replace(written, sounding)
    plain = re.sub(r"(.)\1+", r"\1", plain.replace("h", "").replace("'", ""))
    return plain or word


def _alike(left: str, right: str) -> float:
    """Similarity of two words: 1 if they are equal, 0 if no letter is in the same place."""
    longest, shortest = max(len(left), len(right)), min(len(left), len(right))
    if shortest < _WORD_ALIKE * longest:
        return 0.0
    return 1 - _edits(left, right) / longest


def _edits(needle: str, haystack: str, *, anywhere: bool = False) -> int:
    """The edit distance from ``needle`` to ``haystack``, or to its nearest part (``anywhere``).

    Takes time in proportion to the product of their lengths."""
    row = [0] * (len(haystack) + 1) if anywhere else list(range(len(haystack) + 1))
    for i, letter in enumerate(needle, 1):
        corner, row[0] = row[0], i
        for j, other in enumerate(haystack, 1):
            above = row[j]
            row[j] = min(above + 1, row[j - 1] + 1, corner + (letter != other))
            corner = above
    return min(row) if anywhere else row[-1]
