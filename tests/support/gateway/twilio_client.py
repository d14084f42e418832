"""A Twilio-shaped caller: a telephone and the carrier's side of a media stream, as Twilio's
documentation (https://www.twilio.com/docs/voice/media-streams/websocket-messages) has them.

It sends ``connected``, ``start``, 20 ms ``media`` in real time (what is said, else silence),
``dtmf``, ``stop``; numbers are strings. What comes is buffered and played in real time; a mark
returns when what stands before it has been played, and on ``clear`` at once with all others.
Times are the loop's clock, in seconds.
"""

import asyncio
import base64
import contextlib
import json
import secrets
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from media import g711

FRAME = 160
FRAME_SECONDS = 0.02
SILENCE = b"\xff"
Message = dict[str, Any]


@dataclass
class TwilioClient:
    """One call to ``url`` (``ws://host:port/api/agents/…/twilio``). As a context manager it hangs
    up at its end. ``deaf``: it plays nothing and returns no mark."""

    url: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    deaf: bool = False
    stream: str = "MZ18ad3ab5a668481ce02b83e7395059f0"
    call: str = field(default_factory=lambda: f"CA{secrets.token_hex(16)}")
    """The carrier's id of the call, whatever its streams."""
    came: list[tuple[float, Message]] = field(default_factory=list)
    """Every message, as it came."""
    heard: bytearray = field(default_factory=bytearray)
    """µ-law of all that was played."""
    said_at: float | None = None
    """When the first frame of what was said last left."""
    closed: tuple[int, str] | None = None
    marks_cleared: list[str] = field(default_factory=list)
    _mouth: bytearray = field(default_factory=bytearray)
    _ear: deque[bytes | str] = field(default_factory=deque)
    _numbers: int = 0
    _chunks: int = 0

    async def __aenter__(self) -> "TwilioClient":
        await self.open()
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.hang_up()

    async def open(self) -> None:
        """Connect, without a word."""
        self.connection: ClientConnection = await connect(
            self.url, additional_headers=dict(self.headers), compression=None, close_timeout=2
        )
        self._changed = asyncio.Condition()
        self._reader = asyncio.create_task(self._read())
        self._line: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """``connected`` and ``start``; from now on the line is open in both directions."""
        await self.send({"event": "connected", "protocol": "Call", "version": "1.0.0"})
        start = {
            "accountSid": "AC0123456789abcdef0123456789abcdef",
            "streamSid": self.stream,
            "callSid": self.call,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": "8000", "channels": "1"},
            "customParameters": dict(self.parameters),
        }
        await self.tell("start", start)
        if self._line is None:
            self._line = asyncio.create_task(self._run_line())

    async def tell(self, event: str, content: Mapping[str, Any]) -> None:
        """Send a numbered message of the stream."""
        self._numbers += 1
        address = {"sequenceNumber": str(self._numbers), "streamSid": self.stream}
        await self.send({"event": event, event: dict(content), **address})

    async def send(self, message: Mapping[str, Any] | str | bytes) -> None:
        """Send anything at all."""
        raw = isinstance(message, str | bytes)
        await self.connection.send(message if raw else json.dumps(message))

    def say(self, ulaw: bytes) -> None:
        """Speak, from the next frame on."""
        self.said_at = None
        self._mouth += ulaw

    async def press(self, digit: str) -> None:
        """Press a key."""
        await self.tell("dtmf", {"track": "inbound_track", "digit": digit})

    async def hang_up(self) -> None:
        """``stop``, and close."""
        if self._line is not None:
            self._line.cancel()
            await asyncio.gather(self._line, return_exceptions=True)
        with contextlib.suppress(ConnectionClosed):
            await self.tell("stop", {"accountSid": "AC0", "callSid": self.call})
        await self.connection.close()
        await asyncio.wait_for(self._reader, 5)

    async def cut(self) -> None:
        """The stream breaks off; Twilio has no time to say so."""
        self.connection.transport.abort()
        await asyncio.wait_for(self._reader, 5)

    def of(self, event: str) -> list[Message]:
        """The messages of a kind."""
        return [message for _, message in self.came if message["event"] == event]

    async def until(
        self, condition: Callable[[], bool], *, seconds: float = 10.0, what: str = "condition"
    ) -> None:
        """Wait until something is true of what came or was heard."""
        try:
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: condition() or self.closed is not None)
        except TimeoutError:
            pass
        kinds = [message["event"] for _, message in self.came]
        assert condition(), f"no {what} within {seconds} s (closed: {self.closed}); came: {kinds}"

    async def wait_closed(self, seconds: float = 10.0) -> tuple[int, str]:
        """Code and reason of the close."""
        await asyncio.wait_for(asyncio.shield(self._reader), seconds)
        assert self.closed is not None
        return self.closed

    @property
    def silent(self) -> bool:
        """Whether there is nothing left to play or to say."""
        return not self._ear and not self._mouth

    @property
    def pcm(self) -> bytes:
        """What was played, as PCM16 at 8 kHz."""
        return g711.decode_ulaw(bytes(self.heard))

    # ------------------------------------------------------------------ within

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            async for raw in self.connection:
                assert isinstance(raw, str), "Twilio takes text messages only"
                await self._take(loop.time(), json.loads(raw))
        except ConnectionClosed:
            pass
        self.closed = (self.connection.close_code or 1006, self.connection.close_reason or "")
        async with self._changed:
            self._changed.notify_all()

    async def _take(self, now: float, message: Message) -> None:
        assert message["event"] in ("media", "mark", "clear"), message["event"]
        assert message["streamSid"] == self.stream
        self.came.append((now, message))
        match message["event"]:
            case "media":
                self._ear.append(base64.b64decode(message["media"]["payload"], validate=True))
            case "mark":
                self._ear.append(message["mark"]["name"])
            case "clear":
                await self._clear()
        if not self.deaf:
            await self._return_marks()
        async with self._changed:
            self._changed.notify_all()

    async def _clear(self) -> None:
        marks = [one for one in self._ear if isinstance(one, str)]
        self._ear.clear()
        self.marks_cleared += marks
        for name in marks:
            await self.tell("mark", {"name": name})

    async def _return_marks(self) -> None:
        """Those with nothing left before them."""
        while self._ear and isinstance(self._ear[0], str):
            await self.tell("mark", {"name": str(self._ear.popleft())})

    async def _run_line(self) -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            while True:
                await asyncio.sleep(max(0.0, begun + self._chunks * FRAME_SECONDS - loop.time()))
                await self._speak_frame(loop.time())
                if not self.deaf:
                    await self._play_frame()
        except ConnectionClosed:
            pass

    async def _speak_frame(self, now: float) -> None:
        frame = bytes(self._mouth[:FRAME])
        del self._mouth[:FRAME]
        if frame and self.said_at is None:
            self.said_at = now
        self._chunks += 1
        media = {
            "track": "inbound",
            "chunk": str(self._chunks),
            "timestamp": str(self._chunks * 20 - 20),
            "payload": base64.b64encode(frame.ljust(FRAME, SILENCE)).decode(),
        }
        await self.tell("media", media)

    async def _play_frame(self) -> None:
        left = FRAME
        while left and self._ear:
            first = self._ear[0]
            if isinstance(first, str):
                await self._return_marks()
                continue
            self.heard += first[:left]
            self._ear[0] = first[left:]
            left -= min(left, len(first))
            if not self._ear[0]:
                self._ear.popleft()
        self.heard += SILENCE * left
        await self._return_marks()
        async with self._changed:
            self._changed.notify_all()
