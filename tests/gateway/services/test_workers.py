"""The server's workers: restarted when they die, stopped with it; and ``blab worker`` itself."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from gateway.services import kept
from gateway.services.workers import Workers
from gateway.settings import CHECKOUT
from tests.support.services import eventually

pytestmark = pytest.mark.slow

PATIENT = (sys.executable, "-c", "import time; time.sleep(600)")


async def test_a_worker_that_dies_is_started_again_and_all_end_with_the_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kept, "BACKOFF_SECONDS", (0.0,))
    children = Workers(2, Path("/"), PATIENT)
    children.start()
    try:
        await eventually(lambda: len(children.pids) == 2)
        first = children.pids
        os.kill(first[0], signal.SIGKILL)
        await eventually(lambda: len(set(children.pids) - set(first)) == 1)
        ended = set(first) | set(children.pids)
    finally:
        await children.stop()
    assert children.pids == []
    assert not any(psutil.pid_exists(pid) for pid in ended)


async def test_blab_worker_starts_and_stops_cleanly(
    own_database_url: str, redis_url: str, tmp_path: Path
) -> None:
    environment = {
        "DATABASE_URL": own_database_url,
        "REDIS_URL": redis_url,
        "BLAB_DATA_DIR": str(tmp_path),
        "PATH": os.defpath,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gateway.cli",
        "worker",
        "--nice",
        "1",
        cwd=CHECKOUT,
        env=environment,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    async with asyncio.timeout(30):
        while b"takes jobs" not in (line := await process.stderr.readline()):
            assert line, "the worker ended"
        process.terminate()
        log = await process.stderr.read()
        status = await process.wait()
    assert (status, b"Traceback" in log) == (0, False), log
