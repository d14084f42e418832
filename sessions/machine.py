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
from collections.abc import Callable

from pipelines.engines.resources import available_memory

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
