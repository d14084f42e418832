"""When a turn ends: how much silence is enough, whether its words can end there, and what the chat
model does before that is certain.

Rules
- In ``semantic_vad``, the turn detector's probability and the ending of the transcript decide how
  much silence is enough (``patience``); a maximum silence ends any turn. In ``server_vad`` the
  client sets the silence.
- The turn detector judges the melody, ``ending_of`` the last words. Either alone is wrong too
  often: a caller who stops after "two large pizzas and um" has a finished melody as often as not.
- The words are those of the language's pack (``sessions.languages``). Without one, only punctuation
  and figures are judged, and the melody decides the rest.
- While the end is uncertain, the chat model works ahead (``Speculation``). It reads the
  instructions when a call begins and when they change. It reads the caller's words as they come, a
  few at a time and never the last one, which may still change. Once the caller falls silent it
  reads nothing, because the real prompt is near and must not wait for a hint.
- A reply is started when the text is complete and the melody does not contradict an end, otherwise
  shortly before patience runs out: at most ``SPECULATIONS`` times per turn, one at a time.
"""

import re
from enum import StrEnum

from sessions.core.call import Call
from sessions.core.commands import PrepareReply
from sessions.core.config import Eagerness, SessionKind, TurnDetection, TurnMode
from sessions.core.items import Message
from sessions.core.prompt import composed
from sessions.core.replies.replies import Replies
from sessions.core.replies.reply import same_words
from sessions.core.states import UtteranceState
from sessions.core.tools import ToolUses
from sessions.languages.packs import (
    DictationWords,
    LanguagePack,
    TurnEndWords,
    pack_of,
    words_of,
)

from .caller_pace import MOST_EXTRA_MS, CallerPace
from .dictation import Progress, progress_of
from .input_audio import InputAudio, Utterance
from .speech_gate import samples

COMPLETE = 0.5
"""The turn detector's probability from which the turn counts as complete."""

HEAD_START_MS = 450
"""How long before patience runs out a reply is started: about the time to its first audio."""
SPECULATIONS = 3
"""The most replies started for one turn before its end is certain."""

_PACE = {
    Eagerness.LOW: 1.6,
    Eagerness.MEDIUM: 1.0,
    Eagerness.AUTO: 1.0,
    Eagerness.HIGH: 0.6,
}
_MAXIMUM_MS = {
    Eagerness.LOW: 8_000,
    Eagerness.MEDIUM: 4_000,
    Eagerness.AUTO: 4_000,
    Eagerness.HIGH: 2_000,
}
_WORDLESS_MS = 600

_WORDS_AT_ONCE = 3
"""How many new words of the caller are worth another hint."""
_I = re.compile(r"\bi\b")

_SHORT = 3
"""Words of an answer that a word of ``rarely_last`` may end."""
_YEAR = re.compile(r"(19|20)\d\d")
_OPEN_MARKS = ("…", "...", ":")
_WEAK_MARKS = (",", "-", "—", ";")
"""Recognisers invent them where the sound stops: of 110 recorded turns 21 end in a comma when the
text is requested 64 ms after the last voiced window, 9 after 128 ms, none after 640 ms."""


class Ending(StrEnum):
    """How a transcript ends."""

    EMPTY = "empty"
    OPEN = "open"
    """Mid-phrase: more must come."""
    WEAK = "weak"
    """After a comma, or a word that seldom ends a sentence: more may come."""
    DICTATION = "dictation"
    """Inside a number, an address or a spelling: more may come after any pause."""
    CLOSED = "closed"
    """Where a sentence can end."""


Steps = tuple[tuple[float, int], ...]
"""(the turn detector's least probability, milliseconds of silence), the highest first."""

# Of 110 turns (22 recordings over a telephone line in five variants) and 41 of synthetic voices the
# text and the melody let 95 % end within 1.23 s of the last sound, all on the half that the figures
# were not chosen by within 1.27 s; ungraded and without a second look at the text it was 2.66 s. Of
# the 68 pauses inside those turns 2 were longer than what it waited, 3 before.
_STEPS: dict[Ending, Steps] = {
    Ending.CLOSED: ((0.5, 380), (0.2, 800), (0.0, 1_150)),
    Ending.WEAK: ((0.8, 600), (0.5, 1_000), (0.2, 1_300), (0.0, 1_800)),
    Ending.DICTATION: ((0.8, 1_200), (0.0, 1_600)),
    Ending.OPEN: ((0.8, 1_800), (0.0, 2_600)),
    Ending.EMPTY: ((0.0, 2_600),),
}
_UNGRADED: dict[Ending, Steps] = {
    Ending.CLOSED: ((0.5, 380), (0.2, 900), (0.0, 1_400)),
    Ending.WEAK: ((0.0, 2_600),),
    Ending.DICTATION: ((0.0, 1_600),),
    Ending.OPEN: ((0.0, 2_600),),
    Ending.EMPTY: ((0.0, 2_600),),
}
_DICTATED: dict[Progress, Steps] = {
    Progress.BEGUN: ((0.8, 2_400), (0.0, 3_200)),
    Progress.ENOUGH: ((0.5, 700), (0.0, 1_100)),
    Progress.WHOLE: ((0.2, 500), (0.0, 800)),
}


