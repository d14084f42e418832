"""The event log of a call, as JSON lines, and its replay.

A header ``{"log": "blab-call", "version": 2, "call_id", "started_at", "config"}`` comes first, then
one line per step of the core, ``{"t": now, "e": event type, …its fields…, "d": digest}``, and last
``{"end": number of steps}``. ``t`` is the core's clock in seconds, exactly as the core received it;
``d`` is a digest of its commands, so that a replay can be verified. A log has no audio, but it has
all that was said: it is as private as the transcript, and only the owner can read its file.

Rules
- ``EventLogWriter.append`` never blocks and never raises: encoding and writing happen in the
  writer's own thread, behind a queue of at most ``QUEUE`` batches. When that is full, or the disk
  fails, recording stops for good; such a log has no end line and reads as incomplete.
- While audio comes, a batch is ``BATCH`` steps (less than a second), because waking the thread
  costs more than writing a line. Without audio, each step is one; so is what waited for a second.
- The core is a pure function of events and time, so the same log gives the same commands
  (``replay``). If it does not, either another version of the core recorded the log, or the core has
  read something that is not in the log.
- The log of a call that was resumed begins with ``CallResumed``, which holds its checkpoint, so
  that it can be replayed without the log of the part before.
- Reading a damaged log raises EventLogError, with the line. A cut last line (the process was
  killed) makes a log incomplete, not damaged.
"""

import hashlib
import logging
import os
import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, get_args

import msgspec

from sessions.core.commands import Command
from sessions.core.config import SessionConfig
from sessions.core.conversation import Conversation
from sessions.core.events import CallResumed, Event, VoiceWindow
from sessions.core.states import State

log = logging.getLogger(__name__)

VERSION = 2
"""The version of the names of events and their fields. In version 1, ``RequestReply``,
``ReplyClause`` and ``tool_use_id`` were ``RequestResponse``, ``ReplyPiece`` and ``call_id``; its
logs cannot be replayed."""

_KIND = "blab-call"
QUEUE, BATCH, WAIT_SECONDS = 1_024, 24, 1.0
_CLOSE_SECONDS = 10.0
_TYPES: dict[str, type] = {kind.__name__: kind for kind in get_args(Event)}
_ENCODER = msgspec.json.Encoder()
_DIGESTED = msgspec.json.Encoder(order="deterministic")
"""Sorts sets, whose order differs from process to process."""

Step = tuple[Event, float, tuple[Command, ...]]


def event_log_path(folder: Path, call_id: str, part: int = 1) -> Path:
    """Where the log of a call is, or of its ``part``-th connection."""
    return folder / (f"{call_id}.jsonl" if part == 1 else f"{call_id}.{part}.jsonl")


class EventLogError(Exception):
    """A log cannot be read; the message says where and why."""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One step: the event, the core's clock, and the digest of its commands (or None)."""

    line: int
    now: float
    event: Event
    digest: str | None


@dataclass(frozen=True, slots=True)
class EventLog:
    """A recorded call."""

    call_id: str
    started_at: str
    config: SessionConfig
    entries: tuple[LogEntry, ...]
    complete: bool
    """False if recording stopped before the call ended."""


def digest(commands: Sequence[Command]) -> str:
    """16 hex digits that differ if the commands do."""
    plain = [[type(command).__name__, command] for command in commands]
    for order in plain:
        notice = getattr(order[1], "notice", None)
        if notice is not None:
            order.append(type(notice).__name__)
    return hashlib.sha256(_DIGESTED.encode(plain)).hexdigest()[:16]


class EventLogWriter:
    """Records one call. ``close`` waits for the disk, so call it off the event loop."""

    def __init__(self, path: Path, call_id: str, config: SessionConfig) -> None:
        self.path = path
        self.incomplete = False
        """Whether recording stopped before ``close``."""
        self._ended = False
        """The writer's thread has taken the last step."""
        self._header = {
            "log": _KIND,
            "version": VERSION,
            "call_id": call_id,
            "started_at": datetime.now(UTC).isoformat(),
            "config": config,
        }
        self._batch: list[Step] = []
        self._audio = False
        """There is a voice window in the batch."""
        self._queue: queue.Queue[list[Step] | None] = queue.Queue(QUEUE)
        self._thread = threading.Thread(target=self._run, name=f"event-log-{call_id}")
        self._thread.start()

    def __enter__(self) -> "EventLogWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def append(self, event: Event, now: float, commands: Sequence[Command]) -> None:
        """Record one step of the core."""
        if self.incomplete:
            return
        self._batch.append((event, now, tuple(commands)))
        self._audio = self._audio or isinstance(event, VoiceWindow)
        waited = now - self._batch[0][1]
        if len(self._batch) >= BATCH or not self._audio or waited >= WAIT_SECONDS:
            self._pass_on()

    def _pass_on(self) -> None:
        batch, self._batch, self._audio = self._batch, [], False
        try:
            self._queue.put_nowait(batch)
        except queue.Full:
            self.incomplete = True
            log.warning("event log %s fell behind and is incomplete", self.path.name)

    def close(self) -> None:
        """Write the rest and end the thread; raises TimeoutError after 10 s."""
        if not self._thread.is_alive():
            return
        if self._batch and not self.incomplete:
            self._pass_on()
        self._queue.put(None, timeout=_CLOSE_SECONDS)
        self._thread.join(_CLOSE_SECONDS)
        if self._thread.is_alive():
            raise TimeoutError(f"the event log {self.path} could not be written in time")

    def _run(self) -> None:
        try:
            handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                self._write(file)
        except (OSError, TypeError, ValueError) as error:
            self.incomplete = True
            log.warning("event log %s is incomplete: %s", self.path.name, error)
            while not self._ended and self._queue.get() is not None:
                pass

    def _write(self, file: BinaryIO) -> None:
        file.write(_ENCODER.encode(self._header) + b"\n")
        steps = 0
        while (batch := self._queue.get()) is not None:
            file.writelines(_line(*step) for step in batch)
            steps += len(batch)
            if self._queue.empty():
                file.flush()
        self._ended = True
        if not self.incomplete:
            file.write(_ENCODER.encode({"end": steps}) + b"\n")


