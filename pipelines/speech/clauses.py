"""Cuts a whole text into clauses that an engine can speak one after another.

Joined, the clauses are the text unchanged. The first is short, because somebody may be waiting
for it; none is longer than ``MAXIMUM_CHARACTERS``. Lazy: a clause is looked for when it is asked
for, and what it costs does not depend on the text's length.
"""

import re
from collections.abc import Iterator

from pipelines.engines.reading.text import ends_abbreviated

MAXIMUM_CHARACTERS = 240
_FIRST_CHARACTERS = 60
"""A first clause longer than this is cut at a comma."""
_LEAST_CHARACTERS = 8
"""A clause shorter than this is joined to the next."""
_SENTENCE = re.compile(r"[.!?…]+[\"'”’»)\]]*\s+|[。！？]+[」』]?\s*|\n+\s*")
_COMMA = re.compile(r"[,;:—–]\s+|\s[-–—]\s+|[、，；]")


def clauses(text: str) -> Iterator[str]:
    """The text's clauses in order."""
    place, first = 0, True
    while place < len(text):
        window = text[place : place + MAXIMUM_CHARACTERS]
        cut = _cut(window, last=place + len(window) == len(text), first=first)
        yield window[:cut]
        place += cut
        first = False


def _cut(window: str, *, last: bool, first: bool) -> int:
    end = next(
        (
            match.end()
            for match in _SENTENCE.finditer(window)
            if match.end() >= _LEAST_CHARACTERS
            and not ends_abbreviated(window[: match.end()].rstrip())
        ),
        None,
    )
    if first and (end or len(window)) > _FIRST_CHARACTERS:
        for match in _COMMA.finditer(window, _LEAST_CHARACTERS, end or len(window)):
            return match.end()
    if end is not None:
        return end
    if last:
        return len(window)
    commas = [match.end() for match in _COMMA.finditer(window, MAXIMUM_CHARACTERS // 3)]
    if commas:
        return commas[-1]
    blank = max(window.rfind(" "), window.rfind("\n"))
    return blank + 1 if blank > 0 else len(window)
