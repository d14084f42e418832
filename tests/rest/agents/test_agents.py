"""The contract's tag Agents: agents made, shown, changed and deleted."""

import io
from pathlib import Path
from typing import Any

import pytest

from rest.agents.configuration import AgentChecks
from store.bus import Bus
from store.database import Database
from store.ids import new_id
from store.tenants.agents import DEFAULT_PROMPT, Agents, NewAgent
from store.vault import Vault
from tests.support.pipelines.job_support import new_workspace
from tests.support.rest.agent_app import AgentNode, Called, called


@pytest.fixture
def node(database: Database, redis: Bus, tmp_path: Path) -> AgentNode:
    return AgentNode(database, redis, tmp_path)


async def create(caller: Called, **body: Any) -> tuple[int, dict[str, Any]]:
    status, answer = await caller.ask("POST", "/api/agents", json=body)
    return status, answer["data"] if status == 200 else answer["error"]


async def test_an_agent_needs_a_name_and_has_defaults(node: AgentNode) -> None:
    async with called(node) as caller:
        status, made = await create(caller, name="Bea", unknown=1)
        assert status == 200
        assert made["id"].startswith("agt_")
        assert made["createdAt"] == made["updatedAt"]
        assert made["createdAt"].endswith("Z")
        shown = {name: made[name] for name in made if not name.endswith("At") and name != "id"}
        assert shown == {
            "name": "Bea",
            "model": "verinova-stable",
            "ttsModel": "blab-stable",
            "voice": "default",
            "systemPrompt": DEFAULT_PROMPT,
            "language": None,
            "isDefault": False,
            "tools": [],
            "recording": {"enabled": False, "consent": "", "retentionDays": None},
            "toolSecrets": {},
            "greeting": "",
            "turnTaking": {"eagerness": "auto", "interruptible": True, "idleSeconds": None},
            "version": 1,
        }
        status, shown = await caller.ask("GET", f"/api/agents/{made['id']}")
        assert (status, shown["data"]) == (200, made)


async def test_whoever_reads_ahead_hears_of_new_and_changed_agents(node: AgentNode) -> None:
    async with called(node) as caller:
        _, made = await create(caller, name="Bea", systemPrompt="You sell bread.")
        path = f"/api/agents/{made['id']}"
        await caller.ask("PATCH", path, json={"name": "Bea", "systemPrompt": "You sell cakes."})
        await caller.ask("GET", path)
    assert [one.system_prompt for one in node.changed] == ["You sell bread.", "You sell cakes."]


async def test_recording_is_replaced_as_a_whole(node: AgentNode) -> None:
    async with called(node) as caller:
        wanted = {"enabled": True, "consent": " It is recorded. ", "retentionDays": 30}
        _, made = await create(caller, name="R", recording=wanted)
        assert made["recording"] == {**wanted, "consent": "It is recorded."}
        path = f"/api/agents/{made['id']}"
        for change, expected in (
            ({}, made["recording"]),
            (
                {"recording": {"enabled": True}},
                {"enabled": True, "consent": "", "retentionDays": None},
            ),
        ):
            status, answer = await caller.ask("PATCH", path, json={"name": "R", **change})
            assert (status, answer["data"]["recording"]) == (200, expected)
        for refused in ({"retentionDays": 0}, {"consent": "x" * 2_001}, {"enabled": "yes"}):
            body = {"name": "R", "recording": refused}
            status, answer = await caller.ask("PATCH", path, json=body)
            assert (status, answer["error"]["code"]) == (400, "VALIDATION_ERROR")


async def test_greeting_and_turn_taking_are_stored(node: AgentNode) -> None:
    async with called(node) as caller:
        patient = {"eagerness": "low", "interruptible": False, "idleSeconds": 8}
        _, made = await create(caller, name="G", greeting=" Hello! ", turnTaking=patient)
        assert (made["greeting"], made["turnTaking"]) == ("Hello!", patient)
        path = f"/api/agents/{made['id']}"
        for refused in (
            {"greeting": "x" * 1_001},
            {"turnTaking": {"eagerness": "soon"}},
            {"turnTaking": {"idleSeconds": 0}},
            {"note": "x" * 301},
        ):
            status, answer = await caller.ask("PATCH", path, json={"name": "G", **refused})
            assert (status, answer["error"]["code"]) == (400, "VALIDATION_ERROR"), refused
        plain = {"name": "G", "greeting": "", "turnTaking": {}}
        status, answer = await caller.ask("PATCH", path, json=plain)
        assert (status, answer["data"]["greeting"]) == (200, "")
        assert answer["data"]["turnTaking"]["eagerness"] == "auto"