def patience(
    detection: TurnDetection,
    ending: Ending,
    probability: float | None,
    *,
    wordless: bool = False,
    progress: Progress | None = None,
    graded: bool = True,
    pace: float = 1.0,
) -> int:
    """Samples of silence that end a turn whose transcript ends in ``ending``.

    ``probability`` is the turn detector's, None while it has not answered. ``wordless``: the
    final text is there and is empty, so there is nothing to be patient for. ``progress``: of the
    dictation that was announced; it counts more than the ending. ``pace``: the caller's factor."""
    if detection.mode is TurnMode.SERVER_VAD:
        return samples(detection.silence_duration_ms)
    wanted: float = _WORDLESS_MS
    if not wordless:
        steps = (_STEPS if graded else _UNGRADED)[ending]
        if progress is not None:
            steps = _DICTATED[progress]
        plain = next(ms for least, ms in steps if (probability or 0.0) >= least)
        wanted = min(pace * plain, plain + MOST_EXTRA_MS)
    maximum = _MAXIMUM_MS[detection.eagerness]
    return samples(min(maximum, wanted * _PACE[detection.eagerness]))


def ending_of(text: str, language: str = "en") -> Ending:
    """How ``text`` ends: the turn so far, in ``language`` (BCP 47)."""
    words, pack = words_of(text), pack_of(language)
    if not words:
        return Ending.EMPTY
    if _is_dictation(text, words, pack):
        return Ending.DICTATION
    end = text.rstrip()
    if end.endswith(_OPEN_MARKS) or _is_open(text, words, pack.turn_end):
        return Ending.OPEN
    if end.endswith(_WEAK_MARKS) or _is_weak(text, words, pack.turn_end):
        return Ending.WEAK
    return Ending.CLOSED


def _is_open(text: str, words: list[str], known: TurnEndWords) -> bool:
    last = words[-1]
    return last in known.never_last or (last in known.stranded and not text.rstrip().endswith("?"))


def _is_weak(text: str, words: list[str], known: TurnEndWords) -> bool:
    last, question = words[-1], text.rstrip().endswith("?")
    if last in known.stranded:
        return known.asking.isdisjoint(words)
    if last not in known.rarely_last or question or len(words) <= _SHORT:
        return False
    return tuple(words[-2:]) not in known.may_end


def _is_dictation(text: str, words: list[str], pack: LanguagePack) -> bool:
    """Two or more single letters, figures or digit words at the end, except a time of day."""
    known = pack.dictation
    if len(words) > 1 and not _is_figure(words[-2], known) and _YEAR.fullmatch(words[-1]):
        return False
    time = pack.time_of_day.search(text)
    if time and not _is_symbol(text[: time.start()].split()[-1:], known):
        return False
    run = 0
    for word in reversed(words):
        if word.isdigit():
            run += len(word)
        elif _is_digit(word, known) or (len(word) == 1 and word not in known.joining):
            run += 1
        elif not (word in known.inside or (word in known.joining and run)):
            break
    return run > 1


def _is_figure(word: str, known: DictationWords) -> bool:
    return word.isdigit() or _is_digit(word, known)


def _is_digit(word: str, known: DictationWords) -> bool:
    return word in known.digits or word in known.repeats


def _is_symbol(tail: list[str], known: DictationWords) -> bool:
    """Whether the word before a time is itself dictation."""
    words = words_of(tail[0]) if tail else []
    return bool(words) and (
        _is_figure(words[-1], known) or (len(words[-1]) == 1 and words[-1] not in known.joining)
    )


