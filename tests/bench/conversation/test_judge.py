"""The judge on tracks that are made by hand: it must be right before any figure is."""

import math

import numpy as np
import pytest

from bench.conversation.judge import (
    TICK,
    TICK_SAMPLES,
    Exchange,
    Flags,
    Samples,
    Span,
    Summary,
    Undisturbed,
    Verdict,
    audible,
    lost_words,
    undisturbed,
    verdict,
)

ANSWER = Undisturbed(spoken=10.0, breath=0.5)


def track(*parts: tuple[int, float]) -> Samples:
    """(ticks, RMS) after each other."""
    return np.concatenate([np.full(n * TICK_SAMPLES, level, np.int16) for n, level in parts])


def agent(*ticks: int) -> Flags:
    """Silent for so many ticks, audible for so many, and so on."""
    return np.concatenate([np.full(n, bool(place % 2)) for place, n in enumerate(ticks)])


def question(**given: object) -> Exchange:
    """Spoken in the ticks 10 to 99; the script waits until tick 600."""
    return Exchange(**{"kind": "question", "name": "q", "asked": Span(10, 99), "end": 600} | given)


def test_a_single_loud_tick_is_a_click_and_not_an_answer() -> None:
    heard = audible(track((5, 0), (1, 4000), (4, 0), (3, 4000), (2, 100)))
    assert list(np.flatnonzero(heard)) == [10, 11, 12]


def test_the_gap_runs_from_the_last_voiced_tick_to_the_first_audible_one() -> None:
    found = verdict(agent(149, 100, 351), question())
    assert found.gap == pytest.approx(50 * TICK)
    assert not found.cut
    assert not found.missed


def test_an_agent_that_is_audible_inside_the_turn_cuts_it_off() -> None:
    found = verdict(agent(98, 100, 402), question())
    assert found.cut
    assert found.gap is None
    assert not verdict(agent(99, 100, 401), question()).cut


def test_an_answer_after_three_seconds_or_none_is_a_missed_end() -> None:
    assert not verdict(agent(249, 100, 251), question()).missed
    assert verdict(agent(250, 100, 250), question()).missed
    never = verdict(agent(600), question())
    assert never.missed
    assert never.gap == pytest.approx(501 * TICK)


def test_an_answer_to_the_next_turn_is_none_to_this_one() -> None:
    assert verdict(agent(610, 50), question()).missed


def test_an_interrupted_agent_has_stopped_where_its_silence_begins() -> None:
    over = question(kind="interruption", over=Span(200, 260))
    found = verdict(agent(130, 80, 100, 50, 240), over)
    assert found.stopped == pytest.approx(10 * TICK)
    assert found.answered == pytest.approx(50 * TICK)


def test_a_breath_is_no_stop_and_talking_on_is_never() -> None:
    over = question(kind="interruption", over=Span(200, 260))
    breath = verdict(agent(130, 80, 15, 20, 355), over)
    assert breath.stopped == pytest.approx(45 * TICK)
    assert verdict(agent(130, 470), over).stopped == math.inf


def test_the_undisturbed_answer_is_the_measure() -> None:
    assert undisturbed(agent(120, 100, 20, 100, 260), question()) == Undisturbed(4.0, 0.4)
    assert undisturbed(agent(600), question()) is None


def test_an_answer_is_lost_when_most_of_it_is_not_heard() -> None:
    cough = question(kind="cough", over=Span(200, 220), end=1200)
    assert verdict(agent(130, 90, 980), cough, ANSWER).lost
    whole = verdict(agent(130, 90, 20, 410, 550), cough, ANSWER)
    assert not whole.lost
    assert whole.held == 0.0
    assert not whole.again


def test_an_answer_is_held_for_a_silence_that_it_does_not_have() -> None:
    cough = question(kind="cough", over=Span(200, 220), end=1200)
    held = verdict(agent(130, 90, 60, 410, 510), cough, ANSWER)
    assert not held.lost
    assert held.held == pytest.approx(60 * TICK)


def test_a_second_answer_to_the_television_is_one_that_nobody_asked_for() -> None:
    watched = question(kind="television", end=1400)
    assert verdict(agent(130, 500, 100, 200, 470), watched, ANSWER).again
    assert verdict(agent(1400), watched, ANSWER).lost


def test_words_are_lost_that_the_chat_model_was_not_given() -> None:
    assert lost_words("What is the capital of France?", "what is the capital of") == (6, 1)
    assert lost_words("Please stop.", "") == (2, 2)
    assert lost_words("five five five", "555") == (0, 0)


def test_the_table_says_what_was_never_measured() -> None:
    rows = Summary([Verdict("question", "q", gap=0.5), Verdict("question", "r", cut=True)]).rows()
    assert rows["gap, p50 / p95 s"] == "0.50 / 0.50"
    assert rows["cut off"] == "1 of 2"
    assert rows["silent after an interruption, p50 / p95 s"] == "–"
    stops = [Verdict("interruption", "s", stopped=time) for time in (0.2, 0.3, math.inf)]
    assert Summary(stops).rows()["silent after an interruption, p50 / p95 s"] == "0.30 / never"
