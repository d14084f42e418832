"""Language packs: the words by which turn taking, the prompt and spoken sentences know a language.

Rules
- A pack is a TOML file beside this one, named after the language: ``es.toml``. A new file is a new
  language; no code names one. docs/extending.md has the recipe.
- ``und.toml`` (BCP 47: undetermined) stands for every language without a pack. It knows only hums,
  so that punctuation, figures and the melody decide.
- Packs are read once, when this module is imported, and never change. A file that is wrong stops
  the import with a PackError, which names the file, the key and what is wrong.
- Word lists are strings, split at white space, in lower case; phrases are arrays.

How numbers are read aloud is not here but in ``pipelines.engines.reading``.
"""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from types import MappingProxyType
from typing import Any

UNDETERMINED = "und"
"""The pack of every language that has none of its own."""

ENDINGS = ("open", "weak", "dictation", "closed")
OVERLAPS = ("backchannel", "interruption")
PROGRESS = ("begun", "enough", "whole", "unannounced")
EXAMPLES = (*ENDINGS, *OVERLAPS, *PROGRESS)
"""How a text ends, what words over a reply are, and how far announced dictation has come."""

_WORD = re.compile(r"[\w']+")
_FILE_NAME = re.compile(r"[a-z]{2,3}")
_MOST_CHARACTERS = 200
"""Of a sentence or a phrase."""
_MOST_SYMBOLS = 64
"""Digits and letters of a number that is announced."""
LONGEST_NUMBER = 4
"""Words of a number of two digits: "quatre vingt dix neuf"."""
_NEVER = re.compile(r"(?!)")


class PackError(ValueError):
    """A pack that cannot be used. The message names its file and key."""


@dataclass(frozen=True, slots=True)
class TurnEndWords:
    """Last words after which a turn is not over, although the caller is silent."""

    never_last: frozenset[str] = frozenset()
    """The language goes on after them, whatever the sentence: articles, conjunctions, "um"."""
    stranded: frozenset[str] = frozenset()
    """Prepositions that end a question with one of ``asking`` ("where are you from?") only."""
    asking: frozenset[str] = frozenset()
    rarely_last: frozenset[str] = frozenset()
    """They end questions and answers of up to three words only ("yes i have", "what?")."""
    may_end: frozenset[tuple[str, ...]] = frozenset()
    """Pairs of words that end a sentence although the second is in ``rarely_last``: "think so"."""


@dataclass(frozen=True, slots=True)
class DictationWords:
    """Words of numbers, addresses and spelling that are dictated piece by piece."""

    digits: frozenset[str] = frozenset()
    """Each is one digit; two of them in a row are dictation."""
    zeros: frozenset[str] = frozenset()
    """Those of ``digits`` that are not part of the number before: "twenty, oh five"."""
    repeats: Mapping[str, int] = field(default_factory=dict)
    """How many more times the next symbol counts: 1 for "double", 2 for "triple"."""
    two_digits: frozenset[tuple[str, ...]] = frozenset()
    """Numbers of two digits, as words: "fifteen", "soixante et onze"."""
    tens: frozenset[str] = frozenset()
    """Numbers of two digits that may have one of ``digits`` behind them: "twenty", "twenty one"."""
    ands: frozenset[str] = frozenset()
    """They stand between numbers and are no digit: "y" in "treinta y dos"."""
    inside: frozenset[str] = frozenset()
    """All that stands inside dictation, but does not make it: "twenty", "dot"."""
    joining: frozenset[str] = frozenset()
    """As ``inside``, but dictation does not end with one: ``ands``. Also the single letters that
    are words of the language, which are not taken for spelling."""


@dataclass(frozen=True, slots=True)
class AnnouncedNumber:
    """A number or code of known length."""

    names: frozenset[str]
    """Any of these words announces it."""
    least: int
    """Fewest digits and letters."""
    usual: frozenset[int]
    """Lengths with which it is taken for complete."""


@dataclass(frozen=True, slots=True)
class Announcements:
    """What announces dictation, and how much of it is to come."""

    before: frozenset[tuple[str, ...]] = frozenset()
    """Dictation is announced only right before it, by one of these phrases: "is", "es el"."""
    address: frozenset[str] = frozenset()
    """They announce dictation of any length."""
    numbers: tuple[AnnouncedNumber, ...] = ()
    """The first that a text names counts."""
    mail: re.Pattern[str] = _NEVER
    """Names an e-mail address; what follows is its group ``said``."""
    mail_sign: re.Pattern[str] = _NEVER
    """Matches what only e-mail addresses have."""
    mail_whole: re.Pattern[str] = _NEVER
    birth: re.Pattern[str] = _NEVER
    day: re.Pattern[str] = _NEVER
    """Matches where the day of birth has been said, and ``year`` where the year has been begun."""
    year: re.Pattern[str] = _NEVER


