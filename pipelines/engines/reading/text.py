"""A text as an engine is to say it: addresses, numbers, money, dates, signs and abbreviations in
words, and the pauses that SSML asks for. ``read`` is the way in.

One pass over the text: at each place the first kind that matches is taken, and its words are not
looked at again. All repetitions in the patterns are bounded, so that the time is linear whatever
the text is. Texts in languages without ``Words`` are only cleaned.

Of SSML 1.1 (https://www.w3.org/TR/speech-synthesis11/) ``break`` is a pause, ``sub`` is read as its
alias, ``say-as`` spells if it says so, ``p`` and ``s`` end a sentence; other tags are dropped and
their content is read. A text without tags is unchanged except for entities.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

from pipelines.engines.reading import kinds

from .numbers import ENGLISH, GERMAN, Words, digits, spelled
from .romance_words import FRENCH, ITALIAN, PORTUGUESE, SPANISH

LANGUAGES = {
    "en": ENGLISH,
    "de": GERMAN,
    "es": SPANISH,
    "fr": FRENCH,
    "it": ITALIAN,
    "pt": PORTUGUESE,
}
"""By the first subtag."""

_WORDS = frozenset(("es.", "min.", "max.", "ad"))
"""Pieces of abbreviations that are words in another language, and end sentences."""
_UNSEEN = re.compile(
    "[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufffd\ufe00-\ufe0f\u20e3"
    "\U0001f000-\U0001faff\u2600-\u27bf\u2b00-\u2bff\U000e0000-\U000e007f]+"
)
"""Emoji and other pictures, and signs that are not seen."""
_WIDE = {code: ascii_ + " " for code, ascii_ in zip("。，！？：；、", ".,!?:;,", strict=True)}
_PLAIN = str.maketrans(
    _WIDE
    | dict.fromkeys("«»‹›„“”", '"')
    | {"’": "'", "‘": "'", "‒": "-", "―": "—", "−": "-", "→": ", ", "•": ", ", "·": ", "}
    | {"½": " 1/2", "¼": " 1/4", "¾": " 3/4", "⅓": " 1/3", "⅔": " 2/3", "™": "", "®": "", "©": ""}
)
_LONG_RUN = re.compile(r"\d{13,}")
_BLANKS = re.compile(r"\s+")
_BLANK_BEFORE = re.compile(r" ([,.;!?])")
_SHORT = "mr mrs ms dr prof st vs etc e.g i.e no approx".split() + [
    piece.rstrip(".").lower()
    for words in LANGUAGES.values()
    for abbreviation in words.abbreviations
    for piece in abbreviation.split()
    if piece.endswith(".") and piece not in _WORDS
]
_ABBREVIATED = re.compile(
    rf"(?:\b(?:{'|'.join(map(re.escape, sorted(set(_SHORT), key=len, reverse=True)))})|\b[^\W\d_]"
    r"|\b(?:am|dem|vom|zum|den|bis|seit|im|ab|der|die|das) \d{1,2})\.$",
    re.IGNORECASE,
)
_LONGEST_ABBREVIATION = 16
_LOUD = 0.8
"""A text with more capitals than that is written so throughout: nothing in it is an acronym."""


def in_words(text: str, language: str) -> str:
    """``text`` as it is said in ``language`` (a BCP 47 tag). Not empty where there is a letter or a
    digit."""
    text = _UNSEEN.sub(" ", text)
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    words = LANGUAGES.get(language.lower().partition("-")[0])
    if words is None:
        return _LONG_RUN.sub(lambda run: digits(run[0]), text)
    text = text.translate(_PLAIN)
    letters = sum(map(str.isalpha, text))
    loud = letters > 0 and sum(map(str.isupper, text)) > _LOUD * letters and " " in text.strip()
    day_first = words is not ENGLISH or language.lower() == "en-gb"
    reader = kinds.Reader(words, day_first=day_first, loud=loud)
    made = _pattern(words).sub(_by_kind(reader), text)
    return _BLANK_BEFORE.sub(r"\1", _BLANKS.sub(" ", made)).strip()


def ends_abbreviated(text: str) -> bool:
    """Whether the full stop at the end of ``text`` belongs to an abbreviation, an initial, or a
    German ordinal, in whatever language the text is."""
    return _ABBREVIATED.search(text[-_LONGEST_ABBREVIATION:]) is not None


def _by_kind(reader: kinds.Reader) -> Callable[[re.Match[str]], str]:
    def said(found: re.Match[str]) -> str:
        kind = found.lastgroup or ""
        read: Callable[[str], str] = getattr(reader, kind)
        return read(found[0])

    return said


@cache
def _pattern(words: Words) -> re.Pattern[str]:
    return kinds.pattern(words)


def unspoken(text: str, language: str) -> list[str]:
    """The runs of letters in ``text`` that a voice for ``language`` has no sounds for; none where
    it is said whole, or where nobody knows."""
    if language.lower().partition("-")[0] in _OTHER_SCRIPTS:
        return []
    return _FOREIGN.findall(text)


_OTHER_SCRIPTS = frozenset("ar bg el hi ja ko ru uk zh".split())
_FOREIGN = re.compile(r"[^\W\d_a-zA-Z\u00aa-\u024f\u02b0-\u02ff\u1e00-\u1eff]+")


LONGEST_PAUSE_MS = 10_000
"""Longer breaks are cut to it."""
_STRENGTHS_MS = {
    "none": 0,
    "x-weak": 100,
    "weak": 200,
    "medium": 400,
    "strong": 700,
    "x-strong": 1000,
}
_NAMES = (
    "audio break desc emphasis lang lexicon lookup mark meta metadata p paragraph par phoneme"
    " prosody s say-as sentence seq speak sub token voice w"
).split()
_SENTENCES = frozenset("p paragraph s sentence".split())
_SPELLING = frozenset("characters digits spell-out telephone verbatim".split())
_NAME = rf"{'|'.join(sorted(_NAMES, key=len, reverse=True))}|[a-z]{{1,16}}:[\w-]{{1,24}}"
_TAG = re.compile(
    rf"<(?P<close>/?)(?P<name>{_NAME})(?P<attributes>(?:\s[^<>]{{0,400}})?)/?>"
    r"|<!--[^<>]{0,400}-->|<\?xml[^<>]{0,200}\?>",
    re.IGNORECASE,
)
_ATTRIBUTE = re.compile(r"([\w:-]{1,24})\s{0,4}=\s{0,4}(?:\"([^\"]{0,300})\"|'([^']{0,300})')")
_TIME = re.compile(r"\+?(\d{1,6}(?:\.\d{1,6})?|\.\d{1,6})\s?(ms|s)", re.IGNORECASE)
_ENTITY = re.compile(r"&(amp|lt|gt|quot|apos);")
_ENTITIES = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}


@dataclass(frozen=True, slots=True)
class Pause:
    """Silence of so many milliseconds."""

    milliseconds: int


def read(text: str, language: str) -> list[str | Pause]:
    """What to say and where to pause; ``language`` is a BCP 47 tag. No text in it is without a
    letter or a digit."""
    found: list[str | Pause] = []
    for part in parts(text):
        words = part if isinstance(part, Pause) else in_words(part, language)
        if isinstance(words, Pause) or any(map(str.isalnum, words)):
            found.append(words)
    return found


def parts(text: str) -> Iterator[str | Pause]:
    """``text`` without SSML, its breaks as pauses; the texts are as they were written."""
    held: list[str] = []
    opened: str | None = None
    """The name of an element whose content is not read as it is written."""
    alias: str | None = None
    place = 0
    for tag in _TAG.finditer(text):
        held.append(_content(text[place : tag.start()], opened, alias))
        place = tag.end()
        name, attributes = (tag["name"] or "").lower(), dict(_attributes(tag["attributes"] or ""))
        if name == "break" and not tag["close"]:
            if any(map(str.strip, held)):
                yield "".join(held)
            held.clear()
            yield Pause(_pause(attributes))
        elif name in _SENTENCES:
            held.append("\n")
        elif tag["close"] and name == opened:
            opened = None
        elif name == "sub" and "alias" in attributes:
            opened, alias = name, attributes["alias"]
            held.append(_plain(alias))
        elif name == "say-as" and attributes.get("interpret-as", "").lower() in _SPELLING:
            opened = name
    held.append(_content(text[place:], opened, alias))
    if any(map(str.strip, held)):
        yield "".join(held)


def _content(text: str, opened: str | None, alias: str | None) -> str:
    """Text of an element; that of ``sub`` has been read already, as its alias."""
    if opened == "sub" and alias is not None:
        return ""
    return spelled(_plain(text)) if opened == "say-as" else _plain(text)


def _plain(text: str) -> str:
    return _ENTITY.sub(lambda found: _ENTITIES[found[1]], text)


def _attributes(text: str) -> Iterator[tuple[str, str]]:
    for found in _ATTRIBUTE.finditer(text):
        yield found[1].lower(), found[2] if found[2] is not None else found[3]


def _pause(attributes: dict[str, str]) -> int:
    found = _TIME.fullmatch(attributes.get("time", "").strip())
    if found is None:
        strength = attributes.get("strength", "").lower()
        return _STRENGTHS_MS.get(strength, _STRENGTHS_MS["medium"])
    milliseconds = float(found[1]) * (1000 if found[2].lower() == "s" else 1)
    return min(round(milliseconds), LONGEST_PAUSE_MS)
