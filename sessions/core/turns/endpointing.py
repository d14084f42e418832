"""When a turn ends: how much silence is enough, and whether its words can end there.

Rules
- In ``semantic_vad`` the turn detector's probability and the ending of the transcript decide how
  much silence is enough (``patience``); a maximum silence ends any turn. In ``server_vad`` it is
  the client's fixed figure.
- The turn detector listens to the melody, ``ending_of`` looks at the last words. Either alone is
  wrong too often: a caller who stops after "two large pizzas and um" has a finished melody as often
  as not.
- The word lists are English; in other languages only punctuation and figures are judged, and the
  melody decides the rest.

Everything here is arithmetic on words and on samples of the input; no clock.
"""

import re
from enum import StrEnum

from media.formats import HEARING_RATE, samples_of
from sessions.core.config import Eagerness, TurnDetection, TurnMode

HINT_MS = 128
"""Silence after which the end of the turn is suspected: transcribe, score, speculate."""

BARGE_IN_MS = 128
"""Speech over the reply after which playout is paused."""

RELEASE_DROP = 0.15
"""Hysteresis: speech ends below ``threshold - RELEASE_DROP``."""

COMPLETE = 0.5
"""The turn detector's probability from which it speaks for an end."""

_DOUBTFUL = 0.2
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
_CLOSED_COMPLETE_MS = 380
_CLOSED_UNSURE_MS = 900
_CLOSED_INCOMPLETE_MS = 1_400
_DICTATION_MS = 1_600
_OPEN_MS = 2_600
_WORDLESS_MS = 600

_WORD = re.compile(r"[\w']+")

_NEVER_LAST = frozenset(
    """a an and as because but dash dot hers his if i'd i'll i've my or our since than their the
    though through till uh uhm um until we'd we'll we've whether your you'd you'll""".split()
)
"""Words after which English goes on, whatever the sentence: articles, conjunctions, fillers."""

_STRANDED = frozenset(
    """about after at before by for from in into like of off on onto over to under until via with
    without""".split()
)
"""Prepositions: they end a question ("where are you from?"), nothing else."""

_RARELY_LAST = frozenset(
    """also are can could did do does had has have he her how i is it's maybe not she should so
    some that's them then there's these they this those was we were what when where which while
    who whose why will would""".split()
)
"""Words that end short answers and questions ("yes i have", "what?", "i think so") only."""

_ASKING = frozenset("what who whom whose where which how why when".split())
_BEFORE_SO = frozenset("think hope guess believe suppose said say do did".split())
_SHORT = 3

_DIGIT_WORDS = frozenset(
    "zero oh nought one two three four five six seven eight nine double triple".split()
)
_TENS_WORDS = frozenset(
    """ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty
    thirty forty fifty sixty seventy eighty ninety hundred thousand dot at dash""".split()
)
"""They stand inside dictation, but do not make it: "twenty five" is a number, not a list."""

_TIME = re.compile(r"\b\d{1,2}([:.]\d{2})?\s*([ap]\.?\s?m\.?|o'clock)?\W*$", re.IGNORECASE)
_YEAR = re.compile(r"(19|20)\d\d")
_OPEN_MARKS = (",", "-", "—", "…", "...", ":", ";")


class Ending(StrEnum):
    """How a transcript ends."""

    EMPTY = "empty"
    OPEN = "open"
    """In mid-phrase: more must come."""
    DICTATION = "dictation"
    """In a number, an address or spelling: more may come, after any pause."""
    CLOSED = "closed"
    """Where a sentence can end."""


def samples(milliseconds: float) -> int:
    """Milliseconds as samples of the input stream."""
    return samples_of(milliseconds, HEARING_RATE)


def patience(
    detection: TurnDetection,
    ending: Ending,
    probability: float | None,
    *,
    wordless: bool = False,
) -> int:
    """Samples of silence that end a turn whose transcript ends in ``ending``.

    ``probability`` is the turn detector's, None while it has not answered. ``wordless``: the
    final text is there and is empty, so there is nothing to be patient for."""
    if detection.mode is TurnMode.SERVER_VAD:
        return samples(detection.silence_duration_ms)
    maximum = _MAXIMUM_MS[detection.eagerness]
    wanted: float
    if wordless:
        wanted = _WORDLESS_MS
    elif ending is Ending.OPEN or ending is Ending.EMPTY:
        wanted = _OPEN_MS
    elif ending is Ending.DICTATION:
        wanted = _DICTATION_MS
    elif probability is None or probability < _DOUBTFUL:
        wanted = _CLOSED_INCOMPLETE_MS
    elif probability < COMPLETE:
        wanted = _CLOSED_UNSURE_MS
    else:
        wanted = _CLOSED_COMPLETE_MS
    return samples(min(maximum, wanted * _PACE[detection.eagerness]))


def words_of(text: str) -> list[str]:
    """The words of ``text``, lower case, without punctuation."""
    return _WORD.findall(text.lower().replace("’", "'"))


def ending_of(text: str, language: str = "en") -> Ending:
    """How ``text``, the turn so far in ``language`` (BCP 47), ends."""
    words = words_of(text)
    if not words:
        return Ending.EMPTY
    english = language.lower().split("-")[0] == "en"
    if _is_dictation(text, words):
        return Ending.DICTATION
    if text.rstrip().endswith(_OPEN_MARKS) or (english and _is_open(text, words)):
        return Ending.OPEN
    return Ending.CLOSED


def _is_open(text: str, words: list[str]) -> bool:
    last = words[-1]
    if last in _NEVER_LAST:
        return True
    question = text.rstrip().endswith("?")
    if last in _STRANDED:
        return not (question and not _ASKING.isdisjoint(words))
    if last in _RARELY_LAST:
        short = question or len(words) <= _SHORT
        return not (short or (last == "so" and words[-2] in _BEFORE_SO))
    return False


def _is_dictation(text: str, words: list[str]) -> bool:
    """Two or more single letters, figures or digit words at the end, except a time of day."""
    if len(words) > 1 and not _is_figure(words[-2]) and _YEAR.fullmatch(words[-1]):
        return False
    time = _TIME.search(text)
    if time and not _is_symbol(text[: time.start()].split()[-1:]):
        return False
    run = 0
    for word in reversed(words):
        if word.isdigit():
            run += len(word)
        elif word in _DIGIT_WORDS or (len(word) == 1 and word not in ("i", "a")):
            run += 1
        elif not (word in _TENS_WORDS or (word in ("i", "a") and run)):
            break
    return run > 1


def _is_figure(word: str) -> bool:
    return word.isdigit() or word in _DIGIT_WORDS


def _is_symbol(tail: list[str]) -> bool:
    """Whether the word before a time is itself dictation."""
    words = words_of(tail[0]) if tail else []
    return bool(words) and (_is_figure(words[-1]) or len(words[-1]) == 1)
