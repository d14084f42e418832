"""A server process as a supervised child: started, watched, restarted, stopped.

Rules
- One thread forks the process and waits for it. ``PR_SET_PDEATHSIG`` is bound to the *thread*
  that forked, so that thread must live as long as the process: here it does by construction.
  The thread is a daemon: our process may end at any time, and the kernel then signals the child.
- The child and everything it forks inherit a locked descriptor of ``<name>.lock``; we close ours.
  Whoever can lock the file knows that nothing of an earlier server is left, however it died; no
  guessing by pid. The file holds the pid, for messages and for macOS.
- A server that dies after it was ready once is restarted, with back-off, at most ``MAX_RESTARTS``
  times in a row; a healthy minute resets the count. After that its state is FAILED.
- macOS has no parent-death signal: after kill -9 of blab the servers keep running until the next
  start on the same data directory, which first stops them (by the pid under the lock).
- Where blab is root, servers run as ``nobody`` (Postgres refuses root).

Errors::

    ServiceError
    ├── DataDirInUse    another blab holds the data directory
    └── ServiceFailed   a server could not be started, or its files cannot be reached
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import pwd
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import ClassVar, Protocol

logger = logging.getLogger(__name__)

LAUNCHER = Path(__file__).with_name("launch.py")
READY_SECONDS = 60.0
"""The longest start, including crash recovery."""
PREPARE_SECONDS = 120.0
PREDECESSOR_SECONDS = 30.0
"""How long an earlier server may take to end after its blab was killed."""
MAX_RESTARTS = 6
BACKOFF_SECONDS = (0.05, 0.25, 1.0, 2.0, 5.0, 10.0)
HEALTHY_SECONDS = 60.0
LOG_BYTES = 4 << 20
"""A log larger than this is moved to ``.old`` at start, replacing the previous one."""
_POLL = 0.01


class ServiceError(Exception):
    """The embedded services are not available; the message says what to do."""


class DataDirInUse(ServiceError):
    """Another blab process holds the data directory."""


class ServiceFailed(ServiceError):
    """A server did not start, or something it needs is missing."""


# ------------------------------------------------------------------ the account

UNKNOWN_NOBODY = 65534
"""The overflow uid of Linux, where the system has no account named ``nobody``."""


@dataclass(frozen=True, slots=True)
class Account:
    """A numeric user and group."""

    uid: int
    gid: int

    def allows(self, path: Path, wanted: int) -> bool:
        """True where the mode bits give the account ``wanted`` (4 read, 2 write, 1 enter)."""
        status = path.stat()
        if status.st_uid == self.uid:
            bits = status.st_mode >> 6
        elif status.st_gid == self.gid:
            bits = status.st_mode >> 3
        else:
            bits = status.st_mode
        return bits & wanted == wanted

    def reaches(self, path: Path, wanted: int = 1) -> bool:
        """True if the account may enter all directories above ``path`` and has ``wanted`` on it.

        Mode bits only: a directory opened only by an ACL counts as closed, which costs a copy."""
        path = path.resolve()
        return self.allows(path, wanted) and all(self.allows(above, 1) for above in path.parents)


def service_account() -> Account | None:
    """``nobody`` when this process is root, else None: servers run as we do."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        return Account(UNKNOWN_NOBODY, UNKNOWN_NOBODY)
    return Account(entry.pw_uid, entry.pw_gid)


def make_private(path: Path, account: Account | None) -> None:
    """Make ``path`` (its parents exist) a directory that only its service account may enter.

    Only a directory made here changes owner; an existing one must already be right."""
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        pass
    else:
        if account:
            os.chown(path, account.uid, account.gid)
        return
    status = path.lstat()
    owner = account.uid if account else os.geteuid()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid not in {owner, os.geteuid()}:
        raise PermissionError(f"{path} belongs to another user (uid {status.st_uid}); remove it")
    if status.st_uid != owner and account:  # ours, but a kill came between mkdir and chown
        os.chown(path, account.uid, account.gid)
    if status.st_mode & 0o077:
        path.chmod(0o700)


# ------------------------------------------------------------------ supervision


