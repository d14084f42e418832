"""All aggregates on the real database, each with another workspace beside it."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from store.errors import StoreRefused
from store.ids import first_id, new_id
from store.tenants.accounts import ApiKeys, Membership, NewApiKey, Users, Workspaces
from store.tenants.agents import Agents, NewAgent
from store.tenants.calls import NODE_LOST, Calls, NewCall, NewTurn, Turns

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.fixture
async def workspaces(database):
    """Ids of two workspaces, ours and a stranger's."""
    made = []
    for name in ("ours", "theirs"):
        user = await Users(database).create(f"{name}@example.org", name, None)
        made.append((await Workspaces(database).create(name, user.id)).id)
    return made


def a_call(agent_id=None, node_id="node_a"):
    return NewCall(
        id=new_id("call"),
        agent_id=agent_id,
        node_id=node_id,
        channel="websocket",
        config={"model": "m"},
        started_at=NOW,
    )


def a_turn(number=1, **changes):
    turn = NewTurn(
        id=new_id("turn"),
        number=number,
        user_text="hello",
        reply_text="Hi. Bye.",
        heard_text="Hi.",
        interrupted=True,
        status="cancelled",
        endpointing_ms=200,
        stt_ms=90,
        llm_ms=None,
        tts_ms=30,
        gateway_ms=3,
        total_ms=700,
        prompt_tokens=10,
        completion_tokens=4,
        created_at=NOW,
    )
    return replace(turn, **changes)


async def test_there_is_one_local_workspace(database):
    made = await asyncio.gather(*(Workspaces(database).ensure_local_workspace() for _ in range(5)))
    assert len({workspace.id for workspace in made}) == 1
    assert await database.fetchval("SELECT count(*) FROM workspaces") == 1
    assert await database.fetchval("SELECT role FROM memberships") == "owner"


async def test_users_and_their_workspaces(database, workspaces):
    users = Users(database)
    found = await users.find_by_email("OURS@example.ORG")
    assert found is not None
    assert await users.get(found.id) == found
    assert "example" not in repr(found)
    mine = await Workspaces(database).memberships(found.id)
    assert [one.workspace_id for one in mine] == workspaces[:1]
    assert await Workspaces(database).role(workspaces[0], found.id) == "owner"
    assert await Workspaces(database).role(workspaces[1], found.id) is None
    with pytest.raises(StoreRefused, match="users_email"):
        await users.create("Ours@Example.org", "again", None)
    assert await users.find_by_email("nobody@example.org") is None
    with pytest.raises(StoreRefused):
        await Workspaces(database).create("orphan", "usr_absent")


async def test_the_oldest_membership_comes_first(database):
    ada = await Users(database).create("ada@example.org", "Ada", None)
    bob = await Users(database).create("bob@example.org", "Bob", None)
    workspaces = Workspaces(database)
    own, foreign = await workspaces.create("Own", ada.id), await workspaces.create("Bob's", bob.id)
    await database.execute(
        "INSERT INTO memberships (workspace_id, user_id, role, created_at)"
        " VALUES ($1, $2, 'member', now() - interval '1 day')",
        foreign.id,
        ada.id,
    )
    assert await workspaces.memberships(ada.id) == [
        Membership(foreign.id, "Bob's", "member"),
        Membership(own.id, "Own", "owner"),
    ]
    assert await workspaces.memberships("usr_absent") == []


async def test_an_address_is_registered_once(database):
    users = Users(database)
    made = await asyncio.gather(
        *(users.register(email, "A", "hash") for email in ("a@b.org", "A@B.org", "a@B.org"))
    )
    [user] = [one for one in made if one is not None]
    await users.set_password_hash(user.id, "not the old one", "new")
    await users.set_password_hash(user.id, "hash", "better")
    found = await users.get(user.id)
    assert found is not None
    assert found.password_hash == "better"


async def test_keys_are_counted_and_found_only_in_their_workspace(database):
    user = await Users(database).create("a@b.org", "A", None)
    ours = (await Workspaces(database).create("Ours", user.id)).id
    theirs = (await Workspaces(database).create("Theirs", user.id)).id
    keys = ApiKeys(database)
    key = await keys.insert(
        ours,
        NewApiKey(
            name="k",
            prefix="p",
            digest=b"d" * 32,
            scopes=[],
        ),
    )
    assert await keys.get(ours, key.id) == key
    assert await keys.get(theirs, key.id) is None
    assert (await keys.count(ours), await keys.count(theirs)) == (1, 0)
    await keys.revoke(ours, key.id)
    assert await keys.get(ours, key.id) is None
    assert await keys.count(ours) == 0


