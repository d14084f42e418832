"""Simulations: whoever has one makes its calls; whatever becomes of processes, each one ends."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store.database import Database
from store.tenants.accounts import Users, Workspaces
from store.tenants.simulations import (
    MOST_ACTIVE,
    MOST_ATTEMPTS,
    Claim,
    NewSimulation,
    Simulation,
    Simulations,
)
from tests.support.examples import examples

LEASE = timedelta(seconds=20)
NEW = NewSimulation(
    agent_id="agt_1",
    agent_version=2,
    agent_name="Ann",
    source="text",
    scenarios={"scenario": [{"name": "one", "line": [{"say": "Hello."}]}]},
    recordings={},
    repeat=2,
    at_once=1,
    calls=[("one", 1), ("one", 2)],
)
REPORT = {"passed": True, "lines": [], "checks": []}


async def workspace(database: Database, email: str = "ann@example.com") -> str:
    user = await Users(database).create(email, "Ann", None)
    return (await Workspaces(database).create("Work", user.id)).id


async def made(simulations: Simulations, workspace_id: str) -> Simulation:
    found = await simulations.create(workspace_id, NEW)
    assert found is not None
    return found


async def taken(simulations: Simulations) -> Claim:
    claim = await simulations.claim(LEASE)
    assert claim is not None
    return claim


async def end(simulations: Simulations, claim: Claim, position: int) -> None:
    summary = {"calls": position + 1}
    await simulations.call_ended(
        claim, position, REPORT, call_id="call_1", passed=True, summary=summary
    )


async def lose(database: Database) -> None:
    """The processes that have simulations are gone."""
    await database.execute("UPDATE simulations SET leased_until = now() - interval '1 second'")


async def test_a_simulation_from_the_queue_to_its_end(database: Database) -> None:
    simulations, ours = Simulations(database), await workspace(database)
    new = await made(simulations, ours)
    assert (new.status, new.calls, new.summary) == ("queued", 2, {})
    claim = await taken(simulations)
    assert claim.simulation.id == new.id
    assert await simulations.claim(LEASE) is None
    await simulations.call_began(claim, 0, "call_1")
    await end(simulations, claim, 0)
    await end(simulations, claim, 1)
    await simulations.finish(claim, "completed")
    done = await simulations.get(ours, new.id)
    assert done is not None
    assert (done.status, done.active, done.summary) == ("completed", False, {"calls": 2})
    calls = await simulations.calls(ours, new.id)
    assert [(call.status, call.call_id, call.report) for call in calls] == [
        ("passed", "call_1", REPORT)
    ] * 2
    assert [call.report for call in await simulations.calls(ours, new.id, reports=False)] == [
        None,
        None,
    ]
    assert done.revision > new.revision


async def test_another_process_goes_on_with_the_calls_that_are_missing(database: Database) -> None:
    simulations, ours = Simulations(database), await workspace(database)
    new = await made(simulations, ours)
    dead = await taken(simulations)
    await end(simulations, dead, 0)
    await simulations.call_began(dead, 1, "call_2")
    await lose(database)
    claim = await taken(simulations)
    assert list(claim.ended) == [0]
    assert await simulations.renew(dead, LEASE) is None
    await end(simulations, dead, 1)
    await simulations.finish(dead, "completed")
    calls = await simulations.calls(ours, new.id)
    assert [(call.status, call.call_id) for call in calls] == [
        ("passed", "call_1"),
        ("waiting", None),
    ]
    await end(simulations, claim, 1)
    await simulations.finish(claim, "completed")
    done = await simulations.get(ours, new.id)
    assert done is not None
    assert done.status == "completed"


async def test_one_whose_processes_die_again_and_again_has_failed(database: Database) -> None:
    simulations, ours = Simulations(database), await workspace(database)
    new = await made(simulations, ours)
    for _ in range(MOST_ATTEMPTS):
        await taken(simulations)
        await lose(database)
    assert await simulations.claim(LEASE) is None
    done = await simulations.get(ours, new.id)
    assert done is not None
    assert done.status == "failed"
    assert done.error is not None
    assert done.error["code"] == "process_lost"
    assert {call.status for call in await simulations.calls(ours, new.id)} == {"not_made"}


async def test_one_that_was_given_back_is_taken_again(database: Database) -> None:
    simulations, ours = Simulations(database), await workspace(database)
    await made(simulations, ours)
    for _ in range(MOST_ATTEMPTS + 1):
        claim = await taken(simulations)
        await simulations.call_began(claim, 0, "call_1")
        await simulations.release(claim)
        calls = await simulations.calls(ours, claim.simulation.id)
        assert {call.status for call in calls} == {"waiting"}


async def test_cancelled_at_once_or_as_soon_as_its_process_notices(database: Database) -> None:
    simulations, ours = Simulations(database), await workspace(database)
    waiting = await made(simulations, ours)
    cancelled = await simulations.cancel(ours, waiting.id)
    assert cancelled is not None
    assert cancelled.status == "cancelled"
    assert {call.status for call in await simulations.calls(ours, waiting.id)} == {"not_made"}
    running = await made(simulations, ours)
    claim = await taken(simulations)
    assert await simulations.renew(claim, LEASE) is False
    asked = await simulations.cancel(ours, running.id)
    assert asked is not None
    assert asked.status == "running"
    assert await simulations.renew(claim, LEASE) is True
    await lose(database)
    assert await simulations.claim(LEASE) is None
    gone = await simulations.get(ours, running.id)
    assert gone is not None
    assert (gone.status, gone.error) == ("cancelled", None)


async def test_a_workspace_with_none_running_comes_first(database: Database) -> None:
    simulations = Simulations(database)
    ours, theirs = await workspace(database), await workspace(database, "bob@example.com")
    first, second = await made(simulations, ours), await made(simulations, ours)
    third = await made(simulations, theirs)
    order = [(await taken(simulations)).simulation.id for _ in range(3)]
    assert order == [first.id, third.id, second.id]


async def test_bounds_of_a_workspace(database: Database) -> None:
    simulations, ours = Simulations(database), await workspace(database)
    for _ in range(MOST_ACTIVE):
        await made(simulations, ours)
    assert await simulations.create(ours, NEW) is None
    theirs = await workspace(database, "bob@example.com")
    await made(simulations, theirs)


async def test_the_oldest_are_deleted_when_there_are_too_many(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.tenants.simulations.MOST_KEPT", 2)
    simulations, ours = Simulations(database), await workspace(database)
    ids = []
    for _ in range(4):
        new = await made(simulations, ours)
        await simulations.cancel(ours, new.id)
        ids.append(new.id)
    listed = await simulations.list(ours, agent_id="agt_1", limit=10, before=None)
    assert [one.id for one in listed] == ids[:0:-1]


async def test_only_what_has_ended_is_deleted(database: Database) -> None:
    simulations, ours = Simulations(database), await workspace(database)
    new = await made(simulations, ours)
    assert not await simulations.delete(ours, new.id)
    await simulations.cancel(ours, new.id)
    late = datetime.now(UTC) + timedelta(minutes=1)
    assert await simulations.delete_before(ours, datetime(2020, 1, 1, tzinfo=UTC), 10) == 0
    assert await simulations.delete_before(ours, late, 10) == 1
    assert await simulations.calls(ours, new.id) == []


async def test_a_foreign_simulation_looks_absent(database: Database) -> None:
    simulations, ours = Simulations(database), await workspace(database)
    theirs = await workspace(database, "bob@example.com")
    new = await made(simulations, ours)
    assert await simulations.get(theirs, new.id) is None
    assert await simulations.calls(theirs, new.id) == []
    assert await simulations.cancel(theirs, new.id) is None
    assert not await simulations.delete(theirs, new.id)
    found = await simulations.get(ours, new.id)
    assert found is not None
    assert (found.status, found.cancel_requested) == ("queued", False)


STEPS = st.sampled_from(
    ["claim", "lose", "cancel", "release", "finish", "call", "stale call", "stale finish"]
)


@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(STEPS, max_size=20))
async def test_whatever_happens_to_processes_each_simulation_ends(
    database: Database, steps: list[str]
) -> None:
    simulations = Simulations(database)
    await database.execute("DELETE FROM simulations")
    ours = (await Workspaces(database).ensure_local_workspace()).id
    new = await made(simulations, ours)
    claims: list[Claim] = []
    holder: Claim | None = None
    ended_as: str | None = None

    for step in steps:
        stale = next((one for one in claims if one is not holder), None)
        if step == "claim" and (claim := await simulations.claim(LEASE)) is not None:
            assert ended_as is None
            assert holder is None
            holder = claim
            claims.append(claim)
        elif step == "lose":
            await lose(database)
            holder = None
        elif step == "cancel":
            await simulations.cancel(ours, new.id)
        elif step == "release" and holder is not None:
            await simulations.release(holder)
            claims.remove(holder)  # who gives one back writes nothing more
            holder = None
        elif step == "finish" and holder is not None:
            await simulations.finish(holder, "completed")
            holder = None
        elif step == "call" and holder is not None:
            await end(simulations, holder, 0)
        elif step == "stale call" and stale is not None and holder is not None:
            before = await simulations.calls(ours, new.id)
            await simulations.call_began(stale, 1, "call_stale")
            assert await simulations.calls(ours, new.id) == before
        elif step == "stale finish" and stale is not None and holder is not None:
            await simulations.finish(stale, "failed")
        now = await simulations.get(ours, new.id)
        assert now is not None
        assert ended_as in (None, now.status)
        ended_as = None if now.active else now.status
        if holder is not None:
            assert now.status == "running"

    for _ in range(MOST_ATTEMPTS + 1):
        await lose(database)
        await simulations.claim(LEASE)
    await lose(database)
    assert await simulations.claim(LEASE) is None
    done = await simulations.get(ours, new.id)
    assert done is not None
    assert not done.active
    assert done.finished_at is not None
    statuses = {call.status for call in await simulations.calls(ours, new.id)}
    assert statuses <= {"passed", "not_made"}
