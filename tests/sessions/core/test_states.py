"""The state tables, and their diagrams in the documentation."""

from typing import Any

import pytest

from sessions.core.states import (
    CONVERSATION,
    REPLY,
    UTTERANCE,
    IllegalTransition,
    ReplyState,
    ReplyTrigger,
    State,
    StateTable,
    Trigger,
    UtteranceState,
    UtteranceTrigger,
)
from tests.support.paths import ROOT

DOCUMENT = ROOT / "docs" / "conversation.md"
TABLES = pytest.mark.parametrize(
    ("table", "states", "triggers"),
    [
        pytest.param(CONVERSATION, State, Trigger, id="conversation"),
        pytest.param(REPLY, ReplyState, ReplyTrigger, id="reply"),
        pytest.param(UTTERANCE, UtteranceState, UtteranceTrigger, id="utterance"),
    ],
)


@TABLES
def test_the_documented_diagram_is_drawn_from_the_table(
    table: StateTable[Any, Any], states: Any, triggers: Any
) -> None:
    assert f"```mermaid\n{table.diagram()}\n```" in DOCUMENT.read_text(), (
        "paste the table's diagram() into docs/conversation.md"
    )


@TABLES
def test_every_state_has_a_row_and_only_the_last_ones_lead_nowhere(
    table: StateTable[Any, Any], states: Any, triggers: Any
) -> None:
    assert set(table.transitions) == set(states)
    assert {state for state, row in table.transitions.items() if not row} == set(table.ends)


@TABLES
def test_every_state_and_trigger_is_reachable(
    table: StateTable[Any, Any], states: Any, triggers: Any
) -> None:
    reached, row = set(table.begins), list(table.begins)
    while row:
        for state in table.transitions[row.pop()].values():
            if state not in reached:
                reached.add(state)
                row.append(state)
    assert reached == set(states)
    assert {trigger for row_ in table.transitions.values() for trigger in row_} == set(triggers)


def test_a_call_can_end_in_every_state() -> None:
    for state, row in CONVERSATION.transitions.items():
        if state is not State.CLOSED:
            assert row[Trigger.CALL_ENDED] is State.CLOSED


@pytest.mark.parametrize(
    ("table", "state", "trigger", "words"),
    [
        (
            CONVERSATION,
            State.CLOSED,
            Trigger.REPLY_AUDIBLE,
            "'reply audible' cannot happen while closed",
        ),
        (REPLY, ReplyState.QUEUED, ReplyTrigger.HEARD, "'heard' cannot happen while queued"),
        (
            UTTERANCE,
            UtteranceState.SETTLED,
            UtteranceTrigger.SPEECH_RESUMED,
            "'speech resumed' cannot happen while settled",
        ),
    ],
)
def test_an_illegal_trigger_names_both(
    table: StateTable[Any, Any], state: Any, trigger: Any, words: str
) -> None:
    with pytest.raises(IllegalTransition, match=words):
        table.after(state, trigger)