def read_event_log(path: Path) -> EventLog:
    """The call recorded in ``path``; raises EventLogError, OSError."""
    return parse_event_log(path.read_bytes(), str(path))


def parse_event_log(content: bytes, path: str) -> EventLog:
    """The call recorded in the bytes of a log; ``path``: what errors call it. Raises
    EventLogError."""
    lines = content.split(b"\n")
    torn = lines.pop() != b""
    if not lines:
        raise EventLogError(f"{path} is not an event log: it has no complete line")
    header = _header(path, _decode(path, 1, lines[0]))
    entries: list[LogEntry] = []
    complete = False
    for number, line in enumerate(lines[1:], start=2):
        if complete:
            raise EventLogError(f"{path}, line {number}: there are lines after the end of the log")
        plain = _decode(path, number, line)
        if "end" in plain:
            if plain["end"] != len(entries):
                raise EventLogError(
                    f"{path}, line {number}: the log should have {plain['end']} steps, "
                    f"but it has {len(entries)}"
                )
            complete = True
        else:
            entries.append(_entry(path, number, plain))
    config = header["config"]
    return EventLog(
        header["call_id"], header["started_at"], config, tuple(entries), complete and not torn
    )


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A step whose commands differ from the recorded ones."""

    line: int
    """The line of the log file, from 1."""
    now: float
    event: Event
    commands: tuple[Command, ...]
    """The commands of the replay."""
    recorded: str
    """The digest of the recorded commands."""


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """The result of a replay; ``events``, ``times`` and ``commands`` are parallel."""

    call_id: str
    complete: bool
    """False if the log stops before the call ends."""
    events: tuple[Event, ...]
    times: tuple[float, ...]
    """The core's clock at each event, in seconds."""
    commands: tuple[tuple[Command, ...], ...]
    mismatches: tuple[Mismatch, ...]


def replay(path: Path) -> ReplayResult:
    """Replay the call recorded in ``path``; raises EventLogError, OSError.

    Raises IllegalTransition if another version of the core recorded what this one forbids."""
    return replay_log(read_event_log(path))


def replay_log(recorded: EventLog) -> ReplayResult:
    """Replay a call that has been read."""
    commands: list[tuple[Command, ...]] = []
    mismatches: list[Mismatch] = []
    for entry, orders, _ in steps_of(recorded):
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


def steps_of(recorded: EventLog) -> Iterator[tuple[LogEntry, tuple[Command, ...], State]]:
    """Every step of a call, with the core's commands and its state behind the step.

    Raises IllegalTransition as ``replay``."""
    core = Conversation(recorded.call_id)
    for entry in recorded.entries:
        if isinstance(entry.event, CallResumed):
            core = Conversation(recorded.call_id)
        yield entry, tuple(core.handle(entry.event, entry.now)), core.state


_FIELDS = {kind: tuple(field.name for field in fields(kind)) for kind in get_args(Event)}
_NOTHING = digest(())


def _line(event: Event, now: float, commands: tuple[Command, ...]) -> bytes:
    line = {"t": now, "e": type(event).__name__}
    line |= {name: getattr(event, name) for name in _FIELDS[type(event)]}
    line["d"] = digest(commands) if commands else _NOTHING
    return _ENCODER.encode(line) + b"\n"


def _decode(path: str, number: int, line: bytes) -> dict[str, Any]:
    try:
        plain: dict[str, Any] = msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise EventLogError(f"{path}, line {number} is not a JSON object: {error}") from error
    return plain


def _header(path: str, plain: dict[str, Any]) -> dict[str, Any]:
    if plain.get("log") != _KIND:
        raise EventLogError(f"{path} is not the event log of a call: its first line is no header")
    if plain.get("version") != VERSION:
        raise EventLogError(
            f"{path} was recorded in version {plain.get('version')!r} of the log format; this "
            f"program reads version {VERSION}. Replay it with the release that recorded it."
        )
    try:
        return {
            "call_id": msgspec.convert(plain["call_id"], str),
            "started_at": msgspec.convert(plain["started_at"], str),
            "config": msgspec.convert(plain["config"], SessionConfig),
        }
    except (KeyError, msgspec.ValidationError) as error:
        raise EventLogError(f"{path}, line 1: the header is damaged: {error}") from error


def _entry(path: str, number: int, plain: dict[str, Any]) -> LogEntry:
    place = f"{path}, line {number}"
    try:
        now = msgspec.convert(plain.pop("t"), float)
        name = msgspec.convert(plain.pop("e"), str)
        known = msgspec.convert(plain.pop("d", None), str | None)
        kind = _TYPES[name]
    except KeyError as error:
        raise EventLogError(f"{place}: unknown event or missing field: {error}") from error
    except msgspec.ValidationError as error:
        raise EventLogError(f"{place}: {error}") from error
    strange = plain.keys() - {field.name for field in fields(kind)}
    if strange:
        raise EventLogError(f"{place}: {name} has no field {', '.join(sorted(strange))}")
    try:
        event: Event = msgspec.convert(plain, kind)
    except msgspec.ValidationError as error:
        raise EventLogError(f"{place}: {name}: {error}") from error
    return LogEntry(number, now, event, known)
