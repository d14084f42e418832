"""How far dictation has come: whether the code, number or name that was announced is complete.

Rules
- What is announced ("my booking code is", or the agent's question "What is your phone number?")
  says how many digits or letters to expect. Whoever reads from a card pauses between groups for as
  long as it takes, so before the least number is there the agent waits ``patience`` for BEGUN.
- Spelling is complete when it has as many letters as the word before it that begins alike: "Smith,
  that is S M I T H".
- Where nothing was announced, only the ending counts (``endpointing.ending_of``).
- The words are those of the language's pack (``sessions.languages``). In a language whose pack
  announces nothing, nothing is expected.
"""

from enum import StrEnum
from unicodedata import combining, normalize

from sessions.languages.packs import (
    LONGEST_NUMBER,
    Announcements,
    DictationWords,
    LanguagePack,
    pack_of,
    words_of,
)


class Progress(StrEnum):
    """How much of what was announced has been dictated."""

    BEGUN = "begun"
    """More must come."""
    ENOUGH = "enough"
    """It may be complete."""
    WHOLE = "whole"
    """It has the length that such things have."""


def progress_of(text: str, question: str = "", language: str = "en") -> Progress | None:
    """How far the dictation at the end of ``text`` has come; None where none was announced.

    ``question`` is what the agent said last; it counts where ``text`` is nothing but dictation.
    ``language``: BCP 47."""
    pack = pack_of(language)
    known = pack.announced
    if not known.before:
        return None
    words = words_of(text)
    lengths = _lengths(words, pack.dictation)
    begin = _begin(words, lengths, pack)
    announced = tuple(words[:begin])
    if (spelt := _spelling(announced, words[begin:])) is not None:
        return spelt
    if (mail := known.mail.search(text)) is not None and known.mail_sign.search(mail["said"]):
        return Progress.WHOLE if known.mail_whole.search(mail["said"]) else Progress.BEGUN
    if known.birth.search(text) and known.day.search(text):
        return Progress.WHOLE if known.year.search(text) else Progress.BEGUN
    if begin == len(words) or (announced and not _ends_in(announced, known.before)):
        return None
    if not announced or announced in known.before:
        announced = tuple(words_of(question))
    return _counted(sum(length or 0 for length in lengths[begin:]), announced, known)


def _counted(length: int, announced: tuple[str, ...], known: Announcements) -> Progress | None:
    """What ``length`` digits and letters are of what the words ``announced`` name."""
    if not known.address.isdisjoint(announced):
        return Progress.BEGUN
    for number in known.numbers:
        if not number.names.isdisjoint(announced):
            if length in number.usual:
                return Progress.WHOLE
            return Progress.BEGUN if length < number.least else Progress.ENOUGH
    return None


def _begin(words: list[str], lengths: list[int | None], pack: LanguagePack) -> int:
    """Index of the first word of the digits and letters at the end of ``words``."""
    begin = len(words)
    while begin and lengths[begin - 1] is not None:
        begin -= 1
    longest = max(map(len, pack.announced.before))
    for at in range(begin, len(words)):
        if words[at] not in pack.dictation.joining:
            break
        if _ends_in(tuple(words[max(0, at + 1 - longest) : at + 1]), pack.announced.before):
            begin = at + 1
    return begin


def _ends_in(words: tuple[str, ...], phrases: frozenset[tuple[str, ...]]) -> bool:
    return any(words[-len(phrase) :] == phrase for phrase in phrases)


def _lengths(words: list[str], known: DictationWords) -> list[int | None]:
    """Digits and letters that each word stands for; the first word of a number has them all. None
    where a word is none of dictation."""
    lengths: list[int | None] = []
    while (at := len(lengths)) < len(words):
        if size := _two_digits(words, at, known):
            lengths += [2, *[0] * (size - 1)]
        elif at and lengths[-1] is not None and _is_between(words, at, known):
            lengths.append(0)
        else:
            lengths.append(_length(words, at, known))
    return lengths


def _two_digits(words: list[str], at: int, known: DictationWords) -> int:
    """How many words from ``at`` on are one number of two digits."""
    for size in range(LONGEST_NUMBER, 0, -1):
        if tuple(words[at : at + size]) in known.two_digits:
            return size
    if words[at] not in known.tens:
        return 0
    unit = at + 1
    if words[unit : unit + 1] and words[unit] in known.ands:
        unit += 1
    ones = known.digits - known.zeros
    return unit - at + 1 if words[unit : unit + 1] and words[unit] in ones else 1


def _is_between(words: list[str], at: int, known: DictationWords) -> bool:
    """Whether a word only joins the numbers beside it."""
    if words[at] not in known.ands or at + 1 == len(words):
        return False
    after = words[at + 1]
    spelt = any(len(word) == 1 and word.isalpha() for word in (words[at - 1], after))
    return not spelt and bool(_two_digits(words, at + 1, known) or _length(words, at + 1, known))


def _length(words: list[str], at: int, known: DictationWords) -> int | None:
    """Digits or letters that a word stands for alone."""
    word = words[at]
    if word in known.repeats:
        return known.repeats[word]
    if word in known.digits:
        return 1
    if word.isdigit() or (any(map(str.isdigit, word)) and word.isalnum()):
        return len(word)
    if len(word) != 1:
        return None
    beside = words[max(0, at - 1) : at] + words[at + 1 : at + 2]
    return 1 if word not in known.joining or any(len(other) == 1 for other in beside) else None


def _spelling(before: tuple[str, ...], letters: list[str]) -> Progress | None:
    """Letters at the end, beside a word before them that begins alike."""
    if len(letters) < 2 or not all(len(word) == 1 and word.isalpha() for word in letters):
        return None
    for word in reversed(before):
        if len(word) > 2 and _unaccented(word[:2]) == _unaccented("".join(letters[:2])):
            return Progress.WHOLE if len(letters) >= len(word) else Progress.BEGUN
    return None


def _unaccented(text: str) -> str:
    return "".join(each for each in normalize("NFD", text) if not combining(each))