class ServiceState(StrEnum):
    """Where a supervised server stands."""

    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    FAILED = "failed"


Runner = Callable[[Sequence[str], Path], None]
"""Runs a helper program to its end in a directory; raises ServiceFailed where it fails."""


class Program(Protocol):
    """What differs between servers. All methods run in the supervising thread."""

    name: ClassVar[str]
    death_signal: ClassVar[signal.Signals]
    """What the kernel sends when blab is gone."""
    stopping: ClassVar[tuple[tuple[signal.Signals, float], ...]]
    """Signals of an orderly stop, gentle first, each with the seconds it is given."""

    def prepare(self, run: Runner) -> None:
        """Make what the server needs; called before every start, nothing else running."""
        ...

    def command(self) -> tuple[list[str], Path]:
        """The server's argv (absolute program) and working directory."""
        ...

    def is_ready(self, pid: int, /) -> bool:
        """True once the server with that pid takes connections."""
        ...


class _Stopped(Exception):
    """``stop`` was called; unwind."""


class Child:
    """Supervises one Program. ``start`` once, ``stop`` once; both safe from any loop."""

    def __init__(self, program: Program, account: Account | None, directory: Path) -> None:
        """``directory`` takes ``<name>.lock`` and ``<name>.log``."""
        self.name = program.name
        self._program = program
        self._account = account
        self._lock_path = directory / f"{program.name}.lock"
        self._log_path = directory / f"{program.name}.log"
        self._state = ServiceState.STOPPED
        self._mutex = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._ready: Future[None] = Future()
        self._ready.set_running_or_notify_cancel()  # so that nobody can cancel it
        self._thread = threading.Thread(
            target=self._supervise, name=f"blab-{program.name}", daemon=True
        )

    @property
    def state(self) -> ServiceState:
        """The present state; READY: the last start succeeded and the server is alive."""
        return self._state

    @property
    def pid(self) -> int | None:
        """The present process's pid, if there is one."""
        process = self._process
        return process.pid if process else None

    async def start(self) -> None:
        """Return when the server takes connections; raises ServiceFailed with its log's end."""
        self._thread.start()
        await asyncio.wrap_future(self._ready)

    async def stop(self) -> None:
        """End the server by increasingly hard signals; return when nothing of it is left."""
        self._stopping.set()
        if self._thread.ident is None:
            return
        for number, seconds in (*self._program.stopping, (signal.SIGKILL, 10.0)):
            with self._mutex:
                if self._process:
                    self._process.send_signal(number)
            await asyncio.to_thread(self._thread.join, seconds)
            if not self._thread.is_alive():
                return
            logger.warning("%s is still running after signal %d", self.name, number)
        raise ServiceFailed(f"{self.name} (pid {self.pid}) does not end, not even on SIGKILL")

    # ------------------------------------------------------------------ the supervising thread

    def _supervise(self) -> None:
        """Run the server until ``stop``, or until it cannot be kept alive."""
        failures = 0
        self._become(ServiceState.STARTING)
        while True:
            began = time.monotonic()
            try:
                self._run_once()
                if time.monotonic() - began >= HEALTHY_SECONDS:
                    failures = 0
            except _Stopped:
                break
            except (ServiceFailed, OSError) as error:
                if not self._ready.done():
                    self._become(ServiceState.FAILED)
                    self._ready.set_exception(self._explained(error))
                    return
                logger.error("%s did not restart: %s", self.name, error)
            failures += 1
            if failures > MAX_RESTARTS:
                self._become(ServiceState.FAILED)
                logger.critical("%s died %d times in a row; giving up", self.name, failures)
                return
            self._become(ServiceState.RESTARTING)
            if self._stopping.wait(BACKOFF_SECONDS[failures - 1]):
                break
        self._become(ServiceState.STOPPED)
        if not self._ready.done():
            self._ready.set_exception(ServiceFailed(f"{self.name} was stopped while it started"))

    def _run_once(self) -> None:
        """One life of the server: prepared, started, ready, dead."""
        with self._claimed() as lock:
            self._program.prepare(lambda argv, cwd: self._run_helper(argv, cwd, lock))
            argv, cwd = self._program.command()
            process = self._spawn(argv, cwd, lock)
        try:
            self._await_ready(process)
            self._become(ServiceState.READY)
            if not self._ready.done():
                self._ready.set_result(None)
            status = process.wait()
        finally:
            self._bury(process)
        if self._stopping.is_set():
            raise _Stopped
        logger.error("%s (pid %d) died with status %d", self.name, process.pid, status)

    @contextlib.contextmanager
    def _claimed(self) -> Iterator[int]:
        """The locked descriptor for the next server; waits until an earlier one has ended."""
        descriptor = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            give_up = time.monotonic() + PREDECESSOR_SECONDS
            signalled = sys.platform == "linux"
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    pid = int(os.pread(descriptor, 20, 0) or b"0")
                if not signalled and pid:
                    signalled = True
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, self._program.death_signal)
                if time.monotonic() > give_up:
                    raise ServiceFailed(
                        f"an earlier {self.name} (pid {pid or 'unknown'}) of this data directory "
                        f"has not ended within {PREDECESSOR_SECONDS:.0f} s; stop it and try again"
                    )
                if self._stopping.wait(_POLL):
                    raise _Stopped
            yield descriptor
        finally:
            os.close(descriptor)

    def _spawn(self, argv: Sequence[str], cwd: Path, lock: int) -> subprocess.Popen[bytes]:
        uid, gid = (self._account.uid, self._account.gid) if self._account else (-1, -1)
        launch = (sys.executable, "-I", "-S", str(LAUNCHER), os.getpid())
        words = (*launch, int(self._program.death_signal), uid, gid, cwd, *argv)
        with self._mutex, self._open_log() as log:
            if self._stopping.is_set():
                raise _Stopped
            process = subprocess.Popen(
                [str(word) for word in words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
                start_new_session=True,
                pass_fds=(lock,),
            )
            os.pwrite(lock, b"%-20d" % process.pid, 0)
            self._process = process
        return process

    def _open_log(self) -> contextlib.AbstractContextManager[int]:
        with contextlib.suppress(FileNotFoundError):
            if self._log_path.stat().st_size > LOG_BYTES:
                self._log_path.replace(self._log_path.with_suffix(".log.old"))
        return _descriptor(self._log_path)

    def _run_helper(self, argv: Sequence[str], cwd: Path, lock: int) -> None:
        process = self._spawn(argv, cwd, lock)
        try:
            status = process.wait(PREPARE_SECONDS)
        except subprocess.TimeoutExpired:
            raise ServiceFailed(f"{argv[0]} did not end in {PREPARE_SECONDS:.0f} s") from None
        finally:
            self._bury(process)
        if self._stopping.is_set():
            raise _Stopped
        if status:
            raise ServiceFailed(f"{argv[0]} failed with status {status}")

    def _await_ready(self, process: subprocess.Popen[bytes]) -> None:
        give_up = time.monotonic() + READY_SECONDS
        while not self._program.is_ready(process.pid):
            if process.poll() is not None:
                if self._stopping.is_set():
                    raise _Stopped
                raise ServiceFailed(f"{self.name} ended with status {process.returncode}")
            if time.monotonic() > give_up:
                raise ServiceFailed(f"{self.name} was not ready within {READY_SECONDS:.0f} s")
            time.sleep(_POLL)

    def _bury(self, process: subprocess.Popen[bytes]) -> None:
        """Leave no process behind, whatever went wrong."""
        if process.poll() is None:
            process.kill()
            process.wait()
        with self._mutex:
            self._process = None

    def _become(self, state: ServiceState) -> None:
        logger.info("%s: %s -> %s", self.name, self._state, state)
        self._state = state

    def _explained(self, error: Exception) -> ServiceFailed:
        words = ""
        with contextlib.suppress(FileNotFoundError):
            words = self._log_path.read_text(errors="replace")[-800:].strip()
        return ServiceFailed(f"{error}. The end of {self._log_path}:\n{words}")


@contextlib.contextmanager
def _descriptor(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
