"""The kinds of text that are not read as written: how each is recognised (``pattern``) and what is
said instead (``Reader``, one method per kind)."""

import re
from collections.abc import Sequence

from .numbers import (
    ENGLISH,
    GERMAN,
    Number,
    Words,
    digits,
    number_pattern,
    parsed,
    said,
    said_whole,
    spelled,
)

_CURRENCIES = dict(
    pair.split(":") for pair in ("€:EUR $:USD £:GBP ¥:JPY ₹:INR ₩:KRW R$:BRL US$:USD").split()
)
_SCALES = dict(
    pair.split(":") for pair in ("k:k K:k m:m M:m mn:m mio:m b:b bn:b B:b mrd:b t:t").split()
)
_DOMAINS = "com|org|net|io|dev|app|ai|edu|gov|info|eu|de|fr|it|es|pt|br|uk|us|ch|at|nl|be|co|me|tv"
_SPELLED = frozenset(
    "AI API ATM CEO CPU CFO CTO EU FAQ GPU IBAN IP ISO IT UI UK URL US USA USB UX EC EEUU UE USP AG"
    " EDV ADAC IVA ISBN".split()
)
"""Acronyms that are spelled out although they have vowels; those without vowels always are."""
_PRODUCTS = (
    "Python|Java|Node|Ubuntu|Debian|iOS|Android|macOS|Windows|Chrome|Firefox|Django|PostgreSQL"
    "|Postgres|PHP|Ruby|Go|Rust|Linux|TLS|HTTP|USB|Bluetooth|[Vv]ersion|[Rr]elease|[Vv]ersión"
    "|[Vv]ersione|[Vv]ersão"
)
_ROMAN = r"(?:X{1,3}(?:IX|IV|V?I{0,3})|IX|IV|VI{0,3}|I{2,3})"
_REGNAL = (
    "Henry|Louis|Charles|Elizabeth|George|Edward|Richard|William|James|John|Paul|Pius|Benedict"
    "|Francis|Napoleon|Philip|Frederick|Leo|Gregory|Catherine|Peter|Alexander|Nicholas|Ludwig"
    "|Heinrich|Karl|Friedrich|Wilhelm|Johannes|Felipe|Carlos|Alfonso|Isabel|Enrique|Juan|Fernando"
    "|Luis|Henri|François|Napoléon|Pie|Benoît|Philippe|Vittorio|Emanuele|Umberto|Giovanni|Paolo|Pio"
    "|Benedetto|Leone|Francesco|Carlo|Enrico|Luigi|João|Pedro|Manuel|Bento"
)
"""After these a Roman numeral is an ordinal; after other names it is a number."""
_ROMAN_VALUES = {"I": 1, "V": 5, "X": 10}
_URL_SIGNS = re.compile(r"([^\W_]+)|(%[0-9A-Fa-f]{2})|(.)", re.DOTALL)
_LETTERS_DIGITS = re.compile(r"(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])")
_MOST_URL_SIGNS = 400
_B, _E = r"(?<![^\W_])", r"(?![^\W_])"
"""Where a word or number begins and ends."""


def _alternatives(texts: Sequence[str]) -> str:
    return "|".join(re.escape(text) for text in sorted(texts, key=len, reverse=True))


