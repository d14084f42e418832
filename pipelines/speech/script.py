"""SpeechScript: what an engine is given to say, in order: texts, and pauses where tags stand.

An expression tag is never read out: engines here know none, so each becomes a pause as long as
what it stands for, whether a pre-pass put it there or the text came with it. SSML is read as
``engines.reading.script`` has it; the texts stay as they are written, engines put them into words.
"""

import re
from collections.abc import Iterator

from pipelines.engines.reading.script import Pause, parts

from .clauses import clauses

TAGS = {"tr": ("breath", "sigh", "laugh", "clear"), "en": ("laugh", "sigh")}
"""Expression tags by language; the others have none."""
PAUSE_MS = {"breath": 250, "sigh": 500, "laugh": 500, "clear": 350}
TAG = re.compile(r"<(breath|sigh|laugh|clear)>", re.I)


def steps(script: str) -> Iterator[str | Pause]:
    """What to say and where to pause; lazily, nothing unspeakable in it."""
    for part in _parts(script):
        found = TAG.fullmatch(part)
        if found:
            yield Pause(PAUSE_MS[found[1].lower()])
            continue
        for piece in parts(part):
            if isinstance(piece, Pause):
                yield piece
            else:
                yield from filter(None, map(speakable, clauses(piece)))


def speakable(clause: str) -> str:
    """``clause`` without superfluous blanks; empty where there is nothing to say."""
    plain = " ".join(clause.split())
    return plain if any(letter.isalnum() for letter in plain) else ""


def says_something(text: str) -> bool:
    """Whether there is a word in ``text`` beside tags and signs."""
    return any(
        letter.isalnum()
        for part in parts(TAG.sub(" ", text))
        if not isinstance(part, Pause)
        for letter in part
    )


def _parts(script: str) -> Iterator[str]:
    place = 0
    for found in TAG.finditer(script):
        if found.start() > place:
            yield script[place : found.start()]
        yield found[0]
        place = found.end()
    if place < len(script):
        yield script[place:]
