"""Each check, passing and failing, on turns that are given."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulation.checks import Check, ToolUse, Turn, of_call, of_turn, word_error
from gateway.simulation.scenarios import CallChecks, LineChecks, ToolCheck

TURN = Turn(
    said="what is the capital of France",
    transcripts=("What is the capital", "of Greece?"),
    reply="The capital is Paris, a city on the Seine.",
    tools=(ToolUse("look_up", {"city": "Paris", "limit": 3, "fresh": True}),),
    ttfa_ms=800,
    silenced_ms=180,
    reply_before="cancelled",
)


def results(turn: Turn = TURN, **checks: object) -> list[bool]:
    """Of the checks that are written; that the line is answered comes first."""
    found = list(of_turn(turn, LineChecks(**checks)))
    assert all(check.found for check in found)
    return [check.passed for check in found[1:]]


def test_texts_are_compared_without_regard_to_case() -> None:
    assert results(reply_contains=["PARIS", "london"]) == [True, False]
    assert results(reply_matches=["^the .* is", "^paris"]) == [True, False]
    assert results(reply_lacks=["London", "seine"]) == [True, False]


@pytest.mark.slow
def test_a_reply_is_recognised_by_its_language() -> None:
    assert results(reply_language="en") == [True]
    assert results(reply_language="de") == [False]
    short = Turn("", (), "The capital of France is Paris.", ttfa_ms=1)
    assert results(short, reply_language="en") == [True]
    (found,) = list(of_turn(Turn("", (), "Oui.", ttfa_ms=1), LineChecks(reply_language="fr")))[1:]
    assert not found.passed
    assert "too short" in found.found


@pytest.mark.parametrize(
    ("name", "arguments", "passed"),
    [
        ("look_up", {}, True),
        ("look_up", {"city": "^par"}, True),
        ("look_up", {"city": "paris", "limit": 3, "fresh": True}, True),
        ("look_up", {"city": "rome"}, False),
        ("look_up", {"limit": 4}, False),
        ("look_up", {"limit": "3"}, True),
        ("look_up", {"fresh": 1}, False),
        ("look_up", {"country": ".*"}, False),
        ("book", {}, False),
    ],
)
def test_a_tool_is_used_with_arguments(
    name: str, arguments: dict[str, object], passed: bool
) -> None:
    assert results(tool=ToolCheck(name=name, arguments=arguments)) == [passed]


def test_arguments_that_are_no_object_match_only_if_none_are_wanted() -> None:
    turn = Turn("", (), "", tools=(ToolUse("a", "{broken"),))
    assert results(turn, tool=ToolCheck(name="a")) == [True]
    assert results(turn, tool=ToolCheck(name="a", arguments={"x": "."})) == [False]


def answered(turn: Turn, **checks: object) -> Check:
    return next(of_turn(turn, LineChecks(**checks)))


def test_an_answer_is_in_time_late_or_missing() -> None:
    assert answered(TURN).passed
    assert answered(TURN, answered_within_ms=800).passed
    assert not answered(TURN, answered_within_ms=799).passed
    assert not answered(Turn("", (), "Yes."), answered_within_ms=799).passed
    assert answered(Turn("", (), "Yes.")) == Check("answered", False, "no reply was heard")


def test_an_interruption_is_in_time_late_or_none() -> None:
    assert results(interrupted_within_ms=180) == [True]
    assert results(interrupted_within_ms=179) == [False]
    went_on = Turn("", (), "", silenced_ms=100, reply_before="completed")
    assert results(went_on, interrupted_within_ms=500) == [False]
    assert results(Turn("", (), ""), interrupted_within_ms=500) == [False]


def test_a_backchannel_lets_the_reply_go_on() -> None:
    def went_on(turn: Turn) -> bool:
        (found,) = of_turn(turn, LineChecks(not_interrupted=True))
        return found.passed

    assert went_on(Turn("", (), "", silenced_ms=9, reply_before="completed"))
    assert not went_on(Turn("", (), "", silenced_ms=9, reply_before="cancelled"))
    assert not went_on(Turn("", (), "Yes?", silenced_ms=9, reply_before="completed"))
    assert went_on(Turn("", (), "", reply_before="in_progress"))
    assert not went_on(Turn("", (), ""))


def test_a_line_is_cut_off_or_misheard() -> None:
    assert results(not_cut_off=True) == [True]
    assert results(Turn("", ("a", "b"), "", cut_offs=1), not_cut_off=True) == [False]
    assert results(word_error=0.17) == [True]
    assert results(word_error=0.16) == [False]


def test_a_call_has_checks_of_its_own() -> None:
    expect = CallChecks(
        reply_contains="seine",
        reply_lacks="rome",
        tool=ToolCheck(name="look_up"),
        ends="normal",
    )
    good = of_call((TURN,), expect, faults=(), ended="closed with 1000 normal", problem=None)
    assert [check.passed for check in good] == [True] * 6
    bad = of_call((), expect, faults=["a: b"], ended=None, problem="line 1: no reply")
    assert [check.passed for check in bad] == [False, False, False, True, False, False]
    allowed = of_call((), CallChecks(no_fault=False), faults=["a: b"], ended=None, problem=None)
    assert [check.name for check in allowed] == ["call completed"]


def test_word_errors_are_counted() -> None:
    assert word_error("What is the capital of France?", "what is the capital of France") == 0
    assert word_error("one two three four", "one three four five") == 0.5
    assert word_error("", "") == 0
    assert word_error("", "one") == 1
    assert word_error("well-known", "well known") == 0
    assert word_error("grüße", "GRÜSSE") == 0


WORDS = st.lists(st.sampled_from("a b c d".split()), max_size=8)


@given(WORDS, WORDS)
def test_word_errors_are_a_distance(said: list[str], heard: list[str]) -> None:
    errors = word_error(" ".join(said), " ".join(heard)) * max(1, len(said))
    assert abs(len(said) - len(heard)) <= round(errors) <= max(len(said), len(heard))
    assert (round(errors) == 0) == (said == heard)