def pattern(words: Words) -> re.Pattern[str]:
    """All kinds; each group is named after the Reader's method."""
    money = _alternatives([*_CURRENCIES, *words.money])
    scale = rf"(?:\s?(?:{_alternatives(list(_SCALES))}){_E})?"
    number = number_pattern(words)
    units = _alternatives(list(words.units))
    months = _alternatives(words.months)
    kinds = {
        "email": r"(?<![\w.+-])[A-Za-z0-9][\w.%+-]{0,63}@[A-Za-z0-9-]{1,63}"
        r"(?:\.[A-Za-z0-9-]{1,63}){1,6}",
        "url": r"(?<![\w@.])(?:(?:https?|ftp|wss?)://[^\s<>\"]{1,2000}|www\.[^\s<>\"]{1,2000}"
        rf"|(?:[A-Za-z0-9-]{{1,63}}\.){{1,5}}(?:{_DOMAINS})(?![\w-])(?:[/?:#][^\s<>\"]{{1,2000}})?)",
        "iso_date": rf"{_B}\d{{4}}-\d{{2}}-\d{{2}}(?![\d-])",
        "date": rf"{_B}(?:\d{{1,2}}\.\s?\d{{1,2}}\.\s?(?:\d{{4}}|\d{{2}})|\d{{1,2}}/\d{{1,2}}/"
        r"(?:\d{4}|\d{2}))(?![\w/]|\.\d)",
        "day": rf"{_B}(?:(?i:am|dem|vom|zum|den|bis|seit|im|ab|der|das)\s)?\d{{1,2}}\.\s?"
        rf"(?={months}|Jahrhundert|Stock|Etage)"
        if words is GERMAN
        else r"(?!)",
        "clock": rf"{_B}\d{{1,2}}(?::\d{{2}}){{1,2}}(?:\s?(?:[ap]m{_E}|[AP]M{_E}|[ap]\.m\."
        rf"|Uhr{_E}))?(?![\d:])|{_B}\d{{1,2}}\s?h\s?\d{{2}}{_E}",
        "phone": r"(?<![\w+])\+\d{1,4}(?:[ ()./-]{1,3}\d{1,6}){1,7}(?!\d)"
        r"|(?<![\w(])\(\d{3,5}\)\s?\d{3}"
        rf"[ -]\d{{3,5}}(?!\d)|{_B}\d{{3}}[-.]\d{{3}}[-.]\d{{4}}(?!\d)|{_B}\d{{3}}-\d{{4}}(?![\d-])"
        rf"|{_B}0\d{{2,5}}(?:[ /-]{{1,3}}\d{{2,8}}){{1,5}}(?!\d)|{_B}0\d(?:[ .]\d{{2}}){{4}}(?!\d)",
        "code": rf"{_B}[A-Z]{{2}}\d{{2}}(?:\s?[A-Z0-9]{{4}}){{3,7}}(?:\s?[A-Z0-9]{{1,3}})?{_E}"
        rf"|{_B}\d{{4}}(?:[ -]\d{{4}}){{2,4}}{_E}",
        "money": rf"(?<![^\W_])-?(?:{money})\s?{number}{scale}|{_B}-?{number}{scale}\s?"
        rf"(?:{money})(?![^\W_])",
        "version": rf"{_B}[vV]\d{{1,6}}(?:\.\d{{1,8}}){{0,5}}{_E}"
        rf"|{_B}(?!\d{{1,3}}(?:\.\d{{3}}){{2}}(?![.\d]))\d{{1,6}}(?:\.\d{{1,8}}){{2,5}}"
        r"(?![\d.]\d)(?!\d)",
        "product": rf"{_B}(?:{_PRODUCTS})\s\d{{1,4}}\.\d{{1,4}}(?![\d.,]\d)(?!\d)",
        "measure": rf"(?<![^\W_])-?{number}\s?(?:%|‰|(?:{units})(?![^\W_]))",
        "fraction": rf"{_B}(?:\d{{1,3}}\s)?\d{{1,3}}/\d{{1,3}}(?![\w/])",
        "span": rf"{_B}\d{{1,4}}\s?[–-]\s?\d{{1,4}}(?:\s?%)?(?![\w-])(?![.,]\d)",
        "ordinal": rf"{_B}\d{{1,2}}(?:st|nd|rd|th|er|re|ère|e|ème|º|ª){_E}",
        "number": rf"(?:(?<!\S)-)?{_B}{number}",
        "run": r"\d{10,}",
        "tag": r"(?<![\w&])[#@](?=[^\W\d_])\w{1,64}|(?<![\w&])#(?=\d)",
        "roman": rf"{_B}(?:{_alternatives(words.numbered)})\s{_ROMAN}{_E}"
        rf"|{_B}(?:{_REGNAL})\s{_ROMAN}{_E}(?:\.(?=\s[a-zäöü]))?"
        rf"|{_B}[A-ZÉ][a-zéèíóúàçñ]{{2,20}}\s(?=[IVX]{{2}}){_ROMAN}{_E}"
        rf"|{_B}{_ROMAN}e?\s(?=secolo|siècle)",
        "short": rf"(?<![\w.])(?:{_alternatives(list(words.abbreviations))})(?![^\W_])",
        "acronym": rf"{_B}[A-Z]{{2,6}}s?{_E}",
        "sign": r"[/@_+=#%‰&§×÷±≈<>≤≥~*|^{}\\€£¥₹$]|(?<!\w)-(?=\d)",
    }
    return re.compile("|".join(f"(?P<{kind}>{rule})" for kind, rule in kinds.items()))


