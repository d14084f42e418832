"""Thousands of short calls against one server: does it end as it began?

    python -m bench.soak [--calls 10000] [--at-once 12] [--only webrtc_abandoned ...]

The server is the whole application with scripted engines, on a Postgres and a Valkey of its own.
Its callers are of many kinds (``KINDS``): some converse and hang up, others vanish, send garbage,
leave half-open connections, or offer a WebRTC call and never come. Every ``--every`` calls the
callers pause, and the server's memory, descriptors, threads and tasks are read once nobody calls.
The slope is that of a straight line through the second half of the readings, where the pools and
caches are full.
"""

import argparse
import asyncio
import contextlib
import dataclasses
import json
import os
import random
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import uvloop
from websockets.exceptions import WebSocketException

from bench.figures import machine
from gateway.app import HOST, build_app
from gateway.lifecycle import RunningServer
from gateway.services import EmbeddedServices, ServiceUrls
from gateway.settings import Settings
from gateway.stop_signals import StopSignals
from pipelines.engines.scripted.live import ScriptedChatModel, ScriptedTranscriber, tone
from rest.accounts import keys
from sessions.admission import Strain, Thresholds
from sessions.machine import settle_memory
from store.database import Database
from store.migrate import migrate
from store.tenants.accounts import LOCAL_WORKSPACE, ApiKeys, NewApiKey, Workspaces
from store.tenants.agents import Agents
from tests.support.gateway.realtime_client import RealtimeClient
from tests.support.gateway.scripted_server import ServerEngines
from tests.support.gateway.twilio_client import TwilioClient
from tests.support.gateway.webrtc_client import Caller
from tests.support.services import open_directory

RATE = 24_000
CALL_SECONDS = 30.0
QUIET_SECONDS = 30.0
FAULTS = (OSError, WebSocketException, aiohttp.ClientError, AssertionError, TimeoutError)
"""What a caller of the soak may run into; counted, not raised."""


# ---------------------------------------------------------------------- the server


class Forgetful(list[Any]):
    """Stands for the scripted engines' logs of requests, which would grow with every call."""

    def append(self, _entry: Any) -> None:
        """Forget it."""


def engines() -> ServerEngines:
    """Scripted engines that keep nothing."""
    made = ServerEngines(
        ScriptedTranscriber(("hello there my friend.",)),
        ScriptedChatModel(
            ("Sure thing.",), asked=Forgetful(), offered=Forgetful(), prefilled=Forgetful()
        ),
    )
    made.chat_model.formats = made.voice.spoken = made.detector.heard = Forgetful()
    return made


async def serve(urls: ServiceUrls) -> None:
    """Serve until SIGTERM; prints a line of JSON once it answers."""
    database = Database(urls.database_url)
    await database.connect()
    await migrate(database)
    await Workspaces(database).ensure_local_workspace()
    agent = await Agents(database).ensure_default_agent(LOCAL_WORKSPACE)
    key = keys.new_key()
    new_key = NewApiKey("soak", key.prefix, key.digest, ("agents:write",))
    await ApiKeys(database).insert(LOCAL_WORKSPACE, new_key)
    await database.close()
    with tempfile.TemporaryDirectory(prefix="blab-soak-") as folder:
        settings = dataclasses.replace(
            Settings(), data_dir=Path(folder), max_calls=1_000, rate_limit=0
        )
        app = await build_app(settings, urls, engines())
        app[HOST]._admission.strain = Strain(Thresholds(lag=60))  # a busy machine refuses nobody
        running = await RunningServer.start(app, "127.0.0.1", 0)
        settle_memory()
        with StopSignals().installed() as signals:
            told = {"port": running.port, "key": key.text, "agent": agent.id}
            print(json.dumps(told), flush=True)
            await signals.stop.wait()
        await running.close()


@dataclasses.dataclass(frozen=True, slots=True)
class Server:
    """The server under test."""

    pid: int
    port: int
    key: str
    agent: str

    @property
    def headers(self) -> dict[str, str]:
        """Of a caller with a key."""
        return {"Authorization": f"Bearer {self.key}"}

    def client(self, **options: Any) -> RealtimeClient:
        """A caller over WebSocket."""
        return RealtimeClient(f"ws://127.0.0.1:{self.port}", self.key, **options)

    def webrtc(self) -> Caller:
        """A caller over WebRTC."""
        url = f"http://127.0.0.1:{self.port}/v1/realtime/calls"
        return Caller(url, headers=self.headers)


