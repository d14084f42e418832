"""The server under test: one that is already running, or one started for the bench."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

READY_SECONDS = 300.0


async def wait_ready(url: str, within: float = READY_SECONDS) -> float:
    """Seconds until ``/readyz`` answers 200; raises TimeoutError."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    async with asyncio.timeout(within), aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(f"{url}/readyz") as response:
                    if response.status == 200:
                        return loop.time() - start
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)


@asynccontextmanager
async def server(url: str | None, port: int = 8499) -> AsyncIterator[tuple[str, int | None]]:
    """(URL, pid) of a ready server: ``url`` as given (pid None), or a child of the bench."""
    if url is not None:
        await wait_ready(url)
        yield url, None
        return
    blab = Path(sys.executable).with_name("blab")
    process = await asyncio.create_subprocess_exec(
        str(blab),
        "serve",
        env={**os.environ, "BLAB_PORT": str(port)},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        address = f"http://127.0.0.1:{port}"
        await wait_ready(address)
        yield address, process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), 30)
        except TimeoutError:
            process.kill()
            await process.wait()
