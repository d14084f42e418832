"""The whole application on real Postgres and Valkey; only the engines are scripted."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from gateway.app import HOST, build_app, ice_settings
from gateway.lifecycle import RunningServer
from gateway.services import ServiceUrls
from gateway.settings import Settings
from gateway.settings.parsers import IceServer
from pipelines.engines.base import HearingLoad, ModelUnavailable
from pipelines.engines.call_names import CallNames, NameFault
from pipelines.engines.jobs import CallOptions
from pipelines.engines.scripted.jobs import ScriptedJobEngines
from store.database import Database
from store.tenants.accounts import LOCAL_WORKSPACE
from store.tenants.calls import Calls
from tests.support.gateway.realtime_client import RealtimeClient
from tests.support.paths import STATIC


class NoEngines:
    """Engines that take their time to load, and then serve no model."""

    jobs = ScriptedJobEngines()
    vad_model: Any = SimpleNamespace(initial_state=lambda: None)
    turn_detector: Any = None

    def __init__(self) -> None:
        self.loaded = asyncio.Event()
        self.closed = False

    async def start(self, *_waits: object) -> None:
        await self.loaded.wait()

    async def close(self) -> None:
        self.closed = True

    def ready(self) -> bool:
        return self.loaded.is_set()

    def waiting_for(self) -> str | None:
        return None if self.loaded.is_set() else "The models are still being loaded."

    def _none(self, model_id: str, *_: str) -> Any:
        raise ModelUnavailable(f"no live engine serves {model_id}")

    hearing = transcriber = chat = speaker = _none

    def call_options(self) -> CallOptions:
        return CallOptions()

    def languages_coming(self, *_: object) -> tuple[str, ...]:
        return ()

    def hearing_loads(self) -> dict[str, HearingLoad]:
        return {}

    def hearing_overloaded(self) -> bool:
        return False

    def languages_for(self, names: CallNames) -> tuple[str, ...]:
        return (names.language,)

    def name_faults(self, _names: CallNames) -> tuple[NameFault, ...]:
        return ()


class Running:
    def __init__(self, server: RunningServer, engines: NoEngines, database: Database) -> None:
        self.server = server
        self.engines = engines
        self.database = database
        self.address = f"127.0.0.1:{server.port}"

    async def key(self) -> str:
        async with (
            aiohttp.ClientSession() as http,
            http.post(f"http://{self.address}/demo/session") as answer,
        ):
            assert answer.status == 200
            return str((await answer.json())["value"])

    async def get(self, path: str) -> tuple[int, str]:
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"http://{self.address}{path}") as answer,
        ):
            return answer.status, await answer.text()


@pytest.fixture
async def blab(
    database: Database, own_database_url: str, redis_url: str, tmp_path: Path
) -> AsyncIterator[Running]:
    engines = NoEngines()
    settings = dataclasses.replace(Settings(), max_calls=2, data_dir=tmp_path)
    urls = ServiceUrls(own_database_url, redis_url)
    app = await build_app(settings, urls, engines, static=STATIC)
    server = await RunningServer.start(app, "127.0.0.1", 0)
    try:
        yield Running(server, engines, database)
    finally:
        await server.close()
        assert engines.closed
        assert app[HOST].active == 0


async def test_the_server_is_ready_once_it_can_answer_a_call(blab: Running) -> None:
    assert (await blab.get("/healthz"))[0] == 200
    status, text = await blab.get("/readyz")
    assert status == 503
    assert "still being loaded" in text
    assert (await blab.get("/"))[0] == 200
    blab.engines.loaded.set()
    await asyncio.sleep(0.6)
    assert (await blab.get("/readyz"))[0] == 200


async def test_a_call_is_carried_and_stored(blab: Running) -> None:
    blab.engines.loaded.set()
    key = await blab.key()
    async with RealtimeClient(f"ws://{blab.address}", key) as caller:
        call_id = (await caller.wait_for("session.created"))["session"]["id"]
        message = {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": "Hello"}],
        }
        await caller.send({"type": "conversation.item.create", "item": message})
        await caller.wait_for("conversation.item.done")
        await caller.send({"type": "response.create"})
        await caller.until(
            lambda: "MODEL_UNAVAILABLE" in str(caller.events), what="MODEL_UNAVAILABLE"
        )
        await caller.send({"type": "session.update", "session": {"instructions": "Hm."}})
        await caller.wait_for("session.updated")
    stored = Calls(blab.database)
    call = None
    async with asyncio.timeout(5):
        while call is None or call.ended_at is None:
            await asyncio.sleep(0.02)
            call = await stored.get(LOCAL_WORKSPACE, call_id)
    assert (call.channel, call.end_reason) == ("websocket", "peer_gone")
    assert call.agent_id is not None
    _, metrics = await blab.get("/metrics")
    assert 'blab_calls_total{channel="websocket",reason="peer_gone"} 1.0' in metrics
    assert "blab_calls_active 0.0" in metrics


async def test_calls_in_progress_are_notified_of_the_shutdown(blab: Running) -> None:
    blab.engines.loaded.set()
    async with RealtimeClient(f"ws://{blab.address}", await blab.key()) as caller:
        await caller.wait_for("session.created")
        await blab.server.close()
        assert await caller.wait_closed() == (1001, "server_shutdown")


def test_ice_comes_from_the_settings() -> None:
    settings = dataclasses.replace(
        Settings(),
        host="0.0.0.0",
        ice_servers=(IceServer("stun:s.example:3478"), IceServer("turn:t.example", "me", "pw")),
        advertised_address="203.0.113.7",
        udp_ports=(40000, 40999),
    )
    ice = ice_settings(settings)
    assert ice.stun_server == "stun:s.example:3478"
    assert ice.turn_server is not None
    assert (ice.turn_server.username, ice.turn_server.credential) == ("me", "pw")
    assert ice.advertised_addresses == ("203.0.113.7",)
    assert ice.port_range == (40000, 40999)
    assert not ice.allow_loopback
    assert ice_settings(Settings()).allow_loopback
