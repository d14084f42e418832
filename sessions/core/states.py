"""The states of a conversation and the transitions between them: a table, as data.

    LISTENING     nobody speaks
    USER_SPEAKING the caller speaks
    ENDPOINTING   the caller is silent, and it is undecided whether the turn is over
    THINKING      the turn is over (or a reply was asked for) and nothing is audible yet
    SPEAKING      the caller hears the reply
    BARGE_IN      the caller speaks over the reply; playout is paused, undecided
    USING_TOOLS     tools are at work, and nobody speaks
    CLOSED        the end; absorbing

Rules: a trigger that the table does not name for the present state is a programming error and
raises; the diagram in docs/conversation.md is drawn from this table and a test compares them.
"""

from collections.abc import Mapping
from enum import StrEnum


class State(StrEnum):
    """Where a conversation stands."""

    LISTENING = "listening"
    USER_SPEAKING = "user_speaking"
    ENDPOINTING = "endpointing"
    THINKING = "thinking"
    SPEAKING = "speaking"
    BARGE_IN = "barge_in"
    USING_TOOLS = "using_tools"
    CLOSED = "closed"


class Trigger(StrEnum):
    """What moves a conversation from one state to another."""

    SPEECH_STARTED = "speech started"
    SPEECH_PAUSED = "speech paused"
    SPEECH_RESUMED = "speech resumed"
    TURN_ENDED = "turn ended"
    TURN_DROPPED = "turn dropped"
    REPLY_REQUESTED = "reply requested"
    REPLY_AUDIBLE = "reply audible"
    REPLY_ENDED = "reply ended"
    BARGE_IN_SUSPECTED = "barge-in suspected"
    BARGE_IN_CONFIRMED = "barge-in confirmed"
    BARGE_IN_REFUTED = "barge-in refuted"
    TOOLS_STARTED = "tools started"
    CALL_ENDED = "call ended"


class IllegalTransition(Exception):
    """A trigger that has no meaning in the present state."""

    def __init__(self, state: State, trigger: Trigger) -> None:
        super().__init__(f"{trigger.value!r} cannot happen while {state.value}")
        self.state = state
        self.trigger = trigger


TRANSITIONS: Mapping[State, Mapping[Trigger, State]] = {
    State.LISTENING: {
        Trigger.SPEECH_STARTED: State.USER_SPEAKING,
        Trigger.REPLY_REQUESTED: State.THINKING,
        Trigger.TOOLS_STARTED: State.USING_TOOLS,
        Trigger.CALL_ENDED: State.CLOSED,
    },
    State.USER_SPEAKING: {
        Trigger.SPEECH_PAUSED: State.ENDPOINTING,
        Trigger.TURN_ENDED: State.THINKING,
        Trigger.TURN_DROPPED: State.LISTENING,
        Trigger.CALL_ENDED: State.CLOSED,
    },
    State.ENDPOINTING: {
        Trigger.SPEECH_RESUMED: State.USER_SPEAKING,
        Trigger.TURN_ENDED: State.THINKING,
        Trigger.TURN_DROPPED: State.LISTENING,
        Trigger.CALL_ENDED: State.CLOSED,
    },
    State.THINKING: {
        Trigger.REPLY_AUDIBLE: State.SPEAKING,
        Trigger.REPLY_ENDED: State.LISTENING,
        Trigger.SPEECH_STARTED: State.USER_SPEAKING,
        Trigger.CALL_ENDED: State.CLOSED,
    },
    State.SPEAKING: {
        Trigger.BARGE_IN_SUSPECTED: State.BARGE_IN,
        Trigger.REPLY_ENDED: State.LISTENING,
        Trigger.CALL_ENDED: State.CLOSED,
    },
    State.BARGE_IN: {
        Trigger.BARGE_IN_CONFIRMED: State.USER_SPEAKING,
        Trigger.BARGE_IN_REFUTED: State.SPEAKING,
        Trigger.CALL_ENDED: State.CLOSED,
    },
    State.USING_TOOLS: {
        Trigger.REPLY_REQUESTED: State.THINKING,
        Trigger.SPEECH_STARTED: State.USER_SPEAKING,
        Trigger.REPLY_ENDED: State.LISTENING,
        Trigger.CALL_ENDED: State.CLOSED,
    },
    State.CLOSED: {},
}


def transition(state: State, trigger: Trigger) -> State:
    """The state after ``trigger``; raises IllegalTransition where the table has none."""
    try:
        return TRANSITIONS[state][trigger]
    except KeyError:
        raise IllegalTransition(state, trigger) from None


def diagram() -> str:
    """The table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.LISTENING.name}"]
    for state, row in TRANSITIONS.items():
        lines += [f"    {state.name} --> {to.name}: {trigger.value}" for trigger, to in row.items()]
    return "\n".join([*lines, f"    {State.CLOSED.name} --> [*]"])
