"""What was said and when, in milliseconds from the recording's beginning: the one form in which
transcripts are kept, exported and made into subtitles.

Engines speak of sample positions (pipelines.engines.jobs.Segment): ``of_segment`` is the way from
there. JSON, as the API shows it, has seconds with three decimals; ``from_json`` reads what
``as_json`` made, confidences being rounded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from media.formats import HEARING_RATE, milliseconds_of
from pipelines.engines.jobs import Segment

_CONFIDENCE_DIGITS = 3


@dataclass(frozen=True, slots=True)
class TimedWord:
    """A word with its times in ms; ``confidence`` 0..1."""

    text: str
    start_ms: int
    end_ms: int
    confidence: float = 1.0


@dataclass(frozen=True, slots=True)
class TimedSegment:
    """A stretch of speech with its times in ms. ``words`` may be empty: then nobody knows when
    each of them was said."""

    start_ms: int
    end_ms: int
    text: str
    words: tuple[TimedWord, ...] = ()


def of_segment(segment: Segment) -> TimedSegment:
    """An engine's segment in ms; blanks around its text and words are left off."""
    words = tuple(
        TimedWord(word.text.strip(), _ms(word.start), _ms(word.end), word.confidence)
        for word in segment.words
        if word.text.strip()
    )
    return TimedSegment(_ms(segment.start), _ms(segment.end), segment.text.strip(), words)


def as_json(segments: Sequence[TimedSegment]) -> list[dict[str, Any]]:
    """``[{start, end, text, words: [{word, start, end, confidence}]}]``, times in seconds."""
    return [
        {
            "start": segment.start_ms / 1000,
            "end": segment.end_ms / 1000,
            "text": segment.text,
            "words": [
                {
                    "word": word.text,
                    "start": word.start_ms / 1000,
                    "end": word.end_ms / 1000,
                    "confidence": round(word.confidence, _CONFIDENCE_DIGITS),
                }
                for word in segment.words
            ],
        }
        for segment in segments
    ]


def from_json(segments: Sequence[Mapping[str, Any]]) -> list[TimedSegment]:
    """The segments of which ``as_json`` made these."""
    return [
        TimedSegment(
            round(segment["start"] * 1000),
            round(segment["end"] * 1000),
            segment["text"],
            tuple(
                TimedWord(
                    word["word"],
                    round(word["start"] * 1000),
                    round(word["end"] * 1000),
                    word["confidence"],
                )
                for word in segment["words"]
            ),
        )
        for segment in segments
    ]


def _ms(position: int) -> int:
    return milliseconds_of(position, HEARING_RATE)
