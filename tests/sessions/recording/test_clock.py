"""The axis of a recorded call."""

from hypothesis import given
from hypothesis import strategies as st

from media.formats import HEARING_RATE
from sessions.core.events import VoiceWindow
from sessions.recording.clock import GAP_SECONDS, CallClock

WINDOW = 512
SECONDS = WINDOW / HEARING_RATE
START = 1_000.0


def heard(clock: CallClock, windows: int, first: int, at: float, voice: float = 0.0) -> list[int]:
    """Where windows begin that come in real time."""
    return [
        clock.hear(VoiceWindow((first + n + 1) * WINDOW, voice), at + (n + 1) * SECONDS)
        for n in range(windows)
    ]


def test_audio_in_real_time_lies_where_it_came() -> None:
    clock = CallClock(START)
    assert heard(clock, 100, 0, START) == [n * WINDOW for n in range(100)]
    assert clock.of(10 * WINDOW) == 10 * WINDOW
    assert clock.at(START + 3.2) == 51_200 == clock.end


def test_a_late_beginning_is_silence() -> None:
    clock = CallClock(START)
    (first,) = heard(clock, 1, 0, START + 5.0)
    assert first == round(5 * HEARING_RATE)
    assert clock.of(0) == first


def test_jitter_leaves_no_gap() -> None:
    clock = CallClock(START)
    heard(clock, 40, 0, START)
    late = [clock.hear(VoiceWindow((41 + n) * WINDOW, 0.9), START + 1.9) for n in range(20)]
    assert late == [(40 + n) * WINDOW for n in range(20)]


def test_a_pause_in_which_nothing_is_sent_is_silence() -> None:
    clock = CallClock(START)
    heard(clock, 40, 0, START)
    (next_one,) = heard(clock, 1, 40, START + 40 * SECONDS + 2.0)
    assert next_one == 40 * WINDOW + 2 * HEARING_RATE
    assert clock.of(40 * WINDOW - 1) == 40 * WINDOW - 1
    assert clock.of(40 * WINDOW) == next_one


def test_what_is_lastingly_late_is_made_up_for_in_silence() -> None:
    clock = CallClock(START)
    heard(clock, 65, 0, START)
    heard(clock, 100, 65, START + 65 * SECONDS + 0.3, voice=0.9)
    assert clock.end == 165 * WINDOW
    heard(clock, 2, 165, START + 165 * SECONDS + 0.3)
    assert abs(clock.end - clock.at(START + 167 * SECONDS + 0.3)) <= 1


def test_audio_that_comes_at_once_moves_the_axis() -> None:
    clock = CallClock(START)
    for n in range(100):
        clock.hear(VoiceWindow((n + 1) * WINDOW, 0.9), START + SECONDS)
    assert clock.end == clock.at(START + SECONDS) == 100 * WINDOW
    assert clock.at(START + SECONDS + 0.1) == 100 * WINDOW + HEARING_RATE // 10


@given(
    st.lists(
        st.tuples(st.floats(0, 3), st.floats(0, 1), st.integers(1, 40)), min_size=1, max_size=40
    )
)
def test_places_are_in_order_and_not_in_the_future(steps: list[tuple[float, float, int]]) -> None:
    clock, now, position = CallClock(START), START, 0
    places: dict[int, int] = {}
    before = 0
    for pause, voice, windows in steps:
        now += pause
        for _ in range(windows):
            position += WINDOW
            begins = clock.hear(VoiceWindow(position, voice), now)
            assert begins >= before
            before = begins + WINDOW
            places[position - WINDOW] = begins
            assert clock.end == before
            assert clock.end <= clock.at(now)
            assert clock.at(now) - clock.end <= GAP_SECONDS * HEARING_RATE
    for known, begins in places.items():
        assert clock.of(known) == begins
        assert clock.of(known + WINDOW - 1) == begins + WINDOW - 1
