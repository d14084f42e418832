"""The states of a conversation, a reply and an utterance, and the transitions between them.

Each has an enum of states, an enum of triggers and a table of transitions. ``CONVERSATION`` is the
state of the call, ``REPLY`` how far an answer has come on its way to the caller, and ``UTTERANCE``
what became of something the caller said.

Rules: a trigger that the table does not list for the current state is a programming error and
raises. The diagrams in docs/conversation.md are drawn from these tables; a test compares them.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Generic, TypeVar

S = TypeVar("S", bound=StrEnum)
T = TypeVar("T", bound=StrEnum)


class IllegalTransition(Exception):
    """A trigger that the table does not list for the current state."""

    def __init__(self, state: StrEnum, trigger: StrEnum) -> None:
        super().__init__(f"{trigger.value!r} cannot happen while {state.value}")
        self.state = state
        self.trigger = trigger


class StateTable(Generic[S, T]):
    """The transitions of one kind of object; ``begins`` and ``ends``: its first and last states."""

    def __init__(
        self, transitions: Mapping[S, Mapping[T, S]], begins: tuple[S, ...], ends: tuple[S, ...]
    ) -> None:
        self.transitions = transitions
        self.begins = begins
        self.ends = ends

    def after(self, state: S, trigger: T) -> S:
        """The state after ``trigger``; raises IllegalTransition if the table has none."""
        try:
            return self.transitions[state][trigger]
        except KeyError:
            raise IllegalTransition(state, trigger) from None

    def diagram(self) -> str:
        """The table as a Mermaid state diagram."""
        lines = ["stateDiagram-v2", *(f"    [*] --> {state.name}" for state in self.begins)]
        for state, row in self.transitions.items():
            lines += [
                f"    {state.name} --> {to.name}: {trigger.value}" for trigger, to in row.items()
            ]
        return "\n".join([*lines, *(f"    {state.name} --> [*]" for state in self.ends)])


# ---------------------------------------------------------------------------- the conversation


class State(StrEnum):
    """The state of a conversation."""

    LISTENING = "listening"
    """Nobody speaks."""
    USER_SPEAKING = "user_speaking"
    """The caller speaks."""
    ENDPOINTING = "endpointing"
    """The caller is silent, and the turn may be over."""
    THINKING = "thinking"
    """The turn is over, or a reply was requested; nothing is audible yet."""
    SPEAKING = "speaking"
    """The caller hears the reply."""
    BARGE_IN = "barge_in"
    """The caller speaks over the reply; playout is paused until that is judged."""
    USING_TOOLS = "using_tools"
    """Tools are at work, and nobody speaks."""
    CLOSED = "closed"
    """The end; absorbing."""


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


CONVERSATION = StateTable[State, Trigger](
    {
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
    },
    begins=(State.LISTENING,),
    ends=(State.CLOSED,),
)


# ---------------------------------------------------------------------------- a reply


class ReplyState(StrEnum):
    """The state of a reply."""

    QUEUED = "queued"
    """A speculation that waits until it is known how much of the previous reply was heard."""
    AWAITED = "awaited"
    """As QUEUED, but wanted: it is released as soon as it is started."""
    SPECULATIVE = "speculative"
    """It is being generated; nothing of it leaves yet."""
    RELEASED = "released"
    """It may be heard and published, but has not been heard yet."""
    PLAYING = "playing"
    """The caller hears it."""
    WITHDRAWN = "withdrawn"
    """Stopped before any of it was heard; the playout has yet to confirm that."""
    CUT = "cut"
    """Stopped while the caller heard it; the playout has yet to report how much."""
    ENDED = "ended"
    """Recorded, or a speculation that was dropped."""


class ReplyTrigger(StrEnum):
    """What moves a reply from one state to another."""

    STARTED = "started"
    RELEASED = "released"
    HEARD = "heard"
    CANCELLED = "cancelled"
    ENDED = "ended"


REPLY = StateTable[ReplyState, ReplyTrigger](
    {
        ReplyState.QUEUED: {
            ReplyTrigger.STARTED: ReplyState.SPECULATIVE,
            ReplyTrigger.RELEASED: ReplyState.AWAITED,
            ReplyTrigger.CANCELLED: ReplyState.ENDED,
        },
        ReplyState.AWAITED: {
            ReplyTrigger.STARTED: ReplyState.RELEASED,
            ReplyTrigger.CANCELLED: ReplyState.ENDED,
        },
        ReplyState.SPECULATIVE: {
            ReplyTrigger.RELEASED: ReplyState.RELEASED,
            ReplyTrigger.CANCELLED: ReplyState.ENDED,
        },
        ReplyState.RELEASED: {
            ReplyTrigger.HEARD: ReplyState.PLAYING,
            ReplyTrigger.CANCELLED: ReplyState.WITHDRAWN,
            ReplyTrigger.ENDED: ReplyState.ENDED,
        },
        ReplyState.PLAYING: {
            ReplyTrigger.CANCELLED: ReplyState.CUT,
            ReplyTrigger.ENDED: ReplyState.ENDED,
        },
        ReplyState.WITHDRAWN: {
            ReplyTrigger.HEARD: ReplyState.CUT,
            ReplyTrigger.ENDED: ReplyState.ENDED,
        },
        ReplyState.CUT: {ReplyTrigger.ENDED: ReplyState.ENDED},
        ReplyState.ENDED: {},
    },
    begins=(ReplyState.QUEUED,),
    ends=(ReplyState.ENDED,),
)


# ---------------------------------------------------------------------------- an utterance


class UtteranceState(StrEnum):
    """The state of an utterance."""

    SPEAKING = "speaking"
    """The caller is speaking, as far as is known."""
    TRANSCRIBING = "transcribing"
    """The caller is silent, and its text has been requested."""
    ENDING = "ending"
    """As TRANSCRIBING, but no more input comes: it ends as soon as its text arrives."""
    TRANSCRIBED = "transcribed"
    """Its text has arrived, but it may go on."""
    FAILED = "failed"
    """The recogniser failed; a late text is still accepted."""
    COMMITTED = "committed"
    """It is an ended turn that waits for its text."""
    STANDING_IN = "standing_in"
    """Its partial text is being answered; the final one may still replace it."""
    SETTLED = "settled"
    """Its text is final."""
    DROPPED = "dropped"
    """Nothing was said, or its text is no longer needed."""


class UtteranceTrigger(StrEnum):
    """What moves an utterance from one state to another."""

    TEXT_REQUESTED = "text requested"
    TEXT_ARRIVED = "text arrived"
    TEXT_FAILED = "text failed"
    STAND_IN_USED = "stand-in used"
    STAND_IN_KEPT = "stand-in kept"
    SPEECH_RESUMED = "speech resumed"
    INPUT_ENDED = "input ended"
    TURN_ENDED = "turn ended"
    DROPPED = "dropped"


UTTERANCE = StateTable[UtteranceState, UtteranceTrigger](
    {
        UtteranceState.SPEAKING: {
            UtteranceTrigger.TEXT_REQUESTED: UtteranceState.TRANSCRIBING,
            UtteranceTrigger.DROPPED: UtteranceState.DROPPED,
        },
        UtteranceState.TRANSCRIBING: {
            UtteranceTrigger.TEXT_ARRIVED: UtteranceState.TRANSCRIBED,
            UtteranceTrigger.TEXT_FAILED: UtteranceState.FAILED,
            UtteranceTrigger.SPEECH_RESUMED: UtteranceState.SPEAKING,
            UtteranceTrigger.INPUT_ENDED: UtteranceState.ENDING,
            UtteranceTrigger.TURN_ENDED: UtteranceState.COMMITTED,
            UtteranceTrigger.DROPPED: UtteranceState.DROPPED,
        },
        UtteranceState.ENDING: {
            UtteranceTrigger.TEXT_ARRIVED: UtteranceState.TRANSCRIBED,
            UtteranceTrigger.TEXT_FAILED: UtteranceState.FAILED,
            UtteranceTrigger.SPEECH_RESUMED: UtteranceState.SPEAKING,
            UtteranceTrigger.TURN_ENDED: UtteranceState.COMMITTED,
            UtteranceTrigger.DROPPED: UtteranceState.DROPPED,
        },
        UtteranceState.TRANSCRIBED: {
            UtteranceTrigger.TEXT_ARRIVED: UtteranceState.TRANSCRIBED,
            UtteranceTrigger.SPEECH_RESUMED: UtteranceState.SPEAKING,
            UtteranceTrigger.TURN_ENDED: UtteranceState.SETTLED,
            UtteranceTrigger.DROPPED: UtteranceState.DROPPED,
        },
        UtteranceState.FAILED: {
            UtteranceTrigger.TEXT_ARRIVED: UtteranceState.TRANSCRIBED,
            UtteranceTrigger.SPEECH_RESUMED: UtteranceState.SPEAKING,
            UtteranceTrigger.TURN_ENDED: UtteranceState.SETTLED,
            UtteranceTrigger.DROPPED: UtteranceState.DROPPED,
        },
        UtteranceState.COMMITTED: {
            UtteranceTrigger.TEXT_ARRIVED: UtteranceState.SETTLED,
            UtteranceTrigger.TEXT_FAILED: UtteranceState.SETTLED,
            UtteranceTrigger.STAND_IN_USED: UtteranceState.STANDING_IN,
            UtteranceTrigger.DROPPED: UtteranceState.DROPPED,
        },
        UtteranceState.STANDING_IN: {
            UtteranceTrigger.TEXT_ARRIVED: UtteranceState.SETTLED,
            UtteranceTrigger.STAND_IN_KEPT: UtteranceState.SETTLED,
        },
        UtteranceState.SETTLED: {},
        UtteranceState.DROPPED: {},
    },
    begins=(UtteranceState.SPEAKING,),
    ends=(UtteranceState.SETTLED, UtteranceState.DROPPED),
)
