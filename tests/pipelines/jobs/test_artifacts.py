"""Artifacts: bytes and records are written together, in an order that survives a crash."""

import os
from pathlib import Path
from typing import Any

import pytest

from pipelines.jobs.artifacts import MAX_READ_BYTES, Artifacts
from pipelines.jobs.job import JobType, NewJob
from pipelines.jobs.queue import JobQueue
from store.database import Database
from store.errors import ObjectsUnavailable, StoreRefused
from store.objects import ObjectStore
from store.tenants.jobs import Job, Jobs
from tests.support.object_store import content, keys
from tests.support.pipelines.job_support import new_workspace, submit


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return ObjectStore.open(f"file://{tmp_path}/objects")


@pytest.fixture
def artifacts(database: Database, store: ObjectStore) -> Artifacts:
    return Artifacts(database, store)


async def loose(artifacts: Artifacts, workspace_id: str, **more: Any) -> str:
    given = {"content_type": "audio/wav", "filename": "my voice.wav"}
    return await artifacts.take_in(workspace_id, "upload", b"sound", **{**given, **more})


async def test_a_second_runs_artifacts_replace_the_firsts(
    database: Database, artifacts: Artifacts, store: ObjectStore, tmp_path: Path
):
    ours = await new_workspace(database)
    job = await submit(database, ours)
    take = tmp_path / "take.mp3"
    take.write_bytes(os.urandom(1_000_000))
    first = await artifacts.store(ours, job.id, "take.mp3", take, "audio/mpeg", duration_ms=1500)
    again = await artifacts.store(ours, job.id, "take.mp3", b"shorter", "audio/mpeg")
    assert first == again == f"{ours}/{job.id}/take.mp3"
    found = await artifacts.find(ours, first)
    assert found is not None
    assert (found.size_bytes, found.duration_ms, found.kind) == (7, None, "artifact")
    assert (found.filename, found.job_id) == ("take.mp3", job.id)
    assert await artifacts.read(ours, first) == b"shorter"
    assert await keys(store) == {first}


async def test_an_input_is_fetched_to_disk(
    database: Database, artifacts: Artifacts, tmp_path: Path
):
    ours = await new_workspace(database)
    data = os.urandom(3_000_000)
    (tmp_path / "upload").write_bytes(data)
    key = await artifacts.take_in(
        *(ours, "source", tmp_path / "upload"),
        content_type="video/mp4",
        filename="../a/Film\0.mp4",
        duration_ms=9,
        details={"video": True},
    )
    found = await artifacts.fetch(ours, key, tmp_path / "fetched")
    assert (tmp_path / "fetched").read_bytes() == data
    assert (found.filename, found.size_bytes, found.duration_ms) == ("Film.mp4", 3_000_000, 9)
    assert (found.details, found.job_id, found.kind) == ({"video": True}, None, "source")
    assert await loose(artifacts, ours) != await loose(artifacts, ours)


async def test_a_loose_object_goes_with_the_job_that_claimed_it(
    database: Database, artifacts: Artifacts, store: ObjectStore
):
    ours = await new_workspace(database)
    key, other = await loose(artifacts, ours), await loose(artifacts, ours)
    with pytest.raises(KeyError):
        await claimed_then_interrupted(database, artifacts, ours, key)
    async with database.transaction() as connection:
        job = await JobQueue(database).submit_in(connection, ours, NewJob(JobType.STT, {}))
        assert await artifacts.claim(ours, key, job.id, connection=connection)
    assert not await artifacts.claim(ours, key, (await submit(database, ours)).id)
    await artifacts.store(ours, job.id, "text.srt", b"", "application/x-subrip")
    assert await artifacts.delete_job(ours, job.id) is None  # it has not ended
    assert len(await keys(store)) == 3
    await JobQueue(database).cancel(ours, job.id)
    assert await artifacts.delete_job(ours, job.id) == 2
    assert await artifacts.delete_job(ours, job.id) is None
    assert await keys(store) == {other}


