"""A page from another site that calls the server: its script, its key, its origin."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from aiohttp import web

from tests.support.gateway.scripted_server import ScriptedServer

BUNDLE_SECONDS = 60.0
PAGE = (
    '<!doctype html><title>Shop</title><link rel="icon" href="data:,">'
    '<audio autoplay></audio><script type="module" src="app.js"></script>'
)


async def ephemeral_key(server: ScriptedServer) -> str:
    """As a program's own backend gets one for its page."""
    headers = {"Authorization": f"Bearer {server.key}"}
    body = {"session": {"type": "realtime", "model": "gpt-realtime"}}
    async with (
        aiohttp.ClientSession(headers=headers) as http,
        http.post(f"{server.url}/v1/realtime/client_secrets", json=body) as answered,
    ):
        assert answered.status == 200
        return str((await answered.json())["value"])


async def bundled(program: Path) -> str:
    """The program and its packages as one script for a browser."""
    esbuild = program.parent / "node_modules" / ".bin" / "esbuild"
    process = await asyncio.create_subprocess_exec(
        str(esbuild), str(program), "--bundle", "--format=esm", "--log-level=error",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await asyncio.wait_for(process.communicate(), BUNDLE_SECONDS)
    assert process.returncode == 0
    return out.decode()


@asynccontextmanager
async def foreign_page(script: str, key: str) -> AsyncIterator[str]:
    """The page's address, of another origin than the server's; ``/key`` hands out ``key``."""

    async def index(_: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    async def code(_: web.Request) -> web.Response:
        return web.Response(text=script, content_type="text/javascript")

    async def hand_out(_: web.Request) -> web.Response:
        return web.json_response({"value": key})

    app = web.Application()
    app.add_routes([web.get("/", index), web.get("/app.js", code), web.get("/key", hand_out)])
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()
