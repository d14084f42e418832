"""Children of ours: started again when they die, ended by increasingly hard signals."""

import os
import signal
import socket
import sys
from pathlib import Path

import psutil
import pytest

from gateway.services import kept
from gateway.services.kept import ChildProcess, KeptProcess, Launch, spawn
from tests.support.services import eventually

pytestmark = pytest.mark.slow

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"


async def python(code: str, *sockets: socket.socket) -> ChildProcess:
    return await spawn(Path("/"), Launch((sys.executable, "-c", code), sockets))


async def test_a_child_that_dies_is_reported_and_started_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(kept, "BACKOFF_SECONDS", (0.0,))
    ended: list[tuple[int, int]] = []
    child = KeptProcess(
        "a child", lambda: python("import time; time.sleep(600)"),
        lambda pid, status: ended.append((pid, status)),
    )  # fmt: skip
    child.start()
    await eventually(lambda: child.pid is not None)
    first = child.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await eventually(lambda: child.pid not in (None, first))
    assert ended == [(first, -9)]
    assert "a child ended with status -9: restarting in 0.0 s" in caplog.text
    last = child.pid
    await child.stop(((signal.SIGTERM, 10.0),))
    assert ended == [(first, -9), (last, -15)]
    assert not child.running


async def test_a_child_that_does_not_listen_is_killed() -> None:
    child = KeptProcess("a stubborn child", lambda: python(STUBBORN))
    child.start()
    await eventually(lambda: child.pid is not None)
    pid = child.pid
    assert pid is not None
    await eventually(lambda: "time.sleep" in "".join(psutil.Process(pid).cmdline()))
    await child.stop(((signal.SIGTERM, 0.2),))
    assert not psutil.pid_exists(pid)


async def test_it_inherits_the_sockets_of_its_launch_and_we_keep_none() -> None:
    ours, theirs = socket.socketpair()
    number = theirs.fileno()
    code = f"import socket; socket.socket(fileno={number}).sendall(b'here'); input()"
    child = KeptProcess("a child", lambda: python(code, theirs))
    child.start()
    ours.setblocking(False)

    def heard() -> bytes:
        try:
            return ours.recv(100)
        except BlockingIOError:
            return b""

    await eventually(lambda: heard() == b"here")
    assert theirs.fileno() == -1
    await child.stop(())
    ours.close()
