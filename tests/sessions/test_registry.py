import asyncio
import os
import signal

import pytest

from sessions.registry import CallRegistry
from store.bus import Bus
from store.errors import BusUnavailable
from tests.support.services import eventually


@pytest.fixture
async def nodes(redis):
    """Two nodes beside each other."""
    registries = [CallRegistry(redis, lease_seconds=0.6) for _ in range(2)]
    for registry in registries:
        registry.start()
    yield registries
    for registry in registries:
        await registry.stop()


async def until(condition, within=5.0):
    """Return when the coroutine function's answer is true."""
    async with asyncio.timeout(within):
        while not await condition():
            await asyncio.sleep(0.01)


async def test_any_node_finds_a_call_of_the_same_workspace(nodes):
    here, there = nodes
    here.register("call_1", "ws_a")
    assert await here.find("ws_a", "call_1") == here.node_id
    assert await here.find("ws_b", "call_1") is None
    await until(lambda: there.find("ws_a", "call_1"))
    assert await there.find("ws_a", "call_1") == here.node_id
    assert await there.find("ws_b", "call_1") is None
    assert await there.find("", "call_1") is None
    assert await there.find("ws_a", "call_absent") is None


async def test_an_ended_call_is_gone_at_once(nodes):
    here, there = nodes
    here.register("call_1", "ws_a")
    await until(lambda: there.find("ws_a", "call_1"))
    here.unregister("call_1")
    here.unregister("call_1")

    async def is_gone():
        return await there.find("ws_a", "call_1") is None

    await until(is_gone, within=0.5)


async def test_leases_are_renewed_and_die_with_the_node(nodes, redis):
    here, there = nodes
    here.register("call_1", "ws_a")
    await until(lambda: there.find("ws_a", "call_1"))
    assert await there.is_alive(here.node_id)
    loop = asyncio.get_running_loop()
    until_twice_its_life = loop.time() + 1.2
    while loop.time() < until_twice_its_life:
        assert await there.find("ws_a", "call_1") == here.node_id
        await asyncio.sleep(0.02)
    here._keeper.cancel()  # the node dies

    async def is_lost():
        return not await there.is_alive(here.node_id) and not await there.find("ws_a", "call_1")

    await until(is_lost)


async def test_stop_releases_the_leases(nodes):
    here, there = nodes
    here.register("call_1", "ws_a")
    await until(lambda: there.find("ws_a", "call_1"))
    await here.stop()
    assert await there.find("ws_a", "call_1") is None
    assert not await there.is_alive(here.node_id)


async def test_an_outage_hides_no_local_call_and_heals(own_valkey, caplog):
    bus = Bus(own_valkey.urls.redis_url)
    here, there = (CallRegistry(bus, lease_seconds=3) for _ in range(2))
    here.start()
    here.register("call_1", "ws_a")
    await until(lambda: there.find("ws_a", "call_1"))
    pid = own_valkey.pids["valkey"]
    os.kill(pid, signal.SIGSTOP)
    here.register("call_2", "ws_a")
    assert await here.find("ws_a", "call_2") == here.node_id
    with pytest.raises(BusUnavailable):
        await there.find("ws_a", "call_1")
    await eventually(lambda: "cannot find this node's calls" in caplog.text)
    os.kill(pid, signal.SIGKILL)
    await eventually(lambda: "other nodes can find this node's calls again" in caplog.text)
    await until(lambda: there.find("ws_a", "call_1"))
    await until(lambda: there.find("ws_a", "call_2"))
    await here.stop()
    await bus.close()


async def test_two_nodes_with_one_call_are_reported(nodes, caplog):
    here, there = nodes
    here.register("call_1", "ws_a")
    await until(lambda: there.find("ws_a", "call_1"))
    there.register("call_1", "ws_a")
    await eventually(lambda: "also registered" in caplog.text)
