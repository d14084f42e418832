"""How the caller's pauses set the agent's patience."""

from sessions.core.turns.caller_pace import LONGEST, SHORTEST, CallerPace
from sessions.core.turns.speech_gate import samples


def test_a_pause_that_nearly_ended_the_turn_makes_patient() -> None:
    pace = CallerPace()
    pace.went_on(samples(380), samples(380))
    assert 1.1 < pace.factor < 1.25
    before = pace.factor
    pace.went_on(samples(380), samples(380))
    assert before < pace.factor <= 1.25, "the pause would fill four fifths"


def test_a_pause_that_patience_covers_says_nothing() -> None:
    pace = CallerPace()
    pace.went_on(samples(900), samples(2_600))
    pace.went_on(samples(200), samples(200))
    assert pace.factor == 1.0


def test_it_is_bounded_forgotten_and_quicker_with_a_fluent_caller() -> None:
    pace = CallerPace()
    for _ in range(20):
        pace.went_on(samples(4_000), samples(380))
    assert 2.3 < pace.factor <= LONGEST
    pace.turn_ended()
    assert pace.factor > 2.3, "a near pause was in that turn"
    for _ in range(4):
        pace.turn_ended()
    assert 1.0 < pace.factor < 1.6
    for _ in range(40):
        pace.turn_ended()
    assert abs(pace.factor - SHORTEST) < 0.01