class Reader:
    """What is said, in the language of ``words``. ``day_first``: dates with slashes begin with the
    day; ``loud``: the whole text is in capitals."""

    def __init__(self, words: Words, *, day_first: bool, loud: bool) -> None:
        self._words = words
        self._signs = words.signs
        self._number = re.compile(number_pattern(words))
        self._day_first = day_first
        self._loud = loud

    # ------------------------------------------------------------------ addresses

    def email(self, text: str) -> str:
        """``jane.doe@mail.co.uk`` → jane dot doe at mail dot co dot U K."""
        name, _, host = text.rstrip(".-").partition("@")
        rest = text[len(text.rstrip(".-")) :]
        return f"{self._address(name)} {self._signs['@']} {self._host(host)}{rest}"

    def url(self, text: str) -> str:
        """Host and path in words; the scheme is not said."""
        plain = text.rstrip(".,;:!?'\")]}*_")
        rest = text[len(plain) :]
        address = plain.partition("://")[2] if "://" in plain[:10] else plain
        host = re.split(r"[/?#:]", address, maxsplit=1)[0]
        path = address[len(host) :].rstrip("/")
        made = f" {self._host(host)} {self._address(path[:_MOST_URL_SIGNS])}{rest} "
        return made if any(map(str.isalnum, made)) else f" {self._address(text)} "

    def _host(self, host: str) -> str:
        names = host.split(".")
        if len(names) > 1 and len(names[-1]) == 2 and names[-1].isalpha():
            names[-1] = self._letters(names[-1])
        if names[0].lower() == "www":
            names[0] = self._letters("www")
        return f" {self._signs['.']} ".join(self._address(name) for name in names)

    def _address(self, text: str) -> str:
        return " ".join(filter(None, map(self._piece, _URL_SIGNS.finditer(text))))

    def _piece(self, found: re.Match[str]) -> str:
        if found[1]:
            parts = _LETTERS_DIGITS.split(found[1])
            return " ".join(digits(p) if p.isdigit() and len(p) > 4 else p for p in parts)
        return "" if found[2] else self._signs.get(found[3], "")

    # ------------------------------------------------------------------ dates and clock times

    def iso_date(self, text: str) -> str:
        """``2025-12-24``"""
        year, month, day = text.split("-")
        return self._date(day, month, year) or text.replace("-", " ")

    def date(self, text: str) -> str:
        """``24.12.2025``, ``12/24/2025``"""
        first, second, year = re.split(r"[./]\s?", text)
        if len(year) == 2:
            year = ("19" if int(year) > 50 else "20") + year
        day, month = (first, second) if self._day_first or "." in text else (second, first)
        if int(month) > 12:
            day, month = month, day
        return self._date(day, month, year) or " ".join((first, second, year))

    def _date(self, day: str, month: str, year: str) -> str | None:
        number, place = int(day), int(month)
        if not (1 <= place <= 12 and 1 <= number <= 31):
            return None
        name = self._words.months[place - 1]
        if self._words is ENGLISH:
            return f"{name} {self._words.ordinals[number - 1]}, {year}"
        if self._words is GERMAN:
            return f"{self._words.ordinals[number - 1]}n {name} {year}"
        said_day = self._words.ordinals[0] if number == 1 else str(number)
        of = " de " if self._words.point in ("coma", "vírgula") else " "
        return f"{said_day}{of}{name}{of}{year}"

    def day(self, text: str) -> str:
        """``am 24. `` before a month, in German."""
        before, number = re.fullmatch(r"(\D*)(\d+).*", text, re.DOTALL).groups()  # type: ignore[union-attr]
        if not 1 <= int(number) <= 31:
            return f"{before}{number} "
        ending = "n" if before.strip() and before.strip().lower() not in ("der", "das") else ""
        return f"{before}{self._words.ordinals[int(number) - 1]}{ending} "

    def clock(self, text: str) -> str:
        """``8:05``, ``7:30 pm``, ``20 h 30``"""
        half = re.search(r"([AaPp])\.?[Mm]", text)
        parts = [int(part) for part in re.findall(r"\d+", text)]
        hour, minute = parts[0], parts[1]
        if hour > 24 or minute > 59 or len(parts) > 2:
            return " ".join(map(str, parts))
        after = f" {half[1].upper()} M" if half else ""
        return self._clock(hour, minute, exact=not half) + after

    def _clock(self, hour: int, minute: int, *, exact: bool) -> str:
        language = self._words.point
        if language == "point":
            if minute:
                return f"{hour} {minute}" if minute > 9 else f"{hour} oh {minute}"
            return f"{hour} o'clock" if exact else str(hour)
        if language == "Komma":
            return f"{hour} Uhr {minute or ''}".strip()
        if language == "virgule":
            return f"{hour} heure{'s' if hour > 1 else ''} {minute or ''}".strip()
        if language == "vírgula" and not minute:
            return f"{hour} horas"
        if not minute:
            return f"{hour} en punto" if language == "coma" else str(hour)
        return f"{hour} {self._signs['&']} {minute}"

    # ------------------------------------------------------------------ numbers

    def phone(self, text: str) -> str:
        """Digit by digit, in its groups."""
        groups = re.findall(r"\d+", text)
        plus = f"{self._signs['+']} " if text.startswith("+") else ""
        return plus + ", ".join(
            digits(group) if len(group) > 4 else " ".join(group) for group in groups
        )

    def code(self, text: str) -> str:
        """IBANs and card numbers: character by character, in groups of four."""
        plain = re.sub(r"[\s-]", "", text)
        return ", ".join(spelled(plain[at : at + 4]) for at in range(0, len(plain), 4))

    def money(self, text: str) -> str:
        """``€1.150,00``, ``$5.99``, ``£3m``, ``12 EUR``"""
        number = self._number.search(text)
        assert number is not None  # noqa: S101 - it is part of the pattern
        before, after = text[: number.start()].strip(), text[number.end() :].strip()
        minus = f"{self._minus} " if before.startswith("-") else ""
        code, scale = before.lstrip("-"), after
        if not code:
            code = next(
                c
                for c in sorted([*_CURRENCIES, *self._words.money], key=len, reverse=True)
                if after.endswith(c)
            )
            scale = after[: len(after) - len(code)].strip()
        one, more = self._words.money.get(_CURRENCIES.get(code, code), (code, code))
        amount = parsed(number[0], self._words, money=True)
        if scale:
            return minus + self._scaled(amount, _SCALES[scale], more)
        return minus + self._amount(amount, one, more)

    def _scaled(self, amount: Number, scale: str, currency: str) -> str:
        one, more = self._words.scales[scale]
        name = one if amount == Number("1") else more
        of = self._words.of if scale != "k" and not name.startswith("mil ") else ""
        return " ".join(filter(None, (said(amount, self._words), name, of, currency)))

    def _amount(self, amount: Number, one: str, more: str) -> str:
        name = one if amount.whole == "1" else more
        if len(amount.decimals) > 2:
            return f"{said(amount, self._words)} {more}"
        hundredths = int(amount.decimals.ljust(2, "0")) if amount.decimals else 0
        number = said_whole(amount, self._words)
        of = f"{self._words.of} " if number.endswith(self._words.scales["m"]) else ""
        whole = f"{number} {of}{name}"
        if not hundredths:
            return whole
        cents = self._words.cents if more in ("euros", "dollars") else ""
        parts = (whole, self._words.and_cents, str(hundredths), cents)
        return " ".join(filter(None, parts))

    def version(self, text: str) -> str:
        """``v2.14.1``, ``10.0.0.1``"""
        plain = text.lstrip("vV")
        point = f" {self._signs['.'] if self._words is not ENGLISH else 'point'} "
        before = f"{self._words.version} " if plain != text else ""
        return before + point.join(digits(p) if len(p) > 4 else p for p in plain.split("."))

    def product(self, text: str) -> str:
        """``Python 3.11``: three point eleven."""
        name, number = text.rsplit(maxsplit=1)
        return f"{name} {self.version(number)}"

    def measure(self, text: str) -> str:
        """``50 km``, ``3,5 %``, ``-4 °C``"""
        number = self._number.search(text)
        assert number is not None  # noqa: S101 - it is part of the pattern
        unit = text[number.end() :].strip()
        amount = parsed(number[0], self._words)
        minus = f"{self._minus} " if text.startswith("-") else ""
        if unit in self._signs:
            name = self._signs[unit]
        else:
            name = self._words.units[unit][amount != Number("1")]
        return f"{minus}{said(amount, self._words)} {name}"

    def fraction(self, text: str) -> str:
        """``3/4``, ``1 1/2``"""
        whole, _, part = text.rpartition(" ")
        named = self._words.fractions.get(part)
        if named is None:
            first, second = part.split("/")
            named = f"{first} {self._signs['/']} {second}" if part != "24/7" else "24 7"
        return f"{whole} {self._signs['&']} {named}" if whole else named

    def span(self, text: str) -> str:
        """A range with an en dash, such as 10 to 15; only a rising one is read with "to"."""
        first, second = re.findall(r"\d+", text)
        to = {"point": "to", "Komma": "bis", "virgule": "à"}.get(self._words.point, "a")
        percent = f" {self._signs['%']}" if text.endswith("%") else ""
        if int(first) < int(second) or percent:
            return f"{first} {to} {second}{percent}"
        return f"{first}, {second}"

    def ordinal(self, text: str) -> str:
        """``3rd``, ``1er``, ``2º``"""
        number = int(re.match(r"\d+", text)[0])  # type: ignore[index]
        known = 1 <= number <= len(self._words.ordinals)
        feminine = text.endswith(("ª", "re", "ère"))
        if not known or self._words is GERMAN:
            return text
        name = self._words.ordinals[number - 1]
        if feminine:
            return "première" if name == "premier" else name[:-1] + "a"
        return name

    def number(self, text: str) -> str:
        """``1,234.5``, ``3,14``, ``-5``"""
        minus = f"{self._minus} " if text.startswith("-") else ""
        return minus + said(parsed(text.lstrip("-"), self._words), self._words)

    def run(self, text: str) -> str:
        """A long run of digits."""
        return f" {digits(text)} "

    @property
    def _minus(self) -> str:
        return {"point": "minus", "Komma": "minus", "virgule": "moins", "virgola": "meno"}.get(
            self._words.point, "menos"
        )

    # ------------------------------------------------------------------ words and signs

    def tag(self, text: str) -> str:
        """``#OpenDay``, ``@jane_doe``, ``#5``"""
        sign = self._signs["@"] if text[0] == "@" else "hashtag"
        if text == "#":
            return {"point": "number ", "Komma": "Nummer ", "virgule": "numéro "}.get(
                self._words.point, "número " if self._words.point != "virgola" else "numero "
            )
        name = re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", text[1:])
        return f"{sign} {name}"

    def roman(self, text: str) -> str:
        """``Chapter IV``: a number; ``Henry VIII``: an ordinal."""
        *names, numeral = text.split()
        name, numeral = " ".join(names), numeral.rstrip(".e")
        if not name:  # before "secolo", "siècle"
            number = _roman(numeral)
            return f"{self._ordinal(number)} "
        number = _roman(numeral)
        if name in self._words.numbered or not re.fullmatch(_REGNAL, name):
            return f"{name} {number}"
        if self._words is ENGLISH:
            return f"{name} the {self._ordinal(number)}"
        if self._words is GERMAN:
            return f"{name} der {self._ordinal(number)}"
        return f"{name} {self._ordinal(number)}" if number < 11 else f"{name} {number}"

    def _ordinal(self, number: int) -> str:
        known = number <= len(self._words.ordinals)
        return self._words.ordinals[number - 1] if known else str(number)

    def short(self, text: str) -> str:
        """An abbreviation, in full."""
        return self._words.abbreviations[text]

    def acronym(self, text: str) -> str:
        """Letter by letter, if it cannot be a word or is known to be spelled out."""
        name, plural = (text[:-1], "s") if text.endswith("s") else (text, "")
        if self._loud or not (name in _SPELLED or not set(name) & set("AEIOUY")):
            return text
        return self._letters(name) + plural

    def _letters(self, text: str) -> str:
        """Letters by their names. English engines read capitals that way; a lone "A" would be
        read as the article."""
        return text.upper() if self._words is ENGLISH else " ".join(text.upper())

    def sign(self, text: str) -> str:
        """A sign between words."""
        if text == "-":
            return f"{self._minus} "
        if text in _CURRENCIES:
            return f" {self._words.money[_CURRENCIES[text]][1]} "
        if text == "~":
            text = "≈"
        elif text in "*|^{}_#<>":
            return ", " if text == "|" else " "
        return f" {self._signs.get(text, '')} "


def _roman(numeral: str) -> int:
    values = [_ROMAN_VALUES[sign] for sign in numeral]
    return sum(
        -value if any(later > value for later in values[at + 1 : at + 2]) else value
        for at, value in enumerate(values)
    )
