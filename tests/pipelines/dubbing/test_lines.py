"""Transcripts cut into what is translated and spoken as one."""

from pipelines.dubbing.lines import MOST_CHARACTERS, lines_of
from pipelines.transcription.timed_text import TimedSegment, TimedWord


def test_sentences_across_and_within_segments() -> None:
    segments = [
        TimedSegment(0, 2_000, "The first sentence goes"),
        TimedSegment(2_000, 4_000, "on here. And another"),
        TimedSegment(4_000, 5_000, "one ends."),
    ]
    lines = list(lines_of(segments))
    assert [line.text for line in lines] == [
        "The first sentence goes on here.",
        "And another one ends.",
    ]
    assert (lines[0].start_ms, lines[1].end_ms) == (0, 5_000)
    assert 2_500 < lines[0].end_ms <= lines[1].start_ms < 3_500


def test_a_pause_ends_a_line() -> None:
    words = (TimedWord("well", 0, 300), TimedWord("hello", 2_000, 2_400))
    lines = list(lines_of([TimedSegment(0, 2_400, "well hello", words)]))
    assert [(line.start_ms, line.end_ms, line.text) for line in lines] == [
        (0, 300, "well"),
        (2_000, 2_400, "hello"),
    ]


def test_what_goes_on_and_on_is_cut() -> None:
    text = " ".join(["word"] * 300)
    lines = list(lines_of([TimedSegment(0, 100_000, text)]))
    assert all(len(line.text) <= MOST_CHARACTERS for line in lines)
    assert " ".join(line.text for line in lines) == text
    phrases = ", ".join(["nine letters or so"] * 30)
    cut = list(lines_of([TimedSegment(0, 30_000, phrases)]))
    assert all(line.text.endswith((",", "so")) for line in cut)


def test_scripts_without_blanks() -> None:
    lines = list(lines_of([TimedSegment(0, 4_000, "今日は。元気ですか。")]))
    assert [line.text for line in lines] == ["今日は。", "元気ですか。"]


def test_nothing_said() -> None:
    assert list(lines_of([])) == []
    assert list(lines_of([TimedSegment(0, 100, "  ")])) == []
