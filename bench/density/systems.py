"""The systems under test, each a process of its own, pinned to the server's core.

Blab's Postgres and Valkey run on the callers' core. Pipecat and LiveKit live in the environment of
the conversation bench, FastRTC in one of its own, which is made in the same way.
"""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from bench.conversation.systems import child, free_port, peers_python
from bench.server import wait_ready
from gateway.services import ServiceUrls

UNKEPT = "blab-unkept"
"""Blab whose calls cannot be resumed (``BLAB_RESUME_SECONDS=0``)."""
RECORDED = "blab-recorded"
"""Blab whose agent records its calls."""
BLABS = ("blab", UNKEPT, RECORDED)
NAMES = (*BLABS, "bare", "pipecat", "livekit", "fastrtc")
CALLERS_CORE, SERVER_CORE = 0, 1
PEERS = Path(__file__).parent / "peers"
ROOT = Path(__file__).parents[2]
SILERO = ROOT / ".blab" / "models" / "silero-vad" / "silero_vad.onnx"
FASTRTC = ("fastrtc==0.0.*", "onnxruntime", "uvicorn")


@dataclass(frozen=True, slots=True)
class Running:
    """A system that answers; ``key`` and ``agent`` are "-" where it has none."""

    port: int
    pid: int
    key: str = "-"
    agent: str = "-"


@contextlib.asynccontextmanager
async def running(name: str, urls: ServiceUrls, cache: Path) -> AsyncIterator[Running]:
    """Start a system, and stop it at the end."""
    port, core = free_port(), str(SERVER_CORE)
    log = cache / f"density-{name}.log"
    if name in BLABS:
        command = [sys.executable, "-m", "bench.density.blab_server", str(port), core]
        command += [urls.database_url, urls.redis_url, "0" if name == UNKEPT else "60"]
        command += ["--record"] if name == RECORDED else []
    elif name == "bare":
        command = [sys.executable, "-m", "bench.density.bare_server", str(port), core]
    elif name == "fastrtc":
        python = await peers_python(cache / "fastrtc", FASTRTC)
        command = [str(python), str(PEERS / f"{name}_server.py"), str(port), core, str(SILERO)]
    else:
        python = await peers_python(cache / "peers")
        command = [str(python), str(PEERS / f"{name}_server.py"), str(port), core]
    async with child(command, log, {"PYTHONPATH": str(ROOT)}) as process:
        await wait_ready(f"http://127.0.0.1:{port}", within=120)
        if name not in BLABS:
            yield Running(port, process.pid)
            return
        [line] = [one for one in log.read_text().splitlines() if one.startswith('{"key"')]
        yield Running(port, process.pid, **json.loads(line))


async def call(
    system: Running, over: str, calls: int, seconds: float, *, silent: bool
) -> asyncio.subprocess.Process:
    """Start the callers; ``silent``: they say nothing."""
    arguments = [over, calls, seconds, system.port, system.pid, system.key, system.agent]
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.density.callers", *map(str, arguments), str(CALLERS_CORE)),
        *(["--silent"] if silent else []),
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
    )
