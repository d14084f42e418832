"""Timed text: from engines, to JSON and back, and in pieces for subtitles."""

from hypothesis import given
from hypothesis import strategies as st

from pipelines.engines.base import Word
from pipelines.engines.jobs import Segment
from pipelines.transcription.timed_text import (
    LINE_WIDTH,
    Break,
    TimedSegment,
    TimedWord,
    as_json,
    from_json,
    of_segment,
    pieces,
    width_of,
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


def texts(text: str) -> list[str]:
    return [piece.text for piece in pieces([TimedSegment(0, 1000, text)])]


def test_words_without_punctuation_give_the_times_all_the_same() -> None:
    heard = (TimedWord("well", 1000, 1400), TimedWord("met", 5000, 5400))
    made = pieces([TimedSegment(1000, 5400, "Well - met!", heard)])
    assert [(one.text, one.start_ms, one.end_ms) for one in made] == [
        ("Well", 1000, 1400),
        ("-", 1400, 1400),
        ("met!", 5000, 5400),
    ]
    assert made[1].ends is Break.SENTENCE  # the pause


def test_more_words_than_were_written_share_their_time() -> None:
    heard = (TimedWord("can", 0, 300), TimedWord("not", 300, 600), TimedWord("go", 700, 900))
    made = pieces([TimedSegment(0, 900, "Cannot go", heard)])
    assert [(one.start_ms, one.end_ms) for one in made] == [(0, 600), (700, 900)]


def test_where_sentences_and_phrases_end() -> None:
    made = pieces([TimedSegment(0, 1000, 'Dr. Who said: "Go!" J. R. R. left, as did I')])
    ends = {piece.text: piece.ends for piece in made}
    assert ends == {
        "Dr.": Break.WORD,
        "Who": Break.WORD,
        "said:": Break.PHRASE,
        '"Go!"': Break.SENTENCE,
        "J.": Break.WORD,
        "R.": Break.WORD,
        "left,": Break.PHRASE,
        "as": Break.WORD,
        "did": Break.WORD,
        "I": Break.PHRASE,
    }


def test_scripts_without_blanks_are_cut_between_characters() -> None:
    assert texts("「今日」は、Pythonを。") == ["「今", "日」", "は、", "Python", "を。"]
    assert texts("ちょっと") == ["ちょっ", "と"]
    assert width_of("今a\u0301") == 3


def test_a_word_wider_than_a_line_is_cut() -> None:
    made = pieces([TimedSegment(0, 1000, "a" * 100)])
    assert [(len(piece.text), piece.glued) for piece in made] == [
        (LINE_WIDTH, False),
        (LINE_WIDTH, True),
        (16, True),
    ]


def test_times_never_fall_and_stay_in_their_segment() -> None:
    wild = (TimedWord("a", 900, 100), TimedWord("b", 0, 99_999))
    made = pieces([TimedSegment(500, 400, "c"), TimedSegment(100, 1000, "a b", wild)])
    moments = [moment for piece in made for moment in (piece.start_ms, piece.end_ms)]
    assert moments == sorted(moments)
    assert moments[-1] == 1000