class Speculation:
    """Decides what the chat model reads and starts ahead, and when."""

    def __init__(self, call: Call, audio: InputAudio, replies: Replies, tools: ToolUses) -> None:
        self._call = call
        self._audio = audio
        self._replies = replies
        self._tools = tools
        self._read: tuple[int, int] = (0, 0)
        """(turn, words) of the last hint."""
        self._begins: tuple[str, str] | None = None
        """The instructions and the model of the last beginning that was read."""
        self.pace = CallerPace()

    def read_instructions(self) -> None:
        """Have the known beginning of the prompt read: the instructions, and the history so far."""
        config = self._call.config
        begins = composed(config), config.model
        if config.kind is SessionKind.REALTIME and begins != self._begins:
            self._begins = begins
            self._read_ahead(())

    def read_words(self, utterance: Utterance) -> None:
        """Have the caller's words so far read: they are likely to come next in the prompt."""
        if not self._call.config.answers:
            return
        words = utterance.partial.split()[:-1]
        turn, read = self._read
        known = read if turn == utterance.turn else 0
        if len(words) < known + _WORDS_AT_ONCE or self._audio.gate.silence:
            return
        self._read = utterance.turn, len(words)
        self._read_ahead((Message("user", _written(words)),))

    def begin_reply(self, utterance: Utterance) -> None:
        """Start the reply to ``utterance`` if it has words and its end is likely or near."""
        has_words = bool((utterance.final or "").strip())
        if has_words and utterance.speculations < SPECULATIONS and self._likely_over(utterance):
            self._begin(utterance, utterance.text)

    def guess_reply(self, utterance: Utterance) -> None:
        """Start the reply to the partial transcript, where that may be all the caller said."""
        if (
            self._call.config.turn_taking.partial_speculation
            and utterance.state is UtteranceState.TRANSCRIBING
            and utterance.partial_stands_in
            and utterance.speculations < SPECULATIONS - 1
            and _ending(utterance) is Ending.CLOSED
        ):
            self._begin(utterance, _written(utterance.partial.split()))

    def discard_other(self, utterance: Utterance) -> None:
        """Discard a reply that was begun to other words than the text that has come."""
        reply = self._replies.current
        if reply is None or reply.released or not reply.extra:
            return
        if not same_words(reply.user_text, utterance.text):
            self._replies.cancel("turn_detected")

    def patience(self, utterance: Utterance) -> int:
        """Samples of silence that end the open ``utterance``, as far as it is known."""
        settings = self._call.config.turn_taking
        pace = self.pace.factor if settings.adaptive_pause else 1.0
        return self._patience(utterance, pace)

    def went_on(self, utterance: Utterance, silence: int) -> None:
        """The caller spoke on after ``silence`` samples."""
        self.pace.went_on(silence, self.plain_patience(utterance))

    def plain_patience(self, utterance: Utterance) -> int:
        """As ``patience``, of a caller of whom nothing is known."""
        return self._patience(utterance, 1.0)

    def may_change(self, utterance: Utterance) -> bool:
        """Whether the text's ending looks cut off, so that it is worth another look."""
        ending = _ending(utterance)
        if ending is Ending.OPEN:
            return (utterance.probability or 0.0) >= COMPLETE
        return ending is Ending.WEAK

    def _patience(self, utterance: Utterance, pace: float) -> int:
        settings = self._call.config.turn_taking
        progress = None
        if settings.counted_dictation:
            progress = progress_of(utterance.text, self._question(), utterance.language)
        return patience(
            self._call.detection,
            _ending(utterance),
            utterance.probability,
            wordless=utterance.final is not None and not utterance.final.strip(),
            progress=progress,
            graded=settings.graded_endings,
            pace=pace,
        )

    def _question(self) -> str:
        """What the agent said last."""
        items = reversed(self._call.transcript)
        return next((item.text for item in items if item.role == "assistant"), "")

    def _begin(self, utterance: Utterance, text: str) -> None:
        replies = self._replies
        if not self._call.config.answers or replies.current is not None or not replies.settled:
            return
        if utterance.unspoken:
            return
        utterance.speculations += 1
        said = Message("user", text)
        replies.start(utterance.turn, text, utterance.moments, extra=(said,))

    def _likely_over(self, utterance: Utterance) -> bool:
        by_melody = utterance.probability is None or utterance.probability >= COMPLETE
        if self._call.detection.mode is TurnMode.SERVER_VAD:
            by_melody = True
        if by_melody and _ending(utterance) is Ending.CLOSED:
            return True
        missing = self.patience(utterance) - self._audio.gate.silence
        return missing <= samples(HEAD_START_MS)

    def _read_ahead(self, extra: tuple[Message, ...]) -> None:
        call = self._call
        config = call.config
        history = call.prompts.beginning(composed(config), extra, language=config.language)
        if history:
            call.order(PrepareReply(history, config, self._tools.offered(config)))


def _ending(utterance: Utterance) -> Ending:
    """How the best text so far ends."""
    return ending_of(utterance.text, utterance.language)


def _written(words: list[str]) -> str:
    """Recognised words, spelled as the final transcript is likely to spell them."""
    text = _I.sub("I", " ".join(words))
    return text[:1].upper() + text[1:]
