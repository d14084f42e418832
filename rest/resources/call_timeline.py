"""A recorded call's timeline as it is shown, and the reading of its event logs."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence

from msgspec import Struct

from rest.http.errors import NotFound, Unavailable
from sessions.core.states import IllegalTransition
from sessions.event_log import EventLogError, parse_event_log
from sessions.recording.parts import EVENTS
from sessions.recording.timeline import (
    ClauseTime,
    ReplyTime,
    Timeline,
    ToolTime,
    TurnTime,
    joined,
)
from sessions.recording.timeline_reader import read_timeline
from store.errors import ObjectMissing
from store.objects import ObjectStore
from store.tenants.recordings import RecordingPart

MAX_LOG_BYTES = 128 * 2**20
"""Of all parts of one call: ten hours."""
AT_ONCE = 2
"""Timelines that a process reads at the same time."""


class CallerSpan(Struct, rename="camel"):
    """The caller speaks."""

    from_ms: int
    to_ms: int
    item_id: str


class AgentSpan(Struct, rename="camel"):
    """The caller hears the agent."""

    from_ms: int
    to_ms: int
    reply_id: str


class StateView(Struct, rename="camel"):
    """The conversation is in a state."""

    state: str
    from_ms: int
    to_ms: int


class PartialView(Struct, rename="camel"):
    """A partial transcript."""

    at_ms: int
    text: str


class UtteranceView(Struct, rename="camel", kw_only=True):
    """Something the caller said. ``outcome``: ``turn``; ``backchannel`` or ``sound``, said over the
    reply without taking the floor; ``dropped``, nothing with words; ``open``, the call ended first.
    ``decided_ms``: when it was clear that the turn was over."""

    number: int
    item_id: str
    from_ms: int
    to_ms: int
    decided_ms: int | None
    text: str
    outcome: str
    overlaps: bool
    partials: list[PartialView]


class ClauseView(Struct, rename="camel"):
    """A clause of a reply; the times are those of what was played of it."""

    text: str
    heard: str
    from_ms: int | None
    to_ms: int | None


class StagesView(Struct, rename="camel", kw_only=True):
    """Where the caller's waiting time went, in ms."""

    endpointing_ms: int
    stt_ms: int
    llm_ms: int
    tts_ms: int
    gateway_ms: int
    total_ms: int
    first_token_ms: int
    heard_ms: int | None
    head_start_ms: int
    discarded_replies: int


class ReplyView(Struct, rename="camel", kw_only=True):
    """A reply; ``from_ms`` and ``to_ms``: of what was heard, null where nothing was. ``script``:
    its words were given."""

    reply_id: str
    item_id: str
    turn: int
    from_ms: int | None
    to_ms: int | None
    text: str
    heard: str
    status: str
    reason: str | None
    script: bool
    clauses: list[ClauseView]
    latency: StagesView | None
    prompt_tokens: int
    completion_tokens: int


class ToolView(Struct, rename="camel", kw_only=True):
    """A tool use. ``label``: the server that carried it out; empty: the client did."""

    id: str
    name: str
    arguments: str
    output: str | None
    failed: bool
    label: str
    from_ms: int
    to_ms: int | None
    reply_id: str | None


class MarkView(Struct, rename="camel"):
    """Something that happened at one moment: interruption, backchannel, sound, hold, resume, key,
    language, idle, fault, session, resumed or end."""

    kind: str
    at_ms: int
    text: str
    reply_id: str | None


class TimelineView(Struct, rename="camel", kw_only=True):
    """A recorded call on one axis: whole ms since it began, on which its tracks lie too."""

    duration_ms: int
    caller_speech: list[CallerSpan]
    agent_speech: list[AgentSpan]
    states: list[StateView]
    turns: list[UtteranceView]
    replies: list[ReplyView]
    tools: list[ToolView]
    marks: list[MarkView]


