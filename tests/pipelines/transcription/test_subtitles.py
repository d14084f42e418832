"""Subtitle files, and the rules for their cues."""

import html
import json
from collections.abc import Sequence

import pysubs2
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.transcription.subtitles import (
    CLOSED_GAP_MS,
    FASTEST,
    FORMATS,
    GAP_MS,
    LEAST_MS,
    MOST_MS,
    Cue,
    SubtitleFormat,
    cues,
    render,
)
from pipelines.transcription.timed_text import (
    LINE_WIDTH,
    TimedSegment,
    TimedWord,
    from_json,
    width_of,
)
from tests.support.examples import examples

SEGMENTS = [
    TimedSegment(0, 1500, "Tom & Jerry <i>run</i> --> off.", ()),
    TimedSegment(61_000, 63_000, "Then {\\an8} comes 3 < 4.", ()),
]

texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1)


def parsed(format: SubtitleFormat, *segments: TimedSegment) -> list[tuple[int, int, str]]:
    file = pysubs2.SSAFile.from_string(render(segments, format), format_=format)
    return [(event.start, event.end, event.plaintext) for event in file]


def test_srt_escapes_player_commands() -> None:
    assert render(SEGMENTS, "srt") == (
        "1\n00:00:00,000 --> 00:00:01,824\nTom & Jerry ‹i>run‹/i> → off.\n\n"
        "2\n00:01:01,000 --> 00:01:03,000\nThen (\\an8} comes 3 < 4.\n"
    )


def test_vtt_has_its_references() -> None:
    assert render(SEGMENTS, "vtt") == (
        "WEBVTT\n\n1\n00:00:00.000 --> 00:00:01.824\n"
        "Tom &amp; Jerry &lt;i&gt;run&lt;/i&gt; --&gt; off.\n\n"
        "2\n00:01:01.000 --> 00:01:03.000\nThen {\\an8} comes 3 &lt; 4.\n"
    )


def test_txt_has_a_line_for_each_segment_and_json_everything() -> None:
    words = (TimedWord("Good", 250, 700, 0.25), TimedWord("day", 701, 1001))
    segments = [TimedSegment(250, 1001, "Good\nday", words), TimedSegment(2000, 2100, "", ())]
    assert render(segments, "txt") == "Good day\n"
    told = json.loads(render(segments, "json"))["segments"]
    assert told[0]["words"][0] == {"word": "Good", "start": 0.25, "end": 0.7, "confidence": 0.25}
    assert from_json(told) == segments


def test_an_empty_transcript_makes_empty_files() -> None:
    files = {format: render([], format) for format in FORMATS}
    assert files == {"txt": "", "srt": "", "vtt": "WEBVTT\n", "json": '{"segments": []}\n'}


def test_a_third_party_reads_the_cues_back() -> None:
    spoken = [
        TimedSegment(0, 9000, "Nothing is so painful to the human mind as a great, sudden change."),
        TimedSegment(3_600_000, 3_600_400, "Indeed."),
    ]
    made = [(cue.start_ms, cue.end_ms, "\n".join(cue.lines)) for cue in cues(spoken)]
    assert len(made) == 3
    assert parsed("srt", *spoken) == made
    assert parsed("vtt", *spoken) == made


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(texts, min_size=1, max_size=5))
def test_any_text_makes_a_well_formed_file(spoken: list[str]) -> None:
    segments = [TimedSegment(n * 9000, n * 9000 + 8000, text) for n, text in enumerate(spoken)]
    made = [(cue.start_ms, cue.end_ms) for cue in cues(segments)]
    for format in ("srt", "vtt"):
        file = render(segments, format)
        assert "\n\n\n" not in file
        assert sum("-->" in line for line in file.split("\n")) == len(made)
        if made:
            assert [(start, end) for start, end, _ in parsed(format, *segments)] == made
    blocks = render(segments, "vtt").split("\n\n")[1:]
    shown = " ".join(html.unescape(block.split("\n", 2)[2]) for block in blocks)
    assert "".join(shown.split()) == "".join("".join(spoken).split())


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


def test_a_gap_that_a_lead_leaves_is_closed() -> None:
    """The second cue is read faster than it is spoken, so it appears before its first word."""
    first = said("a", 0, 40)
    second = said("word " * 16, first.end_ms + LEAST_MS + 460, 20)
    one, two = cues([first, second], duration_ms=second.end_ms + LEAST_MS)
    assert two.start_ms < second.start_ms
    assert two.start_ms - one.end_ms == GAP_MS


@settings(max_examples=examples(150), deadline=None)
@given(speech())
def test_cues_follow_broadcast_guidelines(segments: list[TimedSegment]) -> None:
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
