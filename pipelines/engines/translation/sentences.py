"""A text in sentences, for engines that take one at a time."""

import re

LONGEST = 400
"""Characters; longer sentences are cut at a blank."""

_END = re.compile(r"(?<=[.!?…])[\"'”’»)\]]*\s+|(?<=[。！？])|\n+")
_ABBREVIATION = re.compile(
    r"(?:^|\W)(?:mr|mrs|ms|dr|prof|st|vs|e\.g|i\.e|z\.b|d\.h|sr|sra|dra|[A-Z])\.$", re.IGNORECASE
)


def sentences(text: str) -> list[str]:
    """The sentences of ``text`` in order, without the blanks around them."""
    found: list[str] = []
    place = 0
    for match in _END.finditer(text):
        sentence = text[place : match.end()].strip()
        if "\n" not in match[0] and _ABBREVIATION.search(sentence):
            continue
        found += _pieces(sentence)
        place = match.end()
    return found + _pieces(text[place:].strip())


def _pieces(sentence: str) -> list[str]:
    pieces: list[str] = []
    while len(sentence) > LONGEST:
        blank = sentence.rfind(" ", 1, LONGEST)
        cut = blank if blank > 0 else LONGEST
        pieces.append(sentence[:cut])
        sentence = sentence[cut:].strip()
    return [*pieces, sentence] if sentence else pieces
