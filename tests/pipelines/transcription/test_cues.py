"""Subtitles keep to what broadcasters ask for."""

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.transcription.cues import (
    CLOSED_GAP_MS,
    FASTEST,
    GAP_MS,
    LEAST_MS,
    MOST_MS,
    Cue,
    cues,
)
from pipelines.transcription.subtitle_pieces import LINE_WIDTH, width_of
from pipelines.transcription.timed_text import TimedSegment, TimedWord
from tests.support.examples import examples

LETTERS = "abcdefghijklmnopqrstuvwxyzäßéñ"
words = st.text(LETTERS, min_size=1, max_size=14)


def said(text: str, start_ms: int, ms_a_letter: int = 65, pause_ms: int = 30) -> TimedSegment:
    """``text`` spoken evenly, at some 14 letters a second."""
    made = []
    now = start_ms
    for word in text.split():
        made.append(TimedWord(word, now, now + ms_a_letter * len(word)))
        now = made[-1].end_ms + pause_ms
    return TimedSegment(start_ms, made[-1].end_ms, text, tuple(made))


@st.composite
def speech(draw: st.DrawFn) -> list[TimedSegment]:
    """Some sentences at a natural pace, with pauses of all lengths between them."""
    segments = []
    now = draw(st.integers(0, 5000))
    for _ in range(draw(st.integers(1, 4))):
        text = ""
        for word in draw(st.lists(words, min_size=1, max_size=30)):
            text += word + draw(st.sampled_from(["", "", "", ",", ".", "?"])) + " "
        segments.append(said(text.strip(), now, draw(st.integers(40, 120))))
        now = segments[-1].end_ms + draw(st.integers(0, 4000))
    return segments


@st.composite
def nonsense(draw: st.DrawFn) -> list[TimedSegment]:
    """Times in any order, overlapping or empty; words that have nothing to do with the text."""
    moments = st.integers(0, 20_000)
    segments = []
    for _ in range(draw(st.integers(0, 5))):
        text = draw(st.text(st.characters(codec="utf-8"), max_size=200))
        heard = tuple(
            TimedWord(draw(st.text(max_size=5)), draw(moments), draw(moments))
            for _ in range(draw(st.integers(0, 4)))
        )
        start, end = sorted((draw(moments), draw(moments)))
        segments.append(TimedSegment(start, end, text, heard))
    return segments


def text_of(made: Sequence[Cue]) -> list[str]:
    return [word for cue in made for line in cue.lines for word in line.split()]


@settings(max_examples=examples(150), deadline=None)
@given(speech())
def test_what_broadcasters_ask_for(segments: list[TimedSegment]) -> None:
    made = cues(segments, duration_ms=segments[-1].end_ms + LEAST_MS)
    assert text_of(made) == [word for one in segments for word in one.text.split()]
    assert made[0].start_ms >= 0
    assert made[-1].end_ms <= segments[-1].end_ms + LEAST_MS
    for cue in made:
        assert len(cue.lines) <= 2
        assert all(0 < width_of(line) <= LINE_WIDTH for line in cue.lines)
        assert 0 < cue.end_ms - cue.start_ms <= MOST_MS
    bounds = [0, *(moment for cue in made for moment in (cue.start_ms, cue.end_ms))]
    for number, cue in enumerate(made):
        before, behind = bounds[2 * number], bounds[2 * number + 3 :][:1]
        room = cue.start_ms - before > GAP_MS and cue.start_ms > 0
        gap = behind[0] - cue.end_ms if behind else 0
        assert gap >= 0
        assert gap <= GAP_MS or gap >= CLOSED_GAP_MS or cue.end_ms - cue.start_ms == MOST_MS
        length = cue.end_ms - cue.start_ms
        width = sum(map(width_of, cue.lines))
        if length < LEAST_MS or width * 1000 / FASTEST > length + 1:
            assert gap < CLOSED_GAP_MS or length == MOST_MS, "the pause behind it was not used"
            assert not room or led(cue, segments), "the pause before it was not used"


def led(cue: Cue, segments: Sequence[TimedSegment]) -> bool:
    """Whether the cue stands before its first word."""
    return all(word.start_ms != cue.start_ms for one in segments for word in one.words)


@settings(max_examples=examples(150), deadline=None)
@given(nonsense(), st.none() | st.integers(0, 20_000))
def test_nothing_is_lost_or_overlaps_whatever_the_times(
    segments: list[TimedSegment], duration_ms: int | None
) -> None:
    made = cues(segments, duration_ms=duration_ms)
    order = sorted(segments, key=lambda one: one.start_ms)
    spoken = "".join("".join(one.text.split()) for one in order)
    assert "".join(text_of(made)) == spoken
    now = 0
    for cue in made:
        assert now <= cue.start_ms < cue.end_ms <= cue.start_ms + MOST_MS
        now = cue.end_ms
        assert len(cue.lines) <= 2
        assert all(0 < width_of(line) <= LINE_WIDTH for line in cue.lines)


def test_cues_end_with_sentences_and_phrases() -> None:
    text = (
        "It was the best of times, it was the worst of times. Mr. Lorry paused. Then he went on, "
        "and he spoke of the long journey from Dover to Paris in the winter."
    )
    made = cues([said(text, 1000)])
    assert [cue.lines for cue in made] == [
        ("It was the best of times, it was", "the worst of times. Mr. Lorry paused."),
        ("Then he went on, and he spoke of the long", "journey from Dover to Paris in the winter."),
    ]


def test_a_short_word_stands_long_enough_and_pauses_are_not_bridged() -> None:
    made = cues([said("Yes.", 2000), said("No.", 8000), said("Well then.", 8900)])
    assert [(cue.start_ms, cue.end_ms, cue.lines) for cue in made] == [
        (2000, 2000 + LEAST_MS, ("Yes.",)),
        (8000, 9515, ("No. Well then.",)),
    ]


def test_small_gaps_are_closed() -> None:
    first, second = cues(
        [
            said("This is the first of two sentences that are spoken here.", 0),
            said("And this one is the other, which is of the same length.", 3700),
        ]
    )
    assert (first.start_ms, first.end_ms, second.start_ms) == (0, 3700 - GAP_MS, 3700)


def test_without_word_times_letters_share_the_time() -> None:
    text = "Half of it is said in the first half of the time, the other half is said in the second."
    made = cues([TimedSegment(10_000, 18_000, text)])
    assert len(made) == 2
    assert 13_500 < made[1].start_ms < 15_000
    assert (made[0].start_ms, made[-1].end_ms) == (10_000, 18_000)


def test_japanese_is_broken_between_characters_but_not_before_punctuation() -> None:
    text = "今日はとても良い天気ですね。「散歩」に行きましょう。"
    text += "そして公園で友達と会って、一緒にお昼ご飯を食べる予定です。"
    made = cues([TimedSegment(0, 12_000, text)])
    lines = [line for cue in made for line in cue.lines]
    assert "".join(lines) == text
    assert all(width_of(line) <= LINE_WIDTH and line[0] not in "。、」" for line in lines)