class TimelineSource:
    """Reads the event logs of calls."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._places = asyncio.Semaphore(AT_ONCE)

    async def read(
        self, workspace_id: str, call_id: str, parts: Sequence[RecordingPart]
    ) -> TimelineView:
        """The timeline of the parts that are stored; raises NotFound where none is, or where they
        were written by another version of Blab. Where it is cancelled, the thread that reads ends
        soon after."""
        gone = threading.Event()
        read: list[Timeline] = []
        left = MAX_LOG_BYTES
        async with self._places:
            try:
                for part in parts:
                    if not part.stored:
                        continue
                    key = event_log_key(workspace_id, call_id, part.number)
                    try:
                        log = await self._bytes(key, left)
                    except ObjectMissing:
                        continue
                    left -= len(log)
                    begins = part.begins_ms
                    read.append(await asyncio.to_thread(_timeline, key, log, begins, gone.is_set))
                if not read:
                    raise no_recording()
                return await asyncio.to_thread(lambda: shown_timeline(joined(read)))
            finally:
                gone.set()

    async def _bytes(self, key: str, most: int) -> bytes:
        reading = await self._store.read(key)
        if reading.size > most:
            await reading.pieces.aclose()
            raise Unavailable("The call's event log is too long to be read at once: export it.")
        return b"".join([piece async for piece in reading.pieces])


def event_log_key(workspace_id: str, call_id: str, number: int) -> str:
    """The key of a part's event log."""
    return f"{workspace_id}/{call_id}/part{number}-{EVENTS}"


def no_recording() -> NotFound:
    """The refusal for a call of which nothing is stored."""
    return NotFound("No recording of this call is stored.", reason="no_recording")


def _timeline(name: str, log: bytes, begins_ms: int, gone: Callable[[], bool]) -> Timeline:
    def rest() -> None:
        """Let the event loop have the interpreter: an hour of a call takes two seconds to read."""
        if gone():
            raise _Abandoned
        time.sleep(0)

    try:
        return read_timeline(parse_event_log(log, name), begins_ms, rest=rest)
    except (EventLogError, IllegalTransition) as error:
        raise NotFound(
            "The call's event log was written by another version of Blab: replay it with that"
            " version.",
            reason="other_version",
        ) from error


class _Abandoned(Exception):
    """Nobody waits for the timeline any more."""


def shown_timeline(timeline: Timeline) -> TimelineView:
    """The timeline as it is shown."""
    return TimelineView(
        duration_ms=timeline.duration_ms,
        caller_speech=[CallerSpan(s.from_ms, s.to_ms, s.of) for s in timeline.caller_speech],
        agent_speech=[AgentSpan(s.from_ms, s.to_ms, s.of) for s in timeline.agent_speech],
        states=[StateView(s.state, s.from_ms, s.to_ms) for s in timeline.states],
        turns=[_utterance(turn) for turn in timeline.turns],
        replies=[_reply(reply) for reply in timeline.replies],
        tools=[_tool(tool) for tool in timeline.tools],
        marks=[MarkView(m.kind, m.at_ms, m.text, m.reply_id) for m in timeline.marks],
    )


def _utterance(turn: TurnTime) -> UtteranceView:
    return UtteranceView(
        number=turn.number,
        item_id=turn.item_id,
        from_ms=turn.from_ms,
        to_ms=turn.to_ms,
        decided_ms=turn.decided_ms,
        text=turn.text,
        outcome=turn.outcome,
        overlaps=turn.overlaps,
        partials=[PartialView(partial.at_ms, partial.text) for partial in turn.partials],
    )


def _reply(reply: ReplyTime) -> ReplyView:
    stages = None
    if (spent := reply.latency) is not None:
        stages = StagesView(
            endpointing_ms=spent.endpointing_ms,
            stt_ms=spent.stt_ms,
            llm_ms=spent.llm_ms,
            tts_ms=spent.tts_ms,
            gateway_ms=spent.gateway_ms,
            total_ms=spent.total_ms,
            first_token_ms=spent.first_token_ms,
            heard_ms=spent.heard_ms,
            head_start_ms=spent.head_start_ms,
            discarded_replies=spent.discarded_replies,
        )
    return ReplyView(
        reply_id=reply.reply_id,
        item_id=reply.item_id,
        turn=reply.turn,
        from_ms=reply.from_ms,
        to_ms=reply.to_ms,
        text=reply.text,
        heard=reply.heard,
        status=reply.status,
        reason=reply.reason,
        script=reply.script,
        clauses=[_clause(clause) for clause in reply.clauses],
        latency=stages,
        prompt_tokens=reply.prompt_tokens,
        completion_tokens=reply.completion_tokens,
    )


def _clause(clause: ClauseTime) -> ClauseView:
    return ClauseView(clause.text, clause.heard, clause.from_ms, clause.to_ms)


def _tool(tool: ToolTime) -> ToolView:
    return ToolView(
        id=tool.id,
        name=tool.name,
        arguments=tool.arguments,
        output=tool.output,
        failed=tool.failed,
        label=tool.label,
        from_ms=tool.from_ms,
        to_ms=tool.to_ms,
        reply_id=tool.reply_id,
    )
