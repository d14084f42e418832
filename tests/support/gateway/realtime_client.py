"""A caller for tests: speaks a recording in real time, keeps every event and sample with its time.

Base64 JSON or ``blab.binary.v1``; PCM16 24 kHz mono both ways. Times are the loop's clock, in
seconds. Use as an async context manager; every wait has a deadline, and at the end the stream is
checked by the ``protocol_validator``.
"""

import asyncio
import base64
import json
import wave
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from media.resample import resample
from tests.support.gateway.protocol_validator import check_stream

RATE = 24_000
FRAME_BYTES = RATE // 50 * 2
Event = dict[str, Any]


@dataclass
class Heard:
    """Reply audio and when it came."""

    at: float
    pcm: bytes


@dataclass
class RealtimeClient:
    """One call to ``url`` (``ws://host:port``)."""

    url: str
    key: str | None = None
    binary: bool = False
    query: str = "model=default"
    headers: dict[str, str] = field(default_factory=dict)
    subprotocols: list[str] | None = None
    events: list[tuple[float, Event]] = field(default_factory=list)
    audio: list[Heard] = field(default_factory=list)
    closed: tuple[int, str] | None = None
    checked: bool = True
    """Whether all that came must keep to the protocol; it is checked at the end."""

    async def __aenter__(self) -> "RealtimeClient":
        protocols = self.subprotocols or (
            ["blab.binary.v1", "realtime"] if self.binary else ["realtime"]
        )
        headers = dict(self.headers)
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        self.connection: ClientConnection = await connect(
            f"{self.url}/v1/realtime?{self.query}",
            additional_headers=headers,
            subprotocols=protocols,
            compression=None,
            max_size=32 * 1024 * 1024,
            close_timeout=2,
        )
        self._changed = asyncio.Condition()
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        await self.connection.close()
        await asyncio.wait_for(self._reader, 5)
        if kind is None and self.checked:
            check_stream(event for _, event in self.events)

    async def send(self, event: Event) -> None:
        """Send one client event."""
        await self.connection.send(json.dumps(event))

    async def send_audio(self, pcm: bytes) -> None:
        """Send PCM16 24 kHz as it is, at once."""
        if self.binary:
            await self.connection.send(pcm)
        else:
            audio = base64.b64encode(pcm).decode()
            await self.send({"type": "input_audio_buffer.append", "audio": audio})

    async def speak(self, recording: Path, *, silence: float = 1.0) -> float:
        """Say a wav in real time, then silence; returns when its last sample was sent."""
        loop = asyncio.get_running_loop()
        pcm = read_wav(recording)
        start, said = loop.time(), 0.0
        padded = pcm + bytes(int(silence * RATE) * 2)
        for number, offset in enumerate(range(0, len(padded), FRAME_BYTES)):
            await asyncio.sleep(max(0.0, start + number * 0.02 - loop.time()))
            await self.send_audio(padded[offset : offset + FRAME_BYTES])
            if offset < len(pcm):
                said = loop.time()
        return said

    async def wait_for(
        self, kind: str, *, count: int = 1, seconds: float = 10.0, after: float = 0.0
    ) -> Event:
        """The ``count``-th event of that type that came after ``after``."""

        def found() -> list[Event]:
            return [event for at, event in self.events if event["type"] == kind and at >= after]

        await self.until(lambda: len(found()) >= count, seconds=seconds, what=kind)
        return found()[count - 1]

    async def until(
        self, condition: Callable[[], bool], *, seconds: float = 10.0, what: str = "condition"
    ) -> None:
        """Wait until something is true of what came; raises AssertionError at the deadline."""
        try:
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: condition() or self.closed is not None)
        except TimeoutError:
            pass
        kinds = [event["type"] for _, event in self.events]
        assert condition(), f"no {what} within {seconds} s (closed: {self.closed}); came: {kinds}"

    def of(self, kind: str) -> list[Event]:
        """The events of a type."""
        return [event for _, event in self.events if event["type"] == kind]

    @property
    def pcm(self) -> bytes:
        """All audio that came."""
        return b"".join(heard.pcm for heard in self.audio)

    async def wait_closed(self, seconds: float = 10.0) -> tuple[int, str]:
        """Code and reason of the close."""
        await asyncio.wait_for(asyncio.shield(self._reader), seconds)
        assert self.closed is not None
        return self.closed

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            async for message in self.connection:
                await self._take(loop.time(), message)
        except ConnectionClosed:
            pass
        self.closed = (self.connection.close_code or 1006, self.connection.close_reason or "")
        async with self._changed:
            self._changed.notify_all()

    async def _take(self, now: float, message: str | bytes) -> None:
        async with self._changed:
            if isinstance(message, bytes):
                self.audio.append(Heard(now, message))
            else:
                event = json.loads(message)
                self.events.append((now, event))
                if event["type"] == "response.output_audio.delta":
                    self.audio.append(Heard(now, base64.b64decode(event["delta"])))
            self._changed.notify_all()


def read_wav(path: Path) -> bytes:
    """A wav's samples as PCM16 24 kHz mono."""
    with wave.open(str(path)) as recording:
        return resample(
            recording.readframes(recording.getnframes()), recording.getframerate(), RATE
        )
