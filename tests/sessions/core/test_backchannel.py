"""What speech over the reply is."""

import pytest

from sessions.core.backchannel import Overlap, classify

PLAYING = "The weather in Paris is mild today, with a little rain in the evening."


@pytest.mark.parametrize(
    ("text", "overlap"),
    [
        ("", Overlap.NOTHING),
        (" ... ", Overlap.NOTHING),
        ("Mhm.", Overlap.BACKCHANNEL),
        ("okay, right", Overlap.BACKCHANNEL),
        ("I see", Overlap.BACKCHANNEL),
        ("the", Overlap.BACKCHANNEL),
        ("ja genau", Overlap.BACKCHANNEL),
        ("a little rain", Overlap.ECHO),
        ("the weather in paris was mild today", Overlap.ECHO),
        ("stop", Overlap.INTERRUPTION),
        ("okay but wait", Overlap.INTERRUPTION),
        ("rain little", Overlap.INTERRUPTION),
        ("and what about Paris in the winter", Overlap.INTERRUPTION),
    ],
)
def test_overlaps(text: str, overlap: Overlap) -> None:
    assert classify(text, PLAYING) is overlap


def test_only_the_last_words_can_echo() -> None:
    later = "one two three four five six seven eight nine ten eleven twelve " * 2
    assert classify("the weather", PLAYING + later) is Overlap.INTERRUPTION
