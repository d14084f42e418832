"""Listening in to a call from another node than the one that carries it."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import numpy as np
import pytest

from gateway.app import HOST
from gateway.calls import listeners as module
from gateway.calls import sidebands as door
from pipelines.engines.scripted.live import tone, tone_of
from sessions import audio_taps
from sessions.audio_tap import AGENT, CALLER, MISSING
from tests.support.gateway.realtime_client import RealtimeClient
from tests.support.gateway.scripted_server import (
    RATE,
    ScriptedServer,
    ask,
    refused,
    second_node,
    server,
)

pytestmark = pytest.mark.slow

__all__ = ["second_node", "server"]

HEADER = struct.Struct("!BBHIQ")


@pytest.fixture
async def caller(server: ScriptedServer) -> AsyncIterator[RealtimeClient]:
    """A call on the first node; ``query`` is its id."""
    async with server.client(binary=True) as client:
        client.query = (await client.wait_for("session.created"))["session"]["id"]
        yield client


class Listener:
    """A WebSocket that listens in, and what came."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.ws = ws
        self.messages: list[tuple[int, int, int, int, bytes]] = []

    def pcm(self, track: int) -> bytes:
        return b"".join(one[4] for one in self.messages if one[0] == track)

    async def until(self, track: int, seconds: float) -> None:
        """Read until so much of a track has come."""
        async with asyncio.timeout(10):
            while len(self.pcm(track)) < seconds * RATE * 2:
                await self.read()

    async def read(self) -> None:
        data = await self.ws.receive_bytes()
        track, flags, zero, rate, at = HEADER.unpack_from(data)
        assert zero == 0
        assert rate in (0, RATE)
        self.messages.append((track, flags, rate, at, data[HEADER.size :]))


@asynccontextmanager
async def listening(
    node: ScriptedServer, caller: RealtimeClient, first: ScriptedServer
) -> AsyncIterator[Listener]:
    """A listener at ``node``; the call's node has begun to tap the call."""
    url = f"{node.url}/v1/realtime?call_id={caller.query}&listen=true"
    headers = {"Authorization": f"Bearer {node.key}"}
    async with aiohttp.ClientSession() as http, http.ws_connect(url, headers=headers) as ws:
        session = first.app[HOST].find(caller.query)
        assert session is not None
        async with asyncio.timeout(5):
            while session.tap is None:
                await asyncio.sleep(0.005)
        yield Listener(ws)


async def test_both_tracks_are_heard_from_any_node(
    caller: RealtimeClient, server: ScriptedServer, second_node: ScriptedServer
) -> None:
    async with (
        listening(second_node, caller, server) as far,
        listening(second_node, caller, server) as too,
        listening(server, caller, server) as near,
    ):
        await caller.send_audio(tone(440, RATE // 2, RATE))
        await ask(caller)
        for listener in (far, too, near):
            await listener.until(AGENT, 0.2)
            await listener.until(CALLER, 0.5)
            assert abs(tone_of(listener.pcm(CALLER), RATE) - 440) < 20
            assert abs(tone_of(listener.pcm(AGENT), RATE) - 700) < 40
            whole = np.frombuffer(caller.pcm, np.int16)
            heard = np.frombuffer(listener.pcm(AGENT), np.int16)
            assert heard.tolist() == whole[: len(heard)].tolist()
            assert not [one for one in listener.messages if one[1] == MISSING]


async def test_a_call_is_tapped_only_while_somebody_listens(
    caller: RealtimeClient,
    server: ScriptedServer,
    second_node: ScriptedServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(audio_taps, "LISTEN_SECONDS", 0.2)
    session = server.app[HOST].find(caller.query)
    assert session is not None
    assert session.tap is None
    async with listening(second_node, caller, server):
        pass
    async with asyncio.timeout(5):
        while session.tap is not None:
            await asyncio.sleep(0.01)
    assert second_node.app[door.SIDEBANDS]._listeners._relays == {}


async def test_listening_ends_with_the_call(
    caller: RealtimeClient, server: ScriptedServer, second_node: ScriptedServer
) -> None:
    async with listening(second_node, caller, server) as listener:
        await caller.connection.close()
        message = await listener.ws.receive(5)
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1000)


async def test_a_call_that_lost_its_node_ends_its_listeners(
    caller: RealtimeClient,
    server: ScriptedServer,
    second_node: ScriptedServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "RENEW_SECONDS", 0.02)
    async with listening(second_node, caller, server) as listener:

        async def nowhere(*_: Any) -> None:
            return None

        monkeypatch.setattr(second_node.app[door.SIDEBANDS]._registry, "find", nowhere)
        while (message := await listener.ws.receive(5)).type is aiohttp.WSMsgType.BINARY:
            pass
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1012)


async def test_another_workspace_and_too_many_calls_are_refused(
    caller: RealtimeClient, second_node: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = f"call_id={caller.query}&listen=true"
    foreign = await second_node.new_key(await second_node.foreign_workspace())
    headers = {"Authorization": f"Bearer {foreign}"}
    assert await refused(second_node, query=query, headers=headers) == (404, "call_not_found")
    headers = {"Authorization": f"Bearer {second_node.key}"}
    wrong = f"call_id={caller.query}&listen=loudly"
    assert await refused(second_node, query=wrong, headers=headers) == (400, "invalid_value")
    monkeypatch.setattr(module, "MOST_CALLS", 0)
    assert await refused(second_node, query=query, headers=headers) == (503, "too_many_listeners")
