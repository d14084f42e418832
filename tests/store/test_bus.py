import asyncio
import os
import signal
import time

import pytest

from store.bus import Bus, BusLimits, StreamEntry
from store.errors import BusUnavailable
from tests.support.services import eventually


async def test_values_expire(redis):
    await redis.put("k", b"v", 0.05)
    assert await redis.get("k") == b"v"
    async with asyncio.timeout(2):
        while await redis.get("k") is not None:
            pass
    await redis.put("k", b"w", 10)
    await redis.delete("k")
    assert await redis.get("k") is None


async def test_a_value_is_popped_once(redis):
    await redis.put("k", b"v", 10)
    popped = await asyncio.gather(*(redis.pop("k") for _ in range(4)))
    assert sorted(popped, key=bool) == [None, None, None, b"v"]
    assert await redis.get("k") is None


async def test_a_lease_has_one_holder(redis):
    assert await redis.lease_acquire("l", "a", 10)
    assert not await redis.lease_acquire("l", "b", 10)
    assert not await redis.lease_renew("l", "b", 10)
    assert not await redis.lease_release("l", "b")
    assert await redis.lease_renew("l", "a", 10)
    assert await redis.lease_release("l", "a")
    assert not await redis.lease_renew("l", "a", 10)
    assert await redis.lease_acquire("l", "b", 0.03)
    async with asyncio.timeout(2):
        while not await redis.lease_acquire("l", "c", 10):
            pass


async def test_a_rate_is_consumed_and_refills(redis):
    taken = [await redis.take("r", 2, 0.4) for _ in range(3)]
    assert [one.allowed for one in taken] == [True, True, False]
    assert [one.remaining for one in taken] == [1, 0, 0]
    assert taken[0].reset == pytest.approx(0.2, abs=0.001)
    assert 0 < taken[2].retry_after <= 0.2
    assert taken[0].retry_after == 0
    assert (await redis.take("other", 2, 0.4)).remaining == 1
    async with asyncio.timeout(5):
        while not (await redis.take("r", 2, 0.4)).allowed:
            pass
    await redis.delete("r")
    assert (await redis.take("r", 2, 0.4)).remaining == 1


async def test_a_rate_is_exact_and_expires(redis):
    taken = await asyncio.gather(*(redis.take("s", 50, 3600) for _ in range(80)))
    assert sum(one.allowed for one in taken) == 50
    assert 0 < await redis._redis.pttl(redis._prefix + "s") <= 3_600_000


async def test_a_stream_can_be_read_from_any_number(redis):
    entries = [StreamEntry("s", number, b"%d" % number) for number in (1, 2, 4)]
    await redis.append(entries, keep=100, ttl=10)
    assert await redis.range("s", 0) == [(1, b"1"), (2, b"2"), (4, b"4")]
    assert await redis.range("s", 2) == [(4, b"4")]
    assert await redis.range("s", 0, count=1) == [(1, b"1")]
    assert await redis.range("s", 4) == await redis.range("other", 0) == []
    assert (await redis.last("s"), await redis.last("other")) == (4, 0)


async def test_several_streams_are_read_at_once(redis):
    entries = [StreamEntry("s", 1, b"1"), StreamEntry("s", 2, b"2"), StreamEntry("t", 7, b"7")]
    await redis.append(entries, keep=100, ttl=10)
    both = {"s": [(1, b"1"), (2, b"2")], "t": [(7, b"7")]}
    assert await redis.read({"s": 0, "t": 0, "other": 0}) == both
    assert await redis.read({"s": 1, "t": 7}) == {"s": [(2, b"2")]}
    assert await redis.read({"s": 0}, count=1) == {"s": [(1, b"1")]}
    assert await redis.read({"s": 2, "t": 7}, wait=0.01) == {}


