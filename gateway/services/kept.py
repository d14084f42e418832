"""KeptProcess: one of our own programs as a child process, started again whenever it ends.

Rules
- The kernel kills the child when its parent dies, however that dies (``launch``).
- A child that ends is started again: at once after ``HEALTHY_SECONDS``, else with back-off, and in
  no case sooner than its owner says.
- It inherits our environment and standard error, and the sockets that its ``Launch`` names.
"""

import asyncio
import contextlib
import logging
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import getpid
from pathlib import Path

from .child import LAUNCHER

logger = logging.getLogger(__name__)

BACKOFF_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
HEALTHY_SECONDS = 60.0
KILL_SECONDS = 10.0

Steps = Sequence[tuple[signal.Signals, float]]
"""Signals of an orderly stop, each with the seconds that it is given."""


@dataclass(frozen=True, slots=True)
class Launch:
    """What to start: an absolute program with its arguments, and the sockets it inherits under
    their numbers here, which are closed here once it runs."""

    command: Sequence[str]
    sockets: Sequence[socket.socket] = ()


class KeptProcess:
    """Keeps one child alive between ``start`` and ``stop``."""

    def __init__(
        self,
        name: str,
        directory: Path,
        launch: Callable[[], Launch],
        on_end: Callable[[int, int], None] = lambda _pid, _status: None,
        rest: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """``directory``: where it runs, so that Python finds blab's packages; ``launch`` is called
        for each start, ``on_end`` with pid and exit status of each child that has ended, ``rest``
        for the seconds before it is started again, at least."""
        self.name = name
        self._directory = directory
        self._launch = launch
        self._on_end = on_end
        self._rest = rest
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """The living child's pid."""
        return None if self._process is None else self._process.pid

    @property
    def running(self) -> bool:
        """Whether it is being kept alive."""
        return self._keeper is not None and not self._keeper.done()

    def start(self) -> None:
        """Start it, without waiting."""
        self._keeper = asyncio.create_task(self._keep(), name=self.name)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the child, if there is one."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def stop(self, steps: Steps) -> None:
        """End it by ``steps``, at last by SIGKILL; returns when it has ended."""
        self._stopping.set()
        for number, seconds in (*steps, (signal.SIGKILL, KILL_SECONDS)):
            if self._keeper is None or self._keeper.done():
                break
            self.signal(number)
            await asyncio.wait((self._keeper,), timeout=seconds)
        if self._keeper is not None and self._keeper.done():
            self._keeper.result()

    async def _keep(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                status = await self._run_once()
            except OSError as error:
                logger.error("%s cannot be started: %s", self.name, error)
                status = -1
            if self._stopping.is_set():
                return
            failures = 0 if time.monotonic() - began >= HEALTHY_SECONDS else failures + 1
            pause = BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS)) - 1] if failures else 0.0
            pause = max(pause, self._rest())
            logger.error("%s ended with status %d: restarting in %.1f s", self.name, status, pause)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)

    async def _run_once(self) -> int:
        launch = self._launch()
        start = (sys.executable, "-I", "-S", str(LAUNCHER), getpid(), int(signal.SIGKILL), -1, -1)
        try:
            process = await asyncio.create_subprocess_exec(
                *map(str, (*start, self._directory, *launch.command)),
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,
                pass_fds=[one.fileno() for one in launch.sockets],
            )
        finally:
            for one in launch.sockets:
                one.close()
        self._process = process
        try:
            if self._stopping.is_set():
                process.send_signal(signal.SIGTERM)
            status = await process.wait()
        finally:
            self._process = None
        self._on_end(process.pid, status)
        return status
