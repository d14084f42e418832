"""Versions of agents in the database: their numbers, the migration, and what goes with what."""

import asyncio
from datetime import UTC, datetime

import pytest

from store.database import Database
from store.ids import new_id
from store.migrate import migrate, read_migrations
from store.tenants.agents import Agents, Change, NewAgent
from store.tenants.calls import CallFilters, Calls, NewCall, Turns
from tests.store.test_tenants import a_turn
from tests.support.pipelines.job_support import new_workspace


@pytest.fixture
async def workspace_id(database: Database) -> str:
    return await new_workspace(database)


async def test_changes_at_a_time_get_numbers_of_their_own(
    database: Database, workspace_id: str
) -> None:
    agents = Agents(database)
    agent = await agents.create(workspace_id, NewAgent("Ann"))
    prompts = [f"Prompt {number}." for number in range(20)]
    done = await asyncio.gather(
        *(agents.update(workspace_id, agent.id, {"system_prompt": text}) for text in prompts)
    )
    made = [one.agent for one in done if one is not None]
    numbers = sorted(one.version for one in made)
    assert numbers == list(range(2, 22))
    listed = await agents.versions(workspace_id, agent.id)
    assert [one.number for one in listed] == list(range(21, 0, -1))
    by_number = {one.number: one.agent.system_prompt for one in listed}
    assert all(by_number[one.version] == one.system_prompt for one in made)
    current = await agents.get(workspace_id, agent.id)
    assert current is not None
    assert (current.version, current.system_prompt) == (21, by_number[21])


async def test_changes_of_different_fields_at_a_time_are_both_kept(
    database: Database, workspace_id: str
) -> None:
    agents = Agents(database)
    agent = await agents.create(workspace_id, NewAgent("Ann"))
    for _ in range(10):
        name, voice = new_id("n"), new_id("v")
        await asyncio.gather(
            agents.update(workspace_id, agent.id, {"name": name}),
            agents.update(workspace_id, agent.id, {"voice": voice}),
        )
        newest, before, *_ = await agents.versions(workspace_id, agent.id)
        assert (newest.agent.name, newest.agent.voice) == (name, voice)
        assert newest.number == before.number + 1


async def test_the_newest_versions_are_kept(
    database: Database, workspace_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.tenants.agents.MAX_VERSIONS", 3)
    agents = Agents(database)
    agent, other = [await agents.create(workspace_id, NewAgent(name)) for name in ("Ann", "Bob")]
    for prompt in "abcde":
        await agents.update(workspace_id, agent.id, {"system_prompt": prompt})
    listed = await agents.versions(workspace_id, agent.id)
    assert [(one.number, one.agent.system_prompt) for one in listed] == [
        (6, "e"),
        (5, "d"),
        (4, "c"),
    ]
    assert await agents.version(workspace_id, agent.id, 3) is None
    assert [one.number for one in await agents.versions(workspace_id, other.id)] == [1]


async def test_the_default_agent_has_one_version_however_often_it_is_made(
    database: Database, workspace_id: str
) -> None:
    agents = Agents(database)
    made = await asyncio.gather(*(agents.ensure_default_agent(workspace_id) for _ in range(5)))
    versions = await agents.versions(workspace_id, made[0].id)
    assert [(one.number, one.by_kind) for one in versions] == [(1, "server")]


async def test_versions_go_with_their_agent_and_calls_keep_theirs(
    database: Database, workspace_id: str
) -> None:
    agents, calls = Agents(database), Calls(database)
    agent = await agents.create(workspace_id, NewAgent("Ann"))
    call = NewCall(
        id=new_id("call"),
        agent_id=agent.id,
        node_id="node_a",
        channel="websocket",
        config={},
        started_at=datetime.now(UTC),
        agent_version=1,
    )
    await calls.open(workspace_id, call)
    await agents.update(workspace_id, agent.id, {"name": "Bea"}, Change("user", "user_x", "why"))
    await Turns(database).insert(workspace_id, call.id, a_turn(1))
    await Turns(database).insert(workspace_id, call.id, a_turn(2, agent_version=2))
    turns = await Turns(database).list_of_call(workspace_id, call.id)
    assert [turn.agent_version for turn in turns] == [1, 2]
    (listed,) = await calls.find(workspace_id, CallFilters())
    assert (listed.agent_version, listed.agent_name) == (1, "Bea")
    newest = await agents.version(workspace_id, agent.id, 2)
    assert newest is not None
    assert (newest.by_kind, newest.by_id, newest.by_name, newest.note) == (
        "user",
        "user_x",
        None,
        "why",
    )
    assert await agents.delete(workspace_id, agent.id)
    assert await agents.versions(workspace_id, agent.id) == []
    count = "SELECT count(*) FROM agent_versions WHERE agent_id = $1"
    assert await database.fetchval(count, agent.id) == 0


async def test_agents_from_before_get_version_1(empty_database: Database) -> None:
    every = read_migrations()
    before = next(one.version for one in every if one.name == "agent_versions")
    await migrate(empty_database, every[: before - 1])
    await empty_database.execute("INSERT INTO workspaces (id, name) VALUES ('ws_a', 'A')")
    agent_id = new_id("agt")
    await empty_database.execute(
        "INSERT INTO agents (id, workspace_id, name, system_prompt, model, tts_model, voice,"
        " tools) VALUES ($1, 'ws_a', 'Old', 'Be old.', 'm', 't', 'v', '[{\"type\": \"x\"}]')",
        agent_id,
    )
    await migrate(empty_database)
    agents = Agents(empty_database)
    agent = await agents.get("ws_a", agent_id)
    (version,) = await agents.versions("ws_a", agent_id)
    assert agent is not None
    assert (version.number, agent.version, version.by_kind) == (1, 1, "server")
    assert version.created_at == agent.updated_at
    kept = {name: getattr(agent, name) for name in NewAgent.__dataclass_fields__}
    assert version.agent == NewAgent(**kept)
    done = await agents.update("ws_a", agent_id, {"name": "New"})
    assert done is not None
    assert done.agent.version == 2
