import asyncio
import threading
from collections import Counter, deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.engines.base import EngineBusy
from pipelines.engines.executor import EngineExecutor
from pipelines.engines.fair_queue import FLOW, FairQueue


def test_the_lines_take_turns_and_each_keeps_its_order() -> None:
    queue: FairQueue[str] = FairQueue()
    for item in ("a1", "a2", "a3", "b1", "c1", "b2"):
        queue.push(item, item[0])
    assert [queue.pop() for _ in range(6)] == ["a1", "b1", "c1", "a2", "b2", "a3"]
    with pytest.raises(IndexError):
        queue.pop()


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=60))
def test_nobody_waits_for_more_than_one_item_of_each_other_line(
    steps: list[tuple[str, bool]],
) -> None:
    """As a model: round robin over the lines that are not empty."""
    queue: FairQueue[tuple[str, int]] = FairQueue()
    lines: dict[str, deque[tuple[str, int]]] = {}
    passed: Counter[str] = Counter()
    for number, (flow, push) in enumerate(steps):
        if push:
            queue.push((flow, number), flow)
            lines.setdefault(flow, deque()).append((flow, number))
        elif lines:
            found, _ = item = queue.pop()
            assert item == lines[found].popleft()
            if not lines[found]:
                del lines[found]
            for other in lines.keys() - {found}:
                passed[other + found] += 1
                assert passed[other + found] <= 1, "served twice while another line waited"
            for key in [key for key in passed if key[0] == found]:
                del passed[key]
        assert len(queue) == sum(map(len, lines.values()))


def test_a_full_queue_gives_up_the_newest_of_the_longest_line_for_a_shorter_one() -> None:
    queue: FairQueue[str] = FairQueue()
    for item in ("a1", "a2", "a3", "b1"):
        queue.push(item, item[0])
    assert queue.displaced("a") is None, "not for the longest line itself"
    assert queue.displaced("c") == "a3"
    assert queue.displaced("b") is None, "the lines would only change places"
    assert queue.displaced("c") == "a2"
    assert queue.displaced("c") is None
    assert queue.remove("b1", "b")
    assert not queue.remove("b1", "b")
    assert len(queue) == 1


async def test_a_flood_of_one_call_neither_delays_nor_refuses_another() -> None:
    executor = EngineExecutor("test-flood", 1, 4)
    entered, gate, order = threading.Event(), threading.Event(), []

    def vendor(name: str) -> None:
        entered.set()
        gate.wait(5)
        order.append(name)

    async def work(flow: str, number: int) -> None:
        FLOW.set(flow)
        await executor.run(vendor, f"{flow}{number}", deadline=5)

    flood = [asyncio.create_task(work("flood", 0))]
    await asyncio.sleep(0)
    assert await asyncio.to_thread(entered.wait, 5)
    flood += [asyncio.create_task(work("flood", number)) for number in range(1, 5)]
    while executor.pending < 5:
        await asyncio.sleep(0)
    with pytest.raises(EngineBusy):
        await asyncio.create_task(work("flood", 5))
    other = asyncio.create_task(work("other", 0))
    with pytest.raises(EngineBusy):
        await flood[4]
    assert executor.pending == 5
    gate.set()
    await asyncio.gather(other, *flood[:4])
    assert order == ["flood0", "flood1", "other0", "flood2", "flood3"]
    await executor.close()
