"""A cheap WebRTC caller without a jitter buffer: it hears audio the moment the server sends it.

``gateway.caller.CallerWebRtc`` uses aiortc unchanged: its fixed jitter buffer adds 80 ms, and its
work on the same two cores slows the server under test. This line sends and decodes Opus packets
itself.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from gateway.caller import CallEnded
from media.resample import Resampler
from tests.support.gateway.webrtc_client import EAR_RATE, Caller, Ear

CLIENT_RATE = 24_000
MAX_WAITING = 2_000


class LightLine:
    """Implements gateway.caller.CallerChannel over the tests' WebRTC caller."""

    continuous = True

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._arrivals: asyncio.Queue[bytes | dict[str, Any] | None] = asyncio.Queue(MAX_WAITING)
        self._up = Resampler(CLIENT_RATE, EAR_RATE)
        self._down = Resampler(EAR_RATE, CLIENT_RATE)
        self._reported = 0

    @classmethod
    async def open(cls, url: str, key: str | None) -> "LightLine":
        """Call the server at ``url``."""
        caller = Caller(f"{url}/v1/realtime/calls", headers={"Authorization": f"Bearer {key}"})
        line = cls(caller)
        line._listen(caller.ear)
        await caller.__aenter__()
        return line

    async def send_audio(self, pcm: bytes) -> None:
        """Send 20 ms of PCM16 at 24 kHz."""
        self._caller.microphone.play(self._up.push(pcm))

    async def send_event(self, event: dict[str, Any]) -> None:
        """Send one client event."""
        self._caller.send(event)

    async def receive(self) -> AsyncIterator[bytes | dict[str, Any]]:
        """Audio and events as they arrive."""
        while (arrival := await self._arrivals.get()) is not None:
            yield arrival
        raise CallEnded("hung up")

    def abandon(self) -> None:
        """Say nothing more."""
        self._caller.vanish()
        self._arrivals.put_nowait(None)

    async def close(self) -> None:
        """Hang up."""
        self._arrivals.put_nowait(None)
        await self._caller.hang_up()

    def _listen(self, ear: Ear) -> None:
        """Queue what the ear and the data channel receive, in order."""
        take = ear._handle_rtp_packet

        async def on_packet(packet: Any, arrival_time_ms: int) -> None:
            await take(packet, arrival_time_ms)
            self._arrivals.put_nowait(self._down.push(ear.heard.pop().pcm))

        ear._handle_rtp_packet = on_packet
        self._caller.channel.on("message", self._on_message)

    def _on_message(self, _message: str) -> None:
        for event in self._caller.events[self._reported :]:
            self._arrivals.put_nowait(event)
        self._reported = len(self._caller.events)
