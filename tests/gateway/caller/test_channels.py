"""The caller over WebRTC, against the real WebRTC channel with an echo for a conversation."""

import asyncio

import numpy as np
import pytest

from gateway.caller import CallEnded, Caller, CallerWebRtc, Recording
from tests.support.gateway.webrtc_server import serve

RATE = 24_000


def tone(milliseconds: int = 500) -> Recording:
    times = np.arange(RATE * milliseconds // 1000) / RATE
    samples = (8000 * np.sin(2 * np.pi * 440 * times)).astype(np.int16)
    return Recording.of(np.concatenate([samples, np.zeros(RATE // 5, np.int16)]), RATE)


@pytest.mark.slow
async def test_speech_comes_back_and_events_go_both_ways() -> None:
    async with serve() as gateway:
        channel = await CallerWebRtc.open(gateway.url.removesuffix("/v1/realtime/calls"), "key")
        async with Caller(channel) as caller:
            await caller.wait_for("session.created", within=5)
            await caller.send({"type": "session.update"})
            echo = await caller.wait_for("echo", within=5)
            assert echo.event["message"] == {"type": "session.update"}
            said = caller.say(tone())
            await said.done.wait()
            assert said.onset is not None
            heard = await caller.wait_audible(within=5, since=caller.start)
            await asyncio.sleep(0.8)
        assert 0 < heard - said.onset < 1.0
        begin, end = caller.player.stretches()[0]
        assert 0.35 < end - begin < 1.5  # half a second, drawn out where packets come late
        assert caller.closed_because is not None


async def test_a_refusal_carries_the_status() -> None:
    async with serve() as gateway:
        url = gateway.url.removesuffix("/v1/realtime/calls")
        with pytest.raises(CallEnded, match="HTTP 401"):
            await CallerWebRtc.open(url, "wrong")
    with pytest.raises(CallEnded, match="no server answers"):
        await CallerWebRtc.open(url, None)


async def test_the_servers_goodbye_ends_the_call() -> None:
    async with serve() as gateway:
        channel = await CallerWebRtc.open(gateway.url.removesuffix("/v1/realtime/calls"), "key")
        async with Caller(channel) as caller:
            await caller.wait_for("session.created", within=5)
            (served,) = gateway.channels.values()
            await served.close("hung up")
            with pytest.raises(CallEnded):
                await caller.wait_for("never", within=10)
