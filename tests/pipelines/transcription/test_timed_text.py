"""Transcripts in milliseconds, and as the API shows them."""

from hypothesis import given
from hypothesis import strategies as st

from pipelines.engines.base import Word
from pipelines.engines.jobs import Segment
from pipelines.transcription.timed_text import (
    TimedSegment,
    TimedWord,
    as_json,
    from_json,
    of_segment,
)

moments = st.integers(0, 10**9)
words = st.builds(TimedWord, st.text(), moments, moments, st.sampled_from([0.0, 0.123, 1.0]))
segments = st.lists(
    st.builds(TimedSegment, moments, moments, st.text(), st.lists(words, max_size=3).map(tuple)),
    max_size=3,
)


def test_an_engines_segment_in_milliseconds() -> None:
    heard = (Word(" Two", 16_000, 24_000, 0.5), Word(" ", 24_000, 24_001))
    segment = Segment(16_000, 40_000, " Two words", heard)
    assert of_segment(segment) == TimedSegment(
        1000, 2500, "Two words", (TimedWord("Two", 1000, 1500, 0.5),)
    )


@given(segments)
def test_json_gives_the_same_back(made: list[TimedSegment]) -> None:
    assert from_json(as_json(made)) == made


def test_times_are_seconds_and_confidences_short() -> None:
    made = [TimedSegment(250, 1001, "Good", (TimedWord("Good", 250, 1001, 0.12345),))]
    assert as_json(made) == [
        {
            "start": 0.25,
            "end": 1.001,
            "text": "Good",
            "words": [{"word": "Good", "start": 0.25, "end": 1.001, "confidence": 0.123}],
        }
    ]
