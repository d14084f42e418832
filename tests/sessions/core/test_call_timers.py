"""Named deadlines."""

from hypothesis import given
from hypothesis import strategies as st

from sessions.core.call import Timer, Timers

MOMENTS = st.one_of(st.none(), st.integers(0, 9).map(float))


@given(st.lists(st.tuples(st.sampled_from(Timer), MOMENTS)), st.integers(0, 9).map(float))
def test_the_next_deadline_is_the_earliest_that_was_set_last(
    settings: list[tuple[Timer, float | None]], now: float
) -> None:
    timers, known = Timers(), dict[Timer, float | None]()
    for timer, deadline in settings:
        timers.set(timer, deadline)
        known[timer] = deadline
    assert timers.next == min((due for due in known.values() if due is not None), default=None)
    for timer in Timer:
        due = known.get(timer)
        assert timers.is_due(timer, now) == (due is not None and due <= now)
