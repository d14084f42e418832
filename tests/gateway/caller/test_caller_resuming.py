"""A caller whose connection is lost goes on over another one, against real nodes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.caller import CallEnded, Caller, CallerChannel, CallerWebRtc, CallerWebSocket
from gateway.caller import caller as caller_module
from tests.gateway.calls.test_takeovers import ASKS, RESUMPTION, WORDS, slow_answers, stored
from tests.support.gateway.realtime_server import RealtimeServer, running
from tests.support.gateway.scripted_server import ScriptedServer, second_node, server

__all__ = ["second_node", "server"]

pytestmark = pytest.mark.slow

Open = Callable[[ScriptedServer, str | None], Awaitable[CallerChannel]]


async def websocket(node: ScriptedServer, handle: str | None = None) -> CallerChannel:
    return await CallerWebSocket.open(node.url, node.key, resume=handle)


async def webrtc(node: ScriptedServer, handle: str | None = None) -> CallerChannel:
    return await CallerWebRtc.open(node.url, node.key, resume=handle)


@asynccontextmanager
async def calling(
    node: ScriptedServer, open: Open = websocket, returns_to: ScriptedServer | None = None
) -> AsyncIterator[Caller]:
    """A caller with a handle, who comes back to the same node, or to another one."""

    async def resume(handle: str) -> CallerChannel:
        back = returns_to or node
        back.key = node.key
        return await open(back, handle)

    async with Caller(await open(node, None), resume=resume) as caller:
        await caller.wait_for("session.created", within=5)
        await caller.send(ASKS)
        await caller.wait_for(RESUMPTION, within=5)
        yield caller


def calls_of(caller: Caller) -> list[str]:
    return [e.event["session"]["id"] for e in caller.events if e.type == "session.created"]


@pytest.mark.parametrize("open", [websocket, webrtc])
async def test_a_lost_connection_is_replaced_in_the_middle_of_a_reply(
    open: Open, server: ScriptedServer
) -> None:
    slow_answers(server)
    async with calling(server, open) as caller:
        await caller.send({"type": "response.create"})
        await caller.wait_audible(within=5, since=caller.start)
        cut = caller.now()
        caller.channel.abandon()
        await caller.wait_for(RESUMPTION, within=10, since=cut)
        await caller.send({"type": "blab.ping", "event_id": "after"})
        await caller.wait_settled(within=15, since=cut)
        assert caller.resumed == 1
        assert caller.closed_because is None
        first, again = calls_of(caller)
        assert first == again
        done = [e.event["response"]["status"] for e in caller.events if e.type == "response.done"]
        assert done == ["cancelled", "completed"]
    async with asyncio.timeout(5):
        while not (found := await stored(server, first))[1]:
            await asyncio.sleep(0.02)
    assert [turn.heard_text for turn in found[1]] == [WORDS]


async def test_a_node_that_stops_hands_the_caller_over(
    server: ScriptedServer, second_node: ScriptedServer
) -> None:
    async with calling(server, returns_to=second_node) as caller:
        draining = asyncio.create_task(server.host.drain(30))
        began = caller.now()
        resumed = await caller.wait_for(
            lambda e: e.type == RESUMPTION and e.event["resumed"], within=10, since=began
        )
        assert resumed.event["reconnect"] is False
        assert (caller.resumed, len(set(calls_of(caller)))) == (1, 1)
        assert second_node.app_calls() == server.app_calls() + second_node.app_calls()
        assert caller.closed_because is None
        await draining


async def test_a_call_that_is_gone_ends(server: ScriptedServer) -> None:
    async def resume(handle: str) -> CallerChannel:
        return await websocket(server, f"{handle}x")

    async with Caller(await websocket(server), resume=resume) as caller:
        await caller.send(ASKS)
        await caller.wait_for(RESUMPTION, within=5)
        caller.channel.abandon()
        with pytest.raises(CallEnded, match="resumption_not_found"):
            await caller.wait_for("never", within=10)


async def test_without_a_handle_a_lost_connection_ends_the_call(server: ScriptedServer) -> None:
    async def resume(_handle: str) -> CallerChannel:
        raise AssertionError("there is no handle")

    async with Caller(await websocket(server), resume=resume) as caller:
        await caller.wait_for("session.created", within=5)
        caller.channel.abandon()
        with pytest.raises(CallEnded, match="connection lost"):
            await caller.wait_for("never", within=5)


async def test_a_network_that_has_fallen_silent_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(caller_module, "PING_SECONDS", 0.05)
    monkeypatch.setattr(caller_module, "LOST_SECONDS", 0.3)
    async with running(RealtimeServer()) as small:

        async def open(handle: str | None = None) -> CallerChannel:
            small.deaf = False
            return await CallerWebSocket.open(small.url, None, resume=handle)

        async with Caller(await open(), resume=open) as caller:
            await caller.send(ASKS)
            await caller.wait_for(RESUMPTION, within=5)
            small.deaf = True
            events: Any = caller.events
            count = len([e for e in events if e.type == "session.created"])
            await caller.wait_for(
                lambda e: e.type == "session.created" and e.at > events[0].at + 0.01, within=5
            )
            assert (count, caller.resumed) == (1, 1)
        assert small.queries == ["model=default", "resume=resume.one"]
        assert all(e.type != "blab.pong" for e in caller.events)
