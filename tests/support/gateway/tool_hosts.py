"""Tools on loopback for tests: an HTTP tool, and an MCP server made with the official package."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import uvicorn
from aiohttp import web
from aiohttp.test_utils import TestServer
from mcp.server import MCPServer


@dataclass
class HttpTool:
    """Answers ``POST /weather``; ``gate`` holds it back while it is not set."""

    url: str = ""
    status: int = 200
    asked: list[tuple[dict[str, object], str | None]] = field(default_factory=list)
    """(arguments, Authorization) of each request."""
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append((await request.json(), request.headers.get("Authorization")))
        self.begun.set()
        try:
            await asyncio.wait_for(self.gate.wait(), 20)
        finally:
            self.gone.set()
        return web.json_response({"sky": "rain"}, status=self.status)


@asynccontextmanager
async def http_tool() -> AsyncIterator[HttpTool]:
    """An open HTTP tool."""
    tool = HttpTool()
    tool.gate.set()
    app = web.Application()
    app.add_routes([web.post("/weather", tool.answer)])
    async with TestServer(app, host="127.0.0.1") as server:
        tool.url = str(server.make_url("/weather"))
        yield tool
        tool.gate.set()


@asynccontextmanager
async def mcp_server() -> AsyncIterator[str]:
    """The URL of a shop with the tools ``find`` and ``buy``."""
    shop = MCPServer("shop")

    @shop.tool()
    def find(thing: str) -> str:
        """Find a thing in the shop."""
        return f"There are 3 of {thing}."

    @shop.tool()
    def buy(thing: str) -> str:
        """Buy a thing."""
        raise ValueError(f"no {thing} left")

    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        shop.streamable_http_app(), log_level="critical", lifespan="on", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve([listener]))
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
    finally:
        server.should_exit = True
        await asyncio.wait_for(running, 10)
        listener.close()
