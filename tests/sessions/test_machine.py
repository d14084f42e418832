"""What is measured of the machine reaches admission."""

import asyncio
import gc
import time
import weakref

import pytest

from sessions.admission import MIB, Admission, Reason, Strain, Thresholds
from sessions.machine import MachineWatch, give_back_memory, settle_memory


async def test_a_blocked_event_loop_and_scarce_memory_are_noticed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lags: list[float] = []
    enough = asyncio.Event()

    def note(seconds: float) -> None:
        lags.append(seconds)
        if len(lags) == 3:
            enough.set()

    admission = Admission(2, strain=Strain(Thresholds(spare_bytes=100 * MIB)))
    watch = MachineWatch(admission, on_lag=note, available=lambda: 50 * MIB)
    watch.start()
    asyncio.get_running_loop().call_later(0.05, time.sleep, 0.2)  # a stall
    await asyncio.wait_for(enough.wait(), 5)
    await watch.stop()
    assert max(lags) > 0.1
    assert admission.reason() is Reason.MEMORY
    assert "no call is admitted: memory" in caplog.text


async def test_the_lag_counts_once_the_engines_are_loaded() -> None:
    measured: asyncio.Queue[float] = asyncio.Queue()
    admission, loaded = Admission(2), False
    watch = MachineWatch(admission, on_lag=measured.put_nowait, ready=lambda: loaded)
    watch.start()
    for _ in range(2):
        await asyncio.wait_for(measured.get(), 5)
    assert not admission.strain._lags
    loaded = True
    for _ in range(2):
        await asyncio.wait_for(measured.get(), 5)
    await watch.stop()
    assert admission.strain._lags


@pytest.mark.slow
def test_what_was_loaded_is_left_alone_and_circles_made_later_are_freed() -> None:
    class Circle:
        pass

    before = gc.get_freeze_count()
    settle_memory()
    try:
        assert gc.get_freeze_count() > before
        circle = Circle()
        circle.itself = circle  # type: ignore[attr-defined]
        gone = weakref.ref(circle)
        del circle
        give_back_memory()
        assert gone() is None
    finally:
        gc.unfreeze()