@dataclass(frozen=True, slots=True)
class OverlapWords:
    """What words over a reply say about who is to speak."""

    backchannels: frozenset[str] = frozenset()
    """Alone, or among each other, they do not take the turn."""
    filling: frozenset[str] = frozenset()
    """What stands between them ("i see"), and what recognisers make of a cough."""
    interrupting: frozenset[str] = frozenset()
    """They take the turn, and are no echo unless the agent said that very word."""


@dataclass(frozen=True, slots=True)
class SpokenSentences:
    """What the agent says of its own accord."""

    apology: str
    """An engine failed in the middle of a reply."""
    unheard: str
    """The caller's words could not be transcribed."""
    unspoken: str
    """The caller speaks a language that no voice speaks; ``{language}`` stands for its name."""
    filler: str | None = None
    """A tool or the answer takes long; None: nothing is said."""

    def cannot_speak(self, name: str | None) -> str:
        """``unspoken`` about the language of that English name; None: it has none here."""
        return self.unspoken.replace("{language}", name or "your language")


@dataclass(frozen=True, slots=True)
class LanguagePack:
    """What is known of a language. ``tag``: its first BCP 47 subtag, in lower case."""

    tag: str
    spoken: SpokenSentences
    name: str | None = None
    """In English, for the prompt; None: the prompt says "the caller's language"."""
    greeting: str | None = None
    """How an agent answers a call, for the prompt; without it, small models lapse into English."""
    turn_end: TurnEndWords = TurnEndWords()
    dictation: DictationWords = DictationWords()
    announced: Announcements = Announcements()
    time_of_day: re.Pattern[str] = _NEVER
    """Matches a time in figures at the end of a text; such a text is no dictation."""
    overlap: OverlapWords = OverlapWords()
    invented: frozenset[str] = frozenset()
    """What recognisers write for noise, as words separated by one space."""
    examples: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Texts by what they are (``EXAMPLES``); a test holds the pack to them."""


def words_of(text: str) -> list[str]:
    """The words of ``text``, lower case, without punctuation."""
    return _WORD.findall(text.lower().replace("’", "'"))


def pack_of(language: str) -> LanguagePack:
    """The pack of a BCP 47 tag; that of ``UNDETERMINED`` where it has none."""
    return PACKS.get(language.partition("-")[0].lower()) or PACKS[UNDETERMINED]


def read_pack(file: str, text: str) -> LanguagePack:
    """The pack that a file named ``file`` holds; raises PackError."""
    tag = file.removesuffix(".toml")
    if _FILE_NAME.fullmatch(tag) is None:
        raise PackError(f"{file}: a pack is named after its language: 'es.toml'")
    try:
        pack = _Table(file, "", tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise PackError(f"{file}: {error}") from None
    name, greeting = pack.sentence("name"), pack.sentence("greeting")
    spoken, turn_end = pack.table("spoken"), pack.table("turn_end")
    time, overlap, noise = pack.table("time_of_day"), pack.table("overlap"), pack.table("noise")
    examples = pack.table("examples")
    made = LanguagePack(
        tag=tag,
        name=name,
        greeting=greeting,
        spoken=SpokenSentences(
            apology=spoken.need_sentence("apology"),
            unheard=spoken.need_sentence("unheard"),
            unspoken=spoken.need_sentence("unspoken"),
            filler=spoken.sentence("filler"),
        ),
        turn_end=TurnEndWords(
            never_last=turn_end.words("never_last"),
            stranded=turn_end.words("stranded"),
            asking=turn_end.words("asking"),
            rarely_last=turn_end.words("rarely_last"),
            may_end=turn_end.several("may_end", range(2, 3)),
        ),
        dictation=_dictation(pack.table("digits")),
        announced=_announcements(pack.table("announced")),
        time_of_day=_time_of_day(time.phrases("between"), time.phrases("after")),
        overlap=OverlapWords(
            backchannels=overlap.words("backchannels"),
            filling=overlap.words("filling"),
            interrupting=overlap.words("interrupting"),
        ),
        invented=frozenset(" ".join(words_of(phrase)) for phrase in noise.phrases("invented")),
        examples={kind: examples.phrases(kind, any_case=True) for kind in EXAMPLES},
    )
    for table in (pack, spoken, turn_end, time, overlap, noise, examples):
        table.refuse_rest()
    _refuse_contradictions(file, made)
    return made


class _Table:
    """A table of a file, whose keys are taken one by one."""

    def __init__(self, file: str, path: str, values: Mapping[str, Any]) -> None:
        self._file = file
        self._path = path
        self._left = dict(values)

    @property
    def empty(self) -> bool:
        """Whether no key is left."""
        return not self._left

    def table(self, key: str) -> "_Table":
        """A table within; one that is absent is empty."""
        value = self._left.pop(key, {})
        if not isinstance(value, dict):
            raise self._fault(key, "must be a table")
        return _Table(self._file, f"{self._path}{key}.", value)

    def tables(self, key: str) -> Iterator["_Table"]:
        """The tables of an array."""
        value = self._left.pop(key, [])
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            raise self._fault(key, "must be an array of tables")
        for at, each in enumerate(value, 1):
            yield _Table(self._file, f"{self._path}{key}.{at}.", each)

    def need_sentence(self, key: str) -> str:
        """Text that must be there."""
        if (sentence := self.sentence(key)) is None:
            raise self._fault(key, "is missing")
        return sentence

    def sentence(self, key: str) -> str | None:
        """Text on one line; None where it is absent."""
        value = self._left.pop(key, None)
        if value is None:
            return None
        if not isinstance(value, str) or not value.strip() or len(value.splitlines()) > 1:
            raise self._fault(key, "must be text on one line")
        if len(value) > _MOST_CHARACTERS:
            raise self._fault(key, f"must have at most {_MOST_CHARACTERS} characters")
        return value.strip()

    def words(self, key: str) -> frozenset[str]:
        """Words in one string, each as ``words_of`` finds it in a transcript, and once."""
        value = self._left.pop(key, "")
        if not isinstance(value, str):
            raise self._fault(key, "must be a string of words")
        words = value.split()
        for word in words:
            if words_of(word) != [word]:
                raise self._fault(key, f"has {word!r}, which is not one word in lower case")
            if words.count(word) > 1:
                raise self._fault(key, f"has {word!r} twice")
        return frozenset(words)

    def need_words(self, key: str) -> frozenset[str]:
        """As ``words``, of which there must be one."""
        if not (words := self.words(key)):
            raise self._fault(key, "is missing")
        return words

    def need_phrases(self, key: str) -> tuple[str, ...]:
        """As ``phrases``, of which there must be one."""
        if not (phrases := self.phrases(key)):
            raise self._fault(key, "is missing")
        return phrases

    def lengths(self) -> tuple[int, frozenset[int]]:
        """``least``, and ``usual``, none of which is less."""
        least, usual = self._left.pop("least", None), self._left.pop("usual", [])
        if type(least) is not int or not 1 <= least <= _MOST_SYMBOLS:
            raise self._fault("least", f"must be a number from 1 to {_MOST_SYMBOLS}")
        if not isinstance(usual, list) or any(
            type(each) is not int or not least <= each <= _MOST_SYMBOLS for each in usual
        ):
            raise self._fault(
                "usual", f"must be an array of numbers from {least} to {_MOST_SYMBOLS}"
            )
        return least, frozenset(usual)

    def phrases(self, key: str, *, any_case: bool = False) -> tuple[str, ...]:
        """Texts in an array, in lower case unless ``any_case``."""
        value = self._left.pop(key, [])
        if not isinstance(value, list):
            raise self._fault(key, "must be an array of texts")
        for phrase in value:
            if not isinstance(phrase, str) or not phrase.strip():
                raise self._fault(key, f"has {phrase!r}, which is no text")
            if phrase != phrase.lower() and not any_case:
                raise self._fault(key, f"has {phrase!r}, which is not in lower case")
            if len(phrase) > _MOST_CHARACTERS:
                raise self._fault(key, f"must have at most {_MOST_CHARACTERS} characters each")
        return tuple(value)

    def several(self, key: str, sizes: range) -> frozenset[tuple[str, ...]]:
        """Phrases of as many words as one of ``sizes``."""
        phrases = [tuple(words_of(phrase)) for phrase in self.phrases(key)]
        if any(len(phrase) not in sizes for phrase in phrases):
            raise self._fault(key, f"must hold phrases of {' or '.join(map(str, sizes))} words")
        return frozenset(phrases)

    def refuse_rest(self) -> None:
        """Refuse keys that nothing has taken: they are misspelt."""
        for key in self._left:
            raise self._fault(key, "is unknown")

    def _fault(self, key: str, what: str) -> PackError:
        return PackError(f"{self._file}: {self._path}{key} {what}")


def _refuse_contradictions(file: str, pack: LanguagePack) -> None:
    """Refuse a word that is in two lists of which only one can hold."""
    for part, first, second in (
        (pack.turn_end, "never_last", "rarely_last"),
        (pack.turn_end, "never_last", "stranded"),
        (pack.turn_end, "stranded", "rarely_last"),
        (pack.overlap, "backchannels", "interrupting"),
        (pack.overlap, "filling", "interrupting"),
    ):
        table = "overlap" if part is pack.overlap else "turn_end"
        if both := getattr(part, first) & getattr(part, second):
            raise PackError(f"{file}: {table}.{second} has {min(both)!r}, as {table}.{first} has")


def _dictation(table: _Table) -> DictationWords:
    digits, zeros = table.words("digits"), table.words("zeros")
    two_digits, tens, ands = table.words("two_digits"), table.words("tens"), table.words("and")
    phrases = table.several("two_digit_phrases", range(2, LONGEST_NUMBER + 1))
    repeats = dict.fromkeys(table.words("double"), 1) | dict.fromkeys(table.words("triple"), 2)
    inside, joining = table.words("inside"), table.words("joining")
    table.refuse_rest()
    return DictationWords(
        digits=digits | zeros,
        zeros=zeros,
        repeats=repeats,
        two_digits=frozenset({(word,) for word in two_digits} | phrases),
        tens=tens,
        ands=ands,
        inside=inside | two_digits | tens | {word for each in phrases for word in each} - ands,
        joining=joining | ands,
    )


def _announcements(table: _Table) -> Announcements:
    if table.empty:
        return Announcements()
    before = frozenset(tuple(words_of(phrase)) for phrase in table.need_phrases("before"))
    address, numbers = table.words("address"), []
    for each in table.tables("numbers"):
        numbers.append(AnnouncedNumber(each.need_words("names"), *each.lengths()))
        each.refuse_rest()
    mail, birth = table.table("mail"), table.table("birth")
    patterns: dict[str, str] = {}
    if not mail.empty:
        at, dot = _any_of(mail.need_words("at")), _any_of(mail.need_words("dot"))
        patterns["mail"] = rf"\b(?:{_any_of(mail.need_phrases('names'))}):? (?P<said>.*)"
        patterns["mail_sign"] = rf"@|\b(?:{at}|{dot})\b|\w[._]\w"
        sign = rf"(?:@|\b(?:{at})\b)"
        begun = rf"^(?:(?!{sign})(?s:.))*+{sign}(?s:.*)"  # the first sign is as good as any
        patterns["mail_whole"] = rf"{begun}(?:\.|\b(?:{dot})\s+)[a-z]{{2,}}\W*$"
    if not birth.empty:
        ends = "".join(rf"|\w+{end}" for end in birth.words("day_endings"))
        patterns["birth"] = rf"\b(?:{_any_of(birth.need_phrases('names'))})\b"
        patterns["day"] = rf"\d|\b(?:{_any_of(birth.need_words('days'))}{ends})\b"
        years = _any_of(birth.need_phrases("years"))
        patterns["year"] = rf"\b(?:19|20)\d\d\b|\b(?:{years}) ?\w"
    for each in (table, mail, birth):
        each.refuse_rest()
    compiled = {name: re.compile(each, re.IGNORECASE) for name, each in patterns.items()}
    return Announcements(before=before, address=address, numbers=tuple(numbers), **compiled)


def _any_of(phrases: Iterable[str]) -> str:
    """A pattern of any of ``phrases``, the longest first."""
    return "|".join(map(re.escape, sorted(phrases, key=lambda each: (-len(each), each))))


def _time_of_day(between: tuple[str, ...], after: tuple[str, ...]) -> re.Pattern[str]:
    """``between``: what separates hours from minutes; ``after``: up to two stand behind them."""

    def any_of(phrases: tuple[str, ...]) -> str:
        return _any_of(phrases).replace(r"\ ", r"\s*")

    words = tuple(each for each in between if each[0].isalpha())
    marks = tuple(each for each in between if each not in words)
    minutes = "".join(
        rf"|{space}(?:{any_of(each)}){space}\d{{2}}"
        for each, space in ((marks, ""), (words, r"\s*"))
        if each
    )
    behind = rf"(?:\s*(?:{any_of(after)})){{0,2}}" if after else ""
    return re.compile(rf"\b\d{{1,2}}(?:{minutes}){behind}\W*$", re.IGNORECASE)


def _read_all() -> Iterator[LanguagePack]:
    for file in resources.files(__package__).iterdir():
        if file.name.endswith(".toml"):
            yield read_pack(file.name, file.read_text(encoding="utf-8"))


PACKS: Mapping[str, LanguagePack] = MappingProxyType({pack.tag: pack for pack in _read_all()})
"""By tag, ``UNDETERMINED`` among them."""
