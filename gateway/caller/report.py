"""What became of a call: figures and texts, for a person, a test or the bench."""

from dataclasses import dataclass, field
from typing import Any

from gateway.caller.caller import Caller
from gateway.caller.microphone import Utterance


@dataclass(frozen=True, slots=True)
class CallReport:
    """Times in milliseconds. ``transcripts``: the caller's words, as the server heard them."""

    transcripts: list[str]
    replies: list[str]
    statuses: list[str]
    first_audio_ms: int | None
    """From the end of the first utterance to the first audible reply sample after it."""
    heard_ms: int
    """How much audible reply was heard, pauses inside a stretch included."""
    flushed_ms: int
    """Reply audio that arrived and was dropped unheard."""
    stopped_ms: int | None = None
    """From the onset of the interrupting speech to the last audible sample of the old reply."""
    errors: list[dict[str, Any]] = field(default_factory=list)

    @property
    def answered(self) -> bool:
        """Whether a reply was heard after the caller had spoken."""
        return self.first_audio_ms is not None

    @classmethod
    def of(
        cls, caller: Caller, said: Utterance, interruption: Utterance | None = None
    ) -> "CallReport":
        """Sum up a call in which ``said`` was said and perhaps ``interruption`` over the reply."""
        player = caller.player
        first = player.audible_after(said.end) if said.end is not None else None
        begun = first - said.end if first is not None and said.end is not None else None
        stretches = player.stretches()
        return cls(
            transcripts=_texts(
                caller, "conversation.item.input_audio_transcription.completed", "transcript"
            ),
            replies=_replies(caller),
            statuses=[
                str(e.event.get("response", {}).get("status"))
                for e in caller.events
                if e.type == "response.done"
            ],
            first_audio_ms=None if begun is None else round(begun * 1000),
            heard_ms=round(sum(end - begin for begin, end in stretches) * 1000),
            flushed_ms=round(player.flushed_samples * 1000 / player.rate),
            stopped_ms=_stopped(caller, interruption),
            errors=[e.event.get("error", {}) for e in caller.events if e.type == "error"],
        )


def _texts(caller: Caller, kind: str, key: str) -> list[str]:
    return [str(e.event.get(key, "")) for e in caller.events if e.type == kind]


def _replies(caller: Caller) -> list[str]:
    texts: dict[str, str] = {}
    for timed in caller.events:
        if timed.type in (
            "response.output_audio_transcript.delta",
            "response.output_text.delta",
        ):
            response = str(timed.event.get("response_id"))
            texts[response] = texts.get(response, "") + str(timed.event.get("delta", ""))
    return [text.strip() for text in texts.values()]


def _stopped(caller: Caller, interruption: Utterance | None) -> int | None:
    """The old reply's last audible sample: the end of the stretch in which speech set in."""
    if interruption is None or interruption.onset is None:
        return None
    onset = interruption.onset
    for begin, end in caller.player.stretches(gap_s=0.3):
        if begin <= onset <= end:
            return round((end - onset) * 1000)
    return None
