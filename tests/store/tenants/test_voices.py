from dataclasses import replace
from datetime import UTC, datetime

import pytest

from store.database import Database
from store.errors import StoreRefused
from store.tenants.accounts import Users, Workspaces
from store.tenants.jobs import JobEnd, Jobs
from store.tenants.objects import NewObject, Objects
from store.tenants.voices import NewVoice, Voices

GIVEN = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
NEW = NewVoice(
    name="Ada",
    source_type="cloned",
    provider_voice_id="kokoro:af_sky(1)",
    model="blab-stable",
    language="en",
    recipe={"engine": "kokoro", "styles": {"af_sky": 1.0}},
    similarity=0.75,
    sample_key=None,
    preview_key=None,
    consent_by="usr_ada",
    consent_at=GIVEN,
    job_id=None,
)


async def workspace(database: Database, email: str = "ours@example.org") -> str:
    user = await Users(database).create(email, "Somebody", None)
    return (await Workspaces(database).create("Work", user.id)).id


async def sample(database: Database, workspace_id: str, name: str = "sample") -> str:
    key = f"{workspace_id}/{name}"
    await Objects(database).put(
        workspace_id,
        NewObject(
            key=key,
            kind="sample",
            content_type="audio/wav",
            filename="a.wav",
            size_bytes=5,
        ),
    )
    return key


async def test_a_voice_keeps_its_fields(database: Database) -> None:
    ours, voices = await workspace(database), Voices(database)
    voice = await voices.put(ours, NEW)
    assert await voices.get(ours, voice.id) == voice
    assert voice.recipe == NEW.recipe
    assert (voice.consent_by, voice.consent_at) == ("usr_ada", GIVEN)
    assert voice.similarity == pytest.approx(0.75)
    assert await voices.of_job(ours, "job_none") is None


async def test_a_job_makes_one_voice(database: Database) -> None:
    ours, voices = await workspace(database), Voices(database)
    job = await Jobs(database).insert(ours, "voice_clone", {})
    first = await voices.put(ours, replace(NEW, job_id=job.id))
    again = await voices.put(ours, replace(NEW, job_id=job.id, name="Eve", similarity=None))
    assert again.id == first.id
    assert (again.name, again.similarity) == ("Eve", None)
    assert await voices.of_job(ours, job.id) == again
    assert await voices.list(ours) == [again]
    theirs = await workspace(database, "theirs@example.org")
    with pytest.raises(StoreRefused):
        await voices.put(theirs, replace(NEW, job_id=job.id))
    with pytest.raises(StoreRefused):
        await voices.put(ours, replace(NEW, sample_key=f"{ours}/gone"))
    await Jobs(database).finish([JobEnd(ours, job.id, "completed")])
    assert await Jobs(database).delete(ours, job.id)
    kept = await voices.get(ours, again.id)
    assert kept is not None
    assert kept.job_id is None


async def test_pages_newest_first_by_source(database: Database) -> None:
    ours, voices = await workspace(database), Voices(database)
    made = [await voices.put(ours, replace(NEW, name=f"Voice {n}")) for n in range(4)]
    imported = await voices.put(ours, replace(NEW, source_type="imported"))
    newest = sorted((voice.id for voice in made), reverse=True)
    page = await voices.list(ours, source="cloned", limit=2)
    assert [voice.id for voice in page] == newest[:2]
    rest = await voices.list(ours, source="cloned", limit=9, after=page[-1].id)
    assert [voice.id for voice in rest] == newest[2:]
    assert await voices.list(ours, source="imported") == [imported]
    assert await voices.list(ours, source="no such source") == []


async def test_another_workspaces_voice_is_not_found(database: Database) -> None:
    ours, voices = await workspace(database), Voices(database)
    theirs = await workspace(database, "theirs@example.org")
    voice = await voices.put(theirs, NEW)
    assert await voices.get(ours, voice.id) is None
    assert await voices.delete(ours, voice.id) is None
    assert await voices.list(ours) == []
    assert await voices.delete(theirs, voice.id) == voice
    assert await voices.delete(theirs, voice.id) is None


async def test_a_sample_is_needed_by_voices_and_jobs(database: Database) -> None:
    ours, voices, jobs = await workspace(database), Voices(database), Jobs(database)
    key = await sample(database, ours)
    assert not await voices.needs_sample(ours, key)
    voice = await voices.put(ours, replace(NEW, sample_key=key))
    assert await voices.needs_sample(ours, key)
    assert not await voices.needs_sample(ours, await sample(database, ours, "another"))
    await voices.delete(ours, voice.id)
    assert not await voices.needs_sample(ours, key)
    job = await jobs.insert(ours, "voice_clone", {"sampleKey": key})
    assert await voices.needs_sample(ours, key)
    await jobs.finish([JobEnd(ours, job.id, "cancelled")])
    assert not await voices.needs_sample(ours, key)
