"""What a cleanup deletes and keeps, and when it is due."""

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipelines.jobs.artifacts import Artifacts
from pipelines.jobs.cleanup import Cleanup, CleanupSchedule
from pipelines.jobs.erasure import Eraser, submit_erasure
from pipelines.jobs.job import JobRun, JobStatus, JobType, NewJob
from pipelines.jobs.queue import JobQueue
from rest.jobs.kinds import OUTPUTS
from store.database import Database
from store.ids import new_id
from store.objects import ObjectStore
from store.tenants.calls import Calls, NewCall, NewTurn, Turns
from store.tenants.jobs import Job, JobEnd, Jobs
from store.tenants.retention import Periods, Retention
from tests.support.object_store import keys
from tests.support.pipelines.job_support import new_workspace, submit, until, working

DAY = 24 * 3600
TURN = NewTurn(
    id="",
    number=1,
    user_text="hello",
    reply_text="Good day.",
    heard_text="Good",
    interrupted=True,
    status="cancelled",
    endpointing_ms=None,
    stt_ms=None,
    llm_ms=None,
    tts_ms=None,
    gateway_ms=None,
    total_ms=None,
    prompt_tokens=0,
    completion_tokens=0,
    created_at=datetime.now(UTC),
)
NOTHING = {
    "idempotencyKeys": 0, "queueLog": 0, "deliveries": 0, "calls": 0, "recordings": 0, "jobs": 0,
    "uploads": 0, "orphans": 0,
}  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return ObjectStore.open(f"file://{tmp_path}/objects")


async def forget(_call_ids: Sequence[str]) -> None:
    """There are no event streams."""


def cleanup(
    database: Database, store: ObjectStore, retention_days: int = 0, **options: Any
) -> Cleanup:
    eraser = Eraser(database, store, forget)
    return Cleanup(database, store, eraser, retention_days, **options)


async def progress(percent: int) -> None:
    assert 0 <= percent <= 100


async def swept(kind: Cleanup, workspace_id: str) -> dict[str, int]:
    """What a run deleted of each; what it deleted nothing of is left out."""
    result = await kind.run(JobRun("job_x", workspace_id, {}, 1, progress))
    assert result.output.keys() == NOTHING.keys()
    msgspec.convert(result.output, OUTPUTS[JobType.CLEANUP])  # as the document says
    assert await kind.run(JobRun("job_x", workspace_id, {}, 2, progress)) is not None
    return {name: count for name, count in result.output.items() if count}


async def finished(database: Database, job: Job, days: float) -> Job:
    async with database.transaction() as connection:
        end = JobEnd(job.workspace_id, job.id, JobStatus.COMPLETED)
        assert await Jobs(connection).finish([end])
    await database.execute(
        "UPDATE jobs SET finished_at = now() - $2 * interval '1 day' WHERE id = $1", job.id, days
    )
    return job


async def test_unclaimed_objects_are_deleted_after_a_day(database: Database, store: ObjectStore):
    ours, artifacts = await new_workspace(database), Artifacts(database, store)
    made = {
        name: await artifacts.take_in(ours, kind, b"1", content_type="a/b", filename=name)
        for name, kind in (
            ("upload", "upload"), ("sample", "sample"), ("source", "source"),
            ("preview", "preview"), ("turn", "turn"), ("young", "upload"), ("claimed", "upload"),
            ("awaited", "source"),
        )
    }  # fmt: skip
    job = await JobQueue(database).submit(
        ours, NewJob(JobType.DUBBING, {"sourceKey": made["awaited"]})
    )
    assert await artifacts.claim(ours, made["claimed"], job.id)
    await database.execute(
        "UPDATE objects SET created_at = now() - interval '25 hours' WHERE key <> $1", made["young"]
    )
    assert await swept(cleanup(database, store), ours) == {"uploads": 5}
    assert await keys(store) == {made[name] for name in ("young", "claimed", "awaited")}


