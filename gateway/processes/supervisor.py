"""Supervisor: several gateway processes behind one port, and the engine process that they share.

::

    supervisor ── fork server ── gateway process 1 … n
               └─ engine process

Rules
- It listens, and passes each connection to the gateway process with the least to do
  (``connections``). The socket of the engine process is its own, too: an engine process that is
  started again finds who has connected meanwhile.
- A child that ends is started again, at once if it has lived for a minute, else with back-off. What
  ended with a gateway process is lost to it: its connections, and the calls that nobody resumes.
- Gateway processes are forked from one that has imported their program (``fork_server``), so that a
  successor takes no core from those that take over the calls meanwhile.
- A gateway process that ends before any has ever served cannot start: the supervisor gives up.
- On the first signal the gateway processes drain, and connections still go to those that do; the
  second one ends their calls. The engine process ends after them.
- A child that has said nothing for ``HUNG_SECONDS`` is killed: its event loop stands still.
- Children die with their parent, however it dies.
"""

import asyncio
import contextlib
import fcntl
import itertools
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path

import aiohttp

from gateway.services import ServiceFailed
from gateway.services.embedded import SUN_PATH_BYTES
from gateway.services.kept import ChildProcess, KeptProcess, Launch, spawn
from gateway.settings import CHECKOUT, Settings
from gateway.stop_signals import StopSignals
from gateway.telemetry.metrics import forget_process
from pipelines.engines.remote.server import HEALTH
from pipelines.engines.startup import INCOMPLETE, READY

from .connections import Acceptor, Member, channel_pair
from .fork_server import ForkServer

log = logging.getLogger(__name__)

GATEWAY, ENGINES = "gateway", "engine"
FOLDER, SOCKET = "processes", "engines.sock"
LONGEST_SOCKET = "gateway-64.sock"
"""Of the sockets in the folder (``neighbours``)."""
GRACE_SECONDS = 15.0
"""For a gateway process to end after its calls have."""
ENGINES_SECONDS = 10.0
FORKS_SECONDS = 5.0
"""For the fork server to end after its processes have."""
LOOK_SECONDS = 5.0
HUNG_SECONDS = 120.0
"""A start on a busy machine may take a minute, and loading an engine stops its process's event loop
for seconds."""


def command_of(kind: str) -> Sequence[str]:
    """What starts a process: of GATEWAY, or of ENGINES."""
    return (sys.executable, "-m", f"gateway.processes.{kind}_process")


