"""The systems that answer the telephone: Blab and its variations, Pipecat, LiveKit Agents.

All of them hear and speak with the engines of one Blab, the peers over its ``/v1`` (Realtime
transcription, speech), and think with the bench's chat model. Every system is a child process that
is stopped at the end; only one has a call at a time.

The peers live in an environment of their own, which is made with pip at the first run. Nothing is
fetched from a model hub: Pipecat's package holds Silero and Smart Turn, LiveKit's
``livekit-local-inference`` its voice activity and turn detector. The licence of the latter allows
them to be run with LiveKit Agents, as here, and forbids developing other models with what they say.
"""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from bench.conversation import chat_model
from bench.conversation.caller import Address
from bench.server import wait_ready

ROOT = Path(__file__).parents[2]
PEERS = Path(__file__).parent / "peers"
REQUIREMENTS = (
    "pipecat-ai[openai,silero,websocket]==1.14.*",
    "livekit-agents==1.8.*",
    "livekit-plugins-openai==1.8.*",
    "aiohttp",
    "fastapi",
    "soxr",
    "uvicorn",
)
NAMES = ("blab", "pipecat", "livekit")
KEY_SECONDS = 7_200


@dataclass(frozen=True, slots=True)
class Variation:
    """Blab with something changed: ``BLAB_…=value`` in its environment, or a part of the session
    such as ``audio.input.turn_detection.eagerness=high``; several are joined by commas."""

    text: str

    @property
    def _pairs(self) -> list[tuple[str, str]]:
        pairs = [part.partition("=") for part in self.text.split(",") if part]
        if any(not name or not equals for name, equals, _ in pairs):
            raise ValueError(f"{self.text!r} is not NAME=VALUE[,NAME=VALUE]")
        return [(name, value) for name, _, value in pairs]

    @property
    def environment(self) -> dict[str, str]:
        """For its process."""
        return {name: value for name, value in self._pairs if name.isupper()}

    @property
    def session(self) -> dict[str, Any]:
        """For its calls; a value that is JSON is taken as JSON."""
        session: dict[str, Any] = {"type": "realtime"}
        for name, value in self._pairs:
            if name.isupper():
                continue
            *folders, leaf = name.split(".")
            place = session
            for folder in folders:
                place = place.setdefault(folder, {})
            try:
                place[leaf] = json.loads(value)
            except json.JSONDecodeError:
                place[leaf] = value
        return session


@dataclass(slots=True)
class Blab:
    """A running Blab, with an agent that thinks with the bench's chat model."""

    url: str
    key: str
    agent: str
    calls: Path
    """The folder of the event logs of its calls."""

    def logs(self) -> set[Path]:
        """Of the calls so far."""
        return set(self.calls.glob("*.jsonl"))

    async def address(self, session: dict[str, Any], over: str = "telephone") -> Address:
        """Where a call with such a session is answered, over ``telephone`` or ``webrtc``; the key
        is the session's."""
        grant = {
            "agent_id": self.agent,
            "session": session,
            "expires_after": {"anchor": "created_at", "seconds": KEY_SECONDS},
        }
        made = await self.post("/v1/realtime/client_secrets", grant)
        door = f"{self.url.replace('http', 'ws', 1)}/api/agents/{self.agent}/twilio"
        if over == "webrtc":
            door = f"{self.url}/v1/realtime/calls"
        return Address(door, {"blab_key": made["value"]})

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """POST with the bench's key; raises RuntimeError with the server's answer."""
        headers = {"Authorization": f"Bearer {self.key}"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(f"{self.url}{path}", json=body) as response,
        ):
            if response.status >= 300:
                raise RuntimeError(f"{path}: {response.status} {await response.text()}")
            answer: dict[str, Any] = await response.json()
            return answer


