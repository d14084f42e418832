"""A server for WebRTC tests: real aiohttp on loopback, the session is an echo."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from gateway.channels.webrtc import IceSettings, WebRTCCalls, WebRTCChannel, setup
from gateway.channels.webrtc.whip import setup_whip
from media.resample import Resampler
from sessions.channel import Piece

LOOPBACK = IceSettings(bind_addresses=("127.0.0.1",))


class EchoGateway:
    """Stands for the gateway: admits up to ``room`` calls and echoes what each one sends."""

    def __init__(self, room: int = 100) -> None:
        self.room = room
        self.url = ""
        self.whip_url = ""
        self.calls: WebRTCCalls
        self.channels: dict[str, WebRTCChannel] = {}
        self.frames: dict[str, list[tuple[float, bytes]]] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.echo_audio = True

    async def start_call(
        self, request: web.Request, channel: WebRTCChannel, session: dict[str, Any] | None
    ) -> str:
        if request.headers.get("Authorization") == "Bearer wrong":
            raise web.HTTPUnauthorized(text="no such key")
        if len(self.tasks) >= self.room:
            raise web.HTTPServiceUnavailable(headers={"Retry-After": "5"})
        call_id = f"rtc_{len(self.channels)}"
        self.channels[call_id] = channel
        self.frames[call_id] = []
        channel.send({"type": "session.created", "session": session})
        task = asyncio.create_task(self._run(call_id, channel))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return call_id

    async def hang_up(self, request: web.Request, call_id: str) -> bool:
        channel = self.channels.get(call_id)
        if channel is None or channel.closed_reason is not None:
            return False
        await channel.close("hung up")
        return True

    async def carries(self, request: web.Request, call_id: str) -> bool:
        if request.headers.get("Authorization") == "Bearer wrong":
            raise web.HTTPUnauthorized(text="no such key")
        return call_id in self.channels

    async def _run(self, call_id: str, channel: WebRTCChannel) -> None:
        resampler = Resampler(channel.input_rate, channel.output_rate)
        loop = asyncio.get_running_loop()
        async for item in channel.incoming():
            if isinstance(item, bytes):
                self.frames[call_id].append((loop.time(), item))
                if self.echo_audio:
                    channel.play(Piece("resp", "item", resampler.push(item)))
            else:
                channel.send({"type": "echo", "message": item})
        await channel.close("peer gone")


@asynccontextmanager
async def serve(room: int = 100, ice: IceSettings = LOOPBACK) -> AsyncIterator[EchoGateway]:
    """An echo gateway on a free port of loopback; everything is closed at the end."""
    gateway = EchoGateway(room)
    app = web.Application()
    gateway.calls = setup(app, gateway.start_call, gateway.hang_up, ice)
    setup_whip(app, gateway.calls, gateway.carries, gateway.hang_up, ice)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    gateway.url = f"http://127.0.0.1:{port}/v1/realtime/calls"
    gateway.whip_url = f"http://127.0.0.1:{port}/v1/whip"
    try:
        yield gateway
    finally:
        await runner.cleanup()
        await asyncio.gather(*gateway.tasks)