@contextlib.asynccontextmanager
async def running_server(environment: dict[str, str]) -> AsyncIterator[Server]:
    """A server as a child process, with services of its own."""
    directory = open_directory()
    services = EmbeddedServices(directory / "data")
    urls = await services.start()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.soak", "--serve", urls.database_url, urls.redis_url),
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), 60)
        yield Server(process.pid, **json.loads(line))
    finally:
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), 30)
        await services.stop()
        shutil.rmtree(directory)


# ---------------------------------------------------------------------- the callers


async def conversation(server: Server) -> None:
    """Speak, hear the answer, hang up."""
    async with server.client(binary=True, checked=False) as caller:
        await caller.send_audio(tone(440, int(0.6 * RATE), RATE) + bytes(2 * RATE))
        await caller.wait_for("response.done", seconds=CALL_SECONDS)


async def typed(server: Server) -> None:
    """Have an answer spoken, as base64."""
    async with server.client(checked=False) as caller:
        await caller.send({"type": "response.create"})
        await caller.wait_for("response.done", seconds=CALL_SECONDS)


async def vanished(server: Server) -> None:
    """Be gone in the middle of the answer."""
    async with server.client(binary=True, checked=False) as caller:
        await caller.send({"type": "response.create"})
        await caller.wait_for("response.output_audio_transcript.delta")
        caller.connection.transport.abort()


