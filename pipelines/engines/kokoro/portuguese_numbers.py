"""The numbers of a Portuguese text in words, as they are read in Brazil. Pure.

Signs, money, dates and clock times are words before (``reading``); what is left are whole numbers.
"""

import re

_ONES = (
    "zero um dois três quatro cinco seis sete oito nove dez onze doze treze quatorze quinze"
    " dezesseis dezessete dezoito dezenove"
).split()
_TENS = ". . vinte trinta quarenta cinquenta sessenta setenta oitenta noventa".split()
_HUNDREDS = (
    ". cento duzentos trezentos quatrocentos quinhentos seiscentos setecentos oitocentos novecentos"
).split()
_SCALES = ((10**9, "bilhão", "bilhões"), (10**6, "milhão", "milhões"))
LARGEST = 10**12
"""Numbers from here on are read digit by digit."""

_FEMININE = re.compile(r"(?<!\d)(\d{0,11}[12]) (horas?|vez|vezes|pessoas?|semanas?|noites?)\b")
"""Nouns that are often counted, and the numbers that have a gender."""
_WHOLE = re.compile(r"\d+")


def in_words(text: str) -> str:
    """``text`` with its numbers written out; those with a zero before them, and very long ones,
    digit by digit."""
    text = _FEMININE.sub(lambda found: f" {_feminine(found[1])} {found[2]}", text)
    return _WHOLE.sub(lambda found: f" {_number(found[0])} ", text)


def cardinal(number: int) -> str:
    """A whole number from 0 on, in the masculine."""
    if number >= LARGEST:
        return _digits(str(number))
    parts = []
    for scale, one, many in _SCALES:
        count, number = divmod(number, scale)
        if count:
            parts.append(f"{_below_thousand(count)} {one if count == 1 else many}")
    thousands, rest = divmod(number, 1000)
    if thousands:
        parts.append("mil" if thousands == 1 else f"{_below_thousand(thousands)} mil")
    if rest or not parts:
        joined = parts and (rest < 100 or rest % 100 == 0)
        parts.append(f"e {_below_thousand(rest)}" if joined else _below_thousand(rest))
    return " ".join(parts)


def _below_thousand(number: int) -> str:
    if number == 100:
        return "cem"
    hundreds, rest = divmod(number, 100)
    tens, ones = divmod(rest, 10)
    parts = [_HUNDREDS[hundreds]] if hundreds else []
    if rest < 20:
        parts += [_ONES[rest]] if rest or not parts else []
    else:
        parts.append(_TENS[tens])
        parts += [_ONES[ones]] if ones else []
    return " e ".join(parts)


def _number(written: str) -> str:
    if (len(written) > 1 and written.startswith("0")) or len(written) > len(str(LARGEST)):
        return _digits(written)
    return cardinal(int(written))


def _digits(text: str) -> str:
    return " ".join(_ONES[int(digit)] for digit in text)


def _feminine(written: str) -> str:
    return re.sub(r"\bdois$", "duas", re.sub(r"\bum$", "uma", _number(written)))
