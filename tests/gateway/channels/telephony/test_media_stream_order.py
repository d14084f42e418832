"""The caller's audio: frames are put in order and gaps become silence, within bounds."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.channels.telephony.media_stream import MAX_GAP_MS, Reorder, Timeline

FRAME = 160


def pushed(reorder: Reorder[int], *numbers: int) -> list[int]:
    return [item for number in numbers for item in reorder.push(number, number)]


def test_order_is_kept_and_restored() -> None:
    assert pushed(Reorder(), 1, 2, 3) == [1, 2, 3]
    assert pushed(Reorder(), 1, 3, 4, 2, 5) == [1, 2, 3, 4, 5]


def test_a_lost_frame_is_skipped_and_dropped_if_late() -> None:
    reorder: Reorder[int] = Reorder(limit=3)
    assert pushed(reorder, 1, 3, 4, 5) == [1]
    assert pushed(reorder, 6) == [3, 4, 5, 6]
    assert pushed(reorder, 2, 7) == [7]


def test_a_duplicate_frame_counts_once() -> None:
    assert pushed(Reorder(), 1, 1, 3, 3, 2) == [1, 2, 3]


def test_a_sender_that_restarts_its_count_is_followed() -> None:
    assert pushed(Reorder(), 1000, 1002, 1, 2) == [1000, 1002, 1, 2]


@given(st.lists(st.integers(0, 400), max_size=80), st.integers(1, 6))
def test_nothing_is_kept_beyond_the_limit_and_nothing_comes_twice(
    numbers: list[int], limit: int
) -> None:
    reorder: Reorder[int] = Reorder(limit)
    came: list[int] = []
    for place, number in enumerate(numbers):
        came += reorder.push(number, place)
        assert len(came) == len(set(came)) <= place + 1
        assert len(reorder._waiting) <= limit


@given(st.permutations(range(6)))
def test_a_shuffle_within_the_limit_loses_nothing_behind_the_first(order: list[int]) -> None:
    reorder: Reorder[int] = Reorder(limit=6)
    came = pushed(reorder, *order)
    assert came == [number for number in range(6) if number >= order[0]]


def gaps(*timestamps: int | None) -> list[int]:
    timeline = Timeline(8_000)
    return [timeline.gap(timestamp, FRAME) for timestamp in timestamps]


def test_a_stream_without_holes_has_no_gap() -> None:
    assert gaps(5, 25, 45, 65) == [0, 0, 0, 0]


def test_jitter_is_not_a_gap() -> None:
    assert gaps(0, 25, 38, 75) == [0, 0, 0, 0]


def test_missing_frames_are_silence() -> None:
    assert gaps(0, 60, 80) == [0, 2 * FRAME, 0]


def test_a_long_gap_is_capped() -> None:
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
