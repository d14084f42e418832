"""Frames out of order are put in order, within bounds."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.channels.telephony.reorder import Reorder


def pushed(reorder: Reorder[int], *numbers: int) -> list[int]:
    return [item for number in numbers for item in reorder.push(number, number)]


def test_order_is_kept_and_restored() -> None:
    assert pushed(Reorder(), 1, 2, 3) == [1, 2, 3]
    assert pushed(Reorder(), 1, 3, 4, 2, 5) == [1, 2, 3, 4, 5]


def test_a_lost_one_is_given_up_and_dropped_when_it_comes_late() -> None:
    reorder: Reorder[int] = Reorder(limit=3)
    assert pushed(reorder, 1, 3, 4, 5) == [1]
    assert pushed(reorder, 6) == [3, 4, 5, 6]
    assert pushed(reorder, 2, 7) == [7]


def test_a_number_twice_counts_once() -> None:
    assert pushed(Reorder(), 1, 1, 3, 3, 2) == [1, 2, 3]


def test_a_sender_that_counts_anew_is_followed() -> None:
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
