"""KeptProcess: one of our own programs as a child process, started again whenever it ends.

Rules
- The kernel kills a spawned child when its parent dies, however that dies (``launch``).
- A child that ends is started again: at once after ``HEALTHY_SECONDS``, else with back-off.
- A spawned child inherits our environment and standard error, and the sockets that its ``Launch``
  names.
"""

import asyncio
import contextlib
import logging
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from os import getpid
from pathlib import Path
from typing import Protocol

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


class ChildProcess(Protocol):
    """A started child; ``asyncio.subprocess.Process`` is one."""

    @property
    def pid(self) -> int:
        """Its pid."""
        ...

    def send_signal(self, signal: int) -> None:
        """Send it a signal. Raises ProcessLookupError once it has ended."""
        ...

    async def wait(self) -> int:
        """Its exit status once it has ended; negative for a signal."""
        ...


async def spawn(directory: Path, launch: Launch) -> ChildProcess:
    """Start a program in ``directory``, so that Python finds blab's packages. Raises OSError."""
    start = (sys.executable, "-I", "-S", str(LAUNCHER), getpid(), int(signal.SIGKILL), -1, -1)
    try:
        return await asyncio.create_subprocess_exec(
            *map(str, (*start, directory, *launch.command)),
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=[one.fileno() for one in launch.sockets],
        )
    finally:
        for one in launch.sockets:
            one.close()


class KeptProcess:
    """Keeps one child alive between ``start`` and ``stop``."""

    def __init__(
        self,
        name: str,
        start: Callable[[], Awaitable[ChildProcess]],
        on_end: Callable[[int, int], None] = lambda _pid, _status: None,
    ) -> None:
        """``start`` starts it, each time, or raises OSError; ``on_end`` is called with pid and exit
        status of each child that has ended."""
        self.name = name
        self._start = start
        self._on_end = on_end
        self._process: ChildProcess | None = None
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
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
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
            logger.error("%s ended with status %d: restarting in %.1f s", self.name, status, pause)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)

    async def _run_once(self) -> int:
        process = await self._start()
        self._process = process
        try:
            if self._stopping.is_set():
                self.signal(signal.SIGTERM)
            status = await process.wait()
        finally:
            self._process = None
        self._on_end(process.pid, status)
        return status
