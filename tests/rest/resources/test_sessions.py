"""Live calls over REST, from another node than the one that carries them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from gateway.app import HOST
from pipelines.engines.scripted.live import tone_of
from rest.resources import sessions as module
from sessions.fanout import END
from store.bus import StreamEntry
from store.tenants.accounts import LOCAL_WORKSPACE
from store.tenants.agents import Agents, NewAgent
from tests.support.gateway.realtime_client import RealtimeClient
from tests.support.gateway.scripted_server import (
    ScriptedServer,
    ask,
    second_node,
    server,
)

pytestmark = pytest.mark.slow

__all__ = ["second_node", "server"]


@asynccontextmanager
async def calling(node: ScriptedServer) -> AsyncIterator[RealtimeClient]:
    """A call; ``query`` is its id."""
    async with node.client(binary=True) as client:
        client.query = (await client.wait_for("session.created"))["session"]["id"]
        yield client


@pytest.fixture
async def caller(server: ScriptedServer) -> AsyncIterator[RealtimeClient]:
    """A call on the first node."""
    async with calling(server) as client:
        yield client


@dataclass
class Api:
    """The second node's platform, with a key for both scopes."""

    node: ScriptedServer
    http: aiohttp.ClientSession
    key: str
    more: dict[str, str] = field(default_factory=dict)

    async def get(self, path: str = "", **options: Any) -> tuple[int, Any]:
        key = options.pop("key", self.key)
        headers = {"Authorization": f"Bearer {key}"}
        url = f"{self.node.url}/api/sessions{path}"
        async with self.http.get(url, headers=headers, **options) as answer:
            return answer.status, await answer.json()

    async def command(self, call_id: str, **body: Any) -> tuple[int, Any]:
        """Status, and what was accepted or why it was not."""
        headers = {"Authorization": f"Bearer {self.key}", **self.more}
        url = f"{self.node.url}/api/sessions/{call_id}/commands"
        async with self.http.post(url, headers=headers, json=body) as answer:
            envelope = await answer.json()
            return answer.status, envelope["data"] if envelope["ok"] else envelope["error"]

    async def events(
        self, call_id: str, *, after: str | None = None, upto: str = "blab.call.ended"
    ) -> list[tuple[int, str, Any]]:
        """Number, name and data of the events, up to the first with that name."""
        headers = {"Authorization": f"Bearer {self.key}"}
        if after is not None:
            headers["Last-Event-ID"] = after
        seen: list[tuple[int, str, Any]] = []
        url = f"{self.node.url}/api/sessions/{call_id}/events"
        async with asyncio.timeout(10), self.http.get(url, headers=headers) as answer:
            if answer.status == 204:
                return []
            assert answer.content_type == "text/event-stream"
            while not seen or seen[-1][1] != upto:
                block = await answer.content.readuntil(b"\n\n")
                if not block:
                    return seen
                if block.startswith(b":"):
                    continue
                fields = dict(line.split(": ", 1) for line in block.decode().strip().splitlines())
                seen.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
        return seen


@pytest.fixture
async def api(second_node: ScriptedServer) -> AsyncIterator[Api]:
    key = await second_node.new_key(scopes=["agents:read", "agents:write"])
    async with aiohttp.ClientSession() as http:
        yield Api(second_node, http, key)


async def listed(api: Api, query: str = "", count: int = 1, **options: Any) -> Any:
    """The list, as soon as it has so many calls."""
    async with asyncio.timeout(5):
        while True:
            status, envelope = await api.get(query, **options)
            assert status == 200
            if len(envelope["data"]) == count:
                return envelope


