"""How the mock gateway's audio and events reach the page: WebRTC peer or WebSocket.

A carrier takes PCM16 24 kHz mono with ``play``, forgets what has not left with ``flush``, and
sends events with ``send``.
"""

import asyncio
import fractions
import json
import time
from typing import Any, Protocol

import av
import numpy as np
from aiohttp import web
from aiortc.mediastreams import MediaStreamTrack

RATE = 24_000
FRAME = RATE // 50
"""Samples of 20 ms."""


class Carrier(Protocol):
    def send(self, event: dict[str, Any]) -> None: ...
    def play(self, pcm: bytes) -> None: ...
    def flush(self) -> None: ...


class PacedTrack(MediaStreamTrack):
    """20 ms frames at 48 kHz, silence where there is nothing to say."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self.waiting = bytearray()
        self._start = 0.0
        self._count = 0

    async def recv(self) -> av.AudioFrame:
        self._start = self._start or time.monotonic()
        await asyncio.sleep(max(0.0, self._start + self._count / 50 - time.monotonic()))
        piece = bytes(self.waiting[: 2 * FRAME]).ljust(2 * FRAME, b"\0")
        del self.waiting[: 2 * FRAME]
        doubled = np.repeat(np.frombuffer(piece, "<i2"), 2)
        frame = av.AudioFrame.from_ndarray(doubled.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = 2 * RATE
        frame.pts = self._count * 2 * FRAME
        frame.time_base = fractions.Fraction(1, 2 * RATE)
        self._count += 1
        return frame


class PeerCarrier:
    """WebRTC: a paced track and the data channel, once the page has opened it."""

    def __init__(self) -> None:
        self.track = PacedTrack()
        self.channel: Any = None

    def send(self, event: dict[str, Any]) -> None:
        if self.channel is not None and self.channel.readyState == "open":
            self.channel.send(json.dumps(event))

    def play(self, pcm: bytes) -> None:
        self.track.waiting.extend(pcm)

    def flush(self) -> None:
        self.track.waiting.clear()


class SocketCarrier:
    """WebSocket: text and binary frames in the order in which they were given."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._queue: asyncio.Queue[str | bytes] = asyncio.Queue(5000)
        self._task = asyncio.create_task(self._pump(socket))

    def send(self, event: dict[str, Any]) -> None:
        self._queue.put_nowait(json.dumps(event))

    def play(self, pcm: bytes) -> None:
        self._queue.put_nowait(pcm)

    def flush(self) -> None:
        """Nothing waits here for long; the page drops what it has buffered."""

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _pump(self, socket: web.WebSocketResponse) -> None:
        while not socket.closed:
            message = await self._queue.get()
            if isinstance(message, str):
                await socket.send_str(message)
            else:
                await socket.send_bytes(message)