async def test_api_keys(database, workspaces):
    ours, theirs = workspaces
    keys = ApiKeys(database)
    key = await keys.insert(
        ours,
        NewApiKey(
            name="laptop",
            prefix="blab_sk_abcd",
            digest=b"d" * 32,
            scopes=["agents:read"],
        ),
    )
    assert await keys.find_by_digest(b"d" * 32) == key
    assert await keys.find_by_digest(b"e" * 32) is None
    assert await keys.list(ours) == [key]
    assert await keys.list(ours, after=key.id) == []
    assert await keys.list(theirs) == []
    await keys.touch(theirs, key.id)
    assert (await keys.list(ours))[0].last_used_at is None
    await keys.touch(ours, key.id)
    touched = (await keys.list(ours))[0].last_used_at
    assert touched is not None
    await keys.touch(ours, key.id)
    assert (await keys.list(ours))[0].last_used_at == touched
    assert await keys.revoke(theirs, key.id) is None
    assert await keys.find_by_digest(b"d" * 32) is not None
    assert await keys.revoke(ours, key.id) is not None
    assert await keys.revoke(ours, key.id) is None
    assert await keys.find_by_digest(b"d" * 32) is None
    assert await keys.list(ours) == []


async def test_an_expired_key_is_refused(database, workspaces):
    past = datetime.now(UTC) - timedelta(seconds=1)
    await ApiKeys(database).insert(
        workspaces[0],
        NewApiKey(
            name="old",
            prefix="p",
            digest=b"x" * 32,
            scopes=[],
            expires_at=past,
        ),
    )
    assert await ApiKeys(database).find_by_digest(b"x" * 32) is None


async def test_agents(database, workspaces):
    ours, theirs = workspaces
    agents = Agents(database)
    agent = await agents.create(ours, NewAgent(name="Ada", language="de"))
    assert agent.model == "verinova-stable"
    assert agent.tts_model == "blab-stable"
    assert agent.voice == "default"
    assert await agents.get(ours, agent.id) == agent
    assert await agents.get(theirs, agent.id) is None
    assert await agents.of_any_workspace(agent.id) == agent
    assert await agents.of_any_workspace("agt_absent") is None
    done = await agents.update(ours, agent.id, {"name": "Bea", "language": None})
    assert done is not None
    changed = done.agent
    assert (changed.name, changed.language, changed.voice) == ("Bea", None, "default")
    assert changed.updated_at > agent.updated_at
    assert await agents.update(theirs, agent.id, {"name": "Mine"}) is None
    with pytest.raises(ValueError, match="workspace_id"):
        await agents.update(ours, agent.id, {"workspace_id": theirs})
    assert [one.id for one in await agents.list(ours)] == [agent.id]
    assert await agents.list(theirs) == []
    assert await agents.names(ours) == [(agent.id, "Bea")]
    assert await agents.names(theirs) == []
    assert not await agents.delete(theirs, agent.id)
    assert await agents.delete(ours, agent.id)
    assert await agents.get(ours, agent.id) is None


async def test_agents_are_read_a_few_at_a_time(database, workspaces):
    ours, theirs = workspaces
    agents = Agents(database)
    ids = [(await agents.create(ours, NewAgent(f"A{number}"))).id for number in range(52)]
    await agents.create(theirs, NewAgent("Theirs"))
    assert [one.id for one in await agents.list(ours)] == ids
    assert [one.id for one in await agents.list(ours, limit=26)] == ids[:26]
    assert [one.id for one in await agents.list(ours, limit=30, after=ids[24])] == ids[25:]
    assert [one.id for one in await agents.list(ours, limit=25, after=ids[26])] == ids[27:]


async def test_the_default_agent_is_one_per_workspace(database, workspaces):
    agents = Agents(database)
    made = await asyncio.gather(*(agents.ensure_default_agent(workspaces[0]) for _ in range(5)))
    assert len({agent.id for agent in made}) == 1
    other = await agents.ensure_default_agent(workspaces[1])
    assert other.id != made[0].id


async def test_the_default_agent_can_be_deleted_during_its_creation(database, workspaces):
    agents = Agents(database)

    async def delete_and_ask():
        agent = await agents.ensure_default_agent(workspaces[0])
        await agents.delete(workspaces[0], agent.id)
        return agent

    made = await asyncio.gather(*(delete_and_ask() for _ in range(20)))
    assert all(agent.is_default for agent in made)


async def test_the_agents_of_the_newest_calls_of_any_workspace(database, workspaces):
    agents, calls = Agents(database), Calls(database)
    first, second, never = [
        await agents.create(workspace, NewAgent(name=name))
        for workspace, name in zip(
            (*workspaces, workspaces[0]), ("First", "Second", "Never"), strict=True
        )
    ]
    for hour, agent in enumerate((first, second, first, None)):
        workspace = agent.workspace_id if agent else workspaces[0]
        call_id = first_id("call", datetime.now(UTC) + timedelta(hours=hour))
        await calls.open(workspace, replace(a_call(agent.id if agent else None), id=call_id))
    ours = {first.id, second.id, never.id}
    recent = [one.id for one in await agents.recently_called(100) if one.id in ours]
    assert recent == [first.id, second.id]
    assert [one.id for one in await agents.recently_called(1)] == [first.id]


