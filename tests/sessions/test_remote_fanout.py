import asyncio
import os
import signal
import time

import pytest

from sessions.remote import MISSED, Fanout
from store.bus import Bus, StreamEntry
from tests.support.services import eventually


@pytest.fixture
async def fanout(redis):
    fanout = Fanout(redis)
    fanout.start()
    yield fanout
    await fanout.stop()


async def followed(fanout, call_id, after=0, *, seen=None):
    """Everything until the call's end, added to ``seen`` as it comes."""
    seen = [] if seen is None else seen
    async with asyncio.timeout(60):
        async for pair in fanout.follow(call_id, after):
            seen.append(pair)
    return seen


async def test_followers_see_everything_in_order(fanout):
    early = asyncio.create_task(followed(fanout, "a"))
    for number in range(1, 301):
        assert fanout.publish("a", {"n": number}) == number
        fanout.publish("b", {"n": -number})
    fanout.end("a")
    wanted = [(number, {"n": number}) for number in range(1, 301)]
    assert await early == wanted
    assert await followed(fanout, "a") == wanted
    assert await followed(fanout, "a", after=298) == wanted[298:]
    assert fanout.dropped == 0


async def test_an_event_for_one_follower_is_for_that_one(fanout):
    fanout.publish("a", {"n": 1})
    fanout.publish("a", {"n": 2}, to="me")
    fanout.publish("a", {"n": 3})
    fanout.end("a")
    assert await followed(fanout, "a") == [(1, {"n": 1}), (3, {"n": 3})]
    mine = [pair async for pair in fanout.follow("a", name="me")]
    assert mine == [(number, {"n": number}) for number in (1, 2, 3)]


async def test_a_trimmed_beginning_is_reported(fanout, redis):
    entries = [StreamEntry("call:a:events", n, b'{"n":1}') for n in range(50, 53)]
    await redis.append(entries, keep=10, ttl=10)
    await redis.append([StreamEntry("call:a:events", 60, b"end")], keep=10, ttl=10)
    seen = await followed(fanout, "a", after=7)
    assert seen[0] == (49, {"type": MISSED, "first": 8, "last": 49})
    assert [number for number, _ in seen] == [49, 50, 51, 52, 59]


async def test_overflow_drops_the_oldest_and_reports_it(redis):
    fanout = Fanout(redis, queue_events=10)
    for number in range(1, 31):
        fanout.publish("a", {"n": number})
    assert fanout.dropped == 20
    fanout.start()
    fanout.end("a")
    seen = await followed(fanout, "a")
    assert seen[0][1] == {"type": MISSED, "first": 1, "last": 21}
    assert [number for number, _ in seen[1:]] == list(range(22, 31))
    await fanout.stop()


async def test_publish_is_cheap():
    bus = Bus("redis://127.0.0.1:1")
    fanout = Fanout(bus)
    fanout.start()
    began = time.perf_counter()
    for number in range(20_000):
        fanout.publish("a", {"n": number})
    assert (time.perf_counter() - began) / 20_000 < 50e-6
    await fanout.stop(deadline=0.01)
    assert fanout.dropped == 20_000
    await bus.close()


async def test_an_outage_drops_events_and_nothing_else(own_valkey, caplog):
    bus = Bus(own_valkey.urls.redis_url)
    fanout = Fanout(bus, queue_events=5)
    fanout.start()
    seen = []
    watcher = asyncio.create_task(followed(fanout, "a", seen=seen))
    fanout.publish("a", {"n": 1})
    await eventually(lambda: bool(seen))
    pid = own_valkey.pids["valkey"]
    os.kill(pid, signal.SIGSTOP)  # it hangs first, then dies
    for number in range(2, 41):
        fanout.publish("a", {"n": number})
        await asyncio.sleep(0)
    await eventually(lambda: "session events are queued" in caplog.text)
    os.kill(pid, signal.SIGKILL)
    await eventually(lambda: "session events are published again" in caplog.text)
    assert fanout.dropped > 0
    fanout.publish("a", {"n": 41})
    fanout.end("a")
    await watcher
    assert seen[0] == (1, {"n": 1})
    assert seen[1][1]["type"] == MISSED
    assert seen[-1] == (41, {"n": 41})
    numbers = [number for number, _ in seen]
    assert numbers == sorted(numbers)
    assert caplog.text.count("session events are queued") == 1
    await fanout.stop()
    await bus.close()


async def test_stop_writes_pending_events(redis):
    fanout = Fanout(redis)
    fanout.start()
    fanout.publish("a", {"n": 1})
    await fanout.stop()
    assert [number for number, _ in await redis.read("call:a:events", 0)] == [1]
    fanout.end("unknown")
    await fanout.stop()
