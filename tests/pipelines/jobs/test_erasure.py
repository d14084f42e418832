"""What an erasure deletes, in which order, and how it goes on after a crash or an outage."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipelines.jobs.artifacts import Artifacts
from pipelines.jobs.cleanup import Cleanup
from pipelines.jobs.erasure import AWAY_SECONDS, IN_PROGRESS_SECONDS, Eraser, submit_erasure
from pipelines.jobs.job import JobFailed, JobRun, JobStatus, TryAgain
from store.database import Database
from store.errors import BusUnavailable, ObjectsUnavailable
from store.ids import new_id
from store.objects import ObjectStore
from store.tenants.calls import Calls, NewCall, NewTurn, Turns
from store.tenants.erasures import Erasure, Erasures
from store.tenants.jobs import Jobs
from tests.support.object_store import keys
from tests.support.pipelines.job_support import new_workspace, until, working

pytestmark = pytest.mark.slow

ANN, BOB = b"digest of Ann", b"digest of Bob"


class FailingStore(ObjectStore):
    """Objects that cannot be deleted while ``away``."""

    away = False

    async def delete(self, keys: Sequence[str], /) -> None:
        if self.away and keys:
            raise ObjectsUnavailable("the bucket is away")
        await super().delete(keys)


@dataclass
class Rig:
    """A workspace with calls, and an eraser."""

    database: Database
    store: FailingStore
    workspace_id: str
    forgotten: list[str] = field(default_factory=list)
    redis_is_away: bool = False

    async def forget(self, call_ids: Sequence[str]) -> None:
        if self.redis_is_away:
            raise BusUnavailable("Redis is away")
        self.forgotten += call_ids

    async def call(
        self, caller: bytes | None, turns: int = 2, *, open: bool = False, of: str | None = None
    ) -> str:
        """A call, each turn with its audio; returns its id."""
        workspace_id, now = of or self.workspace_id, datetime.now(UTC)
        new = NewCall(
            id=new_id("call"),
            agent_id=None,
            node_id="node_x",
            channel="websocket",
            config={},
            started_at=now,
            caller=caller,
        )
        await Calls(self.database).open(workspace_id, new)
        for number in range(1, turns + 1):
            await self.turn(new.id, number, workspace_id)
        if not open:
            await Calls(self.database).close(workspace_id, new.id, "hung_up", now)
        return new.id

    async def turn(self, call_id: str, number: int, workspace_id: str) -> None:
        audio = await Artifacts(self.database, self.store).take_in(
            workspace_id, "turn", b"1", content_type="audio/mpeg", filename="turn.mp3"
        )
        numbers: dict[str, Any] = dict.fromkeys(
            ("endpointing_ms", "stt_ms", "llm_ms", "tts_ms", "gateway_ms", "total_ms")
        )
        said = NewTurn(
            id=new_id("turn"),
            number=number,
            user_text="SECRET",
            reply_text="SECRET",
            heard_text="SECRET",
            interrupted=False,
            status="completed",
            prompt_tokens=1,
            completion_tokens=1,
            created_at=datetime.now(UTC),
            audio_key=audio,
            **numbers,
        )
        assert await Turns(self.database).insert(workspace_id, call_id, said)

    async def request(self, **what: Any) -> Erasure:
        return await submit_erasure(self.database, self.workspace_id, requested_by="usr_x", **what)

    async def run(self, erasure: Erasure) -> dict[str, Any]:
        eraser = Eraser(self.database, self.store, self.forget)
        run = JobRun("job_x", self.workspace_id, {"erasureId": erasure.id}, 1, _progress)
        return (await eraser.run(run)).output

    async def left(self) -> set[str]:
        rows = await self.database.fetch("SELECT id FROM calls")
        return {row["id"] for row in rows}

    async def record(self, erasure: Erasure) -> Erasure:
        found = await Erasures(self.database).get(self.workspace_id, erasure.id)
        assert found is not None
        return found


async def _progress(_percent: int) -> None:
    pass


@pytest.fixture
async def rig(database: Database, tmp_path: Path) -> Rig:
    store = FailingStore.open(f"file://{tmp_path}/objects")
    assert isinstance(store, FailingStore)
    return Rig(database, store, await new_workspace(database))


async def test_a_callers_calls_are_erased_and_nobody_elses(rig: Rig) -> None:
    theirs = await new_workspace(rig.database, "theirs@example.org")
    anns = [await rig.call(ANN), await rig.call(ANN, turns=0)]
    kept = {await rig.call(BOB), await rig.call(None), await rig.call(ANN, of=theirs)}
    erasure = await rig.request(caller=ANN)
    assert await rig.run(erasure) == {"calls": 2, "turns": 2, "recordings": 2}
    assert await rig.left() == kept
    assert sorted(rig.forgotten) == sorted(anns)
    assert len(await keys(rig.store)) == 6
    assert await rig.database.fetchval("SELECT count(*) FROM objects") == 6
    record = await rig.record(erasure)
    assert record.finished_at is not None
    assert (record.caller, record.requested_by) == (None, "usr_x")
    gone = await rig.database.fetch("SELECT call_id FROM deleted_calls")
    assert {row["call_id"] for row in gone} == set(anns)
    # again: nothing is left to erase, and the counts stay
    assert await rig.run(erasure) == {"calls": 2, "turns": 2, "recordings": 2}
    assert await rig.run(await rig.request(caller=ANN)) == {
        "calls": 0, "turns": 0, "recordings": 0,
    }  # fmt: skip


async def test_one_call_is_erased(rig: Rig) -> None:
    one, other = await rig.call(ANN), await rig.call(ANN)
    assert (await rig.run(await rig.request(call_id=one)))["calls"] == 1
    assert await rig.left() == {other}


async def test_a_call_in_progress_is_erased_when_it_has_ended(rig: Rig) -> None:
    ended, running = await rig.call(ANN), await rig.call(ANN, open=True)
    erasure = await rig.request(caller=ANN)
    with pytest.raises(TryAgain) as waits:
        await rig.run(erasure)
    assert waits.value.delay == IN_PROGRESS_SECONDS
    assert await rig.left() == {running}
    assert (await rig.record(erasure)).calls == 1
    assert rig.forgotten == [ended]
    await Calls(rig.database).close(rig.workspace_id, running, "hung_up", datetime.now(UTC))
    assert (await rig.run(erasure))["calls"] == 2
    assert await rig.left() == set()


async def test_an_outage_is_waited_out_and_no_row_goes_before_its_bytes(rig: Rig) -> None:
    call = await rig.call(ANN)
    erasure = await rig.request(caller=ANN)
    rig.store.away = True
    with pytest.raises(TryAgain) as waits:
        await rig.run(erasure)
    assert waits.value.delay == AWAY_SECONDS
    rig.store.away, rig.redis_is_away = False, True
    with pytest.raises(TryAgain):
        await rig.run(erasure)
    assert await keys(rig.store) == set()
    assert await rig.left() == {call}
    assert len(await Turns(rig.database).list_of_call(rig.workspace_id, call)) == 2
    rig.redis_is_away = False
    assert await rig.run(erasure) == {"calls": 1, "turns": 2, "recordings": 2}


async def test_a_run_goes_on_where_a_crash_ended_the_one_before(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.jobs.erasure.CALLS_AT_ONCE", 1)
    for _ in range(3):
        await rig.call(ANN, turns=1)
    erasure, forget = await rig.request(caller=ANN), rig.forget

    async def crash(call_ids: Sequence[str]) -> None:
        if len(rig.forgotten) == 1:
            raise RuntimeError("the worker dies")
        await forget(call_ids)

    monkeypatch.setattr(rig, "forget", crash)
    with pytest.raises(RuntimeError):
        await rig.run(erasure)
    assert len(await rig.left()) == 2
    assert (await rig.record(erasure)).calls == 1
    monkeypatch.setattr(rig, "forget", forget)
    assert await rig.run(erasure) == {"calls": 3, "turns": 3, "recordings": 3}
    assert await rig.left() == set()


async def test_an_erasure_is_a_cleanup_job(rig: Rig) -> None:
    await rig.call(ANN)
    erasure = await rig.request(caller=ANN)
    eraser = Eraser(rig.database, rig.store, rig.forget)
    cleanup: Any = Cleanup(rig.database, rig.store, eraser)
    job = await Jobs(rig.database).get(rig.workspace_id, erasure.job_id or "")
    assert job is not None
    async with working(rig.database, cleanup):
        done = await until(rig.database, job, JobStatus.COMPLETED)
    assert done.output == {"calls": 1, "turns": 2, "recordings": 2}
    assert (await rig.record(erasure)).job_status == JobStatus.COMPLETED


async def test_an_erasure_that_is_gone_fails(rig: Rig) -> None:
    erasure = await rig.request(caller=ANN)
    await rig.database.execute("DELETE FROM erasures")
    with pytest.raises(JobFailed):
        await rig.run(erasure)
