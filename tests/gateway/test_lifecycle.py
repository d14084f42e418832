"""Stopping: the first signal drains, the second forces; everything is cleaned up."""

import asyncio
import os
import signal

import aiohttp
import pytest

from gateway.lifecycle import RunningServer, bound_sockets, serve
from gateway.stop_signals import StopSignals
from tests.support.gateway.http_support import TestServer
from tests.support.gateway.realtime_client import RealtimeClient


async def test_the_first_signal_drains_and_notifies_calls() -> None:
    made = TestServer()
    listening = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(
        serve(made.app, "127.0.0.1", 0, made.host.drain, on_listening=listening.set_result)
    )
    made.port = await listening
    async with RealtimeClient(made.ws_url, made.keys.add()) as caller:
        await caller.wait_for("session.created")
        os.kill(os.getpid(), signal.SIGTERM)
        assert await caller.wait_closed() == (1001, "server_shutdown")
    await asyncio.wait_for(task, 5)
    async with aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.ClientConnectionError):
            await http.get(made.url)


@pytest.mark.slow
async def test_the_second_signal_forces() -> None:
    made = TestServer()
    listening = asyncio.get_running_loop().create_future()
    drained: list[float] = []

    async def drain(seconds: float) -> None:
        drained.append(seconds)
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.Event().wait()

    task = asyncio.create_task(
        serve(made.app, "127.0.0.1", 0, drain, drain_seconds=9, on_listening=listening.set_result)
    )
    made.port = await listening
    async with RealtimeClient(made.ws_url, made.keys.add()) as caller:
        await caller.wait_for("session.created")
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(task, 15)
    assert drained == [9]
    assert not made.host.calls


async def test_a_taken_port_is_an_error_and_leaves_nothing() -> None:
    cleaned = []
    async with TestServer().running() as running:
        other = TestServer()

        async def clean(_app: object) -> None:
            cleaned.append(True)

        other.app.on_cleanup.append(clean)
        with pytest.raises(OSError, match="in use"):
            await RunningServer.start(other.app, "127.0.0.1", running.port)
    assert cleaned == [True]


async def test_a_port_is_bound_before_anything_starts_and_handed_over() -> None:
    made = TestServer()
    [bound] = bound_sockets("127.0.0.1", 0)
    server = await RunningServer.start(made.app, "nowhere.invalid", 1, [bound])
    try:
        assert server.port == bound.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            bound_sockets("127.0.0.1", server.port)
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"http://127.0.0.1:{server.port}/nothing") as answer,
        ):
            assert answer.status == 404
    finally:
        await server.close()


def test_signals_escalate() -> None:
    signals = StopSignals()
    signals.receive()
    assert (signals.stop.is_set(), signals.force.is_set()) == (True, False)
    signals.receive()
    assert signals.force.is_set()
