"""``blab replay LOG``: run a recorded call's events through the conversation core again."""

import argparse
import sys
from pathlib import Path

from gateway.settings import Settings
from sessions.core.states import IllegalTransition
from sessions.event_log import EventLogError, replay

SHOWN = 10


def arguments(parser: argparse.ArgumentParser) -> None:
    """What ``blab replay`` accepts."""
    parser.add_argument("log", type=Path, help="an event log written by BLAB_RECORD_CALLS")


def run(options: argparse.Namespace, settings: Settings) -> int:  # noqa: ARG001
    """0 if the core gives the same commands as in the call, 1 if not, 2 if it cannot be read."""
    try:
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