async def test_bytes_without_a_record_are_deleted_and_others_stay(
    database: Database, store: ObjectStore, tmp_path: Path
):
    ours = await new_workspace(database)
    artifacts = Artifacts(database, store)
    kept = await artifacts.take_in(ours, "turn", b"1", content_type="a/b", filename="f")
    orphans = [f"{ours}/job_1/take.mp3", "staging/put_abc"]
    elsewhere = ["ws_00000000000000000000000001/job_1/take.mp3", "backups/of-somebody"]
    young = f"{ours}/job_2/take.mp3"
    for key in (*orphans, *elsewhere, young):
        await store.put(key, b"1")
    odd = tmp_path / "objects" / "not a key"
    odd.write_bytes(b"1")
    for path in (tmp_path / "objects").rglob("*"):
        if not path.is_dir() and path != tmp_path / "objects" / young:
            os.utime(path, (time.time() - 2 * DAY,) * 2)
    assert await swept(cleanup(database, store), ours) == {"orphans": 2}
    assert await keys(store) == {kept, *elsewhere, young, "not a key"}


async def test_old_records_are_deleted(database: Database, store: ObjectStore):
    ours = await new_workspace(database)
    for key, hours in ((b"old", 25), (b"young", 23)):
        await database.execute(
            "INSERT INTO idempotency_keys (workspace_id, route, key, fingerprint, claimed_by,"
            " claimed_until, created_at)"
            " VALUES ($1, 'r', $2, '', 'c', now(), now() - $3 * interval '1 hour')",
            *(ours, key, hours),
        )
    await database.execute(
        "INSERT INTO pgqueuer_log (job_id, status, priority, entrypoint, created)"
        " VALUES (1, 'successful', 0, 'tts', now() - interval '25 hours'),"
        " (2, 'successful', 0, 'tts', now())"
    )
    old = [
        await JobQueue(database).submit(ours, NewJob(type, {}))
        for type in (JobType.WEBHOOK, JobType.CLEANUP)
    ]
    for job in old:
        await finished(database, job, 31)
    kept = await finished(database, await submit(database, ours), 1000)
    assert await swept(cleanup(database, store), ours) == {
        "idempotencyKeys": 1, "queueLog": 1, "jobs": 2,
    }  # fmt: skip
    assert await database.fetchval("SELECT key FROM idempotency_keys") == b"young"
    assert await Jobs(database).get(ours, kept.id) is not None
    assert await Jobs(database).get(ours, old[0].id) is None


def in_days(database: Database, store: ObjectStore, days: int, retention_days: int = 0) -> Cleanup:
    """The cleanup of a later day."""
    then = datetime.now(UTC) + timedelta(days=days)
    return cleanup(database, store, retention_days, clock=lambda: then)


async def test_retention_deletes_finished_jobs_with_their_artifacts(
    database: Database, store: ObjectStore
):
    ours, artifacts = await new_workspace(database), Artifacts(database, store)
    queue = JobQueue(database)
    batch = await queue.submit(ours, NewJob(JobType.BATCH, {}))
    item = await queue.submit(ours, NewJob(JobType.TTS, {}, batch.id, 0))
    others = {name: await submit(database, ours) for name in ("young", "active")}
    for job in (batch, item, *others.values()):
        await artifacts.store(ours, job.id, "take.mp3", b"1", "audio/mpeg")
    for job in (item, batch):
        await finished(database, job, 0)
    await finished(database, others["young"], -2)
    await database.execute("DELETE FROM pgqueuer_log")
    assert await swept(in_days(database, store, 8), ours) == {}
    expected = {"recordings": 2, "jobs": 1}
    assert await swept(in_days(database, store, 8, retention_days=7), ours) == expected
    assert await keys(store) == {f"{ours}/{job.id}/take.mp3" for job in others.values()}
    assert await Jobs(database).get(ours, item.id) is None


async def test_a_batch_with_an_active_item_stays_whole(database: Database, store: ObjectStore):
    ours, artifacts = await new_workspace(database), Artifacts(database, store)
    queue = JobQueue(database)
    batch = await queue.submit(ours, NewJob(JobType.BATCH, {}))
    item = await queue.submit(ours, NewJob(JobType.TTS, {}, batch.id, 0))
    key = await artifacts.store(ours, item.id, "take.mp3", b"1", "audio/mpeg")
    await finished(database, batch, 0)
    await database.execute("DELETE FROM pgqueuer_log")
    assert await swept(in_days(database, store, 8, retention_days=7), ours) == {}
    assert await artifacts.read(ours, key) == b"1"


