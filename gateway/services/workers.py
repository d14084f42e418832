"""The job workers beside ``blab serve``: child processes ``blab worker``, kept alive.

They run at a low priority, so that jobs never disturb calls. The kernel kills them when their
parent dies. A worker that dies is restarted, with back-off; a healthy minute resets it.
"""

import asyncio
import contextlib
import logging
import signal
import sys
import time
from collections.abc import Sequence
from os import getpid
from pathlib import Path

from .child import LAUNCHER

logger = logging.getLogger(__name__)

NICENESS = 10
BACKOFF_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
HEALTHY_SECONDS = 60.0
GENTLE_SECONDS = 3.0
"""How long running jobs may continue when the server stops; then they return to the queue."""
HURRIED_SECONDS = 10.0

COMMAND = (sys.executable, "-m", "gateway.cli", "worker", "--nice", str(NICENESS))


class Workers:
    """``count`` children, each with a task that keeps it alive. On Linux they die with us."""

    def __init__(self, count: int, directory: Path, command: Sequence[str] = COMMAND) -> None:
        """``directory``: where they run, so that Python finds blab's packages."""
        self._count = count
        self._directory = directory
        self._command = command
        self._keepers: list[asyncio.Task[None]] = []
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._stopping = asyncio.Event()

    @property
    def pids(self) -> list[int]:
        """Pids of the living workers."""
        return [process.pid for process in self._processes.values()]

    def start(self) -> None:
        """Start them, without waiting."""
        self._keepers = [
            asyncio.create_task(self._keep(place), name=f"worker-{place}")
            for place in range(self._count)
        ]

    async def stop(self) -> None:
        """End them gently, then hurriedly, then by force; returns when none is left."""
        self._stopping.set()
        steps = (signal.SIGTERM, GENTLE_SECONDS), (signal.SIGTERM, HURRIED_SECONDS)
        for number, seconds in (*steps, (signal.SIGKILL, HURRIED_SECONDS)):
            for process in self._processes.values():
                if process.returncode is None:
                    process.send_signal(number)
            if self._keepers:
                await asyncio.wait(self._keepers, timeout=seconds)
            if all(keeper.done() for keeper in self._keepers):
                return

    async def _keep(self, place: int) -> None:
        failures = 0
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                status = await self._run_once(place)
            except OSError as error:
                logger.error("a worker cannot be started: %s", error)
                status = -1
            if self._stopping.is_set():
                return
            failures = 0 if time.monotonic() - began >= HEALTHY_SECONDS else failures + 1
            pause = BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS)) - 1] if failures else 0.0
            logger.error("a worker ended with status %d: restarting in %.1f s", status, pause)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)

    async def _run_once(self, place: int) -> int:
        launch = (sys.executable, "-I", "-S", str(LAUNCHER))
        words = (getpid(), int(signal.SIGKILL), -1, -1, self._directory, *self._command)
        process = await asyncio.create_subprocess_exec(
            *launch, *map(str, words), stdin=asyncio.subprocess.DEVNULL, start_new_session=True
        )
        self._processes[place] = process
        try:
            if self._stopping.is_set():
                process.send_signal(signal.SIGTERM)
            return await process.wait()
        finally:
            del self._processes[place]