@dataclass(slots=True)
class System:
    """A column of the table."""

    name: str
    blab: Blab | None = None
    session: dict[str, Any] = field(default_factory=dict)
    url: str = ""

    async def address(self, over: str) -> Address:
        """Where its next call is answered; of the peers, only telephone calls."""
        if self.blab is not None:
            return await self.blab.address(self.session, over)
        return Address(self.url)


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def child(
    command: list[str], log: Path, environment: dict[str, str]
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that writes into ``log`` and is stopped at the end."""
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            *command, env=os.environ | environment, stdout=file, stderr=file
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), 30)
        except TimeoutError:
            process.kill()
            await process.wait()


@asynccontextmanager
async def blab(folder: Path, chat_url: str, variation: Variation) -> AsyncIterator[Blab]:
    """Start Blab with its own data in ``folder`` and the weights of the checkout."""
    port, program = free_port(), str(Path(sys.executable).with_name("blab"))
    environment = {
        "BLAB_MODELS_DIR": os.environ.get("BLAB_MODELS_DIR", str(ROOT / ".blab" / "models")),
        "BLAB_DATA_DIR": str(folder / "data"),
        "BLAB_RECORD_CALLS": str(folder / "calls"),
        "BLAB_PORT": str(port),
        "BLAB_UPSTREAM_URL": chat_url,
        "BLAB_RATE_LIMIT": "0",
        "BLAB_WORKERS": "0",
        "BLAB_LOG_LEVEL": "warning",
    } | variation.environment
    async with child([program, "serve"], folder / "blab.log", environment):
        url = f"http://127.0.0.1:{port}"
        await wait_ready(url)
        key = await asyncio.create_subprocess_exec(
            *(program, "key", "--name", "bench"),
            env=os.environ | environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        printed, complaint = await asyncio.wait_for(key.communicate(), 60)
        if key.returncode != 0:
            raise RuntimeError(f"blab key: {complaint.decode()}")
        running = Blab(url, printed.decode().strip(), "", folder / "calls")
        agent = {"name": "Bench", "model": chat_model.NAME}
        running.agent = (await running.post("/api/agents", agent))["data"]["id"]
        yield running


async def peers_python(folder: Path, requirements: tuple[str, ...] = REQUIREMENTS) -> Path:
    """The interpreter of the peers' environment, made in ``folder`` where it is not there."""
    python, complete = folder / "bin" / "python", folder / "complete"
    wanted = "\n".join(requirements)
    if complete.exists() and complete.read_text() == wanted:
        return python
    print(f"making the peers' environment in {folder}", flush=True)
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(folder)],
        [str(python), "-m", "pip", "install", "-qq", *requirements],
    ):
        process = await asyncio.create_subprocess_exec(*command)
        if await asyncio.wait_for(process.wait(), 1_800) != 0:
            raise RuntimeError(f"{' '.join(command)} failed")
    complete.write_text(wanted)
    return python


@asynccontextmanager
async def running(
    names: list[str], variations: list[Variation], chat_url: str, cache: Path
) -> AsyncIterator[list[System]]:
    """The systems of these names, and Blab once more for every variation."""
    async with AsyncExitStack() as stack:
        plain = await stack.enter_async_context(blab(cache / "blab", chat_url, Variation("")))
        systems: list[System] = []
        if "blab" in names:
            systems.append(System("blab", plain, Variation("").session))
        for number, variation in enumerate(variations, 1):
            server = plain
            if variation.environment:
                other = blab(cache / f"blab-{number}", chat_url, variation)
                server = await stack.enter_async_context(other)
            systems.append(System(variation.text, server, variation.session))
        for name in names:
            if name == "blab":
                continue
            port, python = free_port(), await peers_python(cache / "peers")
            command = [str(python), str(PEERS / f"{name}_bot.py"), str(port)]
            command += [plain.url, plain.key, chat_url]
            await stack.enter_async_context(child(command, cache / f"{name}.log", {}))
            await wait_ready(f"http://127.0.0.1:{port}", within=120)
            systems.append(System(name, url=f"ws://127.0.0.1:{port}/ws"))
        yield systems