SECRET_TOOL = {
    "type": "blab.http",
    "name": "orders",
    "url": "https://shop.example/orders",
    "headers": {"X-Key": "SECRET"},
}
SERVER = {
    "type": "mcp",
    "server_label": "stock",
    "server_url": "https://stock.example/mcp",
    "authorization": "SECRET",
}


async def test_a_tool_keeps_its_secrets_only_for_its_own_origin(node: AgentNode) -> None:
    node.vault = Vault(b"k" * 32)
    agents = Agents(node.database, node.vault)
    async with called(node) as caller:
        _, made = await create(caller, name="T", tools=[SECRET_TOOL, SERVER])
        assert made["toolSecrets"] == {"orders": ["X-Key"], "stock": ["Authorization"]}
        assert "SECRET" not in str(made)
        path = f"/api/agents/{made['id']}"

        async def change(kept: list[str], *tools: dict[str, Any]) -> tuple[int, dict[str, Any]]:
            body = {"name": "T", "tools": tools, "keepToolSecrets": kept}
            status, answer = await caller.ask("PATCH", path, json=body)
            return status, answer.get("data") or answer["error"]["details"]

        bare = {name: value for name, value in SECRET_TOOL.items() if name != "headers"}
        moved = bare | {"url": "https://shop.example/v2"}
        for kept, tool in (
            (["orders"], bare | {"url": "https://thief.example/"}),
            (["orders"], bare | {"url": "http://shop.example/orders"}),
            (["orders"], bare | {"url": 7}),
            (["nobody"], bare),
            (["stock"], bare),
        ):
            status, details = await change(kept, tool)
            assert (status, details["path"]) == (400, "keepToolSecrets[0]"), tool
        status, changed = await change(["orders"], moved)
        assert (status, changed["toolSecrets"]) == (200, {"orders": ["X-Key"]})
        stored = await agents.get(caller.workspace_id, made["id"])
        assert stored is not None
        assert stored.tools[0]["headers"] == {"X-Key": "SECRET"}
        assert stored.tools[0]["url"] == moved["url"]
        status, changed = await change([], moved)
        assert (status, changed["toolSecrets"]) == (200, {})


async def test_a_tool_keeps_the_secret_that_was_set_while_it_was_checked(
    node: AgentNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two people save at once: what one enters is not replaced by what the other's form had."""
    node.vault = Vault(b"k" * 32)
    agents = Agents(node.database, node.vault)
    async with called(node) as caller:
        _, made = await create(caller, name="T", tools=[SECRET_TOOL])
        newer = SECRET_TOOL | {"headers": {"X-Key": "NEWER"}}
        check = AgentChecks.check

        async def slowly(self: AgentChecks, given: dict[str, Any], whole: dict[str, Any]) -> None:
            await check(self, given, whole)
            await agents.update(caller.workspace_id, made["id"], {"tools": [newer]})

        monkeypatch.setattr(AgentChecks, "check", slowly)
        bare = {name: value for name, value in SECRET_TOOL.items() if name != "headers"}
        body = {"name": "Tea", "tools": [bare], "keepToolSecrets": ["orders"]}
        status, _ = await caller.ask("PATCH", f"/api/agents/{made['id']}", json=body)
        stored = await agents.get(caller.workspace_id, made["id"])
    assert status == 200
    assert stored is not None
    assert stored.name == "Tea"
    assert stored.tools[0]["headers"] == {"X-Key": "NEWER"}


async def test_fields_are_stored_and_an_empty_text_means_the_default(node: AgentNode) -> None:
    async with called(node) as caller:
        _, made = await create(
            caller,
            name="C",
            systemPrompt="",
            model="",
            ttsModel="blab-expressive",
            voice="",
            language="de",
        )
    assert (made["systemPrompt"], made["model"]) == ("", "verinova-stable")
    assert (made["ttsModel"], made["voice"]) == ("blab-expressive", "default")
    assert made["language"] == "de"


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "name"),
        ({"name": 1}, "name"),
        ({"name": "x", "systemPrompt": "y" * 20_001}, "systemPrompt"),
        ({"name": "x", "language": None}, "language"),
        ({"name": "x", "voice": "a\0"}, "voice"),
        ({"name": "x" * 201}, "name"),
        ({"name": "x", "language": "x" * 36}, "language"),
    ],
)
async def test_bad_fields_are_refused_by_path(
    node: AgentNode, body: dict[str, Any], path: str
) -> None:
    async with called(node) as caller:
        status, error = await create(caller, **body)
        assert (status, error["code"], error["details"]["path"]) == (400, "VALIDATION_ERROR", path)
        one = f"/api/agents/{caller.agent.id}"
        status, changed = await caller.ask("PATCH", one, json=body)
        assert (status, changed["error"]["details"]["path"]) == (400, path)


