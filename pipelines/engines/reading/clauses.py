"""Cuts text into clauses and sentences: a stream of tokens, a whole text, a text to translate.

One rule decides everywhere whether a full stop ends a sentence: ``text.ends_abbreviated``.

- ``ClauseSplitter`` cuts a token stream. The first clause is short, because the caller is waiting
  for it; later ones are whole sentences, because they sound better. Its first words may be taken
  before it ends, where a phrase ends (``phrase``). It does not wait for a model that is slow or
  stalls: after ``due`` (seconds of whatever clock ``feed`` is given) the whole words held so far
  may be taken. ``speakable`` prepares each clause for the voice.
- ``clauses`` cuts a whole text lazily: finding the next clause costs the same however long the text
  is. The first is short, none is longer than ``MAXIMUM_CHARACTERS``.
- ``sentences`` cuts for engines that translate one sentence at a time.

Concatenated, the clauses are the text unchanged.
"""

import re
from collections.abc import Iterator

from .text import ends_abbreviated

MAXIMUM_CHARACTERS = 240
"""A clause is never longer, in a stream or in a whole text."""

_SENTENCE_END = re.compile(r"[.!?…][\"'”’)\]]*(?=\s)|[。！？।][」』]?")
_CLAUSE_END = re.compile(r"[,;:—–](?=\s)|\s[-–—](?=\s)")
_EAGER_END = re.compile(r"[^\W\d_]{3}[.!?,;:]$")
"""Ends a first clause without waiting for the blank after it, which would cost a token's time."""
_LINE_END = re.compile(r"\n+")
PHRASE_BEGINNINGS = {
    "de": "und aber oder denn weil dass wenn damit mit für von bei nach vor bis um ohne über",
    "en": "and but or because so which that when while where if to for with from at in on by until",
    "es": "y pero o porque que cuando mientras donde si para con por en desde hasta sin sobre",
    "fr": "et mais ou car parce que qui quand où si pour avec dans par chez sans avant après",
    "it": "e ma o perché che quando mentre dove se per con in da senza prima dopo",
    "pt": "e mas ou porque que quando enquanto onde se para com por em desde até sem sobre",
}
"""By language, the words before which one may breathe."""


def _beginnings(words: str) -> re.Pattern[str]:
    return re.compile(rf"\s(?=(?:{words.replace(' ', '|')})\b)", re.IGNORECASE)


_BREATHS = {language: _beginnings(words) for language, words in PHRASE_BEGINNINGS.items()}
_NEVER = re.compile(r"(?!)")
_SIGNS = re.compile(r"[*`|]+")
_PICTURES = re.compile(
    "[\U0001f000-\U0001faff\u2600-\u27bf\u2b50-\u2b55\ufe0f\u200d\U000e0020-\U000e007f]+"
)
"""Emoji and their joiners."""

_FIRST_CHARACTERS = 8
"""A first clause shorter than this ("Yes,") is joined to the next."""
_LONG_CHARACTERS = 90
"""Beyond this a clause is cut at the next comma, or where one would breathe."""
_BREATH_WORDS = 4
"""Words taken early are cut where one would breathe, if so many stand before it."""
_PHRASE_WORDS = 4
"""A first phrase has at least so many words."""
FIRST_SECONDS = 1.0
"""After this the first words are taken although the clause has not ended."""
NEXT_SECONDS = 2.0
"""Likewise for later ones: at a word a second they come in pairs, which stutters less."""
_PAUSE_SECONDS = 0.5
_PAUSE_RATIO = 1.5
"""The last word counts as whole when nothing has arrived for this many times the longest wait
between two deltas so far: a slow model's tokens may be half words."""


