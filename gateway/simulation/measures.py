"""Measures the lines of a call: from the caller's events and what it heard, to turns.

What follows a line until the next one is said belongs to it; a reply belongs to the line after
which it was released, whenever it ends.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gateway.caller import Caller, TimedEvent, Utterance
from gateway.caller.report import TEXT_DELTAS, silenced_after, stages_of
from gateway.simulation.checks import ToolUse, Turn
from gateway.simulation.scenarios import Line

COMPLETED = "conversation.item.input_audio_transcription.completed"
COMMITTED = "input_audio_buffer.committed"
TOOL_ITEMS = ("function_call", "mcp_call")


@dataclass(frozen=True, slots=True)
class Said:
    """A line that is being said, or was. ``begin``: events that had come before it."""

    line: Line
    utterance: Utterance
    begin: int


def call_id(events: Sequence[TimedEvent]) -> str:
    """The server's name of the call; "" before it has begun."""
    for timed in events:
        if timed.type == "session.created":
            return str(timed.event.get("session", {}).get("id", ""))
    return ""


def faults_in(events: Sequence[TimedEvent]) -> list[str]:
    """Every fault that the server reported, in words: errors, failed transcripts, replies and
    tools."""
    found = []
    for timed in events:
        event = timed.event
        if timed.type == "error" or timed.type.endswith("transcription.failed"):
            error = event.get("error") or {}
            found.append(f"{error.get('code')}: {error.get('message')}")
        elif timed.type in ("response.mcp_call.failed", "mcp_list_tools.failed"):
            found.append(f"{timed.type} of {event.get('item_id')}")
        elif timed.type == "response.done" and event["response"].get("status") == "failed":
            details = (event["response"].get("status_details") or {}).get("error") or {}
            found.append(f"the reply failed: {details.get('code')}: {details.get('message', '')}")
    return found


def turn_of(caller: Caller, said: Sequence[Said], number: int) -> Turn:
    """What followed line ``number`` (from 0) of a call that is over."""
    one = said[number]
    last = number + 1 == len(said)
    window = caller.events[one.begin : None if last else said[number + 1].begin]
    created = _created(window)
    end = one.utterance.end
    # A reply that was released before the line's end answered a turn that had been cut off.
    answers = {reply: at for reply, at in created.items() if end is None or at >= end} or created
    before = list(_created(caller.events[: one.begin]))
    over = isinstance(one.line.over_reply_ms, int) and bool(before)
    status = _status(window, before[-1]) if over else None
    heard_until = None if last else said[number + 1].utterance.onset
    return Turn(
        said=one.line.words,
        transcripts=_transcripts(window),
        reply=_texts(caller.events, created),
        tools=_tools(window),
        ttfa_ms=None if end is None else _ttfa(caller, end, answers, heard_until),
        cut_offs=sum(e.type == COMMITTED and (end is None or e.at < end) for e in window),
        silenced_ms=_silenced(caller, one.utterance, status, created, heard_until),
        reply_before=status,
        stages=_stages(caller.events, answers),
    )


def _created(events: Sequence[TimedEvent]) -> dict[str, float]:
    """Replies by id, and when each was released."""
    return {
        str(e.event["response"].get("id")): e.at for e in events if e.type == "response.created"
    }


def _ttfa(
    caller: Caller, end: float, answers: dict[str, float], heard_until: float | None
) -> int | None:
    if not answers:
        return None
    audible = caller.player.audible_after(max(end, min(answers.values())))
    if audible is None or (heard_until is not None and audible >= heard_until):
        return None
    return round((audible - end) * 1000)


def _silenced(
    caller: Caller,
    utterance: Utterance,
    status: str | None,
    created: dict[str, float],
    heard_until: float | None,
) -> int | None:
    """Of a reply that was cut, its last audible sample; else where it first paused."""
    if status is None or utterance.onset is None:
        return None
    if status != "cancelled":
        return silenced_after(caller.player, utterance)
    player = caller.player
    end = player.start + len(player.heard()) / player.rate
    last = player.audible_until(min([*created.values(), heard_until or end])) or utterance.onset
    return max(0, round((last - utterance.onset) * 1000))


def _transcripts(events: Sequence[TimedEvent]) -> list[str]:
    texts = {
        e.event.get("item_id"): e.event.get("transcript") for e in events if e.type == COMPLETED
    }
    return [str(text).strip() for text in texts.values()]


def _texts(events: Sequence[TimedEvent], replies: dict[str, float]) -> str:
    texts = dict.fromkeys(replies, "")
    for timed in events:
        if timed.type in TEXT_DELTAS and timed.event.get("response_id") in texts:
            texts[str(timed.event["response_id"])] += str(timed.event.get("delta", ""))
    return " ".join(filter(None, (text.strip() for text in texts.values())))


def _tools(events: Sequence[TimedEvent]) -> list[ToolUse]:
    found: dict[str, ToolUse] = {}
    for timed in events:
        item = timed.event.get("item")
        if isinstance(item, dict) and item.get("type") in TOOL_ITEMS and item.get("arguments"):
            found[str(item.get("id"))] = ToolUse(str(item.get("name")), _decoded(item["arguments"]))
    return list(found.values())


def _decoded(arguments: str) -> Any:
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments


def _status(events: Sequence[TimedEvent], reply: str) -> str:
    done = (e.event["response"] for e in events if e.type == "response.done")
    statuses = [str(one.get("status")) for one in done if one.get("id") == reply]
    return statuses[-1] if statuses else "in_progress"


def _stages(events: Sequence[TimedEvent], replies: dict[str, float]) -> dict[str, int]:
    for timed in events:
        if timed.type == "blab.latency" and timed.event.get("response_id") in replies:
            return stages_of(timed.event)
    return {}
