"""A strained or leaving server refuses new calls with its reason; those in progress go on."""

import json
import time

import aiohttp
import pytest
from websockets.exceptions import InvalidStatus

from gateway.app import HOST
from sessions.admission import Admission, Strain, Thresholds
from store.tenants.accounts import LOCAL_WORKSPACE
from store.tenants.agents import Agents
from tests.gateway.calls.test_takeovers import cut, handle_of, resumable, resumed
from tests.support.gateway.scripted_server import ScriptedServer, ask, neighbour, refused, server
from tests.support.gateway.twilio_client import TwilioClient
from tests.support.gateway.webrtc_client import Caller

__all__ = ["server"]


def admission_of(server: ScriptedServer) -> Admission:
    return server.app[HOST]._admission


async def get(server: ScriptedServer, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as http, http.get(f"{server.url}{path}") as answer:
        return answer.status, await answer.text()


async def test_a_server_short_of_memory_refuses_every_kind_of_call_and_keeps_those_it_has(
    server: ScriptedServer,
) -> None:
    headers = {"Authorization": f"Bearer {server.key}"}
    async with server.client() as caller:
        await caller.wait_for("session.created")
        strain = Strain(Thresholds(lag=60))
        admission_of(server).strain = strain  # which the server's own measurements do not reach
        strain.memory_measured(1_000_000, time.monotonic())
        assert await refused(server, headers=headers) == (503, "server_full")
        agent = await Agents(server.database).ensure_default_agent(LOCAL_WORKSPACE)
        telephone = TwilioClient(f"{server.ws_url}/api/agents/{agent.id}/twilio", headers=headers)
        with pytest.raises(InvalidStatus) as rejected:
            await telephone.open()
        assert rejected.value.response.status_code == 503
        peer = Caller(server.calls_url)
        sent = headers | {"Content-Type": "application/sdp"}
        async with (
            aiohttp.ClientSession() as http,
            http.post(server.calls_url, data=await peer.offer(), headers=sent) as answer,
        ):
            assert (answer.status, answer.headers["Retry-After"]) == (503, "30")
            error = (await answer.json())["error"]
            assert (error["code"], "memory" in error["message"]) == ("server_full", True)
        await peer.hang_up()
        status, text = await get(server, "/readyz")
        assert status == 503
        assert "(memory)" in json.loads(text)["reasons"]["admission"]
        _, metrics = await get(server, "/metrics")
        assert 'blab_calls_refused_total{reason="memory"} 3.0' in metrics
        await ask(caller)


async def test_one_workspace_at_its_limit_leaves_the_lines_to_others(
    server: ScriptedServer,
) -> None:
    admission_of(server)._of_one_workspace = 1
    stranger = await server.new_key(await server.foreign_workspace())
    headers = {"Authorization": f"Bearer {server.key}"}
    async with neighbour(server):
        assert await refused(server, headers=headers) == (503, "server_full")
        async with server.client(key=stranger) as other:
            await ask(other)
    await server.empty()
    async with server.client() as again:
        await ask(again)


async def test_a_server_that_is_about_to_stop_says_so_while_it_still_admits(
    server: ScriptedServer,
) -> None:
    admission_of(server).leaving = True
    status, text = await get(server, "/readyz")
    assert (status, list(json.loads(text)["reasons"])) == (503, ["draining"])
    async with server.client() as caller:
        await ask(caller)


async def test_a_server_whose_event_loop_is_late_resumes_calls_and_begins_none(
    server: ScriptedServer,
) -> None:
    headers = {"Authorization": f"Bearer {server.key}"}
    async with resumable(server) as caller:
        cut(caller)
        await server.empty()
        strain = Strain()
        admission_of(server).strain = strain  # which the server's own measurements do not reach
        for _ in range(20):
            strain.loop_lagged(1.0, time.monotonic())
        assert await refused(server, headers=headers) == (503, "server_full")
        status, text = await get(server, "/readyz")
        assert status == 503
        assert "(event_loop)" in json.loads(text)["reasons"]["admission"]
        assert (await get(server, "/readyz/resumed"))[0] == 200
        async with resumed(server, handle_of(caller)) as again:
            await ask(again, within=10)


async def test_a_server_that_drains_resumes_no_call(server: ScriptedServer) -> None:
    admission_of(server).leaving = True
    status, text = await get(server, "/readyz/resumed")
    assert (status, list(json.loads(text)["reasons"])) == (503, ["draining"])
