"""Many calls over real sockets: nothing leaks, slots are counted, and calls do not mix."""

import asyncio
import gc
import json
import logging
import threading
from pathlib import Path

import aiohttp
import numpy as np
import pytest

from pipelines.engines.scripted.live import tone_of
from rest.accounts.keys import EphemeralKeys, Grant
from store.tenants.accounts import LOCAL_WORKSPACE
from tests.support.gateway.realtime_client import RealtimeClient
from tests.support.gateway.scripted_server import (
    RATE,
    ScriptedServer,
    ask,
    neighbour,
    our_log,
    refused,
    server,
    speak,
)
from tests.support.gateway.webrtc_client import EAR_RATE, Caller

__all__ = ["server"]

WEBSOCKET_CALLS = 180
WEBRTC_CALLS = 20
AT_ONCE = 10


def left() -> tuple[int, int, int]:
    """Tasks, threads, open file descriptors."""
    return (
        len(asyncio.all_tasks()),
        threading.active_count(),
        len(list(Path("/proc/self/fd").iterdir())),
    )


async def until_left(before: tuple[int, int, int], seconds: float = 10.0) -> None:
    """Wait until there is no more of anything than ``before``."""
    try:
        async with asyncio.timeout(seconds):
            while any(now > then for now, then in zip(left(), before, strict=True)):
                gc.collect()
                await asyncio.sleep(0.05)
    except TimeoutError:
        names = sorted(task.get_name() for task in asyncio.all_tasks())
        raise AssertionError(f"left: {left()}, before: {before}; tasks: {names}") from None


async def websocket_call(server: ScriptedServer, number: int) -> None:
    """Right after the open, during speech, during a reply; hung up, or vanished."""
    async with server.client(binary=bool(number % 2)) as caller:
        stage = number % 3
        if stage == 1:
            await speak(caller, seconds=0.3)
            await caller.wait_for("input_audio_buffer.speech_started")
        elif stage == 2:
            await caller.send({"type": "response.create"})
            await caller.wait_for("response.output_audio_transcript.delta")
        if number % 4 == 0:
            caller.connection.transport.abort()


async def webrtc_call(server: ScriptedServer, number: int) -> None:
    headers = {"Authorization": f"Bearer {server.key}"}
    async with Caller(server.calls_url, headers=headers) as caller:
        stage = number % 3
        if stage:
            await caller.event("session.created")
        if stage == 2:
            caller.send({"type": "response.create"})
            await caller.event("response.output_audio_transcript.delta")


async def many_calls(server: ScriptedServer, websocket: int, webrtc: int) -> None:
    """So many calls, AT_ONCE at a time."""
    waiting = [websocket_call(server, number) for number in range(websocket)]
    waiting += [webrtc_call(server, number) for number in range(webrtc)]
    for start in range(0, len(waiting), AT_ONCE):
        await asyncio.gather(*waiting[start : start + AT_ONCE])


async def quiet(server: ScriptedServer) -> None:
    """Wait until no call is left and all of them have been written down."""
    await server.empty(10)
    async with asyncio.timeout(10):
        while await server.database.fetchval("SELECT count(*) FROM calls WHERE ended_at IS NULL"):
            await asyncio.sleep(0.02)


