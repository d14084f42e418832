"""How a call with many observers goes on, and how far they lag behind its caller.

    python -m bench.observers [--observers 1000] [--seconds 20] [--elsewhere]

One call with scripted engines over a WebSocket, whose replies are spoken at their pace; the
observers are sidebands over real sockets, in a process of their own. An observer's lag is the time
from an event's arrival at the caller to its arrival at the observer, on the machine's one clock.
The call is measured without observers first, by the gaps between its frames of audio (20 ms).
``--elsewhere``: the observers are at a second node. The server has core 0, everybody else core 1.
"""

import argparse
import asyncio
import contextlib
import dataclasses
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, cast

import aiohttp
import uvloop

from bench.figures import machine
from gateway.app import build_app
from gateway.lifecycle import RunningServer
from gateway.services import EmbeddedServices, ServiceUrls
from gateway.settings import Settings
from gateway.stop_signals import StopSignals
from pipelines.engines.scripted.live import ScriptedChatModel, ScriptedTranscriber
from rest.accounts import keys
from store.database import Database
from store.migrate import migrate
from store.tenants.accounts import LOCAL_WORKSPACE, ApiKeys, NewApiKey, Workspaces
from tests.support.gateway.scripted_server import ServerEngines

SERVER_CORE, OTHER_CORE = 0, 1
WORDS = " ".join(["word word word word."] * 5)
"""An answer: five sentences, some five seconds of speech."""
_EVENT_ID = re.compile(rb'"event_id":"(event_\w+)"')
_PONG = b"\x8a\x80\x00\x00\x00\x00"
_AT_ONCE = 50
_SETTLING_SECONDS = 3.0
"""Until the observers have the events of before."""


def pin(core: int) -> None:
    """Run on that core, if the machine has it."""
    if core in os.sched_getaffinity(0):
        os.sched_setaffinity(0, {core})


# ---------------------------------------------------------------------- a node


async def serve(database_url: str, redis_url: str) -> None:
    """One node; prints its port and a key."""
    database = Database(database_url)
    await database.connect()
    await migrate(database)
    await Workspaces(database).ensure_local_workspace()
    key = keys.new_key()
    await ApiKeys(database).insert(
        LOCAL_WORKSPACE, NewApiKey("bench", key.prefix, key.digest, ("agents:write",))
    )
    await database.close()
    engines = ServerEngines(ScriptedTranscriber(("Hello.",)), ScriptedChatModel((WORDS,)))
    with tempfile.TemporaryDirectory(prefix="blab-observers-") as folder:
        settings = dataclasses.replace(
            Settings(), data_dir=Path(folder), rate_limit=0, max_calls=50
        )
        app = await build_app(settings, ServiceUrls(database_url, redis_url), engines)
        running = await RunningServer.start(app, "127.0.0.1", 0)
        with StopSignals().installed() as signals:
            print(json.dumps({"port": running.port, "key": key.text}), flush=True)
            await signals.stop.wait()
        await running.close()


@contextlib.asynccontextmanager
async def child(*arguments: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, Any]]:
    """A process of this bench, and the first line that it prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench.observers",
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=64 * 2**20,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(120):
            first = json.loads(await process.stdout.readline())
        yield process, first
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


# ---------------------------------------------------------------------- observers


class Observer(asyncio.Protocol):
    """One sideband: notes when each event arrives."""

    def __init__(self, request: bytes, arrivals: dict[str, list[float]]) -> None:
        self._request = request
        self._arrivals = arrivals
        self._pending = b""
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Note the events in whole frames."""
        now = time.monotonic()
        data = self._pending + data
        if not self.opened.done():
            head, found, data = data.partition(b"\r\n\r\n")
            if not found:
                self._pending = head
                return
            if b" 101 " not in head.split(b"\r\n", 1)[0]:
                self.opened.set_exception(ConnectionError(head.decode()))
                return
            self.opened.set_result(None)
        at = 0
        while len(data) >= at + 2:
            kind, length, begin = data[at], data[at + 1], at + 2
            if length >= 126:
                size = 2 if length == 126 else 8
                length = int.from_bytes(data[begin : begin + size], "big")
                begin += size
            if len(data) < begin + length:
                break
            if kind == 0x81 and (found_id := _EVENT_ID.search(data, begin, begin + length)):
                self._arrivals.setdefault(found_id[1].decode(), []).append(now)
            elif kind == 0x89:
                self._transport.write(_PONG)
            at = begin + length
        self._pending = data[at:]


