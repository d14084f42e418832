"""One turn of the caller while it is being spoken, transcribed and decided upon."""

from dataclasses import dataclass, field

from sessions.core.events import PartialTranscript, RequestReply, TranscriptionFailed
from sessions.core.latency import Moments
from sessions.core.words import words_of

from .completeness import Ending, ending_of
from .endpointing import HINT_MS, samples

_INVENTED = frozenset(("you",))
_LAG_MS = 100
"""What a recogniser may lack of the sound and still have heard its last word."""


@dataclass(slots=True)
class Utterance:
    """A caller's turn: what is known of it so far. Positions in input samples."""

    turn: int
    item_id: str
    start: int
    language: str = "en"
    partial: str = ""
    covered: int = 0
    """Up to where the recogniser of partial texts has heard."""
    asked: int | None = None
    """Position of the last FinishTranscription; None: never, or speech went on since."""
    asked_at: float = 0.0
    voiced_when_asked: int = 0
    final: str | None = None
    """The text up to ``asked``; None while it is awaited."""
    failure: TranscriptionFailed | None = None
    """Why there is no text up to ``asked``, where the recogniser failed."""
    probability: float | None = None
    speculations: int = 0
    forced: bool = False
    """End the turn as soon as its text is there: the input has run dry."""
    reply_wanted: bool = False
    request: RequestReply | None = None
    seconds: float = 0.0
    is_clip: bool = False
    """Speech that came with an item: said by nobody in the call just now."""
    level: float | None = None
    """The caller's, in dBFS; None where it was too short to measure or is not over."""
    moments: Moments = field(default_factory=Moments)

    @property
    def text(self) -> str:
        """The best text so far."""
        return self.partial if self.final is None else self.final

    @property
    def partial_stands_in(self) -> bool:
        """Whether the partial text may stand in for the final one: it has words, and covers the
        sound to where speech ended. Half a number is no number."""
        if self.asked is None or not self.partial.strip():
            return False
        return self.covered >= self.asked - samples(HINT_MS + _LAG_MS)

    @property
    def ending(self) -> Ending:
        """How the best text so far ends."""
        return ending_of(self.text, self.language)

    @property
    def wordless(self) -> bool:
        """Whether its text is there and says nothing: it is empty, or only what recognisers of
        whole utterances make of noise while the incremental one heard no word."""
        if self.final is None or self.failure is not None:
            return False
        words = " ".join(words_of(self.final))
        return not words or (words in _INVENTED and not self.partial)

    def hear_out(self, event: PartialTranscript) -> None:
        """A partial text after the turn has ended: the recogniser is behind. What it hears beyond
        the turn belongs to the next one."""
        if self.asked is None or self.covered < self.asked:
            self.partial, self.covered = event.text, event.position

    def ask(self, position: int, voiced: int, now: float) -> None:
        """Its text up to ``position`` is being asked for."""
        self.asked, self.asked_at, self.voiced_when_asked = position, now, voiced
        self.final = self.failure = self.moments.transcript = None

    def went_on(self) -> None:
        """Speech was heard after all: what was concluded from the silence is void."""
        self.asked = self.final = self.failure = self.probability = None
        self.forced = False
        self.moments.transcript = None
