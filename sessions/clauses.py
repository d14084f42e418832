"""Cuts a token stream into clauses that can be spoken.

The first clause is short, because the caller is waiting for it; later ones are whole sentences,
because they sound better. Concatenated, the clauses are the text unchanged; ``speakable`` makes
of each what a voice should say (no markup).
"""

import re

_SENTENCE_END = re.compile(r"[.!?…][\"'”’)\]]*(?=\s)")
_CLAUSE_END = re.compile(r"[,;:—–](?=\s)|\s[-–—](?=\s)")
_ABBREVIATION = re.compile(
    r"(?:\b(?:mr|mrs|ms|dr|prof|st|vs|etc|e\.g|i\.e|no|approx)|\b[A-Z])\.$", re.I
)
_EAGER_END = re.compile(r"[^\W\d_]{3,}[.!?,;:]$")
"""A first clause's end without waiting for the blank behind it: that costs a token's time."""
_LINE_END = re.compile(r"\n+")
_BREATH = re.compile(
    r"\s(?=(?:and|but|or|because|so|which|that|when|while|where|if|to|for|with)\b)"
)
_MARKUP = re.compile(r"[*_`#>|~]+|^\s*[-•]\s+", re.M)
_LINK = re.compile(r"\[([^\]]+)\]\([^)]+\)")

_FIRST_CHARACTERS = 8
"""A first clause shorter than this ("Yes,") is joined to the next."""
_LONG_CHARACTERS = 90
"""Beyond this a clause is cut at the next comma, or where one would breathe."""
_MAXIMUM_CHARACTERS = 240


class ClauseSplitter:
    """Feed text deltas, take clauses. Holds at most 240 characters back."""

    def __init__(self) -> None:
        self._held = ""
        self._first = True

    def feed(self, delta: str) -> list[str]:
        """The clauses that ``delta`` completes."""
        self._held += delta
        clauses: list[str] = []
        while (cut := self._cut()) is not None:
            clauses.append(self._held[:cut])
            self._held = self._held[cut:]
            self._first = False
        return clauses

    def flush(self) -> list[str]:
        """What is left when the text is complete."""
        rest, self._held = self._held, ""
        return [rest] if rest else []

    def _cut(self) -> int | None:
        text = self._held
        for pattern in (_LINE_END, _SENTENCE_END):
            for match in pattern.finditer(text):
                head = text[: match.end()]
                if _speaks(head, 1) and not _ABBREVIATION.search(head):
                    return match.end()
        if self._first and _EAGER_END.search(text) and _speaks(text, _FIRST_CHARACTERS):
            return len(text)
        if self._first or len(text) > _LONG_CHARACTERS:
            least = _FIRST_CHARACTERS if self._first else _LONG_CHARACTERS // 3
            for match in _CLAUSE_END.finditer(text):
                if _speaks(text[: match.end()], least):
                    return match.end()
        if len(text) > _LONG_CHARACTERS:
            breath = _BREATH.search(text, _LONG_CHARACTERS // 2)
            if breath:
                return breath.start()
        if len(text) > _MAXIMUM_CHARACTERS:
            return text.rfind(" ", 1, _MAXIMUM_CHARACTERS) + 1 or _MAXIMUM_CHARACTERS
        return None


def speakable(clause: str) -> str:
    """``clause`` without markup; empty where nothing is left to say."""
    plain = _MARKUP.sub(" ", _LINK.sub(r"\1", clause))
    plain = " ".join(plain.split())
    return plain if any(c.isalnum() for c in plain) else ""


def _speaks(head: str, least: int) -> bool:
    return sum(c.isalnum() for c in head) >= least
