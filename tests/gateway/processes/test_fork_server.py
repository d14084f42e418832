"""Fork server: its processes run the program as it was imported, and end with it."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from gateway.processes.fork_server import ForkedProcess, ForkServer
from gateway.settings import CHECKOUT
from tests.support.services import eventually

pytestmark = pytest.mark.slow

PROGRAM = """
import os, socket, sys, time
from gateway.processes.fork_server import forked
imported = os.getpid()
start = forked(int(sys.argv[1]))
if start is not None:
    inherited = socket.socket(fileno=start.descriptor)
    inherited.sendall(f"{imported} {os.getppid()} {' '.join(start.arguments)}".encode())
    inherited.recv(1)
    sys.exit(7)
"""


class Forks:
    """A fork server, and what has become of it."""

    def __init__(self, program: str = PROGRAM) -> None:
        self.ended: list[int] = []
        command = (sys.executable, "-c", program)
        self.server = ForkServer("the fork server", CHECKOUT, command, self._on_end)

    def _on_end(self, _pid: int, status: int) -> None:
        self.ended.append(status)

    async def fork(self, *arguments: str) -> tuple[ForkedProcess, socket.socket, Sequence[str]]:
        """A process, our end of its socket, and what it says first."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            process = await self.server.fork(arguments, theirs)
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        said = await asyncio.get_running_loop().sock_recv(ours, 100)
        return process, ours, said.decode().split()


@pytest_asyncio.fixture
async def forks() -> AsyncIterator[Forks]:
    made = Forks()
    made.server.start()
    await eventually(lambda: made.server._channel is not None)
    yield made
    await made.server.stop(10)


async def test_processes_run_what_was_imported_once(forks: Forks) -> None:
    one, ours, said = await forks.fork("hello", "there")
    other, theirs, also = await forks.fork("again")
    with ours, theirs:
        assert said[0] == said[1] == also[0] == also[1], "their parent is what imported"
        assert os.getsid(one.pid) == one.pid, "it has a share of the processors of its own"
        assert (said[2:], also[2:]) == (["hello", "there"], ["again"])
        ours.send(b".")
        assert await one.wait() == 7
        other.send_signal(signal.SIGTERM)
        assert await other.wait() == -signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        one.send_signal(signal.SIGTERM)


async def test_it_is_started_again_and_its_processes_end_with_it(forks: Forks) -> None:
    process, ours, said = await forks.fork()
    with ours:
        os.kill(int(said[0]), signal.SIGKILL)
        assert await process.wait() == -signal.SIGKILL
        with pytest.raises(ConnectionError, match="the fork server does not run"):
            await forks.fork()
        await eventually(lambda: not psutil.pid_exists(process.pid))
    await eventually(lambda: forks.server._channel is not None)
    assert forks.ended == [-signal.SIGKILL]
    _, ours, again = await forks.fork("after")
    ours.close()
    assert again[0] != said[0]


async def test_a_program_that_cannot_start_forks_nothing() -> None:
    forks = Forks("raise SystemExit(3)")
    forks.server.start()
    await eventually(lambda: forks.server._channel is not None)
    with pytest.raises(ConnectionError, match="the fork server"):
        await forks.fork()
    await eventually(lambda: forks.ended == [3])
    await forks.server.stop(10)


async def test_nothing_outlives_the_process_that_keeps_it(tmp_path: Path) -> None:
    """Not even where that one is killed."""
    keeper = f"""
import asyncio, socket, sys
from tests.gateway.processes.test_fork_server import Forks
async def main():
    forks = Forks()
    forks.server.start()
    while forks.server._channel is None: await asyncio.sleep(0.01)
    process, ours, said = await forks.fork()
    open({str(tmp_path / "pids")!r}, "w").write(f"{{said[0]}} {{process.pid}}\\n")
    await asyncio.sleep(600)
asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", keeper, cwd=CHECKOUT)
    written = tmp_path / "pids"
    await eventually(lambda: written.exists() and written.read_text().endswith("\n"))
    pids = [int(word) for word in written.read_text().split()]
    assert all(map(psutil.pid_exists, pids))
    process.kill()
    await process.wait()
    await eventually(lambda: not any(map(psutil.pid_exists, pids)))
