"""Who uses the machine's processors, second by second: callers, gateway processes, and the rest."""

import asyncio
import os
import time
from collections import defaultdict
from collections.abc import Mapping

import psutil

CALLERS, GATEWAYS, ENGINES = "callers", "gateway processes", "engine processes"
KINDS = (CALLERS, GATEWAYS, ENGINES, "proxy", "Postgres", "Valkey", "other")
_BY_WORD = {
    "gateway.processes.gateway_process": GATEWAYS,
    "gateway.processes.engine_process": ENGINES,
    "haproxy": "proxy",
    "postgres": "Postgres",
    "valkey": "Valkey",
}


class Usage:
    """Samples every second while it runs. A sample: the moment (``time.monotonic``), and the cores
    in use by each kind of process since the one before; ``all``: by the machine."""

    def __init__(self) -> None:
        self.samples: list[tuple[float, Mapping[str, float]]] = []
        self._kinds: dict[int, str] = {os.getpid(): CALLERS}
        self._seconds: dict[int, float] = {}
        self._all = 0.0

    async def run(self) -> None:
        """Sample until cancelled."""
        before = time.monotonic()
        self._used()  # what was used until now
        while True:
            await asyncio.sleep(1.0)
            now, used = time.monotonic(), self._used()
            self.samples.append((now, {kind: s / (now - before) for kind, s in used.items()}))
            before = now

    def during(self, begin: float, end: float) -> dict[str, float]:
        """The mean of the samples between two moments."""
        found = [cores for at, cores in self.samples if begin < at <= end]
        return {
            kind: sum(cores.get(kind, 0.0) for cores in found) / max(1, len(found))
            for kind in (*KINDS, "all")
        }

    def _used(self) -> dict[str, float]:
        """Processor seconds by kind since this was last called."""
        used: defaultdict[str, float] = defaultdict(float)
        seconds: dict[int, float] = {}
        for process in [*psutil.Process().children(recursive=True), psutil.Process()]:
            try:
                times = process.cpu_times()
                kind = self._kinds.get(process.pid) or self._kind_of(process)
            except psutil.Error:
                continue
            seconds[process.pid] = times.user + times.system
            used[kind] += seconds[process.pid] - self._seconds.get(process.pid, 0.0)
        self._seconds = seconds
        machine = psutil.cpu_times()
        all_busy: float = (
            sum(machine) - machine.idle - machine.iowait - machine.guest - machine.guest_nice
        )
        used["all"] = all_busy - self._all
        self._all = all_busy
        return used

    def _kind_of(self, process: psutil.Process) -> str:
        words = " ".join(process.cmdline())
        kind = next((kind for word, kind in _BY_WORD.items() if word in words), "other")
        self._kinds[process.pid] = kind
        return kind