async def test_a_job_that_is_retried_while_it_is_deleted_keeps_its_objects(
    database: Database, artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = await new_workspace(database)
    job, queue = await submit(database, ours), JobQueue(database)
    source = await loose(artifacts, ours)
    assert await artifacts.claim(ours, source, job.id)
    await queue.cancel(ours, job.id)
    delete = Jobs.delete

    async def retried(self: Jobs, workspace_id: str, job_id: str) -> bool:
        assert await queue.retry(ours, job.id) is not None
        return await delete(self, workspace_id, job_id)

    monkeypatch.setattr(Jobs, "delete", retried)
    assert await artifacts.delete_job(ours, job.id) is None
    assert await artifacts.read(ours, source) == b"sound"


async def claimed_then_interrupted(
    database: Database, artifacts: Artifacts, workspace_id: str, key: str
) -> None:
    async with database.transaction() as connection:
        new = NewJob(JobType.STT, {})
        job = await JobQueue(database).submit_in(connection, workspace_id, new)
        assert await artifacts.claim(workspace_id, key, job.id, connection=connection)
        raise KeyError


async def test_another_workspaces_object_is_not_found(
    database: Database, artifacts: Artifacts, tmp_path: Path
):
    ours = await new_workspace(database)
    theirs = await new_workspace(database, "stranger@example.org")
    job = await submit(database, ours)
    foreign = await loose(artifacts, theirs)
    for key in (foreign, f"{ours}/upload/none", "../../etc/passwd", "a\0b", "", "x" * 1000):
        assert await artifacts.find(ours, key) is None
        assert not await artifacts.claim(ours, key, job.id)
        assert not await artifacts.delete(ours, key)
        with pytest.raises(LookupError):
            await artifacts.fetch(ours, key, tmp_path / "out")
        with pytest.raises(LookupError):
            await artifacts.read(ours, key)
    assert not (tmp_path / "out").exists()
    assert await artifacts.read(theirs, foreign) == b"sound"
    assert await artifacts.delete(theirs, foreign)


async def test_no_bytes_are_left_of_a_job_that_is_gone(
    database: Database, artifacts: Artifacts, store: ObjectStore
):
    ours = await new_workspace(database)
    with pytest.raises(StoreRefused):
        await artifacts.store(ours, "job_gone", "take.mp3", b"sound", "audio/mpeg")
    assert await keys(store) == set()


class Failing(ObjectStore):
    """A store that is away when bytes are written or deleted."""

    async def _put(self, *_: object) -> None:
        raise ObjectsUnavailable("away")

    async def delete(self, keys: object, /) -> None:
        raise ObjectsUnavailable("away")


async def test_no_record_is_ever_without_its_bytes(
    database: Database, artifacts: Artifacts, tmp_path: Path
):
    ours = await new_workspace(database)
    job: Job = await submit(database, ours)
    kept = await artifacts.store(ours, job.id, "take.mp3", b"sound", "audio/mpeg")
    broken = Artifacts(database, Failing.open(f"file://{tmp_path}/objects"))
    with pytest.raises(ObjectsUnavailable):
        await broken.store(ours, job.id, "other.mp3", b"sound", "audio/mpeg")
    assert await artifacts.find(ours, f"{ours}/{job.id}/other.mp3") is None
    await JobQueue(database).cancel(ours, job.id)
    with pytest.raises(ObjectsUnavailable):
        await broken.delete_job(ours, job.id)
    assert await artifacts.find(ours, kept) is None


async def test_a_long_object_is_not_read_into_memory(
    database: Database, artifacts: Artifacts, store: ObjectStore
):
    ours = await new_workspace(database)
    key = await loose(artifacts, ours)
    await database.execute("UPDATE objects SET size_bytes = $1", MAX_READ_BYTES + 1)
    with pytest.raises(ValueError, match="too many"):
        await artifacts.read(ours, key)
    assert await content(store, key) == b"sound"


async def test_invalid_file_names_are_refused(database: Database, artifacts: Artifacts):
    ours = await new_workspace(database)
    job = await submit(database, ours)
    for name in ("", "../../other/take.mp3", "a b.mp3", ".take"):
        with pytest.raises(ValueError, match="not a key"):
            await artifacts.store(ours, job.id, name, b"", "audio/mpeg")
