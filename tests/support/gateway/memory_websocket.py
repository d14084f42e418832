"""A WebSocket, and the transport under it, in memory: the test is the peer."""

import asyncio
import base64
import json
from collections.abc import Callable
from typing import Any

from aiohttp import WSMessage, WSMsgType


class Socket:
    """A WebSocket, and the transport under it, of which the test is the peer."""

    def __init__(self) -> None:
        self.inbox: asyncio.Queue[WSMessage] = asyncio.Queue()
        self.sent: list[dict[str, Any]] = []
        self.open = asyncio.Event()
        """Not set: the peer reads nothing."""
        self.open.set()
        self.held_up = False
        self.closed = False
        self.close_code: int | None = None
        self.pings = 0
        self.aborted = asyncio.Event()

    async def receive(self) -> WSMessage:
        return await self.inbox.get()

    async def send_frame(self, payload: bytes, kind: WSMsgType) -> None:
        self.held_up = not self.open.is_set()
        await self.open.wait()
        if kind is WSMsgType.BINARY:
            self.sent.append({"event": "binary", "payload": payload})
        else:
            self.sent.append(json.loads(payload))

    async def ping(self, payload: bytes) -> None:
        self.pings += 1

    async def pong(self, payload: bytes) -> None:
        self.sent.append({"event": "pong"})

    async def close(self, *, code: int, message: bytes) -> None:
        self.closed, self.close_code = True, code

    def get_extra_info(self, name: str) -> None:
        assert name == "socket"

    def get_protocol(self) -> None:
        """None that messages are taken from as they arrive."""

    def abort(self) -> None:
        self.aborted.set()
        self.open.set()
        self.inbox.put_nowait(WSMessage(WSMsgType.CLOSED, None, None))

    def say(self, message: Any, kind: WSMsgType = WSMsgType.TEXT) -> None:
        data = message if isinstance(message, bytes) else json.dumps(message).encode()
        self.inbox.put_nowait(WSMessage(kind, data, None))

    def kinds(self) -> list[str]:
        return [message["event"] for message in self.sent]

    def own_kinds(self) -> list[str]:
        return [kind for kind in self.kinds() if kind != "pong"]

    def audio(self) -> list[bytes]:
        media = [m["media"]["payload"] for m in self.sent if m["event"] == "media"]
        return [base64.b64decode(payload) for payload in media]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)
