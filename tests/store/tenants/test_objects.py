"""Records of objects, with another workspace beside ours."""

from datetime import UTC, datetime, timedelta

import pytest

from store.database import Database
from store.errors import StoreRefused
from store.tenants.calls import Calls, Turns
from store.tenants.jobs import Jobs
from store.tenants.objects import NewObject, Objects
from tests.store.test_tenants import a_call, a_turn
from tests.support.pipelines.job_support import new_workspace


@pytest.fixture
async def workspaces(database: Database) -> tuple[str, str]:
    return await new_workspace(database), await new_workspace(database, "b@example.org")


def an_object(workspace_id: str, name: str = "one", **more: object) -> NewObject:
    given = {"kind": "upload", "content_type": "audio/wav", "filename": "a.wav", "size_bytes": 5}
    return NewObject(f"{workspace_id}/{name}", **{**given, **more})


async def test_storing_again_replaces_the_record(database: Database, workspaces: tuple[str, str]):
    ours, _ = workspaces
    objects = Objects(database)
    first = await objects.put(ours, an_object(ours, details={"rate": 8000}))
    assert first.details == {"rate": 8000}
    second = await objects.put(ours, an_object(ours, size_bytes=2**40, filename="b\0.wav"))
    assert (second.size_bytes, second.filename, second.details) == (2**40, "b.wav", {})
    assert second.created_at > first.created_at
    assert await objects.get(ours, first.key) == second


async def test_another_workspaces_object_is_not_found(
    database: Database, workspaces: tuple[str, str]
):
    ours, theirs = workspaces
    objects, jobs = Objects(database), Jobs(database)
    key = (await objects.put(theirs, an_object(theirs))).key
    job = await jobs.insert(ours, "stt", {})
    assert await objects.get(ours, key) is None
    assert not await objects.claim(ours, key, job.id)
    assert not await objects.claim(theirs, key, job.id)
    assert not await objects.delete(ours, key)
    with pytest.raises(StoreRefused):
        await objects.put(ours, an_object(theirs))
    with pytest.raises(StoreRefused):
        await objects.put(theirs, an_object(theirs, "two", job_id=job.id))
    assert await objects.keys_of_jobs(theirs, [job.id]) == []
    assert await objects.get(theirs, key) is not None


async def test_an_object_is_claimed_by_one_job(database: Database, workspaces: tuple[str, str]):
    ours, _ = workspaces
    objects, jobs = Objects(database), Jobs(database)
    key = (await objects.put(ours, an_object(ours))).key
    job, other = [await jobs.insert(ours, "stt", {}) for _ in range(2)]
    assert not await objects.claim(ours, key, "job_none")
    assert await objects.claim(ours, key, job.id)
    assert await objects.claim(ours, key, job.id)
    assert not await objects.claim(ours, key, other.id)
    assert await objects.keys_of_jobs(ours, [job.id, other.id]) == [key]
    assert await objects.keys_of_jobs(ours, [other.id]) == []


async def test_unclaimed_objects_are_deleted_unless_in_use(
    database: Database, workspaces: tuple[str, str]
):
    ours, _ = workspaces
    objects, jobs = Objects(database), Jobs(database)
    keys = {}
    for name in ("free", "named", "claimed", "voice", "turn", "young"):
        keys[name] = (await objects.put(ours, an_object(ours, name))).key
    job = await jobs.insert(ours, "voice_clone", {"sampleKey": keys["named"]})
    await objects.claim(ours, keys["claimed"], job.id)
    await database.execute(
        "INSERT INTO voices (id, workspace_id, name, source_type, provider_voice_id, model, recipe,"
        " sample_key, consent_by, consent_at)"
        " VALUES ('v', $1, 'n', 'cloned', 'p', 'm', '{}', $2, 'u', now())",
        ours,
        keys["voice"],
    )
    call = a_call()
    await Calls(database).open(ours, call)
    assert await Turns(database).insert(ours, call.id, a_turn(audio_key=keys["turn"]))
    await database.execute(
        "UPDATE objects SET created_at = now() - interval '2 days' WHERE key <> $1", keys["young"]
    )
    before = datetime.now(UTC) - timedelta(days=1)
    assert await objects.delete_loose(before) == [keys["free"]]
    assert await objects.delete_loose(before) == []
    keys["elsewhere"] = "ws_00000000000000000000000001/upload/x"
    assert await objects.orphans(list(keys.values())) == [keys["free"]]
