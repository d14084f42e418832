"""Files of subtitles and transcripts, read back by pysubs2."""

import html
import json

import pysubs2
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.transcription.subtitles import (
    FORMATS,
    SubtitleFormat,
    TimedSegment,
    TimedWord,
    cues,
    render,
)
from pipelines.transcription.timed_text import from_json
from tests.support.examples import examples

SEGMENTS = [
    TimedSegment(0, 1500, "Tom & Jerry <i>run</i> --> off.", ()),
    TimedSegment(61_000, 63_000, "Then {\\an8} comes 3 < 4.", ()),
]

texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1)


def parsed(format: SubtitleFormat, *segments: TimedSegment) -> list[tuple[int, int, str]]:
    file = pysubs2.SSAFile.from_string(render(segments, format), format_=format)
    return [(event.start, event.end, event.plaintext) for event in file]


def test_srt_holds_no_command_of_players() -> None:
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


def test_of_nothing() -> None:
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