class Supervisor:
    """``run`` once."""

    def __init__(
        self,
        settings: Settings,
        ports: Mapping[str, Sequence[socket.socket]],
        *,
        command: Callable[[str], Sequence[str]] = command_of,
        on_listening: Callable[[int], None] = lambda _: None,
        on_stage: Callable[[str], None] = lambda _: None,
    ) -> None:
        """``ports``: bound sockets by the name of what they are for, the first one the port that
        ``on_listening`` gets. ``on_stage`` is called with "ready" or "incomplete" when every
        gateway process has started. ``command``: what starts a process of a kind."""
        self._settings = settings
        self._ports = ports
        self._command = command
        self._on_listening = on_listening
        self._on_stage = on_stage
        self._gateways = [
            _Gateway(number, self._fork_gateway, self._reported, self._ended)
            for number in range(1, settings.processes + 1)
        ]
        self._forks = ForkServer("the fork server", CHECKOUT, command(GATEWAY), self._ended)
        self._engines = KeptProcess("the engine process", self._start_engines, self._engines_ended)
        self._engine_socket: socket.socket | None = None
        self._folder = Path()
        self._serving = asyncio.Event()
        self._failed = asyncio.Event()
        self._announced = False

    @property
    def waiting_for(self) -> str | None:
        """Why a gateway process answers no calls; None when all do."""
        reports = [one.member.report for one in self._gateways if one.member is not None]
        reasons = [report.waiting_for for report in reports if report is not None]
        return next(filter(None, reasons), None)

    async def run(self, signals: StopSignals) -> None:
        """Serve until a signal asks to stop. Raises ServiceFailed if it cannot start."""
        with self._runtime():
            acceptor = Acceptor(self._ports, self._members)
            self._engines.start()
            self._forks.start()
            for gateway in self._gateways:
                gateway.process.start()
            try:
                await self._first_of(self._serving, self._failed, signals.stop)
                if self._failed.is_set():
                    raise ServiceFailed("no gateway process could be started; its log says why")
                if self._serving.is_set():
                    acceptor.start()
                    first = next(itertools.chain(*self._ports.values()))
                    self._on_listening(first.getsockname()[1])
                watching = asyncio.create_task(self._watch(), name="watchdog")
                try:
                    await signals.stop.wait()
                finally:
                    watching.cancel()
                    await asyncio.gather(watching, return_exceptions=True)
            finally:
                await self._stop(signals)
                acceptor.close()

    # ------------------------------------------------------------------ children

    @contextlib.contextmanager
    def _runtime(self) -> Iterator[None]:
        """The folder of the processes' socket and metrics."""
        with (
            runtime_folder(self._settings.data_dir) as folder,
            socket.socket(socket.AF_UNIX) as one,
        ):
            (folder / "metrics").mkdir()
            one.bind(str(folder / SOCKET))
            one.listen()
            self._folder, self._engine_socket = folder, one
            # prometheus_client reads this when it is imported: in the children, not here.
            os.putenv("PROMETHEUS_MULTIPROC_DIR", str(folder / "metrics"))
            try:
                yield
            finally:
                os.unsetenv("PROMETHEUS_MULTIPROC_DIR")

    def _arguments(self) -> list[str]:
        """What both kinds of processes are given."""
        options = {
            "--host": self._settings.host,
            "--port": self._settings.port,
            "--engines": self._folder / SOCKET,
            "--metrics": self._folder / "metrics",
        }
        return [str(word) for option in options.items() for word in option]

    async def _start_engines(self) -> ChildProcess:
        assert self._engine_socket is not None  # noqa: S101 - open in ``run``
        inherited = self._engine_socket.dup()
        words = (*self._arguments(), "--descriptor", str(inherited.fileno()))
        return await spawn(CHECKOUT, Launch((*self._command(ENGINES), *words), (inherited,)))

    async def _fork_gateway(self, number: int, channel: socket.socket) -> ChildProcess:
        return await self._forks.fork((*self._arguments(), "--number", str(number)), channel)

    def _members(self) -> Sequence[Member]:
        """The gateway processes that serve."""
        members = (one.member for one in self._gateways)
        return [one for one in members if one is not None and one.report is not None]

    def _reported(self) -> None:
        self._serving.set()
        if self._announced:
            return
        reports = [one.report for one in self._members()]
        stages = [report.stage for report in reports if report is not None and report.stage]
        if len(stages) == len(self._gateways):
            self._announced = True
            self._on_stage(READY if set(stages) == {READY} else INCOMPLETE)

    def _ended(self, pid: int, _status: int) -> None:
        forget_process(pid, self._folder / "metrics")
        if not self._serving.is_set():
            self._failed.set()

    def _engines_ended(self, pid: int, _status: int) -> None:
        forget_process(pid, self._folder / "metrics")

    async def _watch(self) -> None:
        """Kill what hangs."""
        connector = aiohttp.UnixConnector(path=str(self._folder / SOCKET))
        limit = aiohttp.ClientTimeout(total=HUNG_SECONDS)
        async with aiohttp.ClientSession(connector=connector, timeout=limit) as session:
            while True:
                await asyncio.sleep(LOOK_SECONDS)
                for gateway in self._gateways:
                    if not gateway.hangs(time.monotonic() - HUNG_SECONDS):
                        continue
                    log.error("%s hangs", gateway.process.name)
                    if gateway.process.pid is None:
                        self._forks.kill()
                    gateway.process.signal(signal.SIGKILL)
                pid = self._engines.pid
                try:
                    async with session.get(f"http://engines{HEALTH}"):
                        pass
                except TimeoutError:
                    if pid is not None and pid == self._engines.pid:
                        log.error("the engine process hangs")
                        self._engines.signal(signal.SIGKILL)
                except aiohttp.ClientError as error:
                    log.debug("the engine process is not there: %s", error)

    # ------------------------------------------------------------------ the end

    async def _stop(self, signals: StopSignals) -> None:
        """End the gateway processes, then the others; returns when none is left."""
        settings = self._settings
        seconds = settings.drain_grace_seconds + settings.drain_seconds + GRACE_SECONDS
        steps = ((signal.SIGTERM, seconds),)
        forcing = asyncio.create_task(self._force(signals), name="force")
        try:
            await asyncio.gather(*(one.process.stop(steps) for one in self._gateways))
        finally:
            forcing.cancel()
            await asyncio.gather(forcing, return_exceptions=True)
            await self._forks.stop(FORKS_SECONDS)
            await self._engines.stop(((signal.SIGTERM, ENGINES_SECONDS),))

    async def _force(self, signals: StopSignals) -> None:
        await signals.force.wait()
        for gateway in self._gateways:
            gateway.process.signal(signal.SIGTERM)

    @staticmethod
    async def _first_of(*events: asyncio.Event) -> None:
        waiting = [asyncio.create_task(event.wait()) for event in events]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)


@contextlib.contextmanager
def runtime_folder(data_dir: Path) -> Iterator[Path]:
    """A fresh, private folder below ``data_dir``, removed at the end; what a supervisor that was
    killed left there is removed, too. Elsewhere where its sockets' paths would be too long."""
    parent = data_dir.absolute() / FOLDER
    if len(os.fsencode(parent)) + len("/12345678/") + len(LONGEST_SOCKET) > SUN_PATH_BYTES:
        parent = Path(tempfile.gettempdir()) / f"blab-{os.geteuid()}"
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if parent.stat().st_uid != os.geteuid():
        raise ServiceFailed(f"{parent} belongs to another user; remove it")
    for left in parent.iterdir():
        with _locked(left) as free:
            if free:
                shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix="", dir=parent))
    try:
        with _locked(folder) as mine:
            if not mine:
                raise ServiceFailed(f"another blab is just starting in {parent}; try again")
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Hold a folder's lock, which ends with its process; False where another one holds it."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield False
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(descriptor)


class _Gateway:
    """One gateway process, through all its lives."""

    def __init__(
        self,
        number: int,
        fork: Callable[[int, socket.socket], Awaitable[ChildProcess]],
        on_report: Callable[[], None],
        on_end: Callable[[int, int], None],
    ) -> None:
        self.member: Member | None = None
        self._number = number
        self._fork = fork
        self._on_report = on_report
        self._on_end = on_end
        self.process = KeptProcess(f"gateway process {number}", self._start, self._ended)

    def hangs(self, since: float) -> bool:
        """Whether it has said nothing since then (``time.monotonic``)."""
        return self.member is not None and self.member.heard < since

    async def _start(self) -> ChildProcess:
        ours, theirs = channel_pair()
        member = self.member = Member(ours, self._on_report, self._gone)
        try:
            return await self._fork(self._number, theirs)
        except OSError:
            member.close()
            self._gone()
            raise
        finally:
            theirs.close()

    def _gone(self) -> None:
        self.member = None

    def _ended(self, pid: int, status: int) -> None:
        if self.member is not None:
            self.member.close()
            self.member = None
        self._on_end(pid, status)
