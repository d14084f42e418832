"""A text as an engine is to say it: words, and the pauses that SSML asks for.

Of SSML 1.1 (https://www.w3.org/TR/speech-synthesis11/) ``break`` is a pause, ``sub`` is read as its
alias, ``say-as`` spells where it says so, ``p`` and ``s`` end a sentence; other tags are left out
and what they enclose is read. A text without tags goes through unchanged but for entities.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from .numbers import spelled
from .text import in_words

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
