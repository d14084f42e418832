"""Numbers as they are written, and as engines read them: whole numbers stay digits, which every
engine reads in its language; separators, decimals and long runs do not."""

import re
from dataclasses import dataclass

from .words import Words

SPACES = "\u00a0\u202f"


def number_pattern(words: Words) -> str:
    """A number with or without separators; where "." separates thousands, blanks do too."""
    blank = " " if words.thousands == "." else ""
    return (
        rf"(?:\d{{1,3}}(?:[.,'’{SPACES}{blank}]\d{{3}}){{1,5}}(?:[.,]\d{{1,9}})?"
        r"|\d{1,15}(?:[.,]\d{1,9})?)(?!\d)"
    )


LONGEST_WHOLE = 9
"""Digits; longer numbers without separators are read digit by digit (accounts, card numbers)."""
_GROUP, _GROUPS_IN_A_SENTENCE = 3, 10
_DROPPED = re.compile(rf"['’{SPACES} ]")


@dataclass(frozen=True, slots=True)
class Number:
    """``whole`` and ``decimals`` are digits; ``grouped``: it was written with separators."""

    whole: str
    decimals: str = ""
    grouped: bool = False


def parsed(text: str, words: Words, *, money: bool = False) -> Number:
    """A match of ``number_pattern``. Where a separator may be either, the language's habit counts,
    but money has hundredths, not thousandths."""
    plain = _DROPPED.sub("", text)
    grouped = plain != text
    last = max(plain.rfind("."), plain.rfind(","))
    if last < 0:
        return Number(plain, grouped=grouped)
    sign, tail = plain[last], plain[last + 1 :]
    other = "," if sign == "." else "."
    several = plain.count(sign) > 1
    groups = len(tail) == 3 and 1 <= last <= 3 and plain[0] != "0" and other not in plain
    if several or (groups and not grouped and (money or sign == words.thousands)):
        return Number(plain.replace(sign, "").replace(other, ""), grouped=True)
    whole = plain[:last].replace(other, "").replace(sign, "")
    return Number(whole, tail, grouped or other in plain)


def said(number: Number, words: Words) -> str:
    """``number`` as engines read it rightly."""
    whole = said_whole(number, words)
    if not number.decimals:
        return whole
    decimals = number.decimals
    if words.digit_by_digit or decimals[0] == "0" or len(decimals) > 2:
        decimals = " ".join(decimals)
    return f"{whole} {words.point} {decimals}"


def said_whole(number: Number, words: Words) -> str:
    """The number without its decimals. Engines other than English ones read seven digits and more
    one by one, so that millions are named."""
    whole = number.whole
    if len(whole) > LONGEST_WHOLE + 3 * number.grouped or (len(whole) > 2 and whole[0] == "0"):
        return digits(whole)
    if words.grouped:
        return f"{int(whole):,}" if number.grouped else whole
    millions, rest = divmod(int(whole), 1_000_000)
    if not millions:
        return whole
    name = words.scales["m"][millions > 1]
    return f"{millions} {name} {rest or ''}".rstrip()


def spelled(text: str) -> str:
    """Letters and digits one by one; runs of digits as ``digits`` has them."""
    signs = [c.upper() if len(c.upper()) == 1 else c for c in text if not c.isspace()]
    between = " " if text.strip().isdigit() else ", "
    return between.join(signs)


def digits(text: str) -> str:
    """Digits one by one, in groups; never a number that engines would have to put into words."""
    groups = [" ".join(text[at : at + _GROUP]) for at in range(0, len(text), _GROUP)]
    if len(groups) > 1 and len(text) % _GROUP == 1:
        groups[-2:] = [f"{groups[-2]} {groups[-1]}"]
    sentences = [
        ", ".join(groups[at : at + _GROUPS_IN_A_SENTENCE])
        for at in range(0, len(groups), _GROUPS_IN_A_SENTENCE)
    ]
    return ". ".join(sentences)
