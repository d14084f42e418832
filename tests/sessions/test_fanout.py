import asyncio
import os
import signal
import time

import msgspec
import pytest

from sessions.fanout import Fanout, forget, stream_of
from sessions.following import MISSED, Following
from store.bus import Bus, StreamEntry
from tests.support.services import eventually


@pytest.fixture
async def fanout(redis):
    fanout = Fanout(redis)
    fanout.start()
    yield fanout
    await fanout.stop()


@pytest.fixture
async def following(redis):
    following = Following(redis)
    following.start()
    yield following
    await following.stop()


async def followed(following, call_id, after=0, *, name="", seen=None):
    """Everything until the call's end, added to ``seen`` as it comes."""
    seen = [] if seen is None else seen
    async with asyncio.timeout(60):
        with following.follow(call_id, after, name=name) as follower:
            while (batch := await follower.next()) is not None:
                seen += [(one.number, msgspec.json.decode(one.data)) for one in batch.events]
    return seen


def gap(first, last):
    event_id = f"event_missed_{first}_{last}"
    return last, {"type": MISSED, "event_id": event_id, "first": first, "last": last}


async def test_followers_see_everything_in_order(fanout, following):
    early = asyncio.create_task(followed(following, "a"))
    for number in range(1, 301):
        assert fanout.publish("a", {"n": number}) == number
        fanout.publish("b", {"n": -number})
    fanout.end("a")
    wanted = [(number, {"n": number}) for number in range(1, 301)]
    assert await early == wanted
    assert await followed(following, "a") == wanted
    assert await followed(following, "a", after=298) == wanted[298:]
    assert fanout.dropped == 0


async def test_an_erased_call_has_no_events(fanout, following, redis):
    for call_id in ("a", "b", "c"):
        fanout.publish(call_id, {"n": 1})
        fanout.end(call_id)
        await followed(following, call_id)
    await forget(redis, ["a", "c", "never was"])
    left = await redis.read({stream_of(call_id): 0 for call_id in ("a", "b", "c")}, wait=0.01)
    assert [stream for stream, entries in left.items() if entries] == [stream_of("b")]


async def test_an_event_for_one_follower_is_for_that_one(fanout, following):
    fanout.publish("a", {"n": 1})
    fanout.publish("a", {"n": 2}, to="me")
    fanout.publish("a", {"n": 3})
    fanout.end("a")
    assert await followed(following, "a") == [(1, {"n": 1}), (3, {"n": 3})]
    assert await followed(following, "a", name="me") == [
        (number, {"n": number}) for number in (1, 2, 3)
    ]


async def test_a_trimmed_beginning_is_reported(following, redis):
    entries = [StreamEntry("call:a:events", n, b'{"n":1}') for n in range(50, 53)]
    await redis.append(entries, keep=10, ttl=10)
    await redis.append([StreamEntry("call:a:events", 60, b"end")], keep=10, ttl=10)
    seen = await followed(following, "a", after=7)
    assert seen[0] == gap(8, 49)
    assert [number for number, _ in seen] == [49, 50, 51, 52, 59]


async def test_overflow_drops_the_oldest_and_reports_it(redis, following):
    fanout = Fanout(redis, queue_events=10)
    for number in range(1, 31):
        fanout.publish("a", {"n": number})
    assert fanout.dropped == 20
    fanout.start()
    fanout.end("a")
    seen = await followed(following, "a")
    assert seen[0] == gap(1, 21)
    assert [number for number, _ in seen[1:]] == list(range(22, 31))
    await fanout.stop()


async def test_publish_is_cheap():
    bus = Bus("redis://127.0.0.1:1")
    fanout = Fanout(bus)
    fanout.start()
    began = time.process_time()
    for number in range(20_000):
        fanout.publish("a", {"n": number})
    assert (time.process_time() - began) / 20_000 < 50e-6
    await fanout.stop(deadline=0.01)
    assert fanout.dropped == 20_000
    await bus.close()


@pytest.mark.slow
async def test_an_outage_drops_events_and_nothing_else(own_valkey, caplog):
    bus = Bus(own_valkey.urls.redis_url)
    fanout, following = Fanout(bus, queue_events=5), Following(bus)
    fanout.start()
    following.start()
    seen = []
    watcher = asyncio.create_task(followed(following, "a", seen=seen))
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
    await following.stop()
    await fanout.stop()
    await bus.close()


async def test_stop_writes_pending_events(redis):
    fanout = Fanout(redis)
    fanout.start()
    fanout.publish("a", {"n": 1})
    await fanout.stop()
    assert [number for number, _ in await redis.range("call:a:events", 0)] == [1]
    fanout.end("unknown")
    await fanout.stop()


async def test_an_adopted_call_keeps_its_numbers(fanout, redis, following):
    """A call that moves to another node, with its old node alive or dead."""
    seen = []
    watcher = asyncio.create_task(followed(following, "a", seen=seen))
    for number in (1, 2):
        fanout.publish("a", {"n": number})
    await eventually(lambda: len(seen) == 2)
    last = fanout.release("a")
    fanout.end("a")  # it is not here any more: no end
    assert fanout.release("unknown") == 0
    elsewhere = Fanout(redis)
    elsewhere.start()
    assert await elsewhere.adopt("a", last) == await elsewhere.adopt("a") == 2
    assert elsewhere.publish("a", {"n": 3}) == 3
    await eventually(lambda: len(seen) == 3)
    await elsewhere.stop()  # it dies
    third = Fanout(redis)
    third.start()
    assert await third.adopt("a") == 3
    assert third.publish("a", {"n": 4}) == 4
    third.end("a")
    await watcher
    assert seen == [(number, {"n": number}) for number in (1, 2, 3, 4)]
    await third.stop()


@pytest.mark.slow
async def test_events_of_all_calls_are_written_together(redis, monkeypatch):
    fanout, written = Fanout(redis), []
    append = redis.append

    async def counted(entries, **options):
        written.append(len(entries))
        await append(entries, **options)

    monkeypatch.setattr(redis, "append", counted)
    monkeypatch.setattr("sessions.fanout.WRITE_SECONDS", 1.0)
    fanout.start()
    fanout.publish("a", {"n": 0})
    await eventually(lambda: len(written) == 1)
    for number in range(1, 101):
        fanout.publish(f"call_{number % 10}", {"n": number})
        if number % 10 == 0:
            await asyncio.sleep(0)
    await fanout.stop()
    assert sum(written) == 101
    assert len(written) == 2
