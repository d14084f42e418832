"""The text of a reply laid over its samples: what had been said by sample n.

Within a piece the words are taken to be spread evenly over its samples; a word counts as heard
when its last character was.
"""

import re
from bisect import bisect_right
from dataclasses import dataclass, field

_WORD = re.compile(r"\S+")


@dataclass(slots=True)
class SpokenText:
    """The pieces of a reply in the order in which they are spoken."""

    rate: int = 0
    """Hz of the positions; 0 until the first piece."""
    _texts: list[str] = field(default_factory=list)
    _ends: list[int] = field(default_factory=list)

    def add(self, text: str, samples: int, rate: int) -> None:
        """Append a piece; a piece without text lengthens the one before."""
        self.rate = rate or self.rate
        end = self.samples + samples
        if text or not self._ends:
            self._texts.append(text)
            self._ends.append(end)
        else:
            self._ends[-1] = end

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self._texts)

    @property
    def samples(self) -> int:
        """Samples generated so far."""
        return self._ends[-1] if self._ends else 0

    def heard(self, samples: int) -> str:
        """The text up to the last word that ended by sample ``samples``: a prefix of ``text``."""
        if samples <= 0:
            return ""
        if samples >= self.samples:
            return self.text if self.samples else ""
        index = bisect_right(self._ends, samples)
        whole = "".join(self._texts[:index])
        start = self._ends[index - 1] if index else 0
        part = self._texts[index]
        cut = len(part) * (samples - start) // (self._ends[index] - start)
        ends = [m.end() for m in _WORD.finditer(part) if m.end() <= cut]
        return (whole + (part[: ends[-1]] if ends else "")).rstrip()