class ClauseSplitter:
    """Feed text deltas, take clauses. Holds back at most MAXIMUM_CHARACTERS."""

    def __init__(self, language: str = "en") -> None:
        """``language`` (BCP 47) of the text: where a phrase ends depends on it."""
        self._breaths = _BREATHS.get(language.lower().split("-")[0], _NEVER)
        self._held = ""
        self._first = True
        self._since = 0.0
        """When the oldest held text arrived, or the clause before it was taken."""
        self._newest: float | None = None
        """When the newest delta arrived."""
        self._longest_wait = 0.0

    def feed(self, delta: str, now: float = 0.0) -> list[str]:
        """The clauses completed by ``delta``, which arrived at ``now``."""
        if not delta:
            return []
        if not _speaks(self._held, 1):
            self._since = now
        if self._newest is not None:
            self._longest_wait = max(self._longest_wait, now - self._newest)
        self._newest = now
        clauses: list[str] = []
        for start in range(0, len(delta), MAXIMUM_CHARACTERS):
            self._held += delta[start : start + MAXIMUM_CHARACTERS]
            while (cut := self._cut()) is not None:
                clauses.append(self._held[:cut])
                self._held = self._held[cut:]
                self._first, self._since = False, now
        return clauses

    @property
    def first(self) -> bool:
        """Whether no clause has been taken yet."""
        return self._first

    def phrase(self) -> str:
        """The first words, up to where a phrase ends; empty if they are few or have been taken."""
        if not self._first:
            return ""
        for match in reversed(list(self._breaths.finditer(self._held))):
            head = self._held[: match.start()]
            # Not between "what to" and "with": a phrase does not end where another begins.
            inside = self._breaths.match(f" {head.split()[-1]}") if head.split() else None
            if len(head.split()) >= _PHRASE_WORDS and inside is None:
                return head
        return ""

    def take_phrase(self, now: float) -> str:
        """``phrase``, which is not held any longer."""
        words = self.phrase()
        if words:
            self._held = self._held[len(words) :]
            self._first, self._since = False, now
        return words

    def due(self, next_seconds: float = NEXT_SECONDS) -> float | None:
        """When held words may be taken before their clause ends; None if there are none.

        ``next_seconds``: how long words wait that are not the first."""
        if self._newest is None or not _speaks(self._held, 1):
            return None
        due = self._since + (FIRST_SECONDS if self._first else next_seconds)
        whole = self._held.rfind(" ", 1)
        if whole > 0 and _speaks(self._held[:whole], 1):
            return due
        return max(due, self._newest + self._pause)

    def take(self, now: float, next_seconds: float = NEXT_SECONDS) -> str:
        """The whole words held at ``now``; empty if there are none yet, or not ``due``."""
        due = self.due(next_seconds)
        if due is None or now < due or self._newest is None:
            return ""
        cut = len(self._held)
        if now < self._newest + self._pause:
            cut = self._held.rfind(" ", 1)
            commas = [m.end() for m in _CLAUSE_END.finditer(self._held, cut // 3, cut)]
            breaths = [m.start() for m in self._breaths.finditer(self._held, cut // 2, cut)]
            ends = commas or breaths
            if ends and len(self._held[: ends[-1]].split()) >= _BREATH_WORDS:
                cut = ends[-1]
        words, self._held = self._held[:cut], self._held[cut:]
        self._first, self._since = False, now
        return words

    def flush(self) -> list[str]:
        """The rest, once the text is complete."""
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
            breath = self._breaths.search(text, _LONG_CHARACTERS // 2)
            if breath:
                return breath.start()
        if len(text) > MAXIMUM_CHARACTERS:
            return text.rfind(" ", 1, MAXIMUM_CHARACTERS) + 1 or MAXIMUM_CHARACTERS
        return None


def speakable(clause: str) -> str:
    """``clause``, already free of markup, as the voice is given it; empty if there is nothing to
    say.

    A line that ends without punctuation ends like a sentence: that is how a list is read aloud."""
    plain = " ".join(_SIGNS.sub(" ", _PICTURES.sub(" ", clause)).split())
    if not _speaks(plain, 1):
        return ""
    return f"{plain}." if clause.rstrip(" ").endswith("\n") and plain[-1].isalnum() else plain


def _speaks(head: str, least: int) -> bool:
    return sum(c.isalnum() for c in head) >= least


_LONG_FIRST = 60
"""A first clause longer than this is cut at a comma."""
_LEAST_CHARACTERS = 8
"""A clause shorter than this is joined to the next."""
_SENTENCE_AND_BLANKS = re.compile(r"(?<![.!?…])[.!?…]++[\"'”’»)\]]*+\s+|[。！？]+[」』]?\s*|\n+\s*")
_COMMA_AND_BLANKS = re.compile(r"[,;:—–]\s+|\s[-–—]\s+|[、，；]")


def clauses(text: str) -> Iterator[str]:
    """The text's clauses in order."""
    place, first = 0, True
    while place < len(text):
        window = text[place : place + MAXIMUM_CHARACTERS]
        cut = _clause_end(window, last=place + len(window) == len(text), first=first)
        yield window[:cut]
        place += cut
        first = False


def _clause_end(window: str, *, last: bool, first: bool) -> int:
    end = next(
        (
            match.end()
            for match in _SENTENCE_AND_BLANKS.finditer(window)
            if match.end() >= _LEAST_CHARACTERS
            and not ends_abbreviated(window[: match.end()].rstrip())
        ),
        None,
    )
    if first and (end or len(window)) > _LONG_FIRST:
        for match in _COMMA_AND_BLANKS.finditer(window, _LEAST_CHARACTERS, end or len(window)):
            return match.end()
    if end is not None:
        return end
    if last:
        return len(window)
    commas = [match.end() for match in _COMMA_AND_BLANKS.finditer(window, MAXIMUM_CHARACTERS // 3)]
    if commas:
        return commas[-1]
    blank = max(window.rfind(" "), window.rfind("\n"))
    return blank + 1 if blank > 0 else len(window)


LONGEST_SENTENCE = 400
"""Characters; longer sentences are cut at a blank."""

_SENTENCE_BREAK = re.compile(r"(?<=[.!?…])[\"'”’»)\]]*\s+|(?<=[。！？])|\n+")


def sentences(text: str) -> list[str]:
    """The sentences of ``text`` in order, without the blanks around them."""
    found: list[str] = []
    place = 0
    for match in _SENTENCE_BREAK.finditer(text):
        if "\n" not in match[0]:
            end = match.start() + len(match[0].rstrip())
            if ends_abbreviated(text[max(place, end - LONGEST_SENTENCE) : end]):
                continue
        found += _bounded(text[place : match.end()].strip())
        place = match.end()
    return found + _bounded(text[place:].strip())


def _bounded(sentence: str) -> list[str]:
    pieces: list[str] = []
    place, end = 0, len(sentence)
    while end - place > LONGEST_SENTENCE:
        blank = sentence.rfind(" ", place + 1, place + LONGEST_SENTENCE)
        cut = blank if blank > 0 else place + LONGEST_SENTENCE
        pieces.append(sentence[place:cut])
        place = cut
        while place < end and sentence[place].isspace():
            place += 1
    return [*pieces, sentence[place:]] if place < end else pieces
