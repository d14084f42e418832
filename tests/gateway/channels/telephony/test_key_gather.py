"""Pressed keys make an answer by their end, a pause, or their number."""

from gateway.channels.telephony.key_gather import MOST, PAUSE_SECONDS, KeyGather


def test_a_hash_ends_it() -> None:
    keys = KeyGather()
    assert [keys.press(digit, 0.0) for digit in "17#2#"] == [None, None, "17#", None, "2#"]


def test_a_pause_ends_it() -> None:
    keys = KeyGather()
    assert keys.due(100.0) is None
    keys.press("1", 10.0)
    keys.press("2", 10.0 + PAUSE_SECONDS / 2)
    assert keys.due(10.0 + PAUSE_SECONDS) is None
    assert keys.due(10.0 + PAUSE_SECONDS * 1.5) == "12"
    assert keys.due(100.0) is None


def test_there_are_so_many_at_most() -> None:
    keys = KeyGather()
    told = [keys.press("1", 0.0) for _ in range(MOST + 1)]
    assert told == [None] * (MOST - 1) + ["1" * MOST, None]
