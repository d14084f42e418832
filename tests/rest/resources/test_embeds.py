"""The embeds of a workspace's agents over HTTP; calls from them are in tests/integration."""

from typing import Any, cast

import pytest

from rest.http.pagination import Cursors
from rest.resources.embeds import READ, WRITE, EmbedResource
from store.database import Database
from store.ids import new_id
from store.tenants.agents import Agents, NewAgent
from store.tenants.embeds import Embeds, Granted, NewEmbed, Visits
from tests.support.pipelines.job_support import new_workspace
from tests.support.rest.resource_app import ask, serving

pytestmark = pytest.mark.slow
SHOP = {"name": "Shop", "origins": ["https://Shop.Example:443/", "https://*.shop.example"]}
DEFAULTS = {
    "callsPerMinute": 6,
    "maxCalls": 2,
    "maxCallMinutes": 10,
    "minutesPerDay": 120,
    "enabled": True,
    "choices": [],
    "texts": {},
    "callsNow": 0,
    "waitingNow": 0,
    "secondsToday": 0,
}


def resource(database: Database) -> EmbedResource:
    nobody_calls = cast(Any, None)
    return EmbedResource(database, nobody_calls, nobody_calls, Cursors(b"secret"))


async def new_agent(database: Database, workspace_id: str) -> str:
    return (await Agents(database).create(workspace_id, NewAgent("Ann"))).id


async def test_an_embed_is_made_changed_and_deleted(database: Database) -> None:
    ours = await new_workspace(database)
    agent_id = await new_agent(database, ours)
    async with serving(resource(database), ours, [READ, WRITE]) as client:
        of_agent = f"/api/agents/{agent_id}/embeds"
        status, made = await ask(client, "POST", of_agent, SHOP)
        assert status == 200
        assert made["id"].startswith("emb_")
        assert made["origins"] == ["https://shop.example", "https://*.shop.example"]
        assert made == made | DEFAULTS | {"agentId": agent_id, "name": "Shop"}
        one = f"/api/embeds/{made['id']}"
        assert await ask(client, "GET", one) == (200, made)
        assert await ask(client, "GET", of_agent) == (200, [made])

        texts = {"title": "Ask us", "consent": "All right?", "language": "de", "accent": "#00aa00"}
        changes = {"minutesPerDay": 5, "choices": ["voice", "voice"], "texts": texts}
        status, changed = await ask(client, "PATCH", one, changes)
        assert (status, changed["minutesPerDay"], changed["texts"]) == (200, 5, texts)
        assert (changed["name"], changed["choices"]) == ("Shop", ["voice"])
        assert changed["updatedAt"] >= made["updatedAt"]
        assert await ask(client, "PATCH", one, {"enabled": False}) == (
            200,
            changed
            | {"enabled": False}
            | {"updatedAt": (await ask(client, "GET", one))[1]["updatedAt"]},
        )
        assert await ask(client, "DELETE", one) == (200, {"id": made["id"], "deleted": True})
        assert (await ask(client, "GET", one))[0] == 404
        assert await ask(client, "GET", of_agent) == (200, [])


class OneCall:
    """A registry and a way to requests in which every call is on one node, whose queue is full for
    so many requests."""

    def __init__(self, full: int) -> None:
        self.full = full
        self.ended: list[str] = []

    async def find(self, _workspace_id: str, _call_id: str) -> str:
        return "node"

    async def send(self, _node_id: str, call_id: str, _request: object) -> bool:
        self.full -= 1
        if self.full < 0:
            self.ended.append(call_id)
        return self.full < 0


@pytest.mark.parametrize(
    ("method", "body", "gone"), [("PATCH", {"enabled": False}, False), ("DELETE", None, True)]
)
async def test_calls_that_cannot_be_ended_now_are_ended_by_the_same_request(
    database: Database, method: str, body: Any, *, gone: bool
) -> None:
    ours = await new_workspace(database)
    agent_id = await new_agent(database, ours)
    embed = await Embeds(database).create(ours, agent_id, NewEmbed("Shop", ["https://s.example"]))
    assert embed is not None
    visits, calls = Visits(database), [new_id("call") for _ in range(2)]
    for call_id in calls:
        visit = await visits.ask(embed, None, room=True)
        assert isinstance(visit, Granted)
        assert await visits.begin(ours, embed.id, visit.visit_id, call_id)
    node = cast(Any, OneCall(full=1))
    made = EmbedResource(database, node, node, Cursors(b"secret"))
    one = f"/api/embeds/{embed.id}"
    async with serving(made, ours, [READ, WRITE]) as client:
        status, refused = await ask(client, method, one, body)
        assert (status, refused["details"]["reason"]) == (503, "calls_in_progress")
        assert len(node.ended) == 1
        assert (await ask(client, "GET", one))[1]["enabled"] is False
        assert (await ask(client, method, one, body))[0] == 200
        assert set(node.ended) == set(calls)
        assert ((await ask(client, "GET", one))[0] == 404) == gone


async def test_foreign_embeds_and_agents_look_absent(database: Database) -> None:
    ours, theirs = await new_workspace(database), await new_workspace(database, "t@example.org")
    agent_id = await new_agent(database, theirs)
    async with serving(resource(database), ours, [READ, WRITE]) as client:
        of_agent = f"/api/agents/{agent_id}/embeds"
        _, made = await ask(client, "POST", of_agent, SHOP, as_workspace=theirs)
        one = f"/api/embeds/{made['id']}"
        for method, path, body in (
            ("POST", of_agent, SHOP),
            ("GET", of_agent, None),
            ("GET", one, None),
            ("PATCH", one, {"name": "Ours"}),
            ("DELETE", one, None),
        ):
            absent = path.replace(agent_id, "agt_x").replace(made["id"], "emb_x")
            status, error = await ask(client, method, path, body)
            assert status == 404
            assert (status, error) == await ask(client, method, absent, body)
        assert (await ask(client, "GET", one, as_workspace=theirs)) == (200, made)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"origins": []}, "origins"),
        ({"origins": ["*"]}, "origins[0]"),
        ({"origins": ["https://shop.example", "null"]}, "origins[1]"),
        ({"origins": ["https://shop.example/page"]}, "origins[0]"),
        ({"origins": ["https://*.com"]}, "origins[0]"),
        ({"maxCalls": 0}, "maxCalls"),
        ({"maxCallMinutes": 61}, "maxCallMinutes"),
        ({"minutesPerDay": 1.5}, "minutesPerDay"),
        ({"callsPerMinute": None}, "callsPerMinute"),
        ({"choices": ["instructions"]}, "choices[0]"),
        ({"texts": {"accent": "red"}}, "texts.accent"),
        ({"texts": {"consent": "x" * 2001}}, "texts.consent"),
    ],
)
async def test_what_fits_no_embed_is_refused(
    database: Database, body: dict[str, Any], path: str
) -> None:
    ours = await new_workspace(database)
    agent_id = await new_agent(database, ours)
    async with serving(resource(database), ours, [READ, WRITE]) as client:
        of_agent = f"/api/agents/{agent_id}/embeds"
        status, error = await ask(client, "POST", of_agent, SHOP | body)
        assert (status, error["details"]["path"]) == (400, path)
        _, made = await ask(client, "POST", of_agent, SHOP)
        status, error = await ask(client, "PATCH", f"/api/embeds/{made['id']}", body)
        assert (status, error["details"]["path"]) == (400, path)
        assert await ask(client, "GET", f"/api/embeds/{made['id']}") == (200, made)