async def test_live_calls_of_all_nodes_are_listed(
    caller: RealtimeClient, server: ScriptedServer, second_node: ScriptedServer, api: Api
) -> None:
    async with calling(second_node) as other:
        envelope = await listed(api, count=2)
        assert [one["id"] for one in envelope["data"]] == [other.query, caller.query]
        first = await listed(api, "?limit=1")
        assert first["meta"]["hasMore"]
        assert first["data"][0]["id"] == other.query
        rest = await listed(api, f"?limit=1&cursor={first['meta']['nextCursor']}")
        assert [one["id"] for one in rest["data"]] == [caller.query]
        assert not rest["meta"]["hasMore"]
    [one] = (await listed(api))["data"]
    agent = await Agents(server.database).ensure_default_agent(LOCAL_WORKSPACE)
    assert one == {
        "id": caller.query,
        "agentId": agent.id,
        "channel": "websocket",
        "startedAt": one["startedAt"],
        "seconds": one["seconds"],
        "state": "listening",
        "language": None,
        "turns": 0,
    }
    assert 0 <= one["seconds"] < 30


async def test_state_and_turns_follow_the_call(
    caller: RealtimeClient, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ask(caller)
    async with asyncio.timeout(5):
        while True:
            _, envelope = await api.get(f"/{caller.query}")
            if envelope["ok"] and envelope["data"]["turns"] == 1:
                break
    assert envelope["data"]["language"] == "en"


async def test_another_workspace_sees_nothing(
    caller: RealtimeClient, second_node: ScriptedServer, api: Api
) -> None:
    await listed(api)
    foreign = await second_node.foreign_workspace()
    key = await second_node.new_key(foreign, scopes=["agents:read", "agents:write"])
    assert (await listed(api, count=0, key=key))["meta"]["hasMore"] is False
    for path in (f"/{caller.query}", f"/{caller.query}/events"):
        status, envelope = await api.get(path, key=key)
        assert (status, envelope["error"]["code"]) == (404, "NOT_FOUND")
    api.key = key
    assert (await api.command(caller.query, type="hang_up"))[0] == 404
    await ask(caller)


async def test_events_are_followed_and_resumed(caller: RealtimeClient, api: Api) -> None:
    following = asyncio.create_task(api.events(caller.query))
    await ask(caller)
    first = await api.events(caller.query, upto="response.done")
    assert [number for number, _, _ in first] == list(range(1, len(first) + 1))
    await ask(caller)
    rest = await api.events(caller.query, after=str(first[-1][0]), upto="response.done")
    assert (await api.command(caller.query, type="hang_up"))[0] == 200
    await caller.wait_closed()
    whole = await following
    assert whole[: len(first) + len(rest)] == first + rest
    assert whole[-1][1:] == ("blab.call.ended", {"type": "blab.call.ended"})
    assert [data for _, _, data in whole[:-1]] == [event for _, event in caller.events]
    assert await api.events(caller.query) == whole, "it can be read after the call"
    assert await api.events(caller.query, after=str(whole[-2][0])) == []


async def test_a_stream_of_a_call_whose_node_died_ends(
    caller: RealtimeClient, api: Api, second_node: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.02)
    registry = second_node.app[HOST]._registry
    following = asyncio.create_task(api.events(caller.query))

    async def nowhere(*_: str) -> None:
        return None

    await api.events(caller.query, upto="session.created")
    monkeypatch.setattr(registry, "find", nowhere)
    assert [name for _, name, _ in await following] == ["session.created"]


async def test_streams_are_bounded(
    caller: RealtimeClient, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_STREAMS_OF_ONE", 0)
    status, envelope = await api.get(f"/{caller.query}/events")
    assert (status, envelope["error"]["code"]) == (503, "MODEL_UNAVAILABLE")


async def test_say_speaks_a_text_that_joins_the_conversation(
    caller: RealtimeClient, api: Api
) -> None:
    status, accepted = await api.command(caller.query, type="say", text="Number 900 is calling.")
    assert (status, accepted) == (200, {"id": caller.query, "type": "say", "accepted": True})
    done = await caller.wait_for("response.done")
    [item] = done["response"]["output"]
    assert item["content"][0]["transcript"] == "Number 900 is calling."
    assert abs(tone_of(caller.pcm, 24_000) - 900) < 40
    await caller.send({"type": "conversation.item.retrieve", "item_id": item["id"]})
    kept = await caller.wait_for("conversation.item.retrieved")
    assert kept["item"]["content"][0]["transcript"] == "Number 900 is calling."


async def test_say_waits_for_the_reply_or_cuts_it_off(caller: RealtimeClient, api: Api) -> None:
    await api.command(caller.query, type="say", text="one two three four five six seven eight")
    await caller.wait_for("response.created")
    assert (await api.command(caller.query, type="say", text="Then this."))[0] == 200
    status, refusal = await api.command(caller.query, type="say", text="And this.")
    assert (status, refusal["details"]["reason"]) == (
        409,
        "conversation_already_has_active_response",
    )
    await caller.wait_for("response.done", count=2)
    await api.command(caller.query, type="say", text="one two three four five six seven eight")
    await caller.wait_for("response.created", count=3)
    assert (await api.command(caller.query, type="say", text="No.", interrupt=True))[0] == 200
    await caller.wait_for("response.done", count=4)
    replies = [event["response"] for event in caller.of("response.done")]
    assert [reply["status"] for reply in replies] == [
        "completed",
        "completed",
        "cancelled",
        "completed",
    ]


async def test_interrupt_cuts_the_reply_off(caller: RealtimeClient, api: Api) -> None:
    status, refusal = await api.command(caller.query, type="interrupt")
    assert (status, refusal["details"]["reason"]) == (409, "response_cancel_not_active")
    await api.command(caller.query, type="say", text="one two three four five six seven eight")
    await caller.wait_for("response.created")
    assert (await api.command(caller.query, type="interrupt"))[0] == 200
    done = await caller.wait_for("response.done")
    assert done["response"]["status"] == "cancelled"


async def test_inject_adds_a_message_and_may_have_it_answered(
    caller: RealtimeClient, api: Api
) -> None:
    status, _ = await api.command(caller.query, type="inject", text="The caller is in a hurry.")
    assert status == 200
    added = await caller.wait_for("conversation.item.added")
    assert added["item"]["role"] == "system"
    assert not caller.of("response.created")
    await api.command(caller.query, type="inject", role="user", text="Well?", reply=True)
    done = await caller.wait_for("response.done")
    assert done["response"]["status"] == "completed"


async def test_update_changes_the_session_or_names_what_is_wrong(
    caller: RealtimeClient, api: Api
) -> None:
    status, _ = await api.command(caller.query, type="update", session={"instructions": "talk 800"})
    assert status == 200
    updated = await caller.wait_for("session.updated")
    assert updated["session"]["instructions"] == "talk 800"
    status, refusal = await api.command(caller.query, type="update", session={"surprise": 1})
    assert (status, refusal["code"]) == (400, "VALIDATION_ERROR")
    assert refusal["details"] == {"path": "session.surprise", "reason": "unknown_parameter"}
    assert not caller.of("error")


async def test_transfer_lets_another_agent_go_on(
    caller: RealtimeClient, server: ScriptedServer, api: Api
) -> None:
    agents = Agents(server.database)
    agent = await agents.create(
        LOCAL_WORKSPACE, NewAgent("Porter", system_prompt="talk 600", language="de")
    )
    await ask(caller)
    watching = asyncio.create_task(api.events(caller.query, upto="blab.session.transferred"))
    status, _ = await api.command(caller.query, type="transfer", agentId=agent.id)
    assert status == 200
    updated = await caller.wait_for("session.updated")
    assert updated["session"]["instructions"] == "talk 600"
    *_, (_, _, announced) = await watching
    assert (announced["agent_id"], announced["name"]) == (agent.id, "Porter")
    response = await ask(caller)
    assert response["output"][0]["content"][0]["transcript"] == "Answer 600."
    async with asyncio.timeout(5):
        while (await api.get(f"/{caller.query}"))[1]["data"]["agentId"] != agent.id:
            pass
    async with server.client(query=f"call_id={caller.query}", checked=False) as side:
        await side.send({"type": "blab.call.transfer", "agent_id": "agt_absent"})
        error = (await side.wait_for("error"))["error"]
        assert error["code"] == "agent_not_found"


async def test_transfer_to_a_foreign_or_unusable_agent_is_refused(
    caller: RealtimeClient, server: ScriptedServer, api: Api
) -> None:
    agents = Agents(server.database)
    theirs = await agents.create(await server.foreign_workspace(), NewAgent("Spy"))
    for absent in (theirs.id, "agt_x"):
        status, refusal = await api.command(caller.query, type="transfer", agentId=absent)
        assert (status, refusal["details"]["path"]) == (404, "agentId")
    server.engines.absent = frozenset({"gone"})
    broken = await agents.create(LOCAL_WORKSPACE, NewAgent("Broken", model="gone"))
    status, refusal = await api.command(caller.query, type="transfer", agentId=broken.id)
    assert (status, refusal["code"]) == (409, "MODEL_UNAVAILABLE")
    await ask(caller)


BAD: list[tuple[dict[str, Any], str]] = [
    ({}, "type"),
    ({"type": "shout"}, "type"),
    ({"type": "say"}, "text"),
    ({"type": "say", "text": " "}, "text"),
    ({"type": "say", "text": "x" * 5000}, "text"),
    ({"type": "inject"}, "text"),
    ({"type": "inject", "text": "x", "role": "assistant"}, "role"),
    ({"type": "update"}, "session"),
    ({"type": "update", "session": 1}, "session"),
    ({"type": "transfer"}, "agentId"),
]


async def test_bad_commands_name_the_field(caller: RealtimeClient, api: Api) -> None:
    for body, path in BAD:
        status, refusal = await api.command(caller.query, **body)
        assert (status, refusal["details"]["path"]) == (400, path), body
    await ask(caller)


async def test_commands_need_the_scope_and_honour_the_idempotency_key(
    caller: RealtimeClient, second_node: ScriptedServer, api: Api
) -> None:
    whole, api.key = api.key, await second_node.new_key(scopes=["agents:read"])
    assert (await api.command(caller.query, type="hang_up"))[0] == 403
    api.key, api.more = whole, {"Idempotency-Key": "once"}
    for _ in range(2):
        assert (await api.command(caller.query, type="say", text="Once."))[0] == 200
    await caller.wait_for("response.done")
    await ask(caller)
    assert len(caller.of("response.done")) == 2


async def test_a_call_that_does_not_answer(
    caller: RealtimeClient, api: Api, second_node: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sessions.remote.ANSWER_SECONDS", 0.05)
    call_id = caller.query.replace(caller.query[-1], "x")
    record = await second_node.bus.get(f"call:{caller.query}:record")
    while record is None:
        record = await second_node.bus.get(f"call:{caller.query}:record")
    dead = record.replace(caller.query.encode(), call_id.encode())
    dead = dead.replace(b'"node_id":"node_', b'"node_id":"none_')
    await second_node.bus.put(f"call:{call_id}:record", dead, 10)
    status, refusal = await api.command(call_id, type="hang_up")
    assert (status, refusal["details"]["reason"]) == (503, "no_answer")


async def test_a_stream_without_an_end_in_it_is_given_up_after_the_call(
    caller: RealtimeClient, api: Api, second_node: ScriptedServer
) -> None:
    """Its number may be asked for after the call, too."""
    await api.events(caller.query, upto="session.created")
    await second_node.bus.append(
        [StreamEntry(f"call:{caller.query}:events", 1_000_000, END)], keep=2000, ttl=60
    )
    seen = await api.events(caller.query)
    assert [name for _, name, _ in seen][-2:] == ["blab.events.missed", "blab.call.ended"]
