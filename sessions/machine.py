"""The machine that calls run on: how late the event loop is, how much memory is available, and how
this process keeps its own small.

``MachineWatch`` measures the first two for admission, in one task: the lag ten times a second,
memory once a second.

An ended call leaves objects that refer to each other in circles, most of them aiortc's, with what
OpenSSL and Opus hold for them: 370 objects and 0.3 MB for a WebRTC call. Python's collector frees
them when it comes to its oldest generation, and that waits until a quarter as many objects as were
kept at the last time are new. Beside loaded engines, those are the circles of hundreds of calls.
``settle_memory`` takes what was loaded out of the count, and out of the time of each collection:
with the engines' libraries (213,000 objects) one stopped the event loop for 410 ms, on 2 cores.
"""

import asyncio
import ctypes
import gc
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from .admission import Admission

log = logging.getLogger(__name__)

LAG_SECONDS = 0.1
_MEMORY_EVERY = 10
"""Lag measurements to one of memory."""


class MachineWatch:
    """Measures, and passes it on to admission."""

    def __init__(
        self,
        admission: Admission,
        *,
        on_lag: Callable[[float], None] = lambda _seconds: None,
        ready: Callable[[], bool] = lambda: True,
        available: Callable[[], int | None] | None = None,
    ) -> None:
        """``on_lag`` receives every lag in seconds; ``ready``: before that, while engines are being
        loaded, the lag says nothing about calls; ``available``: see ``available_memory``."""
        self._ready = ready
        self._admission = admission
        self._on_lag = on_lag
        self._available = available or available_memory
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start measuring; call it on the running loop."""
        self._task = asyncio.create_task(self._measure(), name="machine-watch")

    async def stop(self) -> None:
        """Stop measuring."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _measure(self) -> None:
        strain = self._admission.strain
        refusing = None
        count = 0
        while True:
            if count % _MEMORY_EVERY == 0:
                strain.memory_measured(self._available(), time.monotonic())
            count += 1
            due = time.monotonic() + LAG_SECONDS
            await asyncio.sleep(LAG_SECONDS)
            now = time.monotonic()
            lag = max(0.0, now - due)
            self._on_lag(lag)
            if self._ready():
                strain.loop_lagged(lag, now)
            self._admission.measure_engines()
            if (reason := strain.reason()) != refusing:
                _log_change(reason, strain.lag)
                refusing = reason


def _log_change(reason: str | None, lag: float) -> None:
    if reason is None:
        log.info("calls are admitted again")
    else:
        log.warning("no call is admitted: %s (event loop p95 %.0f ms late)", reason, lag * 1000)


# ---------------------------------------------------------------------- memory


def available_memory(root: Path = Path("/")) -> int | None:
    """Bytes that this process may still take, by the machine and by the limits of its control
    groups, page cache that can be dropped included; None where neither is known (not Linux).

    ``root``: where /proc and /sys are."""
    known = [*_of_machine(root), *_of_groups(root)]
    return min(known) if known else None


def _of_machine(root: Path) -> Iterator[int]:
    for line in _lines(root / "proc/meminfo"):
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * 1024


def _of_groups(root: Path) -> Iterator[int]:
    """What each limit leaves: cgroups v2 and v1, https://docs.kernel.org/admin-guide/cgroup-v2.html.

    The limits of all ancestors hold. Inside a container the path may be the host's, and does not
    exist; the container's own group is mounted at the top."""
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if not controllers:
            top, names = root / "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            top = root / "sys/fs/cgroup/memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        group = top / path.lstrip("/")
        for folder in (group, *group.parents):
            yield from _left_in(folder, *names)
            if folder == top:
                break


def _left_in(group: Path, limit: str, usage: str, droppable: str) -> Iterator[int]:
    limits, used = _lines(group / limit), _lines(group / usage)
    if not limits or not used or limits[0] == "max":
        return
    for line in _lines(group / "memory.stat"):
        name, _, value = line.partition(" ")
        if name == droppable:
            yield max(0, int(limits[0]) - int(used[0]) + int(value))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:  # not on this machine
        return []


def settle_memory() -> None:
    """Have the collector leave alone all that exists now; call it once everything is loaded and
    while nobody calls. Blocks for some tenths of a second."""
    gc.collect()
    gc.freeze()
    gc.collect()  # so that the next threshold counts from nothing


def give_back_memory() -> None:
    """Collect, and return what is free to the machine (glibc only); while nobody calls."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
