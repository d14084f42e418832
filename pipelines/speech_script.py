"""SpeechScript: what an engine is told to say, in order: texts, and pauses where tags stand.

An expression tag is never read out: engines here know none, so each becomes a pause as long as
what it stands for, whether a pre-pass put it there or the text came with it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from .speech_clauses import clauses

TAGS = {"tr": ("breath", "sigh", "laugh", "clear"), "en": ("laugh", "sigh")}
"""Expression tags by language; the others have none."""
PAUSE_MS = {"breath": 250, "sigh": 500, "laugh": 500, "clear": 350}
TAG = re.compile(r"<(breath|sigh|laugh|clear)>", re.I)
_MARKUP = re.compile(r"[*_`#>|~]+")


@dataclass(frozen=True, slots=True)
class Pause:
    """Silence of so many milliseconds."""

    milliseconds: int


def steps(script: str) -> Iterator[str | Pause]:
    """What to say and where to pause; lazily, nothing unspeakable in it."""
    for clause in _parts(script):
        found = TAG.fullmatch(clause)
        if found:
            yield Pause(PAUSE_MS[found[1].lower()])
        else:
            for piece in clauses(clause):
                plain = speakable(piece)
                if plain:
                    yield plain


def speakable(clause: str) -> str:
    """``clause`` without markup; empty where nothing is left to say."""
    plain = " ".join(_MARKUP.sub(" ", clause).split())
    return plain if any(letter.isalnum() for letter in plain) else ""


def says_something(text: str) -> bool:
    """Whether there is a word in ``text`` beside tags and signs."""
    return any(letter.isalnum() for letter in TAG.sub(" ", text))


def _parts(script: str) -> Iterator[str]:
    place = 0
    for found in TAG.finditer(script):
        if found.start() > place:
            yield script[place : found.start()]
        yield found[0]
        place = found.end()
    if place < len(script):
        yield script[place:]
