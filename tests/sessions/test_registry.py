import asyncio
import os
import signal

import pytest

from sessions.registry import CallRegistry, CallState, RegisteredCall
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
    here.register(RegisteredCall("call_1", "ws_a"))
    assert await here.find("ws_a", "call_1") == here.node_id
    assert await here.find("ws_b", "call_1") is None
    await until(lambda: there.find("ws_a", "call_1"))
    assert await there.find("ws_a", "call_1") == here.node_id
    assert await there.find("ws_b", "call_1") is None
    assert await there.find("", "call_1") is None
    assert await there.find("ws_a", "call_absent") is None


async def test_an_ended_call_is_gone_at_once(nodes):
    here, there = nodes
    here.register(RegisteredCall("call_1", "ws_a"))
    await until(lambda: there.find("ws_a", "call_1"))
    here.unregister("call_1")
    here.unregister("call_1")

    async def is_gone():
        return await there.find("ws_a", "call_1") is None

    await until(is_gone, within=0.5)


@pytest.mark.slow
async def test_leases_are_renewed_and_die_with_the_node(nodes, redis):
    here, there = nodes
    here.register(RegisteredCall("call_1", "ws_a"))
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
    here.register(RegisteredCall("call_1", "ws_a"))
    await until(lambda: there.find("ws_a", "call_1"))
    await here.stop()
    assert await there.find("ws_a", "call_1") is None
    assert not await there.is_alive(here.node_id)


@pytest.mark.slow
async def test_an_outage_hides_no_local_call_and_heals(own_valkey, caplog):
    bus = Bus(own_valkey.urls.redis_url)
    here, there = (CallRegistry(bus, lease_seconds=3) for _ in range(2))
    here.start()
    here.register(RegisteredCall("call_1", "ws_a"))
    await until(lambda: there.find("ws_a", "call_1"))
    pid = own_valkey.pids["valkey"]
    os.kill(pid, signal.SIGSTOP)
    here.register(RegisteredCall("call_2", "ws_a"))
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
    here.register(RegisteredCall("call_1", "ws_a"))
    await until(lambda: there.find("ws_a", "call_1"))
    there.register(RegisteredCall("call_1", "ws_a"))
    await eventually(lambda: "carried by another node" in caplog.text)


async def listed(registry, workspace_id="ws_a", **options):
    return [call.id for call in await registry.list(workspace_id, **options)]


async def test_live_calls_of_all_nodes_are_listed_newest_first(nodes):
    here, there = nodes
    for number in range(6):
        node = nodes[number % 2]
        node.register(
            RegisteredCall(f"call_{number}", "ws_a", "websocket", 1000.0 + number, owner="ek_1"),
            lambda: CallState("agt_1", "speaking", "de", 3),
        )
    here.register(RegisteredCall("call_9", "ws_b"))

    async def all_there():
        return len(await listed(here)) == 6 and await listed(here, "ws_b")

    await until(all_there)
    assert await listed(there) == [f"call_{number}" for number in range(5, -1, -1)]
    assert await listed(there, limit=2) == ["call_5", "call_4"]
    assert await listed(there, before="call_4", limit=2) == ["call_3", "call_2"]
    assert await listed(there, "ws_b") == ["call_9"]
    assert await listed(there, "ws_c") == []
    shown = await there.get("ws_a", "call_0")
    assert shown is not None
    assert (shown.node_id, shown.channel, shown.started_at) == (here.node_id, "websocket", 1000.0)
    assert (shown.agent_id, shown.state, shown.language, shown.turns) == (
        "agt_1",
        "speaking",
        "de",
        3,
    )
    assert await here.get("ws_a", "call_0") == shown
    assert await there.get("ws_b", "call_0") is None
    assert await here.get("ws_b", "call_0") is None
    assert await there.get("ws_a", "call_absent") is None


async def test_calls_of_a_dead_node_vanish_from_the_list(nodes, redis):
    here, there = nodes
    here.register(RegisteredCall("call_1", "ws_a"))
    there.register(RegisteredCall("call_2", "ws_a"))

    async def both():
        return await listed(there) == ["call_2", "call_1"]

    async def only_mine():
        return await listed(there) == ["call_2"]

    await until(both)
    here._keeper.cancel()  # the node dies
    await until(only_mine)
    assert await redis._redis.zcard(redis._prefix + "workspace:ws_a:calls") == 1
    there.unregister("call_2")

    async def nothing():
        return await listed(here) == []

    await until(nothing, within=0.5)


async def test_a_changed_state_is_written_soon_and_an_unchanged_one_is_not(redis, monkeypatch):
    monkeypatch.setattr("sessions.registry.LOOK_SECONDS", 0.01)
    here, there = CallRegistry(redis), CallRegistry(redis)
    written = []
    hold = redis.hold

    async def counted(leases, ttl):
        written.extend(lease.member for lease in leases)
        return await hold(leases, ttl)

    monkeypatch.setattr(redis, "hold", counted)
    here.start()
    turns = 0
    here.register(RegisteredCall("call_1", "ws_a"), lambda: CallState(turns=turns))
    here.register(RegisteredCall("call_2", "ws_a"))
    await until(lambda: there.get("ws_a", "call_2"))
    written.clear()
    turns = 1
    here.touch("call_1")
    here.touch("call_2")
    here.touch("call_absent")

    async def seen():
        found = await there.get("ws_a", "call_1")
        return found is not None and found.turns == 1

    await until(seen)
    assert written == ["call_1"]
    await here.stop()
    assert await listed(there) == []


async def test_an_adopted_call_is_listed_once_and_stays_with_its_new_node(nodes, caplog):
    here, there = nodes
    here.register(RegisteredCall("call_1", "ws_a"))
    await until(lambda: there.find("ws_a", "call_1"))
    here._keeper.cancel()  # the node hangs, and its lease is still there
    there.register(RegisteredCall("call_1", "ws_a"), adopted=True)

    async def moved():
        found = await there._bus.get("call:call_1:node")
        return found is not None and found.startswith(there.node_id.encode())

    await until(moved)
    here.unregister("call_1")
    await here._release()  # it wakes up, and takes nothing away
    assert await listed(there) == ["call_1"]
    assert "carried by another node" not in caplog.text


async def test_a_node_that_leaves_takes_no_calls_but_keeps_its_own(nodes, redis):
    here, there = nodes
    here.register(RegisteredCall("call_1", "ws_a"))
    await until(there.has_others)
    await until(here.has_others)
    await here.leave()
    assert await here.has_others()
    assert not await there.has_others()
    await here._renew()
    assert not await there.has_others()
    assert await there.is_alive(here.node_id)
    assert await listed(there) == ["call_1"]
    await there.stop()
    assert not await here.has_others()


async def test_more_calls_than_fit_into_one_request(redis):
    registry = CallRegistry(redis)
    registry.start()
    for number in range(350):
        registry.register(RegisteredCall(f"call_{number:03}", "ws_a"))

    async def all_there():
        return len(await listed(registry, limit=1000)) == 350

    await until(all_there)
    assert await listed(registry, before="call_200", limit=150) == [
        f"call_{number:03}" for number in range(199, 49, -1)
    ]
    await registry.stop()
    assert await listed(registry) == []
