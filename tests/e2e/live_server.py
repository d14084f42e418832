"""The real server, started as a user does: ``blab serve`` with its own data directory and port."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.caller import Caller

READY_SECONDS = 240.0
STOP_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class LiveServer:
    """A ready server."""

    url: str
    data_dir: Path
    pid: int
    log: Path


def start(data_dir: Path, models_dir: Path, port: int, **variables: str) -> subprocess.Popen[bytes]:
    """Start ``blab serve``; its output goes to ``serve.log`` in the data directory."""
    data_dir.mkdir(parents=True, exist_ok=True)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("BLAB_")}
    for name in ("DATABASE_URL", "REDIS_URL"):
        environment.pop(name, None)
    environment |= {
        "BLAB_PORT": str(port),
        "BLAB_DATA_DIR": str(data_dir),
        "BLAB_MODELS_DIR": str(models_dir),
        "BLAB_PROFILE": "small",
        "BLAB_CHAT_MODEL": "qwen2.5-0.5b",
        **variables,
    }
    with (data_dir / "serve.log").open("ab") as log:
        return subprocess.Popen(
            [str(Path(sys.executable).with_name("blab")), "serve"],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def is_ready(url: str) -> bool:
    """Whether /readyz is 200."""
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def await_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until /readyz is 200; fails with the server's log."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        if is_ready(url):
            return
        time.sleep(0.1)
    pytest.fail(f"the server did not become ready:\n{log.read_text()[-4000:]}")


def stop(process: subprocess.Popen[bytes]) -> int:
    """Terminate as an operator does; the exit code."""
    process.send_signal(signal.SIGTERM)
    try:
        return process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        pytest.fail(f"the server did not stop within {STOP_SECONDS:g} s of SIGTERM")


def free_port() -> int:
    """A TCP port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def live_server(started_server: LiveServer) -> LiveServer:
    """The server, once it admits calls: not while its event loop is late, nor 3 s longer."""
    deadline = time.monotonic() + READY_SECONDS
    while not is_ready(started_server.url):
        assert time.monotonic() < deadline, "the server admits no call"
        time.sleep(0.2)
    return started_server


@pytest.fixture(scope="session")
def started_server(
    tmp_path_factory: pytest.TempPathFactory, models_dir: Path
) -> Iterator[LiveServer]:
    """One server with the embedded engines for all end-to-end tests."""
    data_dir = tmp_path_factory.mktemp("live")
    port = free_port()
    process = start(
        data_dir,
        models_dir,
        port,
        BLAB_RECORD_CALLS=str(data_dir / "calls"),
        BLAB_DRAIN_SECONDS="1",
        BLAB_RATE_LIMIT="0",
    )
    url = f"http://127.0.0.1:{port}"
    log = data_dir / "serve.log"
    try:
        await_ready(url, process, log)
        yield LiveServer(url, data_dir, process.pid, log)
    finally:
        if process.poll() is None:
            stop(process)


async def answer_briefly(caller: Caller) -> None:
    """Let no answer be longer than about twenty seconds, whatever the small chat model invents."""
    session = {"type": "realtime", "max_output_tokens": 60}
    await caller.send({"type": "session.update", "session": session})
    await caller.wait_for("session.updated", within=10)
