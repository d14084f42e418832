"""A burst at once, then the rate."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.channels.pace import Pace


def test_a_burst_passes_and_then_the_rate_holds() -> None:
    pace = Pace(10, 5)
    assert [pace.delay(100.0) for _ in range(5)] == [0.0] * 5
    assert pace.delay(100.0) == 0.1
    assert pace.delay(200.0) == 0.0


def test_what_is_left_of_a_burst() -> None:
    pace = Pace(10, 5)
    assert pace.left(100.0) == (5, 5, 0.0)
    for _ in range(6):
        pace.delay(100.0)
    assert pace.left(100.0) == (5, 0, 0.6)
    assert pace.left(200.0) == (5, 5, 0.0)


@given(pauses=st.lists(st.floats(0, 2), max_size=60))
def test_who_waits_as_told_never_exceeds_the_rate(pauses: list[float]) -> None:
    pace, now = Pace(10, 5), 0.0
    for taken, pause in enumerate(pauses, start=1):
        now += pause
        assert taken <= 5 + now * 10 + 1.001
        now += pace.delay(now)
