"""The files of a recording while they are on this node's disk: those of one part each.

A call that is resumed has a part for each of its connections. A part has a record
(``CALL.PART.json``), two tracks of Ogg Opus, and an event log. Its record is locked for as long as
something writes or uploads the part, and by the kernel: the lock of a process that dies is gone, so
whoever gets it next knows that the part ends there.
"""

import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import av
import msgspec

CALLER_TRACK, AGENT_TRACK, EVENTS = "caller.opus", "agent.opus", "events.jsonl"
FILES = (CALLER_TRACK, AGENT_TRACK, EVENTS)
"""What a part consists of, by the ends of the files' names."""
_RECORD = ".json"


@dataclass(frozen=True, slots=True)
class PartRecord:
    """What is known of a part. ``begins_ms``: its place in the call. ``keep_days``: how long the
    agent wants it kept; None: as long as the workspace does."""

    workspace_id: str
    call_id: str
    number: int
    begins_ms: int
    keep_days: int | None = None
    duration_ms: int | None = None
    """None until it is finished; of a process that was killed it never is."""
    complete: bool = False
    """Nothing is missing between its beginning and its end."""
    withheld: bool = False
    """It is not to be kept: the caller did not hear what had to be said first."""


class Part:
    """The files of a part, locked. Close it, or remove its files."""

    def __init__(self, record: PartRecord, path: Path, handle: int) -> None:
        """See ``create`` and ``found``."""
        self.record = record
        self._path = path
        self._handle: int | None = handle

    @classmethod
    def create(cls, folder: Path, record: PartRecord) -> "Part":
        """A new part; raises OSError, FileExistsError for one that is there."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / f"{record.call_id}.{record.number}{_RECORD}"
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX)
        part = cls(record, path, handle)
        part.save(record)
        return part

    @classmethod
    def found(cls, path: Path) -> "Part | None":
        """The part of a record's file; None if it is in use, gone or unreadable. Raises OSError."""
        try:
            handle = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            record = msgspec.json.decode(path.read_bytes(), type=PartRecord)
        except (BlockingIOError, FileNotFoundError, msgspec.DecodeError):
            os.close(handle)
            return None
        return cls(record, path, handle)

    def file(self, kind: str) -> Path:
        """Where one of FILES is."""
        return self._path.with_name(f"{self._path.name.removesuffix(_RECORD)}.{kind}")

    def length_of(self, track: str) -> int | None:
        """Milliseconds of a track by its last whole page; None if it has none. Blocking."""
        try:
            with av.open(str(self.file(track))) as opened:
                return None if opened.duration is None else opened.duration * 1000 // av.time_base
        except (OSError, av.FFmpegError):
            return None

    def modified(self) -> float:
        """When its record was written last, in Unix seconds; raises OSError."""
        return self._path.stat().st_mtime

    def save(self, record: PartRecord) -> None:
        """Write another record of the part; raises OSError."""
        self.record = record
        if self._handle is not None:
            content = msgspec.json.encode(record)
            os.pwrite(self._handle, content, 0)
            os.ftruncate(self._handle, len(content))

    def finish(self, duration_ms: int, *, complete: bool, withheld: bool) -> None:
        """Nothing more will be written."""
        record = self.record
        self.save(replace(record, duration_ms=duration_ms, complete=complete, withheld=withheld))

    def remove_sound(self) -> None:
        """Delete all files but the record; raises OSError."""
        for kind in FILES:
            self.file(kind).unlink(missing_ok=True)

    def remove(self) -> None:
        """Delete the files, the record last, and close; raises OSError."""
        self.remove_sound()
        self._path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Let others have it."""
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)


def free_parts(folder: Path) -> Iterator[Part]:
    """The parts that nobody writes; each is locked until it is closed. Raises OSError."""
    if not folder.is_dir():
        return
    for path in sorted(folder.glob(f"*{_RECORD}")):
        if (part := Part.found(path)) is not None:
            yield part
