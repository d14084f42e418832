"""What is measured of the machine reaches admission."""

import asyncio
import gc
import time
import weakref
from pathlib import Path

import pytest

from sessions.admission import MIB, Admission, Reason, Strain, Thresholds
from sessions.machine import MachineWatch, available_memory, give_back_memory, settle_memory

KIB = 1024


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


def test_the_memory_of_the_machine_counts(tmp_path: Path) -> None:
    assert available_memory(tmp_path) is None
    write(tmp_path / "proc/meminfo", "MemTotal: 900 kB\nMemAvailable:  700 kB\n")
    assert available_memory(tmp_path) == 700 * KIB


@pytest.mark.parametrize(
    ("line", "folder", "names"),
    [
        (
            "0::/a/b",
            "sys/fs/cgroup",
            ("memory.max", "memory.current", "anon 1\ninactive_file"),
        ),
        (
            "3:cpu:/\n4:memory:/a/b",
            "sys/fs/cgroup/memory",
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ),
    ],
)
def test_the_limits_of_all_control_groups_count(
    tmp_path: Path, line: str, folder: str, names: tuple[str, str, str]
) -> None:
    write(tmp_path / "proc/meminfo", "MemAvailable: 700 kB\n")
    write(tmp_path / "proc/self/cgroup", f"{line}\n")
    limit, usage, droppable = names
    assert available_memory(tmp_path) == 700 * KIB
    write(tmp_path / folder / "a/b" / limit, "max\n" if limit == "memory.max" else f"{2**60}\n")
    write(tmp_path / folder / "a" / limit, "500000\n")
    for group in ("a/b", "a"):
        write(tmp_path / folder / group / usage, "400000\n")
        write(tmp_path / folder / group / "memory.stat", f"{droppable} 30000\n")
    assert available_memory(tmp_path) == 130_000


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


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
