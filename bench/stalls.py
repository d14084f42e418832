"""How long a stranger or a caller can stall the server: each entry point gets its worst input.

    python -m bench.stalls --url http://127.0.0.1:8484 --key KEY [--seconds 3]

Meanwhile a separate process requests ``/healthz`` every 20 ms; the slowest answer is the figure
(target: at most 50 ms). The bombs are built beforehand, so that the machine has little else to do.
"""

import argparse
import asyncio
import gzip
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import aiohttp

from bench.figures import machine

POLL_SECONDS = 0.02
BOMB = gzip.compress(bytes(20_000_000)) * 10
"""Gzip members one after another: 200 MB."""
OBJECTS = b"[" + b"{}," * 4_600_000 + b"1]"
NUMBERS = b"[" + b"1," * 4_000_000 + b"1]"
APPEND = b'{"type": "input_audio_buffer.append", "audio": "%b"}' % (b"A" * 14_000_000)
JSON = {"Content-Type": "application/json"}
Door = Callable[[aiohttp.ClientSession, str, str], Awaitable[str]]


def post(path: str, body: bytes, times: int = 1, **headers: str) -> Door:
    """POST ``body`` that many times at once; returns the status."""

    async def one(http: aiohttp.ClientSession, url: str, key: str) -> str:
        sent = {**JSON, **headers, "Authorization": f"Bearer {key}"}
        async with http.post(url + path, data=body, headers=sent) as answer:
            return str(answer.status)

    async def door(http: aiohttp.ClientSession, url: str, key: str) -> str:
        found = await asyncio.gather(*(one(http, url, key) for _ in range(times)))
        return ", ".join(sorted(set(found)))

    return door


def live(message: bytes, times: int = 1) -> Door:
    """Send ``message`` in a call that many times; returns the first error's code."""

    async def door(http: aiohttp.ClientSession, url: str, key: str) -> str:
        headers = {"Authorization": f"Bearer {key}"}
        async with http.ws_connect(f"{url}/v1/realtime", headers=headers, max_msg_size=0) as ws:
            for _ in range(times):
                await ws.send_str(message.decode())
            with suppress(TimeoutError):
                async with asyncio.timeout(2):
                    async for received in ws:
                        event = received.json()
                        if event["type"] == "error":
                            return str(event["error"]["code"])
        return "no error"

    return door


DOORS: dict[str, Door] = {
    "gzip, 10 × 200 MB, any path": post("/nothing", BOMB, 10, **{"Content-Encoding": "gzip"}),
    "JSON, 8 MB of numbers": post("/api/projects", NUMBERS),
    "JSON without a key, 14 MB": post("/api/auth/login", OBJECTS),
    "call, 3 × 14 MB of objects": live(OBJECTS, 3),
    "call, 3 × 14 MB of audio": live(APPEND, 3),
}


async def poll(url: str, seconds: float) -> list[float]:
    """How long each answer took, in ms."""
    took = []
    end = time.monotonic() + seconds
    async with aiohttp.ClientSession() as http:
        while (began := time.monotonic()) < end:
            async with http.get(f"{url}/healthz") as answer:
                await answer.read()
            took.append((time.monotonic() - began) * 1000)
            await asyncio.sleep(POLL_SECONDS)
    return sorted(took)


async def give(name: str, url: str, key: str, seconds: float) -> None:
    """The worst input of one entry point, while the poller runs."""
    command = [sys.executable, "-m", "bench.stalls", "--poll", "--url", url, "--key", "none"]
    command += ["--seconds", str(seconds + 1)]
    poller = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220
    await asyncio.sleep(1)
    async with aiohttp.ClientSession() as http:
        try:
            outcome = await DOORS[name](http, url, key)
        except (aiohttp.ClientError, ConnectionError) as error:
            outcome = type(error).__name__
    figures, _ = await asyncio.to_thread(poller.communicate)
    print(f"| {name} | {outcome} | {figures.strip()} |", flush=True)


async def measure(url: str, key: str, seconds: float) -> None:
    """All entry points, one after the other."""
    print(f"{machine()}\n\n| door | answer | slowest /healthz, median |\n|---|---|---|")
    for name in DOORS:
        await give(name, url, key, seconds)


def main() -> None:
    """See the top of the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--url", required=True)
    parser.add_argument("--key", required=True, help="an API key with the scope agents:write")
    parser.add_argument("--poll", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.poll:
        took = asyncio.run(poll(options.url, options.seconds))
        print(f"{took[-1]:.0f} ms, {took[len(took) // 2]:.1f} ms")
        return
    asyncio.run(measure(options.url, options.key, options.seconds))


if __name__ == "__main__":
    main()
