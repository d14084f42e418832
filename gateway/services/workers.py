"""The job workers beside ``blab serve``: child processes ``blab worker``, kept alive.

They run at a low priority, so that jobs never disturb calls.
"""

import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from .kept import KeptProcess, Launch, spawn

NICENESS = 10
GENTLE_SECONDS = 3.0
"""How long running jobs may continue when the server stops; then they return to the queue."""
HURRIED_SECONDS = 10.0

COMMAND = (sys.executable, "-m", "gateway.cli", "worker", "--nice", str(NICENESS))


class Workers:
    """``count`` children. On Linux they die with us."""

    def __init__(self, count: int, directory: Path, command: Sequence[str] = COMMAND) -> None:
        """``directory``: where they run, so that Python finds blab's packages."""
        self._kept = [
            KeptProcess("a worker", lambda: spawn(directory, Launch(command))) for _ in range(count)
        ]

    @property
    def pids(self) -> list[int]:
        """Pids of the living workers."""
        return [kept.pid for kept in self._kept if kept.pid is not None]

    def start(self) -> None:
        """Start them, without waiting."""
        for kept in self._kept:
            kept.start()

    async def stop(self) -> None:
        """End them gently, then hurriedly, then by force; returns when none is left."""
        steps = ((signal.SIGTERM, GENTLE_SECONDS), (signal.SIGTERM, HURRIED_SECONDS))
        await asyncio.gather(*(kept.stop(steps) for kept in self._kept))
