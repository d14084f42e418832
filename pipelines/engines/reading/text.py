"""What is written as what is said: addresses, numbers, money, dates, signs, shortened words.

One pass over the text: at each place the first kind that fits is taken, and what is made of it is
not looked at again. All repetitions in the patterns are bounded, so that the time taken is linear
whatever the text is. Languages that ``words`` does not know are only cleaned.
"""

import re
import unicodedata
from collections.abc import Callable
from functools import cache

from . import kinds
from .numbers import ENGLISH, GERMAN, Words, digits
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
