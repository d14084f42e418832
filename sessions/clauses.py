"""Cuts a token stream into clauses that can be spoken.

The first clause is short, because the caller is waiting for it; later ones are whole sentences,
because they sound better. A model that is slow, or stalls, is not waited for: what is held may be
taken once ``due`` has come (seconds of whatever clock ``feed`` is given), in whole words.
Concatenated, the clauses are the text unchanged; ``speakable`` makes of each what is handed to the
voice.
"""

import re

from pipelines.engines.reading.text import ends_abbreviated

_SENTENCE_END = re.compile(r"[.!?…][\"'”’)\]]*(?=\s)|[。！？।][」』]?")
_CLAUSE_END = re.compile(r"[,;:—–](?=\s)|\s[-–—](?=\s)")
_EAGER_END = re.compile(r"[^\W\d_]{3,}[.!?,;:]$")
"""A first clause's end without waiting for the blank behind it: that costs a token's time."""
_LINE_END = re.compile(r"\n+")
_BREATH = re.compile(
    r"\s(?=(?:and|but|or|because|so|which|that|when|while|where|if|to|for|with)\b)"
)
_SIGNS = re.compile(r"[*`|]+")
_PICTURES = re.compile(
    "[\U0001f000-\U0001faff\u2600-\u27bf\u2b50-\u2b55\ufe0f\u200d\U000e0020-\U000e007f]+"
)
"""Emoji and their joiners."""

_FIRST_CHARACTERS = 8
"""A first clause shorter than this ("Yes,") is joined to the next."""
_LONG_CHARACTERS = 90
"""Beyond this a clause is cut at the next comma, or where one would breathe."""
_MAXIMUM_CHARACTERS = 240
_BREATH_WORDS = 4
"""Words taken early are cut where one would breathe, if so many stand before it."""
_FIRST_SECONDS = 1.0
"""After so long the first words are taken although the clause has not ended."""
_NEXT_SECONDS = 2.0
"""And later ones: at a word a second they come in pairs, which stutters less than one by one."""
_PAUSE_SECONDS = 0.5
_PAUSE_RATIO = 1.5
"""The last word counts as whole when nothing has come for that many times the longest wait
between two deltas so far: a slow model's tokens may be half words."""


class ClauseSplitter:
    """Feed text deltas, take clauses. Holds at most 240 characters back."""

    def __init__(self) -> None:
        self._held = ""
        self._first = True
        self._since = 0.0
        """When the oldest text held came, or the clause before it was taken."""
        self._newest: float | None = None
        """When the newest delta came."""
        self._longest_wait = 0.0

    def feed(self, delta: str, now: float = 0.0) -> list[str]:
        """The clauses that ``delta``, which came at ``now``, completes."""
        if not delta:
            return []
        if not _speaks(self._held, 1):
            self._since = now
        if self._newest is not None:
            self._longest_wait = max(self._longest_wait, now - self._newest)
        self._newest = now
        self._held += delta
        clauses: list[str] = []
        while (cut := self._cut()) is not None:
            clauses.append(self._held[:cut])
            self._held = self._held[cut:]
            self._first, self._since = False, now
        return clauses

    def due(self) -> float | None:
        """When words that are held may be taken before their clause ends; None: there are none."""
        if self._newest is None or not _speaks(self._held, 1):
            return None
        due = self._since + (_FIRST_SECONDS if self._first else _NEXT_SECONDS)
        whole = self._held.rfind(" ", 1)
        if whole > 0 and _speaks(self._held[:whole], 1):
            return due
        return max(due, self._newest + self._pause)

    def take(self, now: float) -> str:
        """The whole words held, at ``now``; empty where there are none yet."""
        due = self.due()
        if due is None or now < due or self._newest is None:
            return ""
        cut = len(self._held)
        if now < self._newest + self._pause:
            cut = self._held.rfind(" ", 1)
            breaths = [m.start() for m in _BREATH.finditer(self._held, cut // 2, cut)]
            if breaths and len(self._held[: breaths[-1]].split()) >= _BREATH_WORDS:
                cut = breaths[-1]
        words, self._held = self._held[:cut], self._held[cut:]
        self._first, self._since = False, now
        return words

    def flush(self) -> list[str]:
        """What is left when the text is complete."""
        rest, self._held = self._held, ""
        return [rest] if rest else []

    @property
    def _pause(self) -> float:
        return max(_PAUSE_SECONDS, _PAUSE_RATIO * self._longest_wait)

    def _cut(self) -> int | None:
        text = self._held
        for pattern in (_LINE_END, _SENTENCE_END):
            for match in pattern.finditer(text):
                head = text[: match.end()]
                if _speaks(head, 1) and not ends_abbreviated(head):
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
    """``clause``, which has no markup any more, as the voice is given it; empty where nothing is
    to be said.

    A line that ends without a sign of its own ends like a sentence: so is a list read aloud."""
    plain = " ".join(_SIGNS.sub(" ", _PICTURES.sub(" ", clause)).split())
    if not _speaks(plain, 1):
        return ""
    return f"{plain}." if clause.rstrip(" ").endswith("\n") and plain[-1].isalnum() else plain


def _speaks(head: str, least: int) -> bool:
    return sum(c.isalnum() for c in head) >= least
