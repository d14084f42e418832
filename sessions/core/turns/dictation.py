"""How far dictation has come: whether the code, number or name that was announced is complete.

Rules
- What is announced ("my booking code is", or the agent's question "What is your phone number?")
  says how many digits or letters to expect. Whoever reads from a card pauses between groups for as
  long as it takes, so before the least number is there the agent waits ``patience`` for BEGUN.
- Spelling is complete when it has as many letters as the word before it that begins alike: "Smith,
  that is S M I T H".
- Where nothing was announced, only the ending counts (``endpointing.ending_of``).
- The announcing words are English; in other languages nothing is expected.
"""

import re
from enum import StrEnum

from sessions.languages.packs import words_of


class Progress(StrEnum):
    """How much of what was announced has been dictated."""

    BEGUN = "begun"
    """More must come."""
    ENOUGH = "enough"
    """It may be complete."""
    WHOLE = "whole"
    """It has the length that such things have."""


_DIGITS = dict.fromkeys("zero oh o nought one two three four five six seven eight nine".split(), 1)
_DIGITS |= dict.fromkeys(
    "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split(), 2
)
_TENS = frozenset("twenty thirty forty fifty sixty seventy eighty ninety".split())
_REPEATS = {"double": 1, "triple": 2}

_LENGTHS: tuple[tuple[frozenset[str], int, frozenset[int]], ...] = (
    (frozenset(("card", "visa", "mastercard")), 13, frozenset((15, 16))),
    (frozenset(("phone", "telephone", "mobile")), 7, frozenset((10, 11, 12))),
    (frozenset(("pin",)), 4, frozenset((4, 6))),
    (frozenset(("zip",)), 5, frozenset((5, 9))),
    (frozenset(("postcode",)), 5, frozenset((6, 7))),
    (frozenset(("account", "iban", "serial")), 6, frozenset()),
    (frozenset(("code", "reference", "booking", "confirmation", "tracking")), 4, frozenset((6, 8))),
)
"""Announcing words, the fewest digits and letters, and the usual lengths."""
_BEFORE = frozenset("is it's its was are number code pin reference".split())
"""Only behind one of these has dictation been announced: "a card for two" announces nothing."""

_MAIL = re.compile(r"\be-?mail( address)?( is|:| it's)? (?P<said>.*)", re.IGNORECASE)
_MAIL_SIGN = re.compile(r"@|\bat\b|\bdot\b|\w[._]\w", re.IGNORECASE)
_MAIL_WHOLE = re.compile(r"(@|\bat\b).*(\.|\bdot\s+)[a-z]{2,}\W*$", re.IGNORECASE)
_BIRTH = re.compile(r"\b(date of birth|birthday)\b", re.IGNORECASE)
_YEAR = re.compile(r"\b(19|20)\d\d\b|\b(nineteen|twenty|two thousand) ?\w", re.IGNORECASE)
_DAY = re.compile(r"\d|\b(first|second|third|\w+(th|ieth))\b", re.IGNORECASE)


def progress_of(text: str, question: str = "") -> Progress | None:
    """How far the dictation at the end of ``text`` has come; None where none was announced.

    ``question`` is what the agent said last; it counts where ``text`` is nothing but dictation."""
    words = words_of(text)
    begin = _begin(words)
    if (spelt := _spelling(words[:begin], words[begin:])) is not None:
        return spelt
    if (mail := _MAIL.search(text)) is not None and _MAIL_SIGN.search(mail["said"]):
        return Progress.WHOLE if _MAIL_WHOLE.search(mail["said"]) else Progress.BEGUN
    if _BIRTH.search(text) and _DAY.search(text):
        return Progress.WHOLE if _YEAR.search(text) else Progress.BEGUN
    announced = words[:begin]
    if begin == len(words) or (announced and announced[-1] not in _BEFORE):
        return None
    if len(announced) <= 1:
        announced = words_of(question)
    length = sum(_length(words, at) for at in range(begin, len(words)))
    if "address" in announced:
        return Progress.BEGUN
    for names, least, usual in _LENGTHS:
        if not names.isdisjoint(announced):
            if length in usual:
                return Progress.WHOLE
            return Progress.BEGUN if length < least else Progress.ENOUGH
    return None


def _begin(words: list[str]) -> int:
    """Index of the first word of the digits and letters at the end of ``words``."""
    begin = len(words)
    while begin and _length(words, begin - 1):
        begin -= 1
    return begin


def _length(words: list[str], at: int) -> int:
    """Digits or letters that a word stands for."""
    word = words[at]
    if word in _REPEATS:
        return _REPEATS[word]
    if word in _TENS:
        units = at + 1 < len(words) and words[at + 1] in _DIGITS
        return 1 if units else 2
    if word in _DIGITS:
        return _DIGITS[word]
    if word.isdigit() or (any(map(str.isdigit, word)) and word.isalnum()):
        return len(word)
    if len(word) != 1:
        return 0
    beside = words[max(0, at - 1) : at] + words[at + 1 : at + 2]
    return 1 if word not in ("i", "a") or any(len(other) == 1 for other in beside) else 0


def _spelling(before: list[str], letters: list[str]) -> Progress | None:
    """Letters at the end, beside a word before them that begins alike."""
    if len(letters) < 2 or not all(len(word) == 1 and word.isalpha() for word in letters):
        return None
    for word in reversed(before):
        if len(word) > 2 and list(word[:2]) == letters[:2]:
            return Progress.WHOLE if len(letters) >= len(word) else Progress.BEGUN
    return None
