"""Calls over WebRTC that are resumed with a new offer: at the same node, and at another one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest

from gateway.channels.webrtc import ice
from tests.gateway.calls.test_takeovers import (
    ASKS,
    RESUMPTION,
    WORDS,
    ended,
    slow_answers,
    stored,
)
from tests.support.gateway.scripted_server import ScriptedServer, second_node, server
from tests.support.gateway.webrtc_client import Caller

__all__ = ["second_node", "server"]


def calling(node: ScriptedServer, handle: str = "") -> Caller:
    query = f"?resume={handle}" if handle else ""
    headers = {"Authorization": f"Bearer {node.key}"}
    return Caller(f"{node.calls_url}{query}", headers=headers, checked=not handle)


@asynccontextmanager
async def resumable(node: ScriptedServer) -> AsyncIterator[Caller]:
    """A call whose client has asked for a handle."""
    async with calling(node) as caller:
        await caller.event("session.created")
        caller.send(ASKS)
        await caller.event(RESUMPTION)
        yield caller


async def speaking(caller: Caller, seconds: float = 1.0) -> None:
    """Ask something, and hear so much of the answer."""
    caller.send({"type": "response.create"})
    await caller.event("output_audio_buffer.started")
    await caller.listen(seconds)


def handle_of(caller: Caller) -> str:
    """The newest handle."""
    handle: str = [event for event in caller.events if event["type"] == RESUMPTION][-1]["handle"]
    return handle


@pytest.mark.parametrize("elsewhere", [False, True], ids=["same node", "another node"])
async def test_a_new_offer_resumes_the_call_of_a_peer_that_vanished(
    elsewhere: bool, server: ScriptedServer, second_node: ScriptedServer
) -> None:
    slow_answers(server)
    node = second_node if elsewhere else server
    async with resumable(server) as first:
        await speaking(first)
        first.vanish()
        began = asyncio.get_running_loop().time()
        async with calling(node, handle_of(first)) as second:
            await second.event("session.created")
            assert asyncio.get_running_loop().time() - began < 3  # long before the loss is noticed
            assert second.call_id == first.call_id
            assert node.app_calls() == (first.call_id,)
            truncated = await second.event("conversation.item.truncated")
            assert 500 <= truncated["audio_end_ms"] <= 2_500
            await second.event("output_audio_buffer.stopped", timeout=10)
            assert (await second.event(RESUMPTION))["resumed"] is True
            spoken = "".join(
                event["delta"]
                for event in second.events
                if event["type"] == "response.output_audio_transcript.delta"
            )
            assert WORDS.endswith(spoken.strip())
            assert len(spoken) > len(WORDS) / 3
    call, turns = await ended(node, first.call_id)
    assert call.node_id == node.app_node
    assert [(turn.number, turn.heard_text) for turn in turns] == [(1, WORDS)]


async def test_the_call_of_a_peer_that_vanished_is_suspended(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ice, "CONSENT_EXPIRY", 0.8)
    monkeypatch.setattr(ice, "CONSENT_INTERVAL", 0.1)
    async with resumable(server) as caller:
        caller.vanish()
        await server.empty()
        assert (await stored(server, caller.call_id))[0].ended_at is None
        assert (await server.live(caller.call_id)).state == "suspended"


def audible_ms(caller: Caller) -> int:
    """How much of the agent's voice has reached the caller's ear."""
    loud = (np.abs(np.frombuffer(packet.pcm, "<i2")).max() > 300 for packet in caller.ear.heard)
    return 20 * sum(map(bool, loud))


async def test_what_was_sent_into_a_dead_network_was_not_heard(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ice, "CONSENT_EXPIRY", 3.0)
    slow_answers(server)
    async with resumable(server) as first:
        await speaking(first)
        first.vanish()
        heard = audible_ms(first)
        assert 500 <= heard <= 2_500
        await server.empty(10)
        async with calling(server, handle_of(first)) as second:
            truncated = await second.event("conversation.item.truncated")
            assert heard - 300 <= truncated["audio_end_ms"] <= heard + 100
    _, turns = await ended(server, first.call_id)
    assert [turn.number for turn in turns] == [1]


async def test_a_peer_that_leaves_ends_its_call(server: ScriptedServer) -> None:
    async with resumable(server) as caller:
        pass
    call, _ = await ended(server, caller.call_id)
    assert call.end_reason == "peer_gone"


async def test_an_unknown_handle_is_refused(server: ScriptedServer) -> None:
    caller = calling(server, "nonsense")
    with pytest.raises(AssertionError, match="resumption_not_found"):
        await caller.dial()
    await caller.hang_up()
