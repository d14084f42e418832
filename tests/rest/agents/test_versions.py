"""Versions of agents: made by changes, shown, gone back to."""

from pathlib import Path
from typing import Any

import pytest

from store.bus import Bus
from store.database import Database
from store.tenants.agents import Agents, NewAgent
from store.vault import Vault
from tests.rest.agents.test_agents import SECRET_TOOL, create
from tests.support.pipelines.job_support import new_workspace
from tests.support.rest.agent_app import AgentNode, Called, called


@pytest.fixture
def node(database: Database, redis: Bus, tmp_path: Path) -> AgentNode:
    return AgentNode(database, redis, tmp_path, vault=Vault(b"k" * 32))


async def versions(caller: Called, agent_id: str, query: str = "") -> dict[str, Any]:
    status, answer = await caller.ask("GET", f"/api/agents/{agent_id}/versions{query}")
    assert status == 200
    return answer


async def test_each_change_is_a_version_and_a_change_of_nothing_is_none(node: AgentNode) -> None:
    async with called(node) as caller:
        _, made = await create(caller, name="Bea", systemPrompt="Sell bread.", note="Opened")
        path = f"/api/agents/{made['id']}"
        changes = {"name": "Bea", "systemPrompt": "Sell cakes.", "note": "No bread any more"}
        _, changed = await caller.ask("PATCH", path, json=changes)
        assert changed["data"]["version"] == 2
        _, same = await caller.ask("PATCH", path, json=changes)
        assert same["data"] == changed["data"]
        assert [warning["code"] for warning in same["meta"]["warnings"]] == ["no_effect"]
        listed = (await versions(caller, made["id"]))["data"]
        assert [(one["number"], one["note"]) for one in listed] == [
            (2, "No bread any more"),
            (1, "Opened"),
        ]
        assert listed[0]["by"] == {"kind": "api_key", "id": "key", "name": None}
        assert [one["config"]["systemPrompt"] for one in listed] == ["Sell cakes.", "Sell bread."]
        assert listed[0]["config"] == {
            name: value for name, value in changed["data"].items() if name in listed[0]["config"]
        }
        status, one = await caller.ask("GET", f"{path}/versions/1")
        assert (status, one["data"]) == (200, listed[1])


async def test_versions_come_in_pages(node: AgentNode) -> None:
    async with called(node) as caller:
        for prompt in "abcd":
            body = {"name": "Ann", "systemPrompt": prompt}
            await caller.ask("PATCH", f"/api/agents/{caller.agent.id}", json=body)
        first = await versions(caller, caller.agent.id, "?limit=3")
        assert [one["number"] for one in first["data"]] == [5, 4, 3]
        cursor = first["meta"]["nextCursor"]
        second = await versions(caller, caller.agent.id, f"?limit=3&cursor={cursor}")
        assert [one["number"] for one in second["data"]] == [2, 1]
        assert second["meta"]["hasMore"] is False


async def test_to_go_back_makes_a_new_version_with_the_old_secrets(node: AgentNode) -> None:
    async with called(node) as caller:
        _, made = await create(caller, name="Bea", tools=[SECRET_TOOL], greeting="Hello!")
        path = f"/api/agents/{made['id']}"
        await caller.ask("PATCH", path, json={"name": "Cleo", "tools": [], "greeting": ""})
        node.changed.clear()
        status, back = await caller.ask("POST", f"{path}/versions/1/restore")
        assert status == 200
        shown = {"id": made["id"], "createdAt": made["createdAt"]}
        now = back["data"]
        assert now == made | shown | {"version": 3, "updatedAt": now["updatedAt"]}
        assert [one.version for one in node.changed] == [3]
        stored = await Agents(node.database, node.vault).get(caller.workspace_id, made["id"])
        assert stored is not None
        assert stored.tools[0]["headers"] == SECRET_TOOL["headers"]
        sealed = await node.database.fetchval(
            "SELECT string_agg(config::text, '') FROM agent_versions WHERE agent_id = $1",
            made["id"],
        )
        assert "SECRET" not in sealed
        listed = (await versions(caller, made["id"]))["data"]
        assert [(one["number"], one["restores"]) for one in listed] == [
            (3, 1),
            (2, None),
            (1, None),
        ]
        _, again = await caller.ask("POST", f"{path}/versions/3/restore")
        assert (again["data"]["version"], len(again["meta"]["warnings"])) == (3, 1)


async def test_a_version_whose_model_is_gone_is_refused(node: AgentNode) -> None:
    async with called(node) as caller:
        _, made = await create(caller, name="Bea", model="gone")
        path = f"/api/agents/{made['id']}"
        await caller.ask("PATCH", path, json={"name": "Bea", "model": "default"})
        node.engines.absent = frozenset({"gone"})
        status, refused = await caller.ask("POST", f"{path}/versions/1/restore")
        assert (status, refused["error"]["code"]) == (404, "MODEL_UNAVAILABLE")
        assert len((await versions(caller, made["id"]))["data"]) == 2


@pytest.mark.parametrize("number", ["0", "2", "x", "-1", "1.0", "9999999999", "%00"])
async def test_no_such_version(node: AgentNode, number: str) -> None:
    async with called(node) as caller:
        path = f"/api/agents/{caller.agent.id}/versions/{number}"
        for method, tail in (("GET", ""), ("POST", "/restore")):
            status, answer = await caller.ask(method, f"{path}{tail}")
            assert (status, answer["error"]["code"]) == (404, "NOT_FOUND")


async def test_a_foreign_agents_versions_look_absent(node: AgentNode) -> None:
    theirs = await new_workspace(node.database, "stranger@example.com")
    agents = Agents(node.database)
    foreign = await agents.create(theirs, NewAgent("Theirs"))
    async with called(node) as caller:
        for method, tail in (
            ("GET", "versions"),
            ("GET", "versions/1"),
            ("POST", "versions/1/restore"),
        ):
            status, answer = await caller.ask(method, f"/api/agents/{foreign.id}/{tail}")
            assert (status, answer["error"]["code"]) == (404, "NOT_FOUND")
        assert await agents.versions(caller.workspace_id, foreign.id) == []
        assert await agents.version(caller.workspace_id, foreign.id, 1) is None
    assert [one.number for one in await agents.versions(theirs, foreign.id)] == [1]