async def garbage(server: Server) -> None:
    """Send what nobody can read, until the server has had enough or for 50 messages."""
    async with server.client(checked=False) as caller:
        for number in range(50):
            size = random.choice((1, 100, 10_000, 200_000))
            junk = random.randbytes(size)
            text = json.dumps({"type": junk.hex()[:40], "x": [number] * (size // 100)})
            await caller.connection.send(junk if number % 2 else text)
        await caller.send({"type": "input_audio_buffer.append", "audio": "%%%"})


async def half_open(server: Server) -> None:
    """Half a request, or half a frame, and then nothing for a while."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    upgrade = (
        "GET /v1/realtime?model=default HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nAuthorization: Bearer {server.key}\r\n"
    )
    writer.write(upgrade.encode())
    if random.random() < 0.5:
        writer.write(b"\r\n")
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        writer.write(b"\x81\xfe\xff\xff1234half a frame")
    await asyncio.sleep(random.random())
    writer.transport.abort()


async def refused(server: Server) -> None:
    """A wrong key, and bodies that are no offer."""
    async with aiohttp.ClientSession() as http:
        url = f"http://127.0.0.1:{server.port}/v1/realtime/calls"
        sdp = {"Content-Type": "application/sdp"}
        async with http.post(url, data="v=0", headers=sdp | {"Authorization": "Bearer x"}):
            pass
        async with http.post(url, data=random.randbytes(20_000), headers=sdp | server.headers):
            pass
        async with http.get(f"http://127.0.0.1:{server.port}/{random.random()}"):
            pass


async def webrtc(server: Server) -> None:
    """Connect over WebRTC, have an answer spoken, hang up."""
    async with server.webrtc() as caller:
        caller.send({"type": "response.create"})
        await caller.event("response.done", CALL_SECONDS)


async def webrtc_abandoned(server: Server) -> None:
    """Offer a call and never connect."""
    caller = server.webrtc()
    offer = await caller.offer()
    headers = server.headers | {"Content-Type": "application/sdp"}
    async with aiohttp.ClientSession() as http, http.post(caller.url, data=offer, headers=headers):
        pass
    await caller.hang_up()


async def webrtc_vanished(server: Server) -> None:
    """Connect over WebRTC, then say nothing more, not even goodbye."""
    async with server.webrtc() as caller:
        await caller.event("session.created", CALL_SECONDS)
        caller.vanish()


async def telephone(server: Server) -> None:
    """A carrier's stream with half a second of speech."""
    url = f"ws://127.0.0.1:{server.port}/api/agents/{server.agent}/twilio"
    async with TwilioClient(url, headers=server.headers) as caller:
        caller.say(bytes(random.randrange(256) for _ in range(4000)))
        await asyncio.sleep(0.7)


Kind = Callable[[Server], Awaitable[None]]
KINDS: dict[Kind, int] = {
    conversation: 20,
    typed: 15,
    vanished: 10,
    garbage: 10,
    half_open: 15,
    refused: 10,
    webrtc: 6,
    webrtc_abandoned: 5,
    webrtc_vanished: 4,
    telephone: 5,
}
"""How many of a hundred calls are of each kind."""


# ---------------------------------------------------------------------- the readings


@dataclasses.dataclass(frozen=True, slots=True)
class Reading:
    """The server after so many calls, with nobody there."""

    calls: int
    rss_mib: float
    files: int
    threads: int
    tasks: int


def resident_mib(pid: int) -> float:
    """Resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


async def read(server: Server, calls: int) -> Reading:
    """Wait until no call is left, and read."""
    async with asyncio.timeout(QUIET_SECONDS):
        while (await scraped(server))["blab_calls_active"]:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.2)
    await asyncio.sleep(1.0)  # what ends behind the last call
    figures = await scraped(server)
    return Reading(
        calls,
        resident_mib(server.pid),
        len(os.listdir(f"/proc/{server.pid}/fd")),
        len(os.listdir(f"/proc/{server.pid}/task")),
        int(figures["blab_process_tasks"]),
    )


async def scraped(server: Server) -> dict[str, float]:
    """The server's metrics without labels."""
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"http://127.0.0.1:{server.port}/metrics") as response,
    ):
        lines = (await response.text()).splitlines()
    pairs = (line.split() for line in lines if line.startswith("blab_") and "{" not in line)
    return {name: float(value) for name, value in pairs}


def slope(readings: Sequence[Reading]) -> float:
    """KiB of resident memory per call, over the second half."""
    late = readings[len(readings) // 2 :]
    if len(late) < 2:
        return float("nan")
    return float(np.polyfit([r.calls for r in late], [r.rss_mib * 1024 for r in late], 1)[0])


def report(readings: Sequence[Reading], outcomes: Counter[str]) -> str:
    """A Markdown table, the slope, and what became of the calls."""
    lines = ["| calls | RSS MiB | descriptors | threads | tasks |", "|---|---|---|---|---|"]
    lines += [
        f"| {r.calls} | {r.rss_mib:.1f} | {r.files} | {r.threads} | {r.tasks} |" for r in readings
    ]
    lines.append(f"\nSlope of the second half: {slope(readings):.2f} KiB per call.")
    lines.append(", ".join(f"{kind} {count}" for kind, count in sorted(outcomes.items())))
    return "\n".join(lines)


async def soak(options: argparse.Namespace) -> None:
    """Run the calls and print the report."""
    kinds = {kind: weight for kind, weight in KINDS.items() if kind.__name__ in options.only}
    outcomes: Counter[str] = Counter()
    environment = dict(pair.split("=", 1) for pair in options.env)
    async with running_server(environment) as server:
        readings = [await read(server, 0)]
        print(f"{readings[0]}", file=sys.stderr, flush=True)
        while readings[-1].calls < options.calls:
            chosen = random.choices(list(kinds), list(kinds.values()), k=options.every)
            await at_once(server, chosen, options.at_once, outcomes)
            readings.append(await read(server, readings[-1].calls + options.every))
            print(f"{readings[-1]}", file=sys.stderr, flush=True)
    print(f"{machine()}\n\n{report(readings, outcomes)}")


async def at_once(
    server: Server, calls: Sequence[Kind], number: int, outcomes: Counter[str]
) -> None:
    """Make the calls, ``number`` of them at a time."""
    waiting = iter(calls)

    async def caller() -> None:
        for kind in waiting:
            try:
                await asyncio.wait_for(kind(server), CALL_SECONDS)
                outcomes[kind.__name__] += 1
            except FAULTS as fault:
                outcomes[f"{kind.__name__} ({type(fault).__name__})"] += 1

    await asyncio.gather(*(caller() for _ in range(number)))


def main() -> None:
    """Parse the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--at-once", type=int, default=12)
    parser.add_argument("--every", type=int, default=500)
    names = [kind.__name__ for kind in KINDS]
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--env", nargs="*", default=[], help="NAME=VALUE of the server")
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        uvloop.run(serve(ServiceUrls(*options.serve)))
    else:
        asyncio.run(soak(options))


if __name__ == "__main__":
    main()
