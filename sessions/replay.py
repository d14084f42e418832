"""Run a recorded call through the core again.

The core is a pure function of events and time, so the same log gives the same commands. Where
it does not, either the log comes from another version of the core or the core has read
something that is not in it: both are worth knowing.
"""

from dataclasses import dataclass
from pathlib import Path

from sessions.core.commands import Command
from sessions.core.conversation import Conversation
from sessions.core.events import Event

from .event_log import EventLog, digest, read_event_log


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A step at which the core orders something else than it did when it was recorded."""

    line: int
    """Of the log file, from 1."""
    now: float
    event: Event
    commands: tuple[Command, ...]
    """What it orders now."""
    recorded: str
    """Digest of what it ordered then."""


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """What came of a replay; ``events``, ``times`` and ``commands`` are parallel."""

    call_id: str
    complete: bool
    """False where the log stops before the call's end."""
    events: tuple[Event, ...]
    times: tuple[float, ...]
    """The core's clock at each event, in seconds."""
    commands: tuple[tuple[Command, ...], ...]
    mismatches: tuple[Mismatch, ...]


def replay(path: Path) -> ReplayResult:
    """Run the call recorded in ``path`` again; raises EventLogError, OSError.

    Raises IllegalTransition where another version of the core recorded what this one forbids."""
    return replay_log(read_event_log(path))


def replay_log(recorded: EventLog) -> ReplayResult:
    """Run a call that has been read already again."""
    core = Conversation(recorded.call_id)
    commands: list[tuple[Command, ...]] = []
    mismatches: list[Mismatch] = []
    for entry in recorded.entries:
        orders = tuple(core.handle(entry.event, entry.now))
        commands.append(orders)
        if entry.digest is not None and entry.digest != digest(orders):
            mismatches.append(Mismatch(entry.line, entry.now, entry.event, orders, entry.digest))
    return ReplayResult(
        recorded.call_id,
        recorded.complete,
        tuple(entry.event for entry in recorded.entries),
        tuple(entry.now for entry in recorded.entries),
        tuple(commands),
        tuple(mismatches),
    )
