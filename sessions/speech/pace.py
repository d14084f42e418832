"""Pace: how fast the chat model writes and the voice speaks, and what may be spoken early.

Words may go to the voice before their clause has ended if hearing them takes longer than it takes
until the next ones are there. Then the caller hears the answer sooner and no gap follows.

Pure: moments (seconds) are arguments.
"""

from dataclasses import dataclass

NEXT_CHARACTERS = 40
"""What the model is to have written when the first words have been heard, so that the next piece
need not be shorter."""
MARGIN = 0.7
"""The model is counted on to go on at this part of the speed seen so far."""
LEAST_SEEN = 0.1
"""Seconds of writing from which its speed is judged: deltas come in bursts."""
LEAST_LEAD = 0.15
"""Seconds in which a voice has its first samples; Hibari takes 0.05 to 0.1."""
FAST_VOICE = 20.0
"""Characters a second, until the voice has been heard; Hibari speaks 19 (5 sentences)."""
_HEARD_FIRST = 2.0
"""Seconds for which ``FAST_VOICE`` counts in the average."""
_FORGETS = 0.7
"""A slow synthesis counts this much less with each one that follows."""


def covers(characters: int, *, written: float, spoken: float, voice_wait: float) -> bool:
    """Whether hearing ``characters`` takes as long as it takes to write and speak the next ones.

    ``written``, ``spoken``: characters a second of the model and of the voice; ``voice_wait``:
    seconds from a text to its first samples."""
    if written <= 0:
        return False
    return characters / spoken >= NEXT_CHARACTERS / written + voice_wait


@dataclass(slots=True)
class Pace:
    """What was seen in this call."""

    _written: float = 0.0
    """Characters a second of the reply before."""
    _began: float | None = None
    """When the present reply's first text came."""
    _characters: int = 0
    """Its characters since then."""
    _seen: float = 0.0
    _spoken: float = FAST_VOICE * _HEARD_FIRST
    _seconds: float = _HEARD_FIRST
    _wait: float = LEAST_LEAD

    def begin(self) -> None:
        """Another reply is written."""
        self._written = self.written
        self._began, self._characters, self._seen = None, 0, 0.0

    def wrote(self, characters: int, now: float) -> None:
        """The model wrote so much more."""
        if self._began is None:
            self._began = now
        else:
            self._characters += characters
            self._seen = now - self._began

    def spoke(self, characters: int, seconds: float, wait: float) -> None:
        """A text became ``seconds`` of audio, whose first samples came after ``wait`` seconds."""
        self._wait = max(LEAST_LEAD, wait, self._wait * _FORGETS)
        if characters and seconds:
            self._spoken += characters
            self._seconds += seconds

    @property
    def written(self) -> float:
        """Characters a second; 0 if unknown."""
        return self._characters / self._seen if self._seen >= LEAST_SEEN else self._written

    @property
    def lead(self) -> float:
        """Seconds before the audio runs dry at which the voice needs more text."""
        return self._wait

    @property
    def keeps_up(self) -> bool:
        """Whether the model writes faster than the voice speaks: words are there whenever they are
        needed."""
        return MARGIN * self.written >= self._spoken / self._seconds

    def covers(self, characters: int) -> bool:
        """Whether no gap follows if so much is spoken now."""
        return self.keeps_up and covers(
            characters,
            written=MARGIN * self.written,
            spoken=self._spoken / self._seconds,
            voice_wait=self._wait,
        )
