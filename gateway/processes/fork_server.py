"""Fork server: one process that has imported a program, and forks it on request.

Importing the gateway costs seconds of a core; a fork costs milliseconds, and the forked processes
share the memory of what was imported (see multiprocessing's start method "forkserver").

Rules
- Both sides speak over one socket pair. It has room for the requests of all processes that a
  supervisor keeps; requests that come while the program is still being imported wait in it.
- The server runs no event loop and starts no thread: it is safe to fork.
- The kernel kills the forked processes when the server dies, and the server ends with its parent.
  (macOS has no such signal: there a forked process ends when what it inherited is closed.)
"""

import asyncio
import ctypes
import gc
import logging
import os
import selectors
import signal
import socket
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from gateway.services.kept import ChildProcess, KeptProcess, Launch, spawn
from gateway.services.launch import PR_SET_PDEATHSIG

log = logging.getLogger(__name__)

_BYTES = 65_536


class Fork(msgspec.Struct, frozen=True, tag=True):
    """Asks for a process with these arguments; the socket that it inherits comes along."""

    number: int
    arguments: list[str]


class Forked(msgspec.Struct, frozen=True, tag=True):
    """Answers the request of that number; ``fault`` says why there is no process."""

    number: int
    pid: int = 0
    fault: str = ""


class Ended(msgspec.Struct, frozen=True, tag=True):
    """A forked process has ended; ``status`` is negative for a signal."""

    pid: int
    status: int


_ENCODER = msgspec.msgpack.Encoder()
_REQUESTS = msgspec.msgpack.Decoder(Fork)
_ANSWERS = msgspec.msgpack.Decoder(Forked | Ended)


# ------------------------------------------------------------------ the supervisor's side


