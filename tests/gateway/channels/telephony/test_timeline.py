"""Holes in a carrier's timestamps are silence, within bounds."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.channels.telephony.timeline import MAX_GAP_MS, Timeline

FRAME = 160


def gaps(*timestamps: int | None) -> list[int]:
    timeline = Timeline(8_000)
    return [timeline.gap(timestamp, FRAME) for timestamp in timestamps]


def test_a_stream_without_holes_has_no_gap() -> None:
    assert gaps(5, 25, 45, 65) == [0, 0, 0, 0]


def test_jitter_is_no_gap() -> None:
    assert gaps(0, 25, 38, 75) == [0, 0, 0, 0]


def test_missing_frames_are_silence() -> None:
    assert gaps(0, 60, 80) == [0, 2 * FRAME, 0]


def test_a_long_hole_is_capped() -> None:
    assert gaps(0, 3_600_000, 3_600_020) == [0, MAX_GAP_MS * 8, 0]


def test_a_frame_without_a_stamp_follows_the_one_before() -> None:
    assert gaps(None, 0, None, 40, 100) == [0, 0, 0, 0, 2 * FRAME]


def test_stamps_that_fall_back_are_followed() -> None:
    assert gaps(1000, 0, 20, 80) == [0, 0, 0, 2 * FRAME]


@given(st.lists(st.one_of(st.none(), st.integers(0, 10**15)), max_size=40), st.integers(0, 2000))
def test_a_gap_is_never_negative_and_never_longer_than_the_cap(
    stamps: list[int | None], samples: int
) -> None:
    timeline = Timeline(8_000)
    for stamp in stamps:
        assert 0 <= timeline.gap(stamp, samples) <= MAX_GAP_MS * 8
