"""Sums, conversions and the clock: the fact that answers a question. Pure; English only.

A small chat model answers 15 + 27 with 32 and invents the time. ``fact`` must match the whole
message: a single unexpected word, and there is no fact. A wrong fact is worse than none, so
ambiguous questions are left to the model ("add one hundred and five", "3,5", "2 plus 3 times 4",
"what time is it in Tokyo").
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from fractions import Fraction

from pipelines.engines.base import ChatMessage

from .english_numbers import MOST_DIGITS, Ambiguous, normal, plain, shown

MOST_CHARACTERS = 240
"""Longer messages contain more than a question."""

# ---------------------------------------------------------------------- sums

_CURRENCIES = {"euro": "euros", "dollar": "dollars", "pound": "pounds", "cent": "cents"}
_NUMBER = r"\d+(?:\.\d+)?&?"
_N = f"({_NUMBER})"
_U = r"( (?:euros?|dollars?|pounds?|cents?))?"
_ASK = (
    r"(?:(?:what is|what are|how much is|how much are|calculate|compute|work out|what does"
    r"|how much does|what) )"
)
_MAKES = r"(?: (?:is|are|make|makes|equal|equals|is what|equals what))?"
_OPERATIONS = {
    "plus": "+",
    "minus": "\N{MINUS SIGN}",
    "dash": "\N{MINUS SIGN}",
    "times": "×",
    "multiplied by": "×",
    "divided by": "÷",
}
_OPERATION = r" (plus|minus|times|multiplied by|divided by) "
_NOUN = r"[a-z]+(?: [a-z]+)??"
_THING = f"({_NOUN})"
_MEASURES = frozenset(
    "pair pairs dozen pack packs box boxes set sets half couple bag bags case cases bundle crate"
    " carton bunch few other return".split()
)
"""Nouns that stand for several things at one price; and a "return ticket" may be two."""
_GONE = (
    r"(?:eat|ate|give|gave|lose|lost|spend|spent|sell|sold|use|used|drink|drank|take|took|break"
    r"|broke|throw|threw|pay|paid)"
)
_MORE = r"(?:get|got|buy|bought|find|found|receive|received)"
_WHO = r"(?:i|you|we|he|she)"


def _money(*units: str | None) -> str | None:
    """The common unit of amounts, with a space before it; None if it is unclear."""
    named = {_CURRENCIES[unit.strip().rstrip("s")] for unit in units if unit}
    if len(named) > 1 or (named == {"cents"} and not all(units)):
        return None
    return f" {named.pop()}" if named else ""


def _number(text: str) -> Fraction:
    return Fraction(text.rstrip("&"))


def _calculated(left: Fraction, sign: str, right: Fraction) -> Fraction | None:
    if sign == "+":
        return left + right
    if sign == "\N{MINUS SIGN}":
        return left - right
    if sign == "×":
        return left * right
    return left / right if right else None


def _equation(left: str, result: Fraction | None, unit: str | None = "") -> str | None:
    """``left`` and its result, in ``unit``; None if either is unknown."""
    if result is None or unit is None or abs(result) >= 10**MOST_DIGITS:
        return None
    number = shown(abs(result))
    if unit and "." in number and len(number.partition(".")[2]) == 1:
        number += "0"  # as money is written
    sign = "minus " if result < 0 else ""
    if number.startswith("about "):
        return f"{left} is about {sign}{number[6:]}{unit}"
    return f"{left} = {sign}{number}{unit}"


def _chain(found: re.Match[str]) -> str | None:
    """Any number of additions and subtractions, or of multiplications, or one division."""
    parts = re.split(r" (plus|minus|dash|times|multiplied by|divided by) ", found[1])
    signs = [_OPERATIONS[word] for word in parts[1::2]]
    if not (set(signs) <= {"+", "\N{MINUS SIGN}"} or set(signs) == {"×"} or signs == ["÷"]):
        return None
    amounts = [re.fullmatch(_N + _U, part) for part in parts[::2]]
    values, units = [], []
    for amount in amounts:
        if amount is None:
            return None
        values.append(_number(amount[1]))
        units.append(amount[2])
    if signs[0] in "×÷" and sum(unit is not None for unit in units) > 1:
        return None
    unit = _money(*[u for u in units if u] if signs[0] in "×÷" else units)
    if unit is None or (signs[0] == "÷" and units[1]):
        return None
    total: Fraction | None = values[0]
    left = plain(values[0])
    for sign, value in zip(signs, values[1:], strict=True):
        total = None if total is None else _calculated(total, sign, value)
        left += f" {sign} {plain(value)}"
    return _equation(left, total, unit)


def _binary(sign: str, first: int = 1, second: int = 2) -> Callable[[re.Match[str]], str | None]:
    def make(found: re.Match[str]) -> str | None:
        if "&" in found[1] + found[2]:
            return None
        left, right = _number(found[first]), _number(found[second])
        return _equation(f"{plain(left)} {sign} {plain(right)}", _calculated(left, sign, right))

    return make


def _difference(found: re.Match[str]) -> str | None:
    if "&" in found[1] + found[2]:
        return None
    small, large = sorted((_number(found[1]), _number(found[2])))
    return _equation(f"{plain(large)} \N{MINUS SIGN} {plain(small)}", large - small)


def _percent(found: re.Match[str]) -> str | None:
    part, whole, unit = _number(found[1]), _number(found[2]), _money(found[3])
    left = f"{plain(part)} percent of {plain(whole)}{unit}"
    return _equation(left, part * whole / 100, unit)


def _percent_off(found: re.Match[str]) -> str | None:
    part, whole, unit = _number(found[1]), _number(found[2]), _money(found[3])
    if part > 100:
        return None
    left = f"{plain(whole)}{unit} less {plain(part)} percent"
    return _equation(left, whole * (100 - part) / 100, unit)


_SHARES = {
    "half": Fraction(1, 2),
    "a third": Fraction(1, 3),
    "a quarter": Fraction(1, 4),
    "three quarters": Fraction(3, 4),
    "double": Fraction(2),
    "twice": Fraction(2),
    "triple": Fraction(3),
}


def _share(found: re.Match[str]) -> str | None:
    name, whole, unit = found[1].replace("3 q", "three q"), _number(found[2]), _money(found[3])
    of = " of" if _SHARES[name] < 1 else ""
    return _equation(f"{name}{of} {plain(whole)}{unit}", _SHARES[name] * whole, unit)


def _same(thing: str, things: str | None) -> bool:
    """Whether ``things`` names ``thing``, in the plural or the singular, or nothing."""
    words = set(thing.split())
    if words & _MEASURES:
        return False
    named = (things or "").strip()
    if not named or named in {"of them", "of these", "of those"}:
        return True
    return named in {thing, f"{thing}s", f"{thing}es", thing.removesuffix("s")}


def _price(count: str, each: str, unit: str | None) -> str | None:
    number, price, money = _number(count), _number(each), _money(unit)
    if number.denominator > 1:
        return None
    return _equation(f"{number} × {plain(price)}{money}", number * price, money)


def _each_costs(found: re.Match[str]) -> str | None:
    thing, price, unit, count, things = found.groups()
    return _price(count, price, unit) if _same(thing, things) else None


def _at_each(found: re.Match[str]) -> str | None:
    return _price(found[1], found[2], found[3])


def _change(found: re.Match[str]) -> str | None:
    paid, price, unit = _number(found[1]), _number(found[3]), _money(found[2], found[4])
    if price > paid:
        return None
    left = f"{plain(paid)} \N{MINUS SIGN} {plain(price)}"
    return _equation(left, paid - price, unit)


def _left(found: re.Match[str]) -> str | None:
    had, things, gone, them, asked = found.groups()
    before, lost = _number(had), _number(gone)
    if lost > before or not (_same(things, them) and _same(things, asked)):
        return None
    return _equation(f"{plain(before)} \N{MINUS SIGN} {plain(lost)}", before - lost, " left")


def _gained(found: re.Match[str]) -> str | None:
    had, things, more, them, asked = found.groups()
    if not (_same(things, them) and _same(things, asked)):
        return None
    total = _number(had) + _number(more)
    return _equation(f"{plain(_number(had))} + {plain(_number(more))}", total, " in all")


# ---------------------------------------------------------------------- units

_UNITS: tuple[dict[str, int], ...] = (
    {
        "second": 1,
        "minute": 60,
        "hour": 3600,
        "day": 86_400,
        "week": 604_800,
        "fortnight": 1_209_600,
    },
    {"month": 1, "year": 12, "decade": 120, "century": 1200},
    {"millimetre": 1, "centimetre": 10, "metre": 1000, "kilometre": 1_000_000},
    {"inch": 1, "foot": 12, "yard": 36},
    {"milligram": 1, "gram": 1000, "kilogram": 1_000_000, "kilo": 1_000_000},
    {"millilitre": 1, "centilitre": 10, "litre": 1000},
    {"cent": 1, "euro": 100, "dollar": 100},
    {"penny": 1, "pound": 100},
)
_PLURALS = {"centuries": "century", "inches": "inch", "feet": "foot", "pence": "penny"}
_UNIT_NAMES = "|".join(
    sorted(
        {re.sub("re$", "(?:re|er)", name) + "s?" for units in _UNITS for name in units}
        | set(_PLURALS)
    )
)
_COUNT = rf"({_NUMBER}|an?|half an?)"


def _singular(name: str) -> str:
    name = _PLURALS.get(name, name)
    name = name.removesuffix("s")
    return re.sub(r"(met|lit)er$", r"\1re", name)


def _plural(name: str, count: Fraction) -> str:
    back = {singular: plural for plural, singular in _PLURALS.items()}
    return name if count == 1 else back.get(name, f"{name}s")


def _converted(count: str, half: str | None, given: str, wanted: str) -> str | None:
    given, wanted = _singular(given), _singular(wanted)
    units = next((units for units in _UNITS if given in units and wanted in units), None)
    if units is None or given == wanted or {given, wanted} == {"euro", "dollar"}:
        return None
    number = Fraction(1, 2) if count.startswith("half") else Fraction(1)
    if count[0].isdecimal():
        number = _number(count)
    if half:
        number += Fraction(1, 2)
    result = number * units[given] / units[wanted]
    if (result * 100).denominator > 1:
        return None
    given_number = plain(number)
    return f"{given_number} {_plural(given, number)} = {plain(result)} {_plural(wanted, result)}"


def _how_many(found: re.Match[str]) -> str | None:
    wanted, count, early, given, late = found.groups()
    return _converted(count, early or late, given, wanted)


def _convert(found: re.Match[str]) -> str | None:
    count, early, given, late, wanted = found.groups()
    return _converted(count, early or late, given, wanted)


def _dozen(found: re.Match[str]) -> str | None:
    count = Fraction(1) if found[1] == "a" else _number(found[1])
    return _equation(f"{plain(count)} dozen", count * 12)


_AMOUNT = rf"{_COUNT}( and a half)? ({_UNIT_NAMES})( and a half)?"
_BACK = (
    r"(?:then )?(?:what|how much)(?: change (?:do|will|would|should) i get(?: back)?"
    r"| (?:do|will|would|should) i get (?:back|in change))"
)
_PATTERNS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str | None]], ...] = tuple(
    (re.compile(pattern), make)
    for pattern, make in (
        (rf"{_ASK}?({_NUMBER}{_U}(?:{_OPERATION}{_NUMBER}{_U})+){_MAKES}", _chain),
        (rf"{_ASK}({_NUMBER} dash {_NUMBER})", _chain),
        (rf"(?:{_ASK}the sum of|add) {_N} (?:and|to|plus) {_N}", _binary("+")),
        (rf"(?:{_ASK}the product of|multiply) {_N} (?:and|by|with|times) {_N}", _binary("×")),
        (rf"divide {_N} by {_N}", _binary("÷")),
        (rf"(?:subtract|take|take away) {_N} (?:away )?from {_N}", _binary("\N{MINUS SIGN}", 2, 1)),
        (rf"{_ASK}the difference between {_N} and {_N}", _difference),
        (rf"{_ASK}?{_N} percent of {_N}{_U}", _percent),
        (rf"{_ASK}an? {_N} percent tip (?:on|for) (?:a |the )?(?:bill of )?{_N}{_U}", _percent),
        (rf"{_ASK}{_N} percent off {_N}{_U}", _percent_off),
        (rf"{_ASK}(half|a third|a quarter|3 quarters)(?: of)? {_N}{_U}", _share),
        (rf"{_ASK}(double|twice|triple) {_N}{_U}", _share),
        (
            rf"(?:if )?(?:an?|the|one|1|each|every) {_THING} (?:costs?|is) {_N}{_U}(?: each)?"
            rf" (?:then )?(?:what|how much) (?:do|would|will|are|is) {_N}"
            rf"( of them| of those| of these| {_NOUN})??(?: cost)?(?: in total| altogether)?",
            _each_costs,
        ),
        (
            rf"(?:what|how much) (?:do|would|will|are|is) {_N} {_NOUN}(?: cost)?"
            rf" at {_N}{_U} (?:each|a piece|apiece)",
            _at_each,
        ),
        (
            rf"(?:if )?i (?:pay|paid|give you|gave|hand over) (?:with )?(?:an? )?{_N}{_U}"
            rf"(?: note| bill)? (?:for|and) (?:something|it|an? {_NOUN}|the {_NOUN})"
            rf"(?: that| which)? (?:costs?|is) {_N}{_U} {_BACK}",
            _change,
        ),
        (
            rf"(?:what|how much) change (?:do|will|would|should) i get (?:back )?from (?:an? )?"
            rf"{_N}{_U}(?: note| bill)? (?:if|when) (?:something|it|i) (?:costs?|spend|spent|is)"
            rf" {_N}{_U}",
            _change,
        ),
        (
            rf"(?:if )?{_WHO} (?:have|has|had) {_N} {_THING} and (?:then )?(?:{_WHO} )?{_GONE}"
            rf"(?: away)? {_N}( of them| {_NOUN})??(?: away)? (?:then )?how (?:many|much)"
            rf"( {_NOUN})?? (?:are|is|do|does|will|would)(?: {_WHO}| there)?(?: have| be)?"
            rf" (?:left|remain|remaining)",
            _left,
        ),
        (
            rf"(?:if )?{_WHO} (?:have|has|had) {_N} {_THING} and (?:then )?(?:{_WHO} )?{_MORE}"
            rf" {_N} more( {_NOUN})?? (?:then )?how (?:many|much)( {_NOUN})??"
            rf" (?:do|does|will|would) {_WHO} have(?: now| in total| altogether)?",
            _gained,
        ),
        (
            rf"how many ({_UNIT_NAMES})(?: are| is| do| does)?(?: there)?(?: in| make(?: up)?)"
            rf" {_AMOUNT}",
            _how_many,
        ),
        (rf"how many ({_UNIT_NAMES}) (?:do|does|has|have) {_AMOUNT}(?: have)?", _how_many),
        (
            rf"(?:what is|what are|how much is|how much are|convert) {_AMOUNT}"
            rf" (?:in|to|into) ({_UNIT_NAMES})",
            _convert,
        ),
        (
            rf"(?:how many(?: [a-z]+)? (?:are|is)(?: there)?(?: in)? |{_ASK})(\d+|a) dozen"
            r"(?: [a-z]+)?",
            _dozen,
        ),
    )
)

# ---------------------------------------------------------------------- the clock

_TIME = re.compile(
    r"what time is it|what is the(?: current)? time|what time do you have|do you have the time"
    r"|have you got the time|what time it is|what the time is|the(?: exact| current)? time"
)
_DAY = re.compile(
    r"(?:what|which) (?:week)?day(?: of the week)? (?:is it|it is|is|do we have)(?: today)?"
    r"|what is today|what date is it(?: today)?|(?:what is )?(?:the(?: current)?|today's) date"
    r"(?: today)?|(?:what|which) (?:month|year) (?:is it|is this|it is|are we in)"
)
_NEAR = re.compile(
    r"(?:what|which) (?:week)?day(?: of the week)? (?:is it |is |was it |was )(tomorrow|yesterday)"
    r"|(?:what|which) (?:week)?day (?:will it be )(tomorrow)"
)


def _clock(question: str, now: datetime) -> str | None:
    if _TIME.fullmatch(question):
        hour = now.hour % 12 or 12
        half = "am" if now.hour < 12 else "pm"
        return f"It is {hour}:{now.minute:02} {half} on {_date(now)}"
    if _DAY.fullmatch(question):
        return f"Today is {_date(now)}"
    if near := _NEAR.fullmatch(question):
        tomorrow = "tomorrow" in near.groups()
        other = now.date() + timedelta(days=1 if tomorrow else -1)
        begins = "Tomorrow is" if tomorrow else "Yesterday was"
        return f"{begins} {_date(other)}"
    return None


def _date(day: date) -> str:
    return f"{day:%A}, {day.day} {day:%B} {day.year}"


# ---------------------------------------------------------------------- the question

_LEAD = re.compile(
    r"(?:hey|hi|hello|ok|okay|so|and|um|uh|well|now|then|please|sorry|yes|no|great|thanks|thank you"
    r"|tell me|(?:can|could|would) you(?: please)?(?= tell me| calculate| compute| work out| add"
    r"| divide| multiply| subtract| convert)|do you know|i (?:want|need) to know) "
)
_TAIL = re.compile(r" (?:please|for me|again|thanks|thank you|right now|now|exactly|then)$")
_MOST_COURTESIES = 4


def informed(messages: Sequence[ChatMessage], now: datetime) -> list[ChatMessage]:
    """``messages``, with the fact that the last one asks for, if it is the user's."""
    if not messages or messages[-1].role != "user":
        return list(messages)
    last = messages[-1]
    return [*messages[:-1], replace(last, fact=fact(last.content, now) or "")]


def fact(text: str, now: datetime) -> str | None:
    """The answer to the question in ``text``, as a short sentence: "15 + 27 = 42."

    None if it cannot be calculated, or not with certainty. ``now``: local time."""
    if len(text) > MOST_CHARACTERS:
        return None
    try:
        question = normal(text)
    except Ambiguous:
        return None
    for _ in range(_MOST_COURTESIES):
        lead = _LEAD.match(question)
        question = _TAIL.sub("", question[lead.end() :] if lead else question)
    answer = _clock(question, now)
    for pattern, make in _PATTERNS:
        if answer is None and (found := pattern.fullmatch(question)):
            answer = make(found)
    return answer and f"{answer}."
