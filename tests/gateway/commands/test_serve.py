"""``blab serve`` as a process: early page, honest readiness, one answered call, a clean end."""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import psutil
import pytest

from gateway.caller import Caller, CallerWebSocket, CallReport, Recording, demo_key
from gateway.caller.channels import CLIENT_RATE
from tests.support.paths import AUDIO
from tests.support.services import open_directory

pytestmark = [pytest.mark.alone, pytest.mark.slow]

START_SECONDS = 90
"""Until a program must have said something, or have ended: to import Blab alone takes 3 s of a
core, which others use, too."""


class Process:
    """A running ``blab`` and what it has said on standard error."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self.child = child
        self.said: list[str] = []

    async def until(self, pattern: str, within: float = START_SECONDS) -> re.Match[str]:
        """The first channel, said already or from now on, in which ``pattern`` is found."""
        assert self.child.stderr is not None
        for line in self.said:
            if found := re.search(pattern, line):
                return found
        async with asyncio.timeout(within):
            while line := (await self.child.stderr.readline()).decode():
                self.said.append(line)
                if found := re.search(pattern, line):
                    return found
        raise AssertionError("".join(self.said))

    async def rest(self) -> str:
        """What is said until the end."""
        assert self.child.stderr is not None
        async with asyncio.timeout(START_SECONDS):
            self.said.append((await self.child.stderr.read()).decode())
        return "".join(self.said)


@pytest.fixture
async def data_dir() -> AsyncIterator[Path]:
    directory = open_directory()
    yield directory / "data"
    shutil.rmtree(directory)


@asynccontextmanager
async def blab(
    command: str, data_dir: Path, models_dir: Path, **more: str
) -> AsyncIterator[Process]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("BLAB_")}
    environment |= {
        "BLAB_DATA_DIR": str(data_dir),
        "BLAB_MODELS_DIR": str(models_dir),
        "BLAB_PORT": "0",
        "BLAB_PROCESSES": "1",
        "BLAB_CHAT_MODEL": "qwen2.5-0.5b",
        **more,
    }
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gateway.cli",
        command,
        env=environment,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield Process(child)
    finally:
        if child.returncode is None:
            child.terminate()
        await asyncio.wait_for(child.wait(), START_SECONDS)


@pytest.mark.timeout(400)
async def test_a_server_starts_answers_a_call_and_stops(data_dir: Path, models_dir: Path) -> None:
    async with blab("serve", data_dir, models_dir) as server, aiohttp.ClientSession() as web:
        url = (await server.until(r"Listening on (http://\S+)/"))[1]
        async with web.get(f"{url}/healthz") as healthy, web.get(f"{url}/readyz") as ready:
            assert healthy.status == 200
            assert ready.status == 503
            reasons = json.loads(await ready.text())["reasons"]
            assert "models are being" in reasons["engines"]
        async with web.get(url) as page:
            assert "<html" in await page.text()
        await what_is_taken_is_reported_plainly(url, data_dir, models_dir)
        await a_worker_stops_when_asked(data_dir, models_dir)
        await server.until("Blab is ready")
        async with web.get(f"{url}/readyz") as ready:
            assert ready.status == 200
        channel = await CallerWebSocket.open(url, await demo_key(url))
        async with Caller(channel) as caller:
            said = caller.say(Recording.read(AUDIO / "joe_q_capital.wav", CLIENT_RATE))
            await said.done.wait()
            await caller.wait_settled(within=30, since=said.end or 0)
        report = CallReport.of(caller, said)
        assert "capital of france" in report.transcripts[0].lower()
        assert report.heard_ms > 500
        assert report.statuses == ["completed"]
        server.child.send_signal(signal.SIGTERM)
        printed = await server.rest()
        assert await server.child.wait() == 0, printed
        assert "Traceback" not in printed
        assert "capital" not in printed.lower()


async def what_is_taken_is_reported_plainly(url: str, data_dir: Path, models_dir: Path) -> None:
    """A server with the same directory, and one with the same port."""
    async with blab("serve", data_dir, models_dir) as second:
        assert "uses the data directory" in await second.rest()
        assert await second.child.wait() == 1
    port = url.rpartition(":")[2]
    async with blab("serve", data_dir.with_name("other"), models_dir, BLAB_PORT=port) as third:
        printed = await third.rest()
        assert f"cannot listen on 127.0.0.1:{port}" in printed
        assert "stop the program that listens there, or choose another" in printed
        assert "Starting" not in printed, "nothing was started needlessly"
        assert await third.child.wait() == 1


async def a_worker_stops_when_asked(data_dir: Path, models_dir: Path) -> None:
    async with blab("worker", data_dir, models_dir) as worker:
        await worker.until("closes the calls of dead nodes")
        worker.child.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(worker.child.wait(), START_SECONDS) == 0


@pytest.mark.engines
async def test_a_call_outlives_the_engine_process_that_is_killed_in_its_reply(
    data_dir: Path, models_dir: Path
) -> None:
    """Real engines in two gateway processes and one for the engines; the reply fails, is
    apologised for in speech, and the next question is answered."""
    async with blab("serve", data_dir, models_dir, BLAB_PROCESSES="2", BLAB_WORKERS="0") as server:
        url = (await server.until(r"Listening on (http://\S+)/"))[1]
        await server.until("Loading and warming the engines")
        await server.until("Blab is ready")
        below = psutil.Process(server.child.pid).children(recursive=True)
        children = {one.name(): one for one in below}
        assert {"blab gateway 1", "blab gateway 2"} < children.keys()
        engines = children["blab engines"]
        question = Recording.read(AUDIO / "joe_q_capital.wav", CLIENT_RATE)
        channel = await CallerWebSocket.open(url, await demo_key(url))
        async with Caller(channel) as caller:
            said = caller.say(Recording.read(AUDIO / "joe_q_help.wav", CLIENT_RATE))
            await caller.wait_audible(within=60, since=0.0)
            engines.kill()
            await said.done.wait()
            await caller.wait_settled(within=60, since=said.end or 0)
            asked = caller.say(question)
            await asked.done.wait()
            await caller.wait_settled(within=60, since=asked.end or 0)
        report = CallReport.of(caller, asked)
        assert "capital of france" in report.transcripts[-1].lower()
        assert report.statuses[-1] == "completed"
        server.child.send_signal(signal.SIGTERM)
        printed = await server.rest()
        assert await server.child.wait() == 0, printed
        assert "the engine process ended with status -9" in printed + "".join(server.said)
        assert not any(one.is_running() for one in children.values())


async def test_the_server_stops_while_models_are_missing(data_dir: Path, tmp_path: Path) -> None:
    """Nothing can be fetched here: the proxy refuses, and pip may ask no index."""
    nowhere = {"HTTPS_PROXY": "http://127.0.0.1:9", "PIP_NO_INDEX": "1"}
    async with blab("serve", data_dir, tmp_path / "models", **nowhere) as server:
        url = (await server.until(r"Listening on (http://\S+)/"))[1]
        await server.until("Fetching")
        async with aiohttp.ClientSession() as web, web.get(f"{url}/readyz") as ready:
            assert ready.status == 503
        server.child.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(server.child.wait(), START_SECONDS) == 0, await server.rest()


async def test_a_collector_of_logs_reads_every_line(data_dir: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        json_lines = {"BLAB_LOG_FORMAT": "json", "BLAB_PORT": port}
        async with blab("serve", data_dir, tmp_path, **json_lines) as process:
            assert await process.child.wait() == 1
            lines = [json.loads(line) for line in (await process.rest()).splitlines()]
    assert lines[-1]["level"] == "error"
    assert f"cannot listen on 127.0.0.1:{port}" in lines[-1]["message"]


async def test_web_needs_running_services(data_dir: Path, models_dir: Path) -> None:
    async with blab("web", data_dir, models_dir) as web:
        assert "start `blab serve`" in await web.rest()
        assert await web.child.wait() == 1