async def test_a_call_from_beginning_to_end(database, workspaces):
    ours, theirs = workspaces
    calls = Calls(database)
    agent = await Agents(database).ensure_default_agent(ours)
    call = a_call(agent.id)
    await calls.open(ours, call)
    await calls.open(ours, call)
    stored = await calls.get(ours, call.id)
    assert stored is not None
    assert (stored.agent_id, stored.config, stored.ended_at) == (agent.id, {"model": "m"}, None)
    assert await calls.get(theirs, call.id) is None
    assert not await calls.close(theirs, call.id, "hangup", NOW)
    assert await calls.close(ours, call.id, "hangup", NOW + timedelta(seconds=5))
    assert not await calls.close(ours, call.id, "again", NOW)
    ended = await calls.get(ours, call.id)
    assert ended is not None
    assert (ended.end_reason, ended.ended_at) == ("hangup", NOW + timedelta(seconds=5))
    assert not await calls.prolong(theirs, call.id, NOW + timedelta(seconds=9))
    for end in (9, 7):
        assert await calls.prolong(ours, call.id, NOW + timedelta(seconds=end))
    prolonged = await calls.get(ours, call.id)
    assert prolonged is not None
    assert (prolonged.end_reason, prolonged.ended_at) == ("hangup", NOW + timedelta(seconds=9))
    assert not await calls.reconfigure(theirs, call.id, {})
    assert await calls.reconfigure(ours, call.id, {"model": "n"})
    configured = await calls.get(ours, call.id)
    assert configured is not None
    assert configured.config == {"model": "n"}
    assert [one.id for one in await calls.list(ours)] == [call.id]
    assert await calls.list(theirs) == []
    assert await Agents(database).delete(ours, agent.id)
    kept = await calls.get(ours, call.id)
    assert kept is not None
    assert kept.agent_id is None


async def test_a_foreign_or_absent_agent_leaves_the_call_without_one(database, workspaces):
    ours, theirs = workspaces
    foreign = await Agents(database).ensure_default_agent(theirs)
    for agent_id in (foreign.id, "agt_absent"):
        call = a_call(agent_id)
        await Calls(database).open(ours, call)
        stored = await Calls(database).get(ours, call.id)
        assert stored is not None
        assert stored.agent_id is None


async def test_the_database_itself_refuses_a_foreign_reference(database, workspaces):
    ours, theirs = workspaces
    foreign = await Agents(database).ensure_default_agent(theirs)
    with pytest.raises(StoreRefused, match="calls_workspace_id_agent_id_fkey"):
        await database.execute(
            "INSERT INTO calls (id, workspace_id, agent_id, node_id, channel, config, started_at)"
            " VALUES ('call_x', $1, $2, 'n', 'websocket', '{}', now())",
            ours,
            foreign.id,
        )


async def test_orphans_are_closed_and_others_are_not(database, workspaces):
    ours, theirs = workspaces
    calls = Calls(database)
    lost, alive, foreign = a_call(node_id="node_dead"), a_call(), a_call(node_id="node_dead")
    await calls.open(ours, lost)
    await calls.open(ours, alive)
    await calls.open(theirs, foreign)
    spoke = NOW + timedelta(minutes=3)
    await Turns(database).insert(ours, lost.id, a_turn(created_at=spoke))
    assert await calls.nodes_with_open_calls() == {"node_dead", "node_a"}
    assert await calls.close_orphaned("node_dead") == 2
    assert await calls.close_orphaned("node_dead") == 0
    ended = await calls.get(ours, lost.id)
    assert ended is not None
    assert (ended.end_reason, ended.ended_at) == (NODE_LOST, spoke)
    running = await calls.get(ours, alive.id)
    assert running is not None
    assert running.ended_at is None


async def test_turns(database, workspaces):
    ours, theirs = workspaces
    agent = await Agents(database).ensure_default_agent(ours)
    call = a_call(agent.id)
    await Calls(database).open(ours, call)
    turns = Turns(database)
    second, first = a_turn(2), a_turn(1, user_text="nul\0 and \ud800")
    assert await turns.insert(ours, call.id, second)
    assert await turns.insert(ours, call.id, first)
    assert not await turns.insert(ours, call.id, first)
    assert not await turns.insert(theirs, call.id, a_turn(3))
    assert not await turns.insert(ours, "call_absent", a_turn(3))
    stored = await turns.list_of_call(ours, call.id)
    assert [turn.number for turn in stored] == [1, 2]
    assert stored[0].user_text == "nul and ?"
    assert (stored[1].heard_text, stored[1].llm_ms, stored[1].agent_id) == ("Hi.", None, agent.id)
    assert "hello" not in repr(stored[1]) + repr(second)
    assert await turns.list_of_call(theirs, call.id) == []
    assert await turns.latest_of_call(ours, call.id, 1) == stored[1:]
    assert await turns.latest_of_call(ours, call.id, 5) == stored
    assert await turns.latest_of_call(theirs, call.id, 5) == []
    assert {turn.id for turn in await turns.list_of_agent(ours, agent.id)} == {first.id, second.id}
    assert await turns.list_of_agent(theirs, agent.id) == []