async def test_an_unknown_model_is_refused(node: AgentNode) -> None:
    node.engines.absent = frozenset({"nobody", "mute", "scripted-chat"})
    async with called(node) as caller:
        for field, model in (("model", "nobody"), ("ttsModel", "mute")):
            status, error = await create(caller, name="x", **{field: model})
            assert (status, error["code"]) == (404, "MODEL_UNAVAILABLE")
            assert error["details"]["path"] == field
            path = f"/api/agents/{caller.agent.id}"
            status, _ = await caller.ask("PATCH", path, json={"name": "x", field: model})
            assert status == 404
        for known in ("scripted-chat", "default", "verinova-stable"):
            assert (await create(caller, name="x", model=known))[0] == 200


async def test_a_change_leaves_the_other_fields(node: AgentNode) -> None:
    async with called(node) as caller:
        path = f"/api/agents/{caller.agent.id}"
        changes = {"name": "Ann", "voice": "nova", "language": "fr"}
        status, changed = await caller.ask("PATCH", path, json=changes)
        assert status == 200
        assert (changed["data"]["voice"], changed["data"]["language"]) == ("nova", "fr")
        assert (changed["data"]["name"], changed["data"]["systemPrompt"]) == ("Ann", "Be brief.")
        assert changed["data"]["updatedAt"] > changed["data"]["createdAt"]
        _, cleared = await caller.ask("PATCH", path, json={"name": "Ann", "language": ""})
        assert cleared["data"]["language"] is None
        _, same = await caller.ask("PATCH", path, json={"name": "Ann"})
        assert same["data"] | {"updatedAt": cleared["data"]["updatedAt"]} == cleared["data"]


async def test_all_agents_are_listed_and_pages_are_possible(node: AgentNode) -> None:
    async with called(node) as caller:
        for name in "BC":
            await create(caller, name=name)
        status, listed = await caller.ask("GET", "/api/agents")
        assert (status, [agent["name"] for agent in listed["data"]]) == (200, ["Ann", "B", "C"])
        assert listed["meta"]["hasMore"] is False
        _, first = await caller.ask("GET", "/api/agents?limit=2")
        assert first["meta"]["hasMore"] is True
        cursor = first["meta"]["nextCursor"]
        _, second = await caller.ask("GET", f"/api/agents?limit=2&cursor={cursor}")
        assert first["data"] + second["data"] == listed["data"]


async def test_a_deleted_default_agent_is_created_again(node: AgentNode) -> None:
    async with called(node) as caller:
        agents = Agents(node.database)
        default = await agents.ensure_default_agent(caller.workspace_id)
        _, shown = await caller.ask("GET", f"/api/agents/{default.id}")
        assert shown["data"]["isDefault"] is True
        status, deleted = await caller.ask("DELETE", f"/api/agents/{default.id}")
        assert (status, deleted["data"]) == (200, {"id": default.id, "deleted": True})
        assert (await caller.ask("DELETE", f"/api/agents/{default.id}"))[0] == 404
        assert (await agents.ensure_default_agent(caller.workspace_id)).id != default.id


async def test_another_workspaces_agent_is_not_found(node: AgentNode) -> None:
    theirs = await new_workspace(node.database, "stranger@example.com")
    foreign = await Agents(node.database).create(theirs, NewAgent("Theirs"))
    answers = []
    async with called(node) as caller:
        for name in (foreign.id, new_id("agt"), "%00", "x"):
            for method, tail, options in (
                ("GET", "", {}),
                ("DELETE", "", {}),
                ("PATCH", "", {"json": {"name": "Mine"}}),
                ("GET", "/turns", {}),
                ("POST", "/turn", {"data": {"file": io.BytesIO(b"x")}}),
            ):
                answers.append(await caller.ask(method, f"/api/agents/{name}{tail}", **options))
    assert {status for status, _ in answers} == {404}
    assert len({str(body) for _, body in answers}) == 1
    assert await Agents(node.database).get(theirs, foreign.id) == foreign
