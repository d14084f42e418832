"""The timeline of a recorded call: who spoke when, and what the agent did meanwhile.

``timeline_reader`` makes it out of an event log. Everything is in whole milliseconds on the call's
axis (``clock``), on which both recorded tracks lie. Spans of one kind are in order, and none ends
before it begins.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from sessions.core.notices import Latency

TURN, BACKCHANNEL, SOUND, DROPPED, OPEN = "turn", "backchannel", "sound", "dropped", "open"
"""What became of an utterance: a turn, words or a sound that did not take the floor, nothing that
had words, or it had not ended when the call did."""
IN_PROGRESS = "in_progress"
"""The status of a reply that had not ended when its part of the call did."""


@dataclass(frozen=True, slots=True)
class Span:
    """Somebody speaks. ``of``: the id of the caller's item, or of the agent's reply."""

    from_ms: int
    to_ms: int
    of: str


@dataclass(frozen=True, slots=True)
class StateSpan:
    """The conversation is in one state."""

    state: str
    from_ms: int
    to_ms: int


@dataclass(frozen=True, slots=True)
class Partial:
    """A partial transcript."""

    at_ms: int
    text: str


@dataclass(slots=True)
class TurnTime:
    """An utterance of the caller. ``decided_ms``: when it was clear that the turn had ended."""

    number: int
    item_id: str
    from_ms: int
    to_ms: int
    decided_ms: int | None = None
    text: str = ""
    outcome: str = OPEN
    overlaps: bool = False
    """It began while the agent spoke."""
    partials: list[Partial] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ClauseTime:
    """A clause of a reply; ``heard`` is the part of it that was, and the times are those of what
    was played of it: None where nothing was."""

    text: str
    heard: str
    from_ms: int | None
    to_ms: int | None


@dataclass(slots=True)
class ReplyTime:
    """A released reply; ``from_ms`` and ``to_ms``: of what was heard, None where nothing was."""

    reply_id: str
    item_id: str
    turn: int
    from_ms: int | None = None
    to_ms: int | None = None
    text: str = ""
    heard: str = ""
    status: str = IN_PROGRESS
    reason: str | None = None
    script: bool = False
    """Its words were given, not written by the chat model."""
    clauses: list[ClauseTime] = field(default_factory=list)
    latency: Latency | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(slots=True)
class ToolTime:
    """A tool use. ``to_ms`` and ``output``: None where none came."""

    id: str
    name: str
    arguments: str
    label: str
    from_ms: int
    to_ms: int | None = None
    output: str | None = None
    failed: bool = False
    reply_id: str | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened at one moment."""

    kind: str
    at_ms: int
    text: str = ""
    reply_id: str | None = None


@dataclass(frozen=True, slots=True)
class Timeline:
    """A call, or one part of it."""

    duration_ms: int
    caller_speech: tuple[Span, ...] = ()
    agent_speech: tuple[Span, ...] = ()
    states: tuple[StateSpan, ...] = ()
    turns: tuple[TurnTime, ...] = ()
    replies: tuple[ReplyTime, ...] = ()
    tools: tuple[ToolTime, ...] = ()
    marks: tuple[Mark, ...] = ()


def joined(parts: Sequence[Timeline]) -> Timeline:
    """The timeline of a call of several parts, each with its place in the call."""
    if not parts:
        return Timeline(0)
    whole = parts[0]
    for part in parts[1:]:
        whole = replace(
            whole,
            duration_ms=max(whole.duration_ms, part.duration_ms),
            caller_speech=whole.caller_speech + part.caller_speech,
            agent_speech=whole.agent_speech + part.agent_speech,
            states=whole.states + part.states,
            turns=whole.turns + part.turns,
            replies=whole.replies + part.replies,
            tools=whole.tools + part.tools,
            marks=whole.marks + part.marks,
        )
    return whole
