"""Followers of calls, through a real Valkey."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import msgspec
import pytest

from sessions import following as module
from sessions.fanout import ADDRESSEE, END, Fanout
from sessions.following import Batch, Follower, Following, PublishedEvent
from store.bus import Bus, StreamEntry
from tests.support.services import eventually


@pytest.fixture
async def following(redis: Bus) -> AsyncIterator[Following]:
    following = Following(redis)
    following.start()
    yield following
    await following.stop()


async def publish(redis: Bus, numbers: Iterable[int], call_id: str = "a", **more: Any) -> None:
    stream = f"call:{call_id}:events"
    entries = [
        StreamEntry(stream, n, msgspec.json.encode({"type": "x", "n": n, **more})) for n in numbers
    ]
    await redis.append(entries, keep=2000, ttl=60)


async def end(redis: Bus, number: int, call_id: str = "a") -> None:
    await redis.append([StreamEntry(f"call:{call_id}:events", number, END)], keep=2000, ttl=60)


def numbers(batch: Batch | None) -> list[int]:
    return [] if batch is None else [event.number for event in batch.events]


async def until(follower: Follower, number: int) -> list[int]:
    """The numbers of all events up to that one."""
    seen: list[int] = []
    async with asyncio.timeout(10):
        while not seen or seen[-1] < number:
            seen += numbers(await follower.next())
    return seen


async def joined(redis: Bus, *followers: Follower) -> None:
    """Have new followers read events 1 and 2, the latter from the tail."""
    await publish(redis, [1])
    for follower in followers:
        assert await until(follower, 1) == [1]
    waiting = [asyncio.create_task(follower.next()) for follower in followers]
    [following] = {follower._following for follower in followers}
    await eventually(
        lambda: "a" in following._tails and following._tails["a"].followers >= {*followers}
    )
    await publish(redis, [2])
    assert [numbers(batch) for batch in await asyncio.gather(*waiting)] == [[2]] * len(followers)


def test_an_event_is_numbered_and_addressed_without_being_taken_apart() -> None:
    plain = PublishedEvent(7, b'{"type":"x","t":"\\"blab.to\\":1"}')
    assert plain.to is None
    assert plain.type == "x"
    assert msgspec.json.decode(plain.numbered) == {
        "type": "x",
        "t": '"blab.to":1',
        "sequence_number": 7,
    }
    within = PublishedEvent(7, b'{"type":"x","metadata":{"blab.to":"me"}}')
    assert within.to is None
    mine = PublishedEvent(7, b'{"type":"x","blab.to":"me"}')
    assert (mine.to, mine.data) == ("me", b'{"type":"x"}')


def test_a_batch_is_rendered_once_for_all_who_may_see_the_same() -> None:
    rendered = []

    def render(batch: Batch) -> int:
        rendered.append(batch)
        return len(batch.events)

    addressed = msgspec.json.encode({"type": "x", ADDRESSEE: "me"})
    batch = Batch([PublishedEvent(1, b'{"type":"x"}'), PublishedEvent(2, addressed)], 2)
    seen = [batch.seen_by(name).once(render) for name in ("a", "me", "b", "c")]
    assert seen == [1, 2, 1, 1]
    assert len(rendered) == 2


async def test_many_followers_of_many_calls_take_one_connection(
    following: Following, redis: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, most, read = 0, 0, redis.read

    async def counted(*given: Any, **options: Any) -> Any:
        nonlocal reading, most
        reading += 1
        most = max(most, reading)
        try:
            return await read(*given, **options)
        finally:
            reading -= 1

    monkeypatch.setattr(redis, "read", counted)
    calls = [f"call_{n}" for n in range(20)]

    async def follow(call_id: str) -> list[int]:
        with following.follow(call_id) as follower:
            return await until(follower, 10)

    tasks = [asyncio.create_task(follow(call_id)) for call_id in calls for _ in range(5)]
    for number in range(1, 11):
        for call_id in calls:
            await publish(redis, [number], call_id)
    assert await asyncio.gather(*tasks) == [list(range(1, 11))] * 100
    assert most == 1
    assert following._tails == {}


async def test_a_follower_behind_the_tail_reads_on_from_redis(
    following: Following, redis: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TAIL_EVENTS", 10)
    with following.follow("a") as slow, following.follow("a") as fast:
        await joined(redis, slow, fast)
        for number in range(3, 502):
            await publish(redis, [number])
        assert await until(fast, 501) == list(range(3, 502))
        assert len(following._tails["a"].events) == 10
        assert await until(slow, 501) == list(range(3, 502))
        await publish(redis, [502])
        assert await until(slow, 502) == await until(fast, 502) == [502]


async def test_a_follower_who_keeps_up_is_pushed_to(following: Following, redis: Bus) -> None:
    pushed: list[int] = []
    keeps_up = True

    def push(batch: Batch) -> bool:
        if keeps_up:
            pushed.extend(numbers(batch))
        return keeps_up

    with following.follow("a") as follower, following.follow("a") as watcher:
        await joined(redis, follower, watcher)
        attending = asyncio.create_task(follower.attend(push))
        await publish(redis, [3, 4])
        await until(watcher, 4)
        await eventually(lambda: pushed == [3, 4])
        keeps_up = False
        await publish(redis, [5, 7])
        await attending
        assert await until(follower, 7) == [5, 6, 7]
        keeps_up = True
        attending = asyncio.create_task(follower.attend(push))
        await end(redis, 8)
        await attending
        last = await follower.next()
        assert last is not None
        assert last.ended
        assert await follower.next() is None


async def test_a_fault_of_one_observer_costs_the_others_nothing(
    following: Following, redis: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_batch: Batch) -> bool:
        raise ValueError("broken")

    with following.follow("a") as follower, following.follow("a") as other:
        await joined(redis, follower, other)
        attending = asyncio.create_task(follower.attend(broken))
        await publish(redis, [3])
        assert await until(other, 3) == [3]
        await attending
        assert await until(follower, 3) == [3]
    assert "could not be served" in caplog.text


async def test_a_number_that_has_not_come_yet_disturbs_nobody(
    following: Following, redis: Bus
) -> None:
    await publish(redis, [1, 2])
    with following.follow("a", 1_000_000) as early, following.follow("a") as other:
        waiting = asyncio.create_task(early.next())
        await eventually(lambda: "a" in following._tails)
        assert await until(other, 2) == [1, 2]
        await publish(redis, [3])
        assert await until(other, 3) == [3]
        await publish(redis, [1_000_001])
        assert numbers(await waiting) == [1_000_001]


async def test_events_that_redis_lost_are_reported_to_those_who_miss_them(
    following: Following, redis: Bus
) -> None:
    with following.follow("a") as follower:
        await joined(redis, follower)
        await publish(redis, range(3, 6))
        await until(follower, 5)
        await redis.delete("call:a:events")
        with following.follow("a") as late:
            reading = asyncio.create_task(late.next())
            await publish(redis, [6])
            assert await until(follower, 6) == [6]
            batch = await reading
            assert batch is not None
            assert [event.is_gap for event in batch.events] == [True, False]
            assert numbers(batch) == [5, 6]


async def test_an_ended_call_can_still_be_read(following: Following, redis: Bus) -> None:
    await publish(redis, [1, 2])
    await end(redis, 3)
    with following.follow("a", 1) as follower:
        batch = await follower.next()
        assert numbers(batch) == [2]
        assert batch is not None
        assert batch.ended
        assert await follower.next() is None
    assert following._tails == {}


async def test_a_thousand_observers_let_the_loop_run(following: Following, redis: Bus) -> None:
    loop, between, attached = asyncio.get_running_loop(), 0, 0
    seen: list[int] = []

    def push(batch: Batch) -> bool:
        seen.append(batch.last)
        return True

    def tick() -> None:
        nonlocal between
        between += 0 < len(seen) < 1000
        if len(seen) < 1000:
            loop.call_soon(tick)

    async def attend() -> None:
        nonlocal attached
        with following.follow("a") as follower:
            await until(follower, 2)
            attached += 1
            await follower.attend(push)

    tasks = [asyncio.create_task(attend()) for _ in range(1000)]
    await eventually(lambda: "a" in following._tails)
    await eventually(lambda: len(following._tails["a"].followers) == 1000)
    await publish(redis, [2])
    await eventually(lambda: attached == 1000)
    tick()
    await publish(redis, [3])
    await eventually(lambda: len(seen) == 1000)
    assert seen == [3] * 1000
    assert between >= 1000 / module.SLICE - 1
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_events_of_this_node_do_not_wait_for_redis(
    following: Following, redis: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    fanout = Fanout(redis, near=following.near)
    assert fanout.publish("a", {"type": "x"}) == 1, "nobody follows: it only goes to Redis"
    fanout.start()
    with following.follow("a") as follower:
        assert await until(follower, 1) == [1]
        reading = asyncio.create_task(follower.next())
        await eventually(lambda: "a" in following._tails)

        async def nothing(*_: Any, **__: Any) -> None:
            await asyncio.Event().wait()

        monkeypatch.setattr(redis, "append", nothing)
        fanout.publish("a", {"type": "x"})
        assert numbers(await reading) == [2]
        fanout.publish("a", {"type": "y"}, to="somebody else")
        fanout.publish("a", {"type": "z"})
        fanout.end("a")
        assert await until(follower, 4) == [4]
        while (batch := await follower.next()) is not None:
            assert batch.ended
    await fanout.stop(deadline=0.01)


async def test_an_event_that_overtakes_others_waits_for_them(
    following: Following, redis: Bus
) -> None:
    with following.follow("a") as follower:
        await joined(redis, follower)
        assert following.near("a", 5, {"type": "x", "n": 5}) is not None
        await publish(redis, [3, 4, 5])
        assert await until(follower, 5) == [3, 4, 5]
        following.near("a", 6, {"type": "x", "n": 6})
        await publish(redis, [6, 7])
        assert await until(follower, 7) == [6, 7]
