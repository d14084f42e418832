"""Numbers, clock times, money and signs of a Portuguese text in words, as they are read in Brazil.
Pure."""

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

_CURRENCIES = {
    "R$": ("real", "reais"), "US$": ("dólar", "dólares"), "$": ("dólar", "dólares"),
    "€": ("euro", "euros"), "£": ("libra", "libras"),
}  # fmt: skip
_NUMBER = r"\d{1,3}(?:\.\d{3})+(?:,\d+)?|\d+(?:,\d+)?"
_MONEY = re.compile(rf"(R\$|US\$|[$€£])\s?({_NUMBER})")
_MONEY_AFTER = re.compile(rf"({_NUMBER})\s?([€£$])")
_TIME = re.compile(r"\b([01]?\d|2[0-3])(?:h|:)([0-5]\d)\b|\b([01]?\d|2[0-3])\s?h\b")
_FEMININE = re.compile(r"\b(\d*[12]) (horas?|vezes|vez|pessoas?|semanas?|noites?|casas?)\b")
"""Nouns that are often counted, and the numbers that have a gender."""
_PERCENT = re.compile(rf"({_NUMBER})\s?%")
_ORDINAL = re.compile(r"\b(\d{1,2})([ºª°])")
_ORDINALS = (". primeiro segundo terceiro quarto quinto sexto sétimo oitavo nono décimo").split()
_PLAIN = re.compile(rf"{_NUMBER}")
_RUN = re.compile(r"(?<![\d.,])\d(?:[ \-–./]?\d)*(?:[\-–]\d+)+\b|(?<![\d.,])0\d+\b")
_SIGNS = {
    "&": " e ", "@": " arroba ", "+": " mais ", "=": " igual a ", "%": " por cento ",
    "°": " graus ",
}  # fmt: skip


def in_words(text: str) -> str:
    """``text`` with its numbers and signs written out."""
    text = _MONEY.sub(lambda found: _money(found[1], found[2]), text)
    text = _MONEY_AFTER.sub(lambda found: _money(found[2], found[1]), text)
    text = _TIME.sub(_time, text)
    text = _FEMININE.sub(lambda found: f"{_feminine(cardinal(int(found[1])))} {found[2]}", text)
    text = _PERCENT.sub(lambda found: f"{_number(found[1])} por cento", text)
    text = _ORDINAL.sub(_ordinal, text)
    text = _RUN.sub(lambda found: _digits(found[0]), text)
    text = _PLAIN.sub(lambda found: f" {_number(found[0])} ", text)
    for sign, words in _SIGNS.items():
        text = text.replace(sign, words)
    return text


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


def _digits(text: str) -> str:
    return f" {' '.join(_ONES[int(digit)] for digit in text if digit.isdigit())} "


def _number(text: str) -> str:
    """A number as it is written in Brazil: points between thousands, a comma before decimals."""
    whole, _, decimals = text.partition(",")
    said = cardinal(int(whole.replace(".", "")))
    if not decimals:
        return said
    after = cardinal(int(decimals)) if not decimals.startswith("0") else _digits(decimals).strip()
    return f"{said} vírgula {after}"


def _money(sign: str, amount: str) -> str:
    one, many = _CURRENCIES[sign]
    whole, _, cents = amount.partition(",")
    number = int(whole.replace(".", ""))
    of = "de " if number and number % 10**6 == 0 else ""
    said = f"{cardinal(number)} {of}{one if number == 1 else many}"
    if cents.strip("0") and len(cents) <= 2:
        count = int(cents.ljust(2, "0"))
        said += f" e {cardinal(count)} {'centavo' if count == 1 else 'centavos'}"
    return said


def _time(found: re.Match[str]) -> str:
    hour = int(found[1] or found[3])
    minute = int(found[2] or 0)
    said = _feminine(cardinal(hour))
    said += " hora" if hour == 1 else " horas"
    return f"{said} e {cardinal(minute)}" if minute else said


def _ordinal(found: re.Match[str]) -> str:
    number = int(found[1])
    if not 1 <= number <= 10:
        return cardinal(number)
    said = _ORDINALS[number]
    return f"{said[:-1]}a" if found[2] == "ª" else said


def _feminine(words: str) -> str:
    said = re.sub(r"\bum$", "uma", words)
    return re.sub(r"\bdois$", "duas", said)