async def test_writing_twice_is_harmless(redis):
    one, two = StreamEntry("s", 1, b"1"), StreamEntry("s", 2, b"2")
    await redis.append([one], keep=100, ttl=10)
    await redis.append([one, two], keep=100, ttl=10)
    assert await redis.range("s", 0) == [(1, b"1"), (2, b"2")]


async def test_a_stream_is_capped_and_expires(redis):
    await redis.append([StreamEntry("s", n, b"x") for n in range(1, 1001)], keep=100, ttl=0.2)
    kept = await redis.range("s", 0, count=1000)
    assert 100 <= len(kept) < 300
    assert kept[-1][0] == 1000
    async with asyncio.timeout(2):
        while await redis.range("s", 0):
            pass


async def test_a_reader_wakes_when_an_entry_arrives(redis):
    reading = asyncio.create_task(redis.read({"s": 0}, wait=5))
    while not reading.done():
        await redis.append([StreamEntry("s", 1, b"!")], keep=10, ttl=10)
    assert await reading == {"s": [(1, b"!")]}


async def test_readers_are_bounded(redis_url):
    bus = Bus(redis_url, prefix="none:", limits=BusLimits(readers=2))
    reads = await asyncio.gather(
        *(bus.read({"s": 0}, wait=0.1) for _ in range(3)), return_exceptions=True
    )
    assert sorted(type(read).__name__ for read in reads) == ["BusUnavailable", "dict", "dict"]
    await bus.close()


@pytest.mark.parametrize("url", ["unix:///nowhere/at/all.sock", "redis://127.0.0.1:1"])
async def test_an_absent_server_fails_soon_with_one_error(url):
    bus = Bus(url)
    began = time.monotonic()
    with pytest.raises(BusUnavailable):
        await bus.ping()
    assert time.monotonic() - began < 1
    await bus.close()


@pytest.mark.slow
async def test_a_hanging_server_costs_less_than_a_second(own_valkey):
    bus = Bus(own_valkey.urls.redis_url)
    await bus.ping()
    pid = own_valkey.pids["valkey"]
    os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        results = await asyncio.gather(
            *(bus.put("k", b"v", 1) for _ in range(40)), return_exceptions=True
        )
        assert time.monotonic() - began < 1.2
        assert all(isinstance(result, BusUnavailable) for result in results)
    finally:
        os.kill(pid, signal.SIGCONT)
    await bus.put("k", b"v", 10)
    assert await bus.get("k") == b"v"
    await bus.close()


async def test_it_reconnects_by_itself(own_valkey):
    bus = Bus(own_valkey.urls.redis_url)
    await bus.put("k", b"v", 10)
    pid = own_valkey.pids["valkey"]
    os.kill(pid, signal.SIGKILL)
    await eventually(lambda: own_valkey.pids["valkey"] not in (pid, None))
    await eventually(lambda: own_valkey.states["valkey"] == "ready")
    assert await bus.get("k") is None
    await bus.close()


async def test_a_mailbox_is_bounded_and_rings_once(redis):
    async def post(letter, box="box"):
        return await redis.post(box, letter, bell="bell", name=box, keep=3, ttl=10)

    assert await redis.rung("bell", wait=0.01) is None
    assert [await post(letter) for letter in (b"1", b"2", b"3", b"4")] == [True] * 3 + [False]
    assert await post(b"x", "other")
    assert await redis.rung("bell") == "box"
    assert await redis.rung("bell") == "other"
    assert await redis.rung("bell", wait=0.01) is None
    assert await redis.collect("box", 2) == [b"1", b"2"]
    assert await redis.collect("box", 2) == [b"3"]
    assert await redis.collect("box", 2) == []
    assert await post(b"5")
    assert await redis.rung("bell") == "box"


async def test_unread_messages_expire(redis):
    assert await redis.post("box", b"1", bell="bell", name="box", keep=1, ttl=0.03)
    async with asyncio.timeout(2):
        while not await redis.post("box", b"2", bell="bell", name="box", keep=1, ttl=10):
            pass
    assert await redis.collect("box", 9) == [b"2"]
