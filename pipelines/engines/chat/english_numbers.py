"""English numbers: parsed from spoken or written text, and formatted. Pure."""

import re
from fractions import Fraction
from itertools import takewhile

MOST_DIGITS = 12
"""Larger numbers are not parsed."""

_ONES = {
    word: number
    for number, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
        " fifteen sixteen seventeen eighteen nineteen".split()
    )
}
_TENS = {
    word: 10 * number
    for number, word in enumerate(
        "twenty thirty forty fifty sixty seventy eighty ninety".split(), 2
    )
}
_SCALES = {"thousand": 10**3, "million": 10**6}
_SYMBOLS = (
    (re.compile(r"[’‘]"), "'"),
    (re.compile(r"\b(what|how much)'s\b"), r"\1 is"),
    (re.compile(r"\bwhats\b"), "what is"),
    (re.compile(r"(?<=\d) ?[*×] ?(?=\d)|(?<=\d) x (?=\d)"), " times "),
    (re.compile(r"(?<=\d) ?÷ ?(?=\d)"), " divided by "),
    (re.compile(r"(?<=\d) ?\N{MINUS SIGN} ?(?=\d)"), " minus "),
    (re.compile(r"(?<=\d) ?\+ ?(?=\d)"), " plus "),
    (re.compile(r"(?<=\d) - (?=\d)"), " dash "),
    (re.compile(r"(?<=\d) ?= ?\??$"), ""),
    (re.compile(r"%|\bper cent\b"), " percent"),
    (re.compile(r"€ ?(\d[\d.,]*\d|\d)|(\d[\d.,]*\d|\d) ?€"), r" \1\2 euros "),
    (re.compile(r"\$ ?(\d[\d.,]*\d|\d)"), r" \1 dollars "),
    (re.compile(r"£ ?(\d[\d.,]*\d|\d)"), r" \1 pounds "),
    (re.compile(r"(?<=[a-z])-(?=[a-z])"), " "),
)
_TOKEN = re.compile(r"\d+(?:[.,]\d+)*|[a-z]+(?:'[a-z]+)?|\S", re.ASCII)
_DIGITS = re.compile(r"(?:0|[1-9]\d*|[1-9]\d{0,2}(?:,\d{3})+)(?:\.(?:\d{1,2}|\d{4,6}))?", re.ASCII)
"""Not "3,5", "007", or "1.000", which many read as a thousand."""


class Ambiguous(Exception):
    """The text has a number that can be understood in two ways."""


def normal(text: str) -> str:
    """``text`` in lower case without punctuation, its numbers in digits.

    A number that contains "and" ends in "&". Raises Ambiguous."""
    text = " ".join(text.lower().split())
    for pattern, written in _SYMBOLS:
        text = pattern.sub(written, text)
    tokens = _TOKEN.findall(text)
    words, at = [], 0
    while at < len(tokens):
        word, at = _word(tokens, at)
        if word not in {"?", "!", ".", ",", ";", ":", "…"}:
            words.append(word)
    return " ".join(words)


def _word(tokens: list[str], at: int) -> tuple[str, int]:
    """The token at ``at``, or the number that begins there, and the index of the next token."""
    token = tokens[at]
    if token[0].isdecimal():
        if not _DIGITS.fullmatch(token) or len(token) > MOST_DIGITS:
            raise Ambiguous
        number, joined, end = Fraction(token.replace(",", "")), False, at + 1
        while end < len(tokens) and tokens[end] in _SCALES:
            number, end = number * _SCALES[tokens[end]], end + 1
    else:
        number, joined, end = _number_in_words(tokens, at)
        if end == at:
            return token, at + 1
    if number >= 10**MOST_DIGITS:
        raise Ambiguous
    return plain(number) + ("&" if joined else ""), end


def _number_in_words(tokens: list[str], at: int) -> tuple[Fraction, bool, int]:
    """The number that begins at ``at``, whether it contains "and", and its end."""
    total, joined, end, largest = 0, False, at, 10**9
    while True:
        begin = end
        if total and _is_and(tokens, begin) and begin + 1 < len(tokens):
            begin += 1
        part, with_and, after = _below_thousand(tokens, begin)
        if after == begin:
            break
        scale = _SCALES.get(tokens[after], 1) if after < len(tokens) else 1
        if scale >= largest or (begin > end and (scale > 1 or part >= 100)):
            break
        total, largest = total + part * scale, scale
        joined = joined or with_and or begin > end
        end = after + (scale > 1)
        if scale == 1:
            break
    decimals = ""
    if end > at and tokens[end : end + 1] == ["point"]:
        spoken = takewhile(lambda word: _ONES.get(word, 10) < 10, tokens[end + 1 : end + 5])
        if decimals := "".join(str(_ONES[word]) for word in spoken):
            end += 1 + len(decimals)
    return Fraction(f"{total}.{decimals}0"), joined, end


def _below_thousand(tokens: list[str], at: int) -> tuple[int, bool, int]:
    """As ``_number_in_words``, for at most "nine hundred and ninety nine"."""
    article = tokens[at : at + 1] == ["a"] and tokens[at + 1 : at + 2] in (
        ["hundred"],
        ["thousand"],
        ["million"],
    )
    number, end = (1, at + 1) if article else _below_hundred(tokens, at)
    if end == at or not number or tokens[end : end + 1] != ["hundred"]:
        return number, False, end
    number, end = number * 100, end + 1
    begin = end + _is_and(tokens, end)
    rest, after = _below_hundred(tokens, begin)
    if after == begin or not rest:
        return number, False, end
    return number + rest, begin > end, after


def _below_hundred(tokens: list[str], at: int) -> tuple[int, int]:
    word = tokens[at] if at < len(tokens) else ""
    if word in _ONES:
        return _ONES[word], at + 1
    if word not in _TENS:
        return 0, at
    unit = _ONES.get(tokens[at + 1], 0) if at + 1 < len(tokens) else 0
    return (_TENS[word] + unit, at + 2) if 0 < unit < 10 else (_TENS[word], at + 1)


def _is_and(tokens: list[str], at: int) -> bool:
    return tokens[at : at + 1] == ["and"]


def plain(number: Fraction) -> str:
    """A number with a finite decimal of at most six places, as digits."""
    text = f"{float(number):.6f}" if number.denominator > 1 else str(number)
    return text.rstrip("0").rstrip(".") if "." in text else text


def shown(number: Fraction) -> str:
    """A number for reading: exact if it has at most two decimals, else "about"."""
    if (number * 100).denominator == 1:
        return plain(number)
    return f"about {float(number):.2f}"
