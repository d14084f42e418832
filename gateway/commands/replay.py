"""``blab replay LOG``: run a recorded call's events through the conversation core again.

``--timeline`` prints who spoke when instead, as ``GET /api/calls/{id}/timeline`` has it.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from gateway.settings import Settings
from sessions.core.states import IllegalTransition
from sessions.event_log import EventLogError, read_event_log, replay
from sessions.recording.timeline import Timeline
from sessions.recording.timeline_reader import read_timeline

SHOWN = 10


def arguments(parser: argparse.ArgumentParser) -> None:
    """What ``blab replay`` accepts."""
    parser.add_argument(
        "log", type=Path, help="an event log, of BLAB_RECORD_CALLS or of a recorded call"
    )
    parser.add_argument(
        "--timeline", action="store_true", help="print who spoke when, and what happened meanwhile"
    )


def run(options: argparse.Namespace, settings: Settings) -> int:  # noqa: ARG001
    """0 if the core gives the same commands as in the call, 1 if not, 2 if it cannot be read."""
    try:
        if options.timeline:
            for line in _lines(read_timeline(read_event_log(options.log))):
                print(line)
            return 0
        result = replay(options.log)
    except (OSError, EventLogError) as error:
        print(f"blab replay: {error}", file=sys.stderr)
        return 2
    except IllegalTransition as error:
        print(f"blab replay: this core rejects a step of the recorded call: {error}")
        return 1
    orders = sum(len(commands) for commands in result.commands)
    end = "" if result.complete else " (the log stops before the call's end)"
    print(f"{result.call_id}: {len(result.events)} events, {orders} commands{end}")
    for mismatch in result.mismatches[:SHOWN]:
        names = ", ".join(type(command).__name__ for command in mismatch.commands) or "nothing"
        print(
            f"line {mismatch.line}: to {type(mismatch.event).__name__} at {mismatch.now:.3f} s "
            f"the core now orders {names}"
        )
    if len(result.mismatches) > SHOWN:
        print(f"and {len(result.mismatches) - SHOWN} more")
    if result.mismatches:
        print(f"{len(result.mismatches)} steps differ from the recorded call")
        return 1
    print("the same commands as in the recorded call")
    return 0


def _lines(timeline: Timeline) -> Iterator[str]:
    """The timeline as text, by time."""
    lines: list[tuple[int, int | None, str]] = []
    for turn in timeline.turns:
        over = ", over the agent" if turn.overlaps else ""
        lines.append((turn.from_ms, turn.to_ms, f"caller ({turn.outcome}{over}): {turn.text}"))
    for reply in timeline.replies:
        begins = reply.from_ms
        if begins is None:
            continue
        unheard = reply.text[len(reply.heard) :].strip()
        rest = f" [not heard: {unheard}]" if unheard else ""
        lines.append((begins, reply.to_ms, f"agent ({reply.status}): {reply.heard.strip()}{rest}"))
        if (spent := reply.latency) is not None:
            stages = (
                f"endpointing {spent.endpointing_ms}, stt {spent.stt_ms}, llm {spent.llm_ms},"
                f" tts {spent.tts_ms}, gateway {spent.gateway_ms}"
            )
            lines.append((begins, None, f"waited {spent.total_ms} ms: {stages}"))
    for tool in timeline.tools:
        how = "failed" if tool.failed else "returned" if tool.to_ms is not None else "left open"
        lines.append((tool.from_ms, tool.to_ms, f"tool {tool.name} {tool.arguments} {how}"))
    for mark in timeline.marks:
        lines.append((mark.at_ms, None, f"{mark.kind} {mark.text}".strip()))
    for begins, ends, text in sorted(lines, key=lambda line: line[0]):
        until = f" to {ends / 1000:8.3f}" if ends is not None else " " * 12
        yield f"{begins / 1000:8.3f}{until}  {text}"
    yield f"{timeline.duration_ms / 1000:8.3f}{' ' * 12}  the log ends"
