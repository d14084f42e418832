"""EngineExecutor: bounds, deadlines, cancellation, stuck threads, streams."""

import asyncio
import gc
import threading
from collections.abc import Callable, Iterator

import pytest

from pipelines.engines.base import EngineBusy, EngineFailed, EngineTimeout
from pipelines.engines.executor import EngineExecutor, watched_executors


class Gate:
    """Vendor code that blocks until it is let go."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.open = threading.Event()
        self.left = threading.Event()

    def __call__(self, result: object = None) -> object:
        self.entered.set()
        assert self.open.wait(10)
        self.left.set()
        return result


async def reached(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, 5), "not reached within 5 s"


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)


def left_over(name: str) -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(name)]


async def test_runs_and_returns_off_the_loop_thread() -> None:
    executor = EngineExecutor("test-plain", 2, 2)
    name, total = await executor.run(
        lambda a, b: (threading.current_thread().name, a + b), 2, 3, deadline=5
    )
    assert name.startswith("test-plain-")
    assert total == 5
    assert executor.pending == 0
    assert await executor.close()
    assert left_over("test-plain") == []


async def test_engine_errors_pass_and_vendor_errors_are_wrapped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    executor = EngineExecutor("test-errors", 1, 1)

    def busy() -> None:
        raise EngineBusy("mine")

    def vendor() -> None:
        raise RuntimeError("internal path /opt/vendor")

    def quits() -> None:
        raise SystemExit(3)

    with pytest.raises(EngineBusy, match="mine"):
        await executor.run(busy, deadline=5)
    with pytest.raises(EngineFailed) as caught:
        await executor.run(vendor, deadline=5)
    assert "/opt/vendor" not in str(caught.value)
    assert "RuntimeError: internal path" in caplog.text
    with pytest.raises(EngineFailed):
        await executor.run(quits, deadline=5)
    assert await executor.run(lambda: 7, deadline=5) == 7
    await executor.close()


async def test_refuses_work_beyond_its_workers_and_queue() -> None:
    executor = EngineExecutor("test-busy", 1, 1)
    gate = Gate()
    running = asyncio.create_task(executor.run(gate, "first", deadline=5))
    await reached(gate.entered)
    waiting = asyncio.create_task(executor.run(lambda: "second", deadline=5))
    await until(lambda: executor.pending == 2)
    with pytest.raises(EngineBusy):
        await executor.run(lambda: None, deadline=5)
    gate.open.set()
    assert await running == "first"
    assert await waiting == "second"
    await executor.close()


async def test_cancelling_drops_queued_work_and_frees_its_place() -> None:
    executor = EngineExecutor("test-cancel", 1, 1)
    gate, ran = Gate(), []
    running = asyncio.create_task(executor.run(gate, deadline=5))
    await reached(gate.entered)
    queued = asyncio.create_task(executor.run(lambda: ran.append("queued"), deadline=5))
    await until(lambda: executor.pending == 2)
    queued.cancel()
    with pytest.raises(asyncio.CancelledError):
        await queued
    assert executor.pending == 1
    after = asyncio.create_task(executor.run(lambda: ran.append("after"), deadline=5))
    gate.open.set()
    await running
    await after
    assert ran == ["after"]
    await executor.close()


async def test_deadline_in_the_queue_drops_the_call() -> None:
    executor = EngineExecutor("test-expire", 1, 1)
    gate, ran = Gate(), []
    running = asyncio.create_task(executor.run(gate, deadline=5))
    await reached(gate.entered)
    with pytest.raises(EngineTimeout):
        await executor.run(lambda: ran.append(1), deadline=0.01)
    gate.open.set()
    await running
    assert await executor.run(lambda: "alive", deadline=5) == "alive"
    assert ran == []
    assert executor.stuck == 0
    await executor.close()


async def test_a_stuck_thread_is_replaced_and_reused_when_it_returns() -> None:
    executor = EngineExecutor("test-stuck", 1, 0)
    gate = Gate()
    with pytest.raises(EngineTimeout):
        await executor.run(gate, deadline=0.05)
    assert executor.stuck == 1
    assert await executor.run(lambda: "alive", deadline=5) == "alive"
    gate.open.set()
    await until(lambda: executor.stuck == 0)
    assert await executor.run(lambda: "still", deadline=5) == "still"
    assert await executor.close()
    assert left_over("test-stuck") == []


async def test_a_cancelled_call_that_runs_on_is_still_held_to_its_deadline() -> None:
    executor = EngineExecutor("test-detached", 1, 0)
    gate = Gate()
    task = asyncio.create_task(executor.run(gate, deadline=0.1))
    await reached(gate.entered)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(EngineBusy):
        await executor.run(lambda: None, deadline=5)
    await until(lambda: executor.stuck == 1)
    assert await executor.run(lambda: "alive", deadline=5) == "alive"
    gate.open.set()
    await executor.close()


async def test_too_many_stuck_threads_fail_the_engine_until_one_returns() -> None:
    executor = EngineExecutor("test-dead", 1, 0)
    gates = [Gate(), Gate()]
    for gate in gates:
        with pytest.raises(EngineTimeout):
            await executor.run(gate, deadline=0.02)
    with pytest.raises(EngineFailed, match="does not answer"):
        await executor.run(lambda: None, deadline=5)
    gates[0].open.set()
    await until(lambda: executor.stuck == 1)
    assert await executor.run(lambda: "back", deadline=5) == "back"
    gates[1].open.set()
    await executor.close()


async def test_close_fails_queued_work_and_refuses_new_work() -> None:
    executor = EngineExecutor("test-close", 1, 2)
    gate = Gate()
    running = asyncio.create_task(executor.run(gate, "done", deadline=5))
    await reached(gate.entered)
    waiting = asyncio.create_task(executor.run(lambda: None, deadline=5))
    await until(lambda: executor.pending == 2)
    assert await executor.close(deadline=0.05) is False
    with pytest.raises(EngineFailed, match="shutting down"):
        await waiting
    with pytest.raises(EngineFailed, match="shutting down"):
        await executor.run(lambda: None, deadline=5)
    gate.open.set()
    assert await running == "done"
    assert await executor.close() is True


async def test_stream_yields_in_order_and_ends() -> None:
    executor = EngineExecutor("test-stream", 1, 0)
    items = [item async for item in executor.iterate(lambda: range(1000), deadline=5, limit=3)]
    assert items == list(range(1000))
    await until(lambda: executor.pending == 0)
    await executor.close()


async def test_stream_waits_for_its_consumer_and_stops_when_it_goes() -> None:
    executor = EngineExecutor("test-stop", 1, 0)
    made: list[int] = []
    closed = threading.Event()

    def produce() -> Iterator[int]:
        try:
            for number in range(1_000_000):
                made.append(number)
                yield number
        finally:
            closed.set()

    stream = executor.iterate(produce, deadline=5, limit=4)
    assert [await anext(stream) for _ in range(3)] == [0, 1, 2]
    await stream.aclose()
    await reached(closed)
    assert len(made) <= 3 + 4 + 1
    await until(lambda: executor.pending == 0)
    await executor.close()


async def test_stream_error_comes_after_the_items_before_it() -> None:
    executor = EngineExecutor("test-fail", 1, 0)

    def produce(emit: Callable[[str], bool]) -> None:
        emit("one")
        raise ValueError("vendor")

    stream = executor.stream(produce, deadline=5)
    assert await anext(stream) == "one"
    with pytest.raises(EngineFailed):
        await anext(stream)
    await executor.close()


async def test_stream_that_stalls_times_out_and_its_thread_is_replaced() -> None:
    executor = EngineExecutor("test-stall", 1, 0)
    gate = Gate()

    def produce(emit: Callable[[str], bool]) -> None:
        emit("one")
        gate()

    stream = executor.stream(produce, deadline=0.05)
    assert await anext(stream) == "one"
    with pytest.raises(EngineTimeout):
        await anext(stream)
    assert executor.stuck == 1
    assert await executor.run(lambda: "alive", deadline=5) == "alive"
    gate.open.set()
    await until(lambda: executor.stuck == 0)
    await executor.close()


async def test_stream_abandoned_while_stuck_is_written_off() -> None:
    executor = EngineExecutor("test-gone", 1, 0)
    gate = Gate()

    def produce(emit: Callable[[str], bool]) -> None:
        emit("one")
        gate()

    stream = executor.stream(produce, deadline=0.05)
    assert await anext(stream) == "one"
    await stream.aclose()
    await until(lambda: executor.stuck == 1)
    gate.open.set()
    await until(lambda: executor.stuck == 0)
    await executor.close()


@pytest.mark.slow
async def test_failed_stream_that_nobody_awaits_leaves_no_unretrieved_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    executor = EngineExecutor("test-quiet", 1, 0)
    gate = Gate()

    def produce(emit: Callable[[str], bool]) -> None:
        emit("one")
        gate()
        raise ValueError("late")

    stream = executor.stream(produce, deadline=5)
    await anext(stream)
    await stream.aclose()
    gate.open.set()
    await until(lambda: executor.pending == 0)
    await executor.close()
    await asyncio.sleep(0)
    gc.collect()
    assert "never retrieved" not in caplog.text


def test_survives_a_change_of_event_loop() -> None:
    executor = EngineExecutor("test-loops", 1, 0)
    assert asyncio.run(executor.run(lambda: 1, deadline=5)) == 1
    assert asyncio.run(executor.run(lambda: 2, deadline=5)) == 2
    assert asyncio.run(executor.close())


def test_refuses_invalid_bounds() -> None:
    with pytest.raises(ValueError, match="workers"):
        EngineExecutor("none", 0, 0)


async def test_an_executor_with_a_role_shows_how_long_its_calls_waited_and_took() -> None:
    executor, gate = EngineExecutor("test-watched", 1, 1, role="chat"), Gate()
    unwatched = EngineExecutor("test-unwatched", 1, 1)
    assert executor in watched_executors()
    assert unwatched not in watched_executors()
    first = asyncio.create_task(executor.run(gate, deadline=5))
    await reached(gate.entered)
    second = asyncio.create_task(executor.run(lambda: None, deadline=5))
    await until(lambda: executor.pending == 2)
    gate.open.set()
    await asyncio.gather(first, second)
    (_, at_work), (waited, _) = executor.take_served()
    assert 0 < waited <= at_work
    assert executor.take_served() == []
    await executor.close()
    await unwatched.close()
    assert executor not in watched_executors()