async def observe(port: int, key: str, call_id: str, count: int) -> None:
    """Open the observers; on a line of input, print when each event arrived."""
    arrivals: dict[str, list[float]] = {}
    request = (
        f"GET /v1/realtime?call_id={call_id} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nAuthorization: Bearer {key}\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    ).encode()
    loop = asyncio.get_running_loop()
    for start in range(0, count, _AT_ONCE):
        made = [
            await loop.create_connection(lambda: Observer(request, arrivals), "127.0.0.1", port)
            for _ in range(min(_AT_ONCE, count - start))
        ]
        await asyncio.gather(*(observer.opened for _, observer in made))
    await asyncio.sleep(_SETTLING_SECONDS)
    print(json.dumps({"open": count}), flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    print(json.dumps(arrivals), flush=True)


# ---------------------------------------------------------------------- the call


@dataclasses.dataclass
class Measured:
    """When each event came, and the gaps between frames of audio, in ms."""

    events: dict[str, float] = dataclasses.field(default_factory=dict)
    gaps: list[float] = dataclasses.field(default_factory=list)


async def converse(ws: aiohttp.ClientWebSocketResponse, seconds: float) -> Measured:
    """Have one reply after the other spoken."""
    measured, last, end = Measured(), None, time.monotonic() + seconds
    await ws.send_json({"type": "response.create"})
    async for message in ws:
        now = time.monotonic()
        if message.type is aiohttp.WSMsgType.BINARY:
            if last is not None:
                measured.gaps.append((now - last) * 1000)
            last = now
            continue
        event = json.loads(message.data)
        measured.events[event["event_id"]] = now
        if event["type"] == "response.done":
            last = None
            if now >= end:
                break
            await ws.send_json({"type": "response.create"})
    return measured


def cpu_seconds(pid: int) -> float:
    """The CPU time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def spread(figures: Sequence[float]) -> str:
    """p50, p95 and the largest."""
    ordered = sorted(figures)
    p95 = ordered[int(len(ordered) * 0.95)]
    return f"{ordered[len(ordered) // 2]:.1f} / {p95:.1f} / {ordered[-1]:.1f}"


async def measure(count: int, seconds: float, *, elsewhere: bool) -> None:
    """Without observers, then with them."""
    with tempfile.TemporaryDirectory(prefix="blab-bench-", dir="/tmp") as name:
        folder = Path(name)
        await asyncio.to_thread(folder.chmod, 0o711)  # the servers' account reaches it
        services = EmbeddedServices(folder / "data")
        urls = await services.start()
        pin(OTHER_CORE)  # the stores run where there is room
        stores = (urls.database_url, urls.redis_url)
        try:
            async with contextlib.AsyncExitStack() as stack:
                node = ("--serve", *stores)
                process, first = await stack.enter_async_context(child(*node))
                second = first
                if elsewhere:
                    process, second = await stack.enter_async_context(child(*node))
                await _measure(first, second, process.pid, count, seconds)
        finally:
            await services.stop()


async def _measure(first: Any, second: Any, pid: int, count: int, seconds: float) -> None:
    """``first``: the call's node; ``second``: the observers', which is process ``pid``."""
    headers = {
        "Authorization": f"Bearer {first['key']}",
        "Sec-WebSocket-Protocol": "blab.binary.v1",
    }
    url = f"http://127.0.0.1:{first['port']}/v1/realtime"
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(url, headers=headers) as ws,
    ):
        call_id = (await ws.receive_json())["session"]["id"]
        used = cpu_seconds(pid)
        alone = await converse(ws, seconds)
        idle = cpu_seconds(pid) - used
        where = (str(second["port"]), second["key"], call_id, str(count))
        async with child("--observe", *where) as (process, _):
            used = cpu_seconds(pid)
            observed = await converse(ws, seconds)
            await asyncio.sleep(1)
            busy = cpu_seconds(pid) - used
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(b"\n")
            arrivals: dict[str, list[float]] = json.loads(await process.stdout.readline())
    came = observed.events
    lags = [(at - came[e]) * 1000 for e, times in arrivals.items() if e in came for at in times]
    place = "the same node" if first is second else "another node"
    print(f"{machine()}\n")
    print(
        "| observers | at | events | lag p50 / p95 / max, ms | frame gap p50 / p95 / max, ms |"
        " CPU, s, of the observers' node |"
    )
    print("|---|---|---|---|---|---|")
    print(f"| 0 | | {len(alone.events)} | | {spread(alone.gaps)} | {idle:.2f} |")
    missed = len(came) * count - len(lags)
    print(
        f"| {count} | {place} | {len(came)} ({missed} of {len(came) * count} not seen) |"
        f" {spread(lags)} | {spread(observed.gaps)} | {busy:.2f} |"
    )


def main() -> None:
    """See the top of the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--observers", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--elsewhere", action="store_true")
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--observe", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        pin(SERVER_CORE)
        uvloop.run(serve(*options.serve))
    elif options.observe:
        pin(OTHER_CORE)
        port, key, call_id, count = options.observe
        uvloop.run(observe(int(port), key, call_id, int(count)))
    else:
        asyncio.run(measure(options.observers, options.seconds, elsewhere=options.elsewhere))


if __name__ == "__main__":
    main()
