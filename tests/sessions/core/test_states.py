"""The table of states, and its picture in the documentation."""

import pytest

from sessions.core.states import TRANSITIONS, IllegalTransition, State, Trigger, diagram, transition
from tests.support.paths import ROOT

DOCUMENT = ROOT / "docs" / "conversation.md"


def test_the_documented_diagram_is_drawn_from_the_table() -> None:
    text = DOCUMENT.read_text()
    assert f"```mermaid\n{diagram()}\n```" in text, (
        "paste turns.diagram() into docs/conversation.md"
    )


def test_every_state_has_a_row_and_leads_to_the_end() -> None:
    assert set(TRANSITIONS) == set(State)
    for state, row in TRANSITIONS.items():
        if state is not State.CLOSED:
            assert row[Trigger.CALL_ENDED] is State.CLOSED
    assert not TRANSITIONS[State.CLOSED]


def test_every_state_and_trigger_is_reachable() -> None:
    reached, row = {State.LISTENING}, list(TRANSITIONS[State.LISTENING].values())
    while row:
        state = row.pop()
        if state not in reached:
            reached.add(state)
            row += TRANSITIONS[state].values()
    assert reached == set(State)
    assert {trigger for row_ in TRANSITIONS.values() for trigger in row_} == set(Trigger)


def test_an_illegal_trigger_names_both() -> None:
    with pytest.raises(IllegalTransition, match="'reply audible' cannot happen while closed"):
        transition(State.CLOSED, Trigger.REPLY_AUDIBLE)