class ForkServer:
    """Keeps a fork server alive, and has it fork. ``start`` once, ``stop`` once."""

    def __init__(
        self,
        name: str,
        directory: Path,
        command: Sequence[str],
        on_end: Callable[[int, int], None],
    ) -> None:
        """``command``: the program, which calls ``forked`` with the number of a descriptor that
        comes as its last argument; it runs in ``directory``. ``on_end`` is called with pid and
        exit status of each fork server that has ended."""
        self._directory = directory
        self._command = command
        self._on_end = on_end
        self._kept = KeptProcess(name, self._start, self._ended)
        self._channel: socket.socket | None = None
        self._numbers = 0
        self._asked: dict[int, asyncio.Future[ForkedProcess]] = {}
        self._living: dict[int, asyncio.Future[int]] = {}

    def start(self) -> None:
        """Start it, without waiting."""
        self._kept.start()

    def kill(self) -> None:
        """Kill it: it is started again, and so are its processes, which die with it."""
        self._kept.signal(signal.SIGKILL)

    async def stop(self, seconds: float) -> None:
        """End it and all of its processes; returns when it has ended."""
        await self._kept.stop(((signal.SIGTERM, seconds),))
        self._close()

    async def fork(self, arguments: Sequence[str], inherited: socket.socket) -> "ForkedProcess":
        """A process that runs the program with these arguments and inherits a socket, which stays
        open here. Waits while the program is still being imported. Raises OSError if there is no
        such process."""
        if self._channel is None:
            raise ConnectionError(f"{self._kept.name} does not run")
        self._numbers += 1
        request = Fork(self._numbers, list(arguments))
        answer: asyncio.Future[ForkedProcess] = asyncio.get_running_loop().create_future()
        self._asked[request.number] = answer
        try:
            socket.send_fds(self._channel, [_ENCODER.encode(request)], [inherited.fileno()])
            return await answer
        finally:
            self._asked.pop(request.number, None)

    async def _start(self) -> ChildProcess:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        self._channel = ours
        asyncio.get_running_loop().add_reader(ours, self._read, ours)
        launch = Launch((*self._command, str(theirs.fileno())), (theirs,))
        return await spawn(self._directory, launch)

    def _read(self, channel: socket.socket) -> None:
        try:
            data = channel.recv(_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            log.debug("%s is gone: %s", self._kept.name, error)
            data = b""
        if not data:
            self._close()
            return
        message = _ANSWERS.decode(data)
        if isinstance(message, Ended):
            self._living.pop(message.pid).set_result(message.status)
            return
        answer = self._asked.pop(message.number, None)
        if message.fault:
            if answer is not None:
                answer.set_exception(OSError(message.fault))
            return
        end = self._living[message.pid] = asyncio.get_running_loop().create_future()
        process = ForkedProcess(message.pid, end)
        if answer is None or answer.cancelled():
            process.send_signal(signal.SIGKILL)
        else:
            answer.set_result(process)

    def _ended(self, pid: int, status: int) -> None:
        self._close()
        self._on_end(pid, status)

    def _close(self) -> None:
        """Forget a server that has gone, and its processes, which went along."""
        if self._channel is not None:
            asyncio.get_running_loop().remove_reader(self._channel)
            self._channel.close()
            self._channel = None
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(ConnectionError(f"{self._kept.name} ended"))
        self._asked.clear()
        for end in self._living.values():
            end.set_result(-signal.SIGKILL)
        self._living.clear()


@dataclass(frozen=True, slots=True)
class ForkedProcess:
    """A process of ours whose parent is the fork server."""

    pid: int
    _end: asyncio.Future[int]

    def send_signal(self, signal: int) -> None:
        """Send it a signal. Raises ProcessLookupError once it has ended."""
        if self._end.done():
            raise ProcessLookupError(f"process {self.pid} has ended")
        os.kill(self.pid, signal)

    async def wait(self) -> int:
        """Its exit status once it has ended; negative for a signal."""
        return await asyncio.shield(self._end)


# ------------------------------------------------------------------ the server's side


@dataclass(frozen=True, slots=True)
class Start:
    """What a forked process begins with."""

    arguments: list[str]
    descriptor: int
    """Of the socket that it inherits."""


def forked(descriptor: int) -> Start | None:
    """Fork on request until the parent has gone. Returns None then, and in each forked process
    what that one begins with."""
    gc.collect()
    gc.freeze()  # so that the collector writes to no page that is shared
    woken, wake = socket.socketpair()
    with (
        socket.socket(fileno=descriptor) as channel,
        woken,
        wake,
        selectors.DefaultSelector() as selector,
    ):
        for end in (woken, wake):
            end.setblocking(False)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        before = signal.signal(signal.SIGCHLD, lambda *_: None)  # wakes, but does nothing else
        selector.register(channel, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        try:
            while True:
                ready = {key.fileobj for key, _ in selector.select()}
                if woken in ready:
                    woken.recv(_BYTES)
                    _report_ended(channel)
                if channel in ready:
                    data, descriptors, _, _ = socket.recv_fds(channel, _BYTES, 1)
                    if not data:
                        return None
                    start = _fork(channel, _REQUESTS.decode(data), descriptors[0])
                    if start is not None:
                        return start
        finally:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, before)


def _fork(channel: socket.socket, request: Fork, descriptor: int) -> Start | None:
    """Fork. Returns None in the server."""
    parent = os.getpid()
    try:
        with warnings.catch_warnings():
            # numpy's idle BLAS threads, which survive a fork by its own atfork handlers.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
    except OSError as error:
        os.close(descriptor)
        channel.send(_ENCODER.encode(Forked(request.number, fault=str(error))))
        return None
    if pid:
        os.close(descriptor)
        channel.send(_ENCODER.encode(Forked(request.number, pid)))
        return None
    os.setsid()  # the scheduler shares processors out by session, where autogroups are on
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)
    return Start(request.arguments, descriptor)


def _report_ended(channel: socket.socket) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        channel.send(_ENCODER.encode(Ended(pid, os.waitstatus_to_exitcode(status))))
