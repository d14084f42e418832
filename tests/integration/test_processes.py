"""Two gateway processes and an engine process on real sockets, and what happens when they die."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from gateway.channels.webrtc.whip import FRAGMENT
from gateway.services import ServiceUrls
from rest.accounts import keys
from store.database import Database
from store.tenants.accounts import LOCAL_WORKSPACE, ApiKeys, NewApiKey, Workspaces
from tests.support.gateway.realtime_client import RealtimeClient
from tests.support.gateway.scripted_processes import Processes, eventually, running
from tests.support.gateway.webrtc_client import Caller

pytestmark = [pytest.mark.alone, pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture
async def server(
    database: Database, own_database_url: str, redis_url: str, tmp_path: Path
) -> AsyncIterator[Processes]:
    await Workspaces(database).ensure_local_workspace()
    key = keys.new_key()
    await ApiKeys(database).insert(
        LOCAL_WORKSPACE, NewApiKey("test", key.prefix, key.digest, ("*",))
    )
    urls = ServiceUrls(own_database_url, redis_url)
    async with running(urls, tmp_path) as made:
        made.key = key.text
        yield made


async def begin(server: Processes, instructions: str = "say 3") -> RealtimeClient:
    """A call that has been configured."""
    call = server.call(checked=False)
    await call.__aenter__()
    await call.wait_for("session.created", seconds=60)
    session = {"type": "realtime", "instructions": instructions}
    await call.send({"type": "session.update", "session": session})
    await call.wait_for("session.updated", seconds=60)
    return call


async def ask(call: RealtimeClient, *, within: float = 60) -> dict[str, Any]:
    """The reply to something typed, when it is over."""
    count = len(call.of("response.done")) + 1
    await say(call)
    done = await call.wait_for("response.done", count=count, seconds=within)
    response: dict[str, Any] = done["response"]
    return response


async def say(call: RealtimeClient) -> None:
    content = [{"type": "input_text", "text": "hello"}]
    item = {"type": "message", "role": "user", "content": content}
    await call.send({"type": "conversation.item.create", "item": item})
    await call.send({"type": "response.create"})


async def end(*calls: RealtimeClient) -> None:
    for call in calls:
        await call.__aexit__(None)


async def test_calls_spread_evenly_and_outlive_the_other_process(server: Processes) -> None:
    before = server.children()
    assert sorted(before) == ["engines", "forks", "gateway 1", "gateway 2"]
    calls = [await begin(server) for _ in range(6)]
    replies = await asyncio.gather(*map(ask, calls))
    assert [reply["status"] for reply in replies] == ["completed"] * 6
    await every_process_answers_for_the_metrics_of_all(server, calls=6)
    await a_whip_session_takes_candidates_through_either_process(server)
    lost = served_by(before["gateway 1"], calls)
    assert 2 <= len(lost) <= 4  # a request just before counts as a call for a second
    os.kill(before["gateway 1"], signal.SIGKILL)
    await asyncio.gather(*(call.wait_closed(60) for call in lost))
    left = [call for call in calls if call not in lost]
    replies = await asyncio.gather(*map(ask, left))
    assert [reply["status"] for reply in replies] == ["completed"] * len(left)
    await eventually(lambda: len(server.gateways()) == 2)
    calls.append(await begin(server))
    assert (await ask(calls[-1]))["status"] == "completed"
    await calls_are_ended_through_either_process(server, [left[0], calls[-1]])
    after = server.children()
    assert after["gateway 1"] != before["gateway 1"]
    assert (after["gateway 2"], after["engines"]) == (before["gateway 2"], before["engines"])
    await server.until_said("gateway process 1 ended with status -9")
    server.supervisor.kill()
    await eventually(lambda: not any(map(psutil.pid_exists, after.values())))
    await end(*calls)


def served_by(pid: int, calls: Sequence[RealtimeClient]) -> list[RealtimeClient]:
    """The calls whose connection a process holds."""
    peers = {one.raddr.port for one in psutil.Process(pid).net_connections() if one.raddr}
    return [call for call in calls if call.connection.local_address[1] in peers]


async def every_process_answers_for_the_metrics_of_all(server: Processes, calls: int) -> None:
    wanted = f"blab_calls_active {calls:.1f}", "blab_calls_capacity 20.0"
    async with asyncio.timeout(60):
        for _ in range(4):  # a new connection each time: to either process
            text = ""
            while not all(one in text for one in wanted):
                async with (
                    aiohttp.ClientSession() as web,
                    web.get(f"{server.url}/metrics") as answer,
                ):
                    text = await answer.text()
                    assert answer.status == 200, text


async def calls_are_ended_through_either_process(
    server: Processes, calls: Sequence[RealtimeClient]
) -> None:
    """Each request has a connection of its own, to either process."""
    headers = {"Authorization": f"Bearer {server.key}"}
    for call in calls:
        call_id = call.of("session.created")[0]["session"]["id"].replace("sess_", "call_")
        async with (
            aiohttp.ClientSession(headers=headers) as web,
            web.post(f"{server.url}/v1/realtime/calls/{call_id}/hangup") as answer,
        ):
            assert answer.status == 200, await answer.text()
        await call.wait_closed(60)


async def a_whip_session_takes_candidates_through_either_process(server: Processes) -> None:
    headers = {"Authorization": f"Bearer {server.key}"}
    async with Caller(f"{server.url}/v1/whip", headers=headers) as caller:
        session = f"{server.url}{caller.answered['Location']}"
        sent = {**headers, "Content-Type": FRAGMENT, "If-Match": caller.answered["ETag"]}
        for _ in range(4):  # a new connection each time
            async with (
                aiohttp.ClientSession(headers=sent) as web,
                web.patch(session, data="a=end-of-candidates\r\n") as answer,
            ):
                assert answer.status == 204, await answer.text()
                assert answer.headers["ETag"] == caller.answered["ETag"]
        async with (
            aiohttp.ClientSession(headers=sent) as web,
            web.patch(f"{server.url}/v1/whip/call_absent", data="") as answer,
        ):
            assert answer.status == 404


async def test_a_killed_engine_process_costs_a_reply_and_no_call(server: Processes) -> None:
    calls = [await begin(server, "say slowly 60") for _ in range(2)]
    for call in calls:
        await say(call)
    for call in calls:
        await call.wait_for("response.output_audio.delta", seconds=60)
    before = server.children()
    os.kill(before["engines"], signal.SIGKILL)
    for call in calls:
        done = await call.wait_for("response.done", seconds=60)
        assert done["response"]["status"] == "failed"
        assert call.closed is None
        session = {"type": "realtime", "instructions": "say 2"}
        await call.send({"type": "session.update", "session": session})
    replies = await asyncio.gather(*(ask(call) for call in calls))
    assert [reply["status"] for reply in replies] == ["completed"] * 2, "they wait for the engines"
    await server.ready()
    assert server.children()["engines"] != before["engines"]
    assert server.gateways().items() <= before.items()
    children = list(server.children().values())
    server.supervisor.send_signal(signal.SIGTERM)
    for call in calls:
        code, _ = await call.wait_closed(60)
        assert code in (1000, 1001)
    assert await asyncio.wait_for(server.supervisor.wait(), 60) == 0
    assert not any(map(psutil.pid_exists, children))
    await end(*calls)