async def test_nothing_leaks_over_200_calls(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    answers = server.engines.chat_model
    short, answers.answer = answers.answer, lambda _: "word " * 20
    await many_calls(server, AT_ONCE, AT_ONCE)  # fills the stores' connection pools
    await quiet(server)
    before = left()
    await many_calls(server, WEBSOCKET_CALLS, WEBRTC_CALLS)
    await quiet(server)
    await until_left(before)
    assert server.slots_taken == 0
    told = {record.getMessage() for record in our_log(caplog) if record.levelno > logging.INFO}
    assert not told
    answers.answer = short
    async with server.client() as caller:
        await ask(caller)


# ---------------------------------------------------------------------------- slots


async def test_a_call_beyond_capacity_is_refused_because_the_server_is_full(
    server: ScriptedServer,
) -> None:
    server.set_capacity(2)
    headers = {"Authorization": f"Bearer {server.key}"}
    async with neighbour(server), server.client() as second:
        await second.wait_for("session.created")
        assert await refused(server, headers=headers) == (503, "server_full")
        async with aiohttp.ClientSession() as http:
            caller = Caller(server.calls_url)
            sent = headers | {"Content-Type": "application/sdp"}
            offer = await caller.offer()
            async with http.post(server.calls_url, data=offer, headers=sent) as answer:
                assert (answer.status, answer.headers["Retry-After"]) == (503, "10")
                assert (await answer.json())["error"]["code"] == "server_full"
            await caller.hang_up()
        assert server.slots_taken == 2
    await server.empty()
    async with server.client() as third:
        await ask(third)


@pytest.mark.parametrize("binary", [False, True])
async def test_a_web_page_gets_the_refusals_reason_over_its_websocket(
    server: ScriptedServer, binary: bool
) -> None:
    server.set_capacity(1)
    page = await browser(server, binary)
    async with neighbour(server):
        async with page:
            assert await page.wait_closed() == (
                1013,
                "Every line is in use. Please try again in a moment.",
            )
        (error,) = page.of("error")
        assert (error["error"]["type"], error["error"]["code"]) == ("server_error", "server_full")
        assert error["event_id"]
        assert len(page.events) == 1
        assert server.slots_taken == 1
    await server.empty()
    again = await browser(server, binary)
    async with again:
        await ask(again)


async def test_a_web_page_is_refused_while_models_load(server: ScriptedServer) -> None:
    server.engines.waiting = "The models are being loaded."
    page = await browser(server, binary=False)
    async with page:
        assert await page.wait_closed() == (1013, "The models are being loaded.")
    assert page.of("error")[0]["error"]["code"] == "warming_up"
    headers = {"Authorization": f"Bearer {server.key}"}
    assert await refused(server, headers=headers) == (503, "warming_up")
    server.engines.waiting = None


async def test_a_web_page_that_lingers_after_the_refusal_is_cut_off(server: ScriptedServer) -> None:
    server.set_capacity(1)
    async with neighbour(server):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.server.port)
        key = (await EphemeralKeys(server.bus).mint(Grant(LOCAL_WORKSPACE))).value
        head = (
            "GET /v1/realtime?model=default HTTP/1.1\r\nHost: x\r\nOrigin: https://x.example\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nAuthorization: Bearer {key}\r\n\r\n"
        )
        writer.write(head.encode())
        answer = await asyncio.wait_for(reader.read(), 6)
        assert answer.startswith(b"HTTP/1.1 101 ")
        assert b"server_full" in answer
        writer.close()


async def browser(server: ScriptedServer, binary: bool) -> RealtimeClient:
    """As a page of another origin connects: Origin, and the ephemeral key as subprotocol."""
    key = (await EphemeralKeys(server.bus).mint(Grant(LOCAL_WORKSPACE))).value
    offered = ["blab.binary.v1"] if binary else ["realtime"]
    return server.client(
        key=None,
        binary=binary,
        headers={"Origin": "https://shop.example"},
        subprotocols=[*offered, f"openai-insecure-api-key.{key}"],
    )


# ---------------------------------------------------------------------------- no mixing


async def talk(caller: RealtimeClient, hz: int) -> None:
    """Three turns, typed and spoken in turn, of a call whose agent sounds at ``hz``."""
    session = {"type": "realtime", "instructions": f"talk {hz}"}
    await caller.send({"type": "session.update", "session": session})
    await caller.wait_for("session.updated")
    await ask(caller)
    await speak(caller)
    await caller.wait_for("response.done", count=2)
    await ask(caller)


async def test_simultaneous_calls_do_not_mix(server: ScriptedServer) -> None:
    frequencies = (300, 500, 700, 900)
    callers = [server.client(binary=bool(n % 2)) for n in range(len(frequencies))]
    async with callers[0], callers[1], callers[2], callers[3]:
        await asyncio.gather(*map(talk, callers, frequencies))
    ids: list[str] = []
    for caller, hz in zip(callers, frequencies, strict=True):
        assert_only(caller.pcm, RATE, hz)
        said = [e["transcript"] for e in caller.of("response.output_audio_transcript.done")]
        assert said == [f"Answer {hz}."] * 3
        ids += {event["response"]["id"] for event in caller.of("response.done")}
        others = [str(other) for other in frequencies if other != hz]
        told = json.dumps([event for _, event in caller.events if "instructions" not in str(event)])
        assert not any(f"Answer {other}" in told for other in others)
    assert len(set(ids)) == len(ids) == 12


async def test_a_webrtc_call_does_not_mix_with_a_websocket_call(server: ScriptedServer) -> None:
    headers = {"Authorization": f"Bearer {server.key}"}
    session = {"type": "realtime", "instructions": "talk 900"}
    async with (
        Caller(server.calls_url, headers=headers, session=session) as caller,
        server.client(binary=True) as other,
    ):
        caller.send({"type": "response.create"})
        await talk(other, 400)
        await caller.event("response.done")
        await caller.listen(0.3)
    assert_only(other.pcm, RATE, 400)
    assert_only(caller.heard(), EAR_RATE, 900)


def assert_only(pcm: bytes, rate: int, hz: float) -> None:
    """Every loud tenth of a second of ``pcm`` sounds at ``hz``."""
    size = rate // 10 * 2
    parts = [pcm[start : start + size] for start in range(0, len(pcm) - size + 1, size)]
    loud = [part for part in parts if np.abs(np.frombuffer(part, "<i2")).mean() > 3000]
    assert len(loud) >= 3
    for part in loud:
        assert tone_of(part, rate) == pytest.approx(hz, abs=15)