async def test_each_workspace_keeps_what_it_wants_to_keep(database: Database, store: ObjectStore):
    ours, artifacts = await new_workspace(database), Artifacts(database, store)
    theirs = await new_workspace(database, "theirs@example.org")
    retention = Retention(database)
    await retention.put(ours, Periods(calls=5, recordings=2, jobs=9))
    await retention.put(ours, Periods(calls=3, recordings=2, jobs=9))
    assert await retention.get(ours) == Periods(calls=3, recordings=2, jobs=9)
    assert await retention.get(theirs) == Periods()
    kept = {}
    for workspace_id in (ours, theirs):
        job = await finished(database, await submit(database, workspace_id), 0)
        await artifacts.store(workspace_id, job.id, "take.mp3", b"1", "audio/mpeg")
        call = await ended_call(database, artifacts, workspace_id)
        kept[workspace_id] = (job, call)
    await database.execute("DELETE FROM pgqueuer_log")
    job, call = kept[ours]
    assert await swept(in_days(database, store, 1), ours) == {}
    assert await swept(in_days(database, store, 2), ours) == {"recordings": 2}
    [turn] = await Turns(database).list_of_call(ours, call)
    assert (turn.user_text, turn.audio_key) == ("hello", None)
    assert await Jobs(database).get(ours, job.id) is not None
    assert await swept(in_days(database, store, 4), ours) == {"calls": 1}
    assert await Turns(database).list_of_call(ours, call) == []
    assert await swept(in_days(database, store, 10), ours) == {"jobs": 1}
    assert {key.split("/")[0] for key in await keys(store)} == {theirs}
    assert await swept(in_days(database, store, 10, retention_days=8), ours) == {
        "calls": 1, "recordings": 2, "jobs": 1,
    }  # fmt: skip
    assert await keys(store) == set()


async def test_a_call_in_progress_is_kept(database: Database, store: ObjectStore):
    ours = await new_workspace(database)
    open_call = await ended_call(database, Artifacts(database, store), ours)
    await database.execute("UPDATE calls SET ended_at = NULL, end_reason = NULL")
    assert await swept(in_days(database, store, 99, retention_days=1), ours) == {"recordings": 1}
    assert await Calls(database).get(ours, open_call) is not None


async def ended_call(database: Database, artifacts: Artifacts, workspace_id: str) -> str:
    """The id of a call that has ended, with a turn and its audio."""
    now = datetime.now(UTC)
    new = NewCall(
        id=new_id("call"),
        agent_id=None,
        node_id="node_x",
        channel="rest",
        config={},
        started_at=now,
    )
    await Calls(database).open(workspace_id, new)
    audio = await artifacts.take_in(
        workspace_id, "turn", b"1", content_type="audio/mpeg", filename="turn.mp3"
    )
    said = replace(TURN, id=new_id("turn"), audio_key=audio)
    await Turns(database).insert(workspace_id, new.id, said)
    await Calls(database).close(workspace_id, new.id, "hung_up", now)
    return new.id


async def test_one_cleanup_a_day_is_submitted_and_runs(database: Database, tmp_path: Path):
    store = ObjectStore.open(f"file://{tmp_path}/objects")
    nodes = [CleanupSchedule(database, clock=lambda: 0.0) for _ in range(3)]
    assert not await nodes[0].ensure()  # nobody is there yet
    ours = await new_workspace(database)
    await new_workspace(database, "later@example.org")
    nodes = [CleanupSchedule(database, clock=lambda: 0.0) for _ in range(3)]
    assert [await node.ensure() for node in nodes] == [True, False, False]
    [job] = await Jobs(database).list(ours)
    assert job.type == JobType.CLEANUP
    await submit_erasure(database, ours, requested_by="somebody", caller=b"nobody")
    async with working(database, cleanup(database, store)):
        done = await until(database, job, JobStatus.COMPLETED)
    assert done.output is not None
    assert done.output["orphans"] == 0
    await database.execute(
        "UPDATE jobs SET created_at = now() - interval '25 hours' WHERE id = $1", job.id
    )
    assert await CleanupSchedule(database).ensure()


async def test_a_node_checks_for_the_daily_cleanup_only_rarely(database: Database):
    await new_workspace(database)
    now = 0.0
    schedule = CleanupSchedule(database, clock=lambda: now)
    assert await schedule.ensure()
    await database.execute("DELETE FROM jobs")
    assert not await schedule.ensure()
    now = 601.0
    assert await schedule.ensure()
