"""Sidebands of running calls, joined from another node than the one that carries them."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from openai import AsyncOpenAI

from gateway.calls import sidebands as door
from gateway.calls.sidebands import LIMITS, Timing
from gateway.services import EmbeddedServices, ServiceUrls
from pipelines.engines.scripted.live import tone_of
from rest.accounts.keys import EphemeralKeys, Grant
from sessions.remote import WAITING
from store.database import Database
from store.tenants.accounts import LOCAL_WORKSPACE
from tests.support.gateway.realtime_client import RealtimeClient
from tests.support.gateway.scripted_server import (
    ScriptedServer,
    ask,
    refused,
    running_node,
    second_node,
    server,
)

pytestmark = pytest.mark.slow

__all__ = ["second_node", "server"]

UPDATE = {"type": "session.update", "session": {"type": "realtime", "instructions": "talk 800"}}


@asynccontextmanager
async def calling(node: ScriptedServer) -> AsyncIterator[RealtimeClient]:
    """A call; ``query`` is its id."""
    async with node.client(binary=True) as client:
        created = await client.wait_for("session.created")
        client.query = created["session"]["id"]
        yield client


@pytest.fixture
async def caller(server: ScriptedServer) -> AsyncIterator[RealtimeClient]:
    """A call on the first node."""
    async with calling(server) as client:
        yield client


def joined(node: ScriptedServer, caller: RealtimeClient, **options: Any) -> RealtimeClient:
    if (after := options.pop("after", None)) is not None:  # numbered, which no model knows
        return node.client(query=f"call_id={caller.query}&after={after}", checked=False)
    return node.client(query=f"call_id={caller.query}", **options)


def numbers(client: RealtimeClient) -> list[int]:
    return [event["sequence_number"] for _, event in client.events]


async def test_past_events_are_replayed_and_new_ones_follow(
    caller: RealtimeClient, server: ScriptedServer, second_node: ScriptedServer
) -> None:
    await ask(caller)
    async with joined(second_node, caller) as side, joined(server, caller) as near:
        await side.wait_for("response.done")
        await ask(caller)
        for observer in (side, near):
            await observer.wait_for("response.done", count=2)
            assert [event for _, event in observer.events] == [event for _, event in caller.events]
            assert not observer.audio


async def test_a_reconnecting_observer_misses_nothing(
    caller: RealtimeClient, second_node: ScriptedServer
) -> None:
    await ask(caller)
    async with joined(second_node, caller, after=0) as side:
        await side.wait_for("response.done")
        seen = numbers(side)
        assert seen == list(range(1, len(seen) + 1))
    await ask(caller)
    async with joined(second_node, caller, after=seen[-1]) as side:
        await side.wait_for("response.done")
        assert numbers(side) == [seen[-1] + n + 1 for n in range(len(side.events))]


async def test_missed_events_are_reported_to_observers_with_a_number(
    caller: RealtimeClient, second_node: ScriptedServer
) -> None:
    await ask(caller)
    stream = f"{second_node.bus._prefix}call:{caller.query}:events"
    async with joined(second_node, caller, after=0) as side:
        await side.wait_for("response.done")
    await second_node.bus._redis.xdel(stream, "1-0", "2-0")
    async with joined(second_node, caller, after=0) as side:
        missed = await side.wait_for("blab.events.missed")
        assert (missed["first"], missed["last"], missed["sequence_number"]) == (1, 2, 2)


async def test_a_late_observer_gets_the_session_first(
    caller: RealtimeClient, second_node: ScriptedServer
) -> None:
    async with joined(second_node, caller) as side:
        await side.send(UPDATE)
        await side.wait_for("session.updated")
    stream = f"{second_node.bus._prefix}call:{caller.query}:events"
    await second_node.bus._redis.xdel(stream, "1-0")
    async with joined(second_node, caller) as side:
        created = await side.wait_for("session.created")
        assert created["session"]["instructions"] == "talk 800"
        assert created["session"]["id"] == caller.query
        await ask(side)
        assert side.events[0][1]["type"] == "session.created"
        assert not side.of("session.updated")
    assert len(caller.of("session.created")) == 1


async def test_a_sideband_controls_the_call_and_leaves_it_running(
    caller: RealtimeClient, server: ScriptedServer, second_node: ScriptedServer
) -> None:
    async with joined(second_node, caller) as side:
        await side.send(UPDATE)
        updated = await side.wait_for("session.updated")
        assert updated["session"]["instructions"] == "talk 800"
        await caller.wait_for("session.updated")
        await ask(side)
        await caller.wait_for("response.done")
        assert [e["item"]["role"] for e in caller.of("conversation.item.done")] == [
            "user",
            "assistant",
        ]
        assert abs(tone_of(caller.pcm, 24_000) - 800) < 40
        await side.send({"type": "response.create"})
        await side.wait_for("response.created", count=2)
        await side.send({"type": "response.cancel"})
        done = await side.wait_for("response.done", count=2)
        assert done["response"]["status"] == "cancelled"
        await side.send({"type": "response.create"})
        await side.wait_for("response.created", count=3)
        await side.send({"type": "output_audio_buffer.clear"})
        done = await side.wait_for("response.done", count=3)
        assert done["response"]["status"] == "cancelled"
    await ask(caller)
    assert not caller.of("error")


async def test_refusals_go_only_to_their_sideband(
    caller: RealtimeClient, second_node: ScriptedServer
) -> None:
    async with joined(second_node, caller) as side, joined(second_node, caller) as other:
        await side.send({"type": "session.update", "event_id": "e1", "session": {"x": 1}})
        await side.send({"type": "response.cancel", "event_id": "e2"})
        await side.wait_for("error", count=2)
        errors = [event["error"] for event in side.of("error")]
        assert [error["event_id"] for error in errors] == ["e1", "e2"]
        assert errors[0]["param"] == "session.x"
        await side.send(UPDATE)
        await other.wait_for("session.updated")
        assert not other.of("error")
    await ask(caller)
    assert not caller.of("error")


BAD = [
    ("{", "invalid_json"),
    (b'{"type": "\xff\xfe"}', "invalid_json"),
    ('{"type": "\\ud800"}', "invalid_json"),
    ("[]", "invalid_event"),
    (b"\x00\x00", "unexpected_binary"),
    ('{"type":"input_audio_buffer.append","audio":"AAAA"}', "unsupported_value"),
    ('{"type":"input_audio_buffer.commit"}', "unsupported_value"),
    ('{"type":7}', "invalid_type"),
    ('{"event_id":"e"}', "missing_required_parameter"),
    ('{"type":"surprise"}', "unknown_event"),
    ('{"type":"conversation.item.delete","item_id":"foreign"}', "item_not_found"),
]


async def test_bad_events_are_answered_and_the_sideband_goes_on(
    caller: RealtimeClient, second_node: ScriptedServer
) -> None:
    async with joined(second_node, caller) as side:
        for count, (message, code) in enumerate(BAD, 1):
            await side.connection.send(message, text=code != "unexpected_binary")
            error = (await side.wait_for("error", count=count))["error"]
            assert (error["type"], error["code"]) == ("invalid_request_error", code)
        await side.send(UPDATE)
        await side.wait_for("session.updated")
    assert not caller.of("error")


async def test_a_message_that_is_too_long_ends_only_the_sideband(
    caller: RealtimeClient, second_node: ScriptedServer
) -> None:
    async with joined(second_node, caller) as side:
        await side.wait_for("session.created")
        await side.connection.send("x" * (LIMITS.max_message_bytes + 1))
        assert (await side.wait_closed())[0] == 1009
    await ask(caller)


async def test_a_sideband_hangs_up_and_ends_with_the_call(
    caller: RealtimeClient, second_node: ScriptedServer
) -> None:
    async with joined(second_node, caller) as side:
        await side.wait_for("session.created")
        await side.send({"type": "blab.call.hang_up"})
        assert await caller.wait_closed() == (1000, "client_hangup")
        assert await side.wait_closed() == (1000, "call_ended")


async def test_a_call_is_hung_up_over_http_from_another_node(
    caller: RealtimeClient, second_node: ScriptedServer
) -> None:
    foreign = await second_node.new_key(await second_node.foreign_workspace())
    url = f"{second_node.calls_url}/{caller.query}/hangup"
    async with aiohttp.ClientSession() as http:
        for key, status in ((foreign, 404), (second_node.key, 200)):
            async with http.post(url, headers={"Authorization": f"Bearer {key}"}) as answer:
                assert answer.status == status
    assert await caller.wait_closed() == (1000, "client_hangup")


async def test_another_workspaces_call_is_not_found(
    caller: RealtimeClient, second_node: ScriptedServer
) -> None:
    foreign = await second_node.new_key(await second_node.foreign_workspace())
    query = f"call_id={caller.query}"

    async def answer(key: str, query: str) -> tuple[int, str]:
        return await refused(second_node, query=query, headers={"Authorization": f"Bearer {key}"})

    assert await answer(foreign, query) == (404, "call_not_found")
    for absent in ("call_nowhere", "", "x" * 500, "%00", "%F0%9F%98%80"):
        assert await answer(second_node.key, f"call_id={absent}") == (404, "call_not_found")
    for wrong in ("-1", "x", "9" * 20, "%C2%B2"):
        assert await answer(second_node.key, f"{query}&after={wrong}") == (400, "invalid_value")
    assert await answer("nonsense", query) == (401, "invalid_api_key")
    key = await EphemeralKeys(second_node.bus).mint(Grant(LOCAL_WORKSPACE))
    assert await answer(key.value, query) == (403, "insufficient_permissions")


async def test_sidebands_are_bounded(
    caller: RealtimeClient, second_node: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "MOST_OF_ONE", 1)
    headers = {"Authorization": f"Bearer {second_node.key}"}
    async with joined(second_node, caller) as side:
        await side.wait_for("session.created")
        answer = await refused(second_node, query=f"call_id={caller.query}", headers=headers)
        assert answer == (503, "too_many_sidebands")
    async with asyncio.timeout(5):
        while second_node.app[door.SIDEBANDS]._present:
            await asyncio.sleep(0.005)
    async with joined(second_node, caller) as side:
        await side.wait_for("session.created")


async def test_a_flood_of_events_is_refused(
    caller: RealtimeClient, server: ScriptedServer, second_node: ScriptedServer
) -> None:
    async with joined(second_node, caller) as side:
        await side.wait_for("session.created")
        box = f"call:{caller.query}:commands"
        for _ in range(WAITING):  # without a ring of the bell: nobody comes
            await server.bus.post(box, b"{}", bell="unheard", name="x", keep=WAITING, ttl=10)
        await side.send({"type": "response.create", "event_id": "e"})
        error = (await side.wait_for("error"))["error"]
        assert (error["code"], error["event_id"]) == ("too_many_events", "e")
        await server.bus.delete(box)


async def test_a_call_goes_on_while_redis_hangs_and_its_sideband_afterwards(
    database: Database, own_database_url: str, own_valkey: EmbeddedServices, tmp_path: Path
) -> None:
    urls = ServiceUrls(own_database_url, own_valkey.urls.redis_url)
    async with (
        running_node(database, urls, tmp_path / "first") as first,
        running_node(database, urls, tmp_path / "second") as second,
        calling(first) as caller,
        joined(second, caller) as side,
    ):
        await side.wait_for("session.created")
        os.kill(own_valkey.pids["valkey"], signal.SIGSTOP)
        try:
            await side.send(UPDATE | {"event_id": "e"})
            await ask(caller)
            error = (await side.wait_for("error"))["error"]
            assert (error["type"], error["code"]) == ("server_error", "storage_unavailable")
            assert error["event_id"] == "e"
        finally:
            os.kill(own_valkey.pids["valkey"], signal.SIGCONT)
        await side.wait_for("response.done")
        await side.send(UPDATE)
        await side.wait_for("session.updated")
        await ask(caller)
        await side.wait_for("response.done", count=2)


async def test_a_call_whose_node_is_gone_ends_its_sidebands(
    caller: RealtimeClient, second_node: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    second_node.app[door.SIDEBANDS]._timing = Timing(look=0.02)
    async with joined(second_node, caller) as side:
        await side.wait_for("session.created")
        registry = second_node.app[door.SIDEBANDS]._registry

        async def nowhere(*_: str) -> None:
            return None

        monkeypatch.setattr(registry, "find", nowhere)
        assert await side.wait_closed() == (1012, "call_lost")


async def test_an_observer_that_reads_nothing_is_closed(
    caller: RealtimeClient, second_node: ScriptedServer
) -> None:
    second_node.app[door.SIDEBANDS]._timing = Timing(send=0.05)
    side = joined(second_node, caller)
    async with side:
        await side.wait_for("session.created")
        side.connection.transport.pause_reading()
        big = json.dumps({"type": "session.update", "session": {"instructions": "x" * 60_000}})
        tasks = second_node.app[door.SIDEBANDS]._tasks
        async with asyncio.timeout(60):
            while tasks:
                await caller.connection.send(big)
        side.connection.transport.resume_reading()
    await ask(caller)


async def test_the_server_ends_its_sidebands_when_it_stops(
    caller: RealtimeClient, second_node: ScriptedServer
) -> None:
    async with joined(second_node, caller) as side:
        await side.wait_for("session.created")
        await second_node.server.close()
        assert await side.wait_closed() == (1001, "server_shutdown")
    await ask(caller)


async def test_the_stock_client_joins(caller: RealtimeClient, second_node: ScriptedServer) -> None:
    client = AsyncOpenAI(api_key=second_node.key, base_url=f"{second_node.url}/v1")
    async with client, client.realtime.connect(call_id=caller.query) as connection:
        assert (await connection.recv()).type == "session.created"
        await connection.session.update(session={"type": "realtime", "instructions": "Hi."})
        updated = await connection.recv()
        assert updated.type == "session.updated"
        assert updated.session.type == "realtime"
        assert updated.session.instructions == "Hi."
