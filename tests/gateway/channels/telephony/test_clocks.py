"""The playout clocks: marks that were played count, marks that were cleared never do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.channels.telephony.clocks import MarkClock, Returned, TimeClock


def sent(clock: MarkClock, samples: int) -> str:
    clock.send(samples)
    return clock.mark()


def test_audio_whose_mark_returned_was_heard() -> None:
    clock = MarkClock()
    first, second = sent(clock, 800), sent(clock, 800)
    clock.send(160)
    assert (clock.heard, clock.outstanding, clock.unmarked) == (0, 1760, 160)
    assert clock.returned(first) is Returned.PLAYED
    assert clock.heard == 800
    assert clock.returned(second) is Returned.PLAYED
    assert (clock.heard, clock.outstanding) == (1600, 160)


def test_a_mark_confirms_the_marks_before_it() -> None:
    clock = MarkClock()
    first, second = sent(clock, 800), sent(clock, 800)
    assert clock.returned(second) is Returned.PLAYED
    assert clock.heard == 1600
    assert clock.returned(first) is Returned.UNKNOWN


def test_marks_that_return_after_a_clear_were_cleared() -> None:
    clock = MarkClock()
    played, cleared = sent(clock, 800), sent(clock, 800)
    clock.returned(played)
    clock.clear()
    assert (clock.heard, clock.outstanding, clock.unmarked) == (800, 0, 0)
    again = sent(clock, 400)
    assert clock.returned(cleared) is Returned.CLEARED
    assert clock.heard == 800
    assert clock.returned(again) is Returned.PLAYED
    assert clock.heard == 1200
    assert clock.returned(cleared) is Returned.CLEARED


@pytest.mark.parametrize("name", ["", "x", "1", "blab-", "blab-0", "blab-9", "blab-²", "blab-1e3"])
def test_an_unknown_mark_is_ignored(name: str) -> None:
    clock = MarkClock()
    sent(clock, 800)
    assert clock.returned(name) is Returned.UNKNOWN
    assert clock.heard == 0


def test_without_marks_audio_is_heard_in_real_time() -> None:
    clock = TimeClock()
    assert clock.left(5.0) == 0
    clock.send(0.5, 5.0)
    clock.send(0.25, 5.25)
    assert clock.left(5.25) == 0.5
    assert clock.left(6.0) == 0
    clock.send(0.5, 7.0)
    assert clock.left(7.125) == 0.375
    clock.clear()
    assert clock.left(7.125) == 0


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(1, 1600)),
        st.tuples(st.just("mark"), st.just(0)),
        st.tuples(st.just("clear"), st.just(0)),
        st.tuples(st.just("return"), st.integers(0, 30)),
    ),
    max_size=60,
)


@given(STEPS)
def test_heard_never_passes_what_was_sent_and_never_falls(steps: list[tuple[str, int]]) -> None:
    clock, names, living = MarkClock(), [], {}
    position = 0
    for step, number in steps:
        before = clock.heard
        match step:
            case "send":
                clock.send(number)
                position += number
            case "mark":
                names.append(clock.mark())
                living[names[-1]] = position
            case "clear":
                clock.clear()
                living.clear()
                position = clock.heard
            case "return" if number < len(names):
                result = clock.returned(names[number])
                if result is Returned.PLAYED:
                    assert clock.heard == living[names[number]]
                else:
                    assert clock.heard == before
        assert before <= clock.heard <= clock.heard + clock.outstanding == position
