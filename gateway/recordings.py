"""Moves the recordings of this node's calls from its disk into the object store.

Rules
- The folder is the queue: what is in it and is written by nobody is uploaded, at once when a call
  ends, soon again where something has to wait, and otherwise every ``LOOK_SECONDS``. So what a
  process that was killed has left is uploaded by whichever process finds it, as a part that is not
  complete; if its disk never comes back, the part is missing, and the call says so.
- Files first, then their records, then the part's; the local files are deleted last. Doing it again
  replaces them.
- The part of a call that was erased, or that its caller must not be recorded in, is deleted, its
  sound at once. One whose call is not stored yet waits, for ``KEEP_SECONDS`` at most.
- While a store is away, everything waits on the disk.
"""

import asyncio
import contextlib
import logging
import time
from pathlib import Path

from pipelines.jobs.artifacts import Artifacts
from sessions.recording.parts import AGENT_TRACK, CALLER_TRACK, EVENTS, FILES, Part, free_parts
from store.database import Database
from store.errors import StoreError, StoreRefused
from store.objects import ObjectStore
from store.tenants.calls import Calls
from store.tenants.recordings import Recordings

log = logging.getLogger(__name__)

LOOK_SECONDS = 30.0
SOON_SECONDS = 0.5
KEEP_SECONDS = 7 * 24 * 3600.0
CONTENT_TYPES = {
    CALLER_TRACK: "audio/ogg",
    AGENT_TRACK: "audio/ogg",
    EVENTS: "application/x-ndjson",
}


class RecordingUploads:
    """The uploads of one process. ``folder``: where recorders write."""

    def __init__(self, database: Database, store: ObjectStore, folder: Path) -> None:
        self._calls = Calls(database)
        self._recordings = Recordings(database)
        self._artifacts = Artifacts(database, store)
        self._folder = folder
        self._news = asyncio.Event()
        self._waiting = 0
        """How many parts had to wait at the last look."""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start uploading; call it on the running loop."""
        self._task = asyncio.create_task(self._run(), name="recording-uploads")

    async def stop(self, deadline: float = 10.0) -> None:
        """Upload what is finished, within ``deadline`` seconds, and stop; the rest stays."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._task = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline):
                await self.sweep()

    def notify(self) -> None:
        """A part is finished."""
        self._news.set()

    async def sweep(self) -> int:
        """Upload once; returns how many parts are no longer on the disk."""
        done = 0
        for part in await asyncio.to_thread(lambda: list(free_parts(self._folder))):
            try:
                settled = await self._settle(part)
                done, self._waiting = done + settled, self._waiting + (not settled)
            except (StoreError, OSError) as error:
                self._waiting += 1
                log.warning("a recording stays on this node's disk for now: %s", error)
            finally:
                part.close()
        return done

    async def _run(self) -> None:
        pause = LOOK_SECONDS
        while True:
            if self._news.is_set():
                pause = SOON_SECONDS
            self._news.clear()
            self._waiting = 0
            try:
                await self.sweep()
            except OSError as error:
                log.warning("recordings stay on this node's disk for now: %s", error)
            pause = min(2 * pause, LOOK_SECONDS) if self._waiting else LOOK_SECONDS
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._news.wait()

    async def _settle(self, part: Part) -> bool:
        """Upload or delete one part; False if it has to wait."""
        record = part.record
        workspace_id, call_id, number = record.workspace_id, record.call_id, record.number
        if record.withheld:
            await asyncio.to_thread(part.remove_sound)
            noted = await self._recordings.withhold(workspace_id, call_id, number)
            if noted or await asyncio.to_thread(_is_old, part):
                await asyncio.to_thread(part.remove)
                return True
        if await self._calls.get(workspace_id, call_id) is None:
            gone = await self._recordings.was_deleted(call_id)
            if gone or await asyncio.to_thread(_is_old, part):
                await asyncio.to_thread(part.remove)
                return True
            return False
        if record.withheld:  # the journal has yet to write that it began
            return False
        begins, keep = record.begins_ms, record.keep_days
        await self._recordings.begin(workspace_id, call_id, number, begins, keep)
        duration = record.duration_ms
        if duration is None:
            duration = await asyncio.to_thread(part.length_of, CALLER_TRACK)
        try:
            await self._upload(part, duration)
        except StoreRefused:  # its call was erased meanwhile
            if await self._calls.get(workspace_id, call_id) is not None:
                raise
        else:
            await self._recordings.store(
                workspace_id, call_id, number, duration_ms=duration, complete=record.complete
            )
        await asyncio.to_thread(part.remove)
        return True

    async def _upload(self, part: Part, duration_ms: int | None) -> None:
        record = part.record
        for kind in FILES:
            path = part.file(kind)
            if await asyncio.to_thread(path.exists):
                await self._artifacts.store_of_call(
                    record.workspace_id,
                    record.call_id,
                    f"part{record.number}-{kind}",
                    path,
                    CONTENT_TYPES[kind],
                    duration_ms=None if kind == EVENTS else duration_ms,
                )


def _is_old(part: Part) -> bool:
    return time.time() - part.modified() > KEEP_SECONDS
