"""Parts of recordings move from a node's disk into the object store, whatever became of it."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.recordings import KEEP_SECONDS, RecordingUploads
from media.files.encode import Encoder
from sessions.recording.parts import AGENT_TRACK, CALLER_TRACK, EVENTS, FILES, Part, PartRecord
from store.database import Database
from store.errors import ObjectsUnavailable
from store.ids import new_id
from store.objects import ObjectStore
from store.tenants.calls import Calls, NewCall
from store.tenants.recordings import RecordingPart, Recordings
from tests.support.object_store import keys
from tests.support.pipelines.job_support import new_workspace

pytestmark = pytest.mark.slow


@dataclass
class Disk:
    """A node's disk, with a call that has ended."""

    database: Database
    store: ObjectStore
    folder: Path
    uploads: RecordingUploads
    workspace_id: str
    call_id: str

    def part(self, number: int = 1, *, withheld: bool = False, finished: bool = True) -> Part:
        """A part of two seconds that is written."""
        record = PartRecord(self.workspace_id, self.call_id, number, 1_000 * number, 30)
        part = Part.create(self.folder, record)
        for kind in (CALLER_TRACK, AGENT_TRACK):
            encoder = Encoder("opus", 16_000)
            content = encoder.push(bytes(64_000))
            part.file(kind).write_bytes(content + encoder.finish() if finished else content)
        part.file(EVENTS).write_text("{}\n")
        if finished:
            part.finish(2_000, complete=True, withheld=withheld)
        return part

    async def stored(self) -> list[RecordingPart]:
        found = await Recordings(self.database).of_calls(self.workspace_id, [self.call_id])
        return found.get(self.call_id, [])

    async def keys(self) -> list[str]:
        return sorted(await keys(self.store))

    def left(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())


@pytest.fixture
async def disk(database: Database, tmp_path: Path) -> Disk:
    workspace_id = await new_workspace(database)
    call_id, store = new_id("call"), ObjectStore.open(f"file://{tmp_path}/objects")
    new = NewCall(call_id, None, "node", "websocket", {}, datetime.now(UTC))
    await Calls(database).open(workspace_id, new)
    await Calls(database).close(workspace_id, call_id, "peer_gone", datetime.now(UTC))
    folder = tmp_path / "recordings"
    uploads = RecordingUploads(database, store, folder)
    return Disk(database, store, folder, uploads, workspace_id, call_id)


async def test_a_finished_part_is_stored_and_leaves_the_disk(disk: Disk) -> None:
    assert await disk.uploads.sweep() == 0
    disk.part().close()
    assert await disk.uploads.sweep() == 1
    (part,) = await disk.stored()
    assert (part.stored, part.complete, part.duration_ms, part.begins_ms) == (
        True, True, 2_000, 1_000,
    )  # fmt: skip
    assert part.expires_at is not None
    assert (part.expires_at - datetime.now(UTC)).days == 29
    prefix = f"{disk.workspace_id}/{disk.call_id}/part1"
    assert await disk.keys() == sorted(f"{prefix}-{kind}" for kind in FILES)
    assert disk.left() == []


async def test_a_part_that_is_written_is_left_alone(disk: Disk) -> None:
    writing = disk.part(finished=False)
    assert await disk.uploads.sweep() == 0
    writing.close()  # as the kernel does when the process dies
    assert await disk.uploads.sweep() == 1
    (part,) = await disk.stored()
    assert (part.stored, part.complete) == (True, False)
    assert part.duration_ms == pytest.approx(2_000, abs=150)


async def test_what_must_not_be_kept_is_deleted(disk: Disk) -> None:
    await Recordings(disk.database).begin(disk.workspace_id, disk.call_id, 1, 0, None)
    disk.part(withheld=True).close()
    assert await disk.uploads.sweep() == 1
    assert (await disk.stored(), await disk.keys(), disk.left()) == ([], [], [])


async def test_a_part_of_an_erased_call_is_deleted_and_one_of_an_unknown_call_waits(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, disk.call_id = disk.call_id, new_id("call")
    disk.part().close()
    assert await disk.uploads.sweep() == 0
    await disk.database.execute("INSERT INTO deleted_calls (call_id) VALUES ($1)", disk.call_id)
    assert await disk.uploads.sweep() == 1
    assert disk.left() == []
    disk.call_id = new_id("call")
    disk.part().close()
    monkeypatch.setattr("gateway.recordings.time.time", lambda: 2e9 + KEEP_SECONDS)
    assert await disk.uploads.sweep() == 1
    assert (await disk.keys(), known != disk.call_id) == ([], True)


async def test_while_the_store_is_away_a_part_waits(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object, **__: object) -> None:
        raise ObjectsUnavailable("away")

    disk.part().close()
    with monkeypatch.context() as patched:
        patched.setattr(ObjectStore, "put_file", away)
        assert await disk.uploads.sweep() == 0
    assert len(disk.left()) == 4
    disk.uploads.start()
    disk.uploads.notify()
    async with asyncio.timeout(10):
        while disk.left():
            await asyncio.sleep(0.01)
    await disk.uploads.stop()
    assert [part.stored for part in await disk.stored()] == [True]
