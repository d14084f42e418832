"""Telephones on carriers other than Twilio; most have their audio in binary WebSocket frames.

A telephone speaks µ-law at 8 kHz in real time, 20 ms a frame (what is said, else silence), buffers
what it is sent and plays it in real time. The carrier's side of the protocol is a subclass, written
from the carrier's documentation and not from the server's code.
"""

import asyncio
import base64
import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from media import g711

FRAME = 160
SILENCE = b"\xff"


@dataclass
class BinaryTelephone:
    """One call; as a context manager it hangs up at its end."""

    url: str
    came: list[dict[str, Any]] = field(default_factory=list)
    """Every text message."""
    heard: bytearray = field(default_factory=bytearray)
    """µ-law of all that was played."""
    closed: tuple[int, str] | None = None
    _mouth: bytearray = field(default_factory=bytearray)
    _ear: deque[bytes | str] = field(default_factory=deque)
    """Audio, and names of marks between it."""

    async def __aenter__(self) -> "BinaryTelephone":
        self.connection: ClientConnection = await connect(self.url, compression=None)
        self._changed = asyncio.Condition()
        self._reader = asyncio.create_task(self._read())
        await self.begin()
        self._line = asyncio.create_task(self._run_line())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._line.cancel()
        await asyncio.gather(self._line, return_exceptions=True)
        if self.closed is None:
            await self.end()
        await self.connection.close()
        await asyncio.wait_for(self._reader, 5)

    # ------------------------------------------------------------------ the carrier's side

    async def begin(self) -> None:
        """Open the stream."""
        raise NotImplementedError

    async def end(self) -> None:
        """The caller hangs up."""

    async def take(self, message: dict[str, Any]) -> None:
        """Do what a text message asks for."""
        raise NotImplementedError

    async def played(self, mark: str) -> None:
        """All audio before a mark was played."""

    # ------------------------------------------------------------------ the telephone

    def say(self, pcm: bytes) -> None:
        """Speak PCM16 at 8 kHz, from the next frame on."""
        self._mouth += g711.encode_ulaw(pcm)

    async def send_audio(self, ulaw: bytes) -> None:
        """Send what was said in 20 ms."""
        await self.connection.send(ulaw)

    def take_audio(self, frame: bytes) -> bytes:
        """A binary frame, as µ-law."""
        return frame

    async def send(self, message: dict[str, Any]) -> None:
        await self.connection.send(json.dumps(message))

    async def until(self, condition: Callable[[], bool], what: str, seconds: float = 10) -> None:
        """Wait until something is true of what came or was heard."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(lambda: condition() or self.closed is not None)
        assert condition(), f"no {what} (closed: {self.closed}); came: {self.came}"

    @property
    def pcm(self) -> bytes:
        """What was played and is not silence, as PCM16 at 8 kHz."""
        return g711.decode_ulaw(bytes(self.heard).strip(SILENCE))

    @property
    def silent(self) -> bool:
        """Whether nothing is left to play or to say."""
        return not self._ear and not self._mouth

    async def _read(self) -> None:
        try:
            async for message in self.connection:
                if isinstance(message, bytes):
                    self._ear.append(self.take_audio(message))
                else:
                    self.came.append(json.loads(message))
                    await self.take(self.came[-1])
                await self._notify()
        except ConnectionClosed:
            pass
        self.closed = (self.connection.close_code or 1006, self.connection.close_reason or "")
        await self._notify()

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _run_line(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        try:
            while True:
                frame = bytes(self._mouth[:FRAME]).ljust(FRAME, SILENCE)
                del self._mouth[:FRAME]
                await self.send_audio(frame)
                await self._play_frame()
                await self._notify()
                due += 0.02
                await asyncio.sleep(max(0.0, due - loop.time()))
        except ConnectionClosed:
            pass

    async def _play_frame(self) -> None:
        left = FRAME
        while self._ear and (left or isinstance(self._ear[0], str)):
            first = self._ear.popleft()
            if isinstance(first, str):
                await self.played(first)
                continue
            self.heard += first[:left]
            if rest := first[left:]:
                self._ear.appendleft(rest)
            left -= len(first) - len(rest)
        self.heard += SILENCE * left


class AsteriskTelephone(BinaryTelephone):
    """``chan_websocket`` with JSON control messages.

    It cuts audio into frames of ``optimal_frame_size``, and drops what does not fill one, as
    Asterisk does outside ``START_MEDIA_BUFFERING``. Other than Asterisk it asks for no pause at
    900 frames (``MEDIA_XOFF``): what is sent ahead here is checked to stay far below.
    https://docs.asterisk.org/Configuration/Channel-Drivers/WebSocket/"""

    CHANNEL = "pbx1-123456789.999"

    async def begin(self) -> None:
        start = {
            "event": "MEDIA_START",
            "connection_id": "e226e283-c90a-4ea9-9e37-389000b9ef47",
            "channel": "WebSocket/blab/0x1",
            "channel_id": self.CHANNEL,
            "format": "ulaw",
            "optimal_frame_size": FRAME,
            "ptime": 20,
            "channel_variables": {"order": "A-1734"},
        }
        await self.send(start)

    def take_audio(self, frame: bytes) -> bytes:
        assert len(frame) % FRAME == 0, "the rest of a frame would be dropped"
        assert sum(len(one) for one in self._ear if isinstance(one, bytes)) < 900 * FRAME
        return frame

    async def take(self, message: dict[str, Any]) -> None:
        match message["command"]:
            case "MARK_MEDIA":
                self._ear.append(message["correlation_id"])
            case "FLUSH_MEDIA":
                self._ear.clear()
            case "HANGUP":
                await self.connection.close()
            case other:
                raise AssertionError(f"Asterisk has no command {other}")

    async def played(self, mark: str) -> None:
        event = {"event": "MEDIA_MARK_PROCESSED", "channel_id": self.CHANNEL}
        await self.send({**event, "correlation_id": mark})

    async def press(self, digit: str) -> None:
        await self.send({"event": "DTMF_END", "channel_id": self.CHANNEL, "digit": digit})


class GenesysTelephone(BinaryTelephone):
    """Genesys Cloud's Audio Connector.

    It pings once after the opening and expects a pong with the ping's number, where Genesys pings
    every 5 s; ``position`` is always 0, where Genesys counts the audio that it has sent. It reports
    no playback (``playback_started``, ``playback_completed``), which Blab does not read.
    https://developer.genesys.cloud/devapps/audiohook/session-walkthrough
    https://github.com/purecloudlabs/audiohook-reference-implementation"""

    SESSION = "30b0e395-84d3-4570-ac13-9a62d8f514c0"
    _numbers = 0
    _answered = 0

    async def begin(self) -> None:
        mono = {"type": "audio", "format": "PCMU", "channels": ["external"], "rate": 8000}
        parameters = {
            "organizationId": "d7934305-0972-4844-938e-9060eef73d05",
            "conversationId": "090eaa2f-72fa-480a-83e0-8667ff89c0ec",
            "participant": {"id": "p", "ani": "+15555550100", "aniName": "", "dnis": "+1555"},
            "media": [{**mono, "channels": ["external", "internal"]}, mono],
            "inputVariables": {"order": "A-1734"},
        }
        await self.tell("open", **parameters)
        await self.until(lambda: self.kinds == ["opened"], "opened")
        assert self.came[0]["parameters"]["media"] == [mono]
        await self.tell("ping")
        await self.until(lambda: self.kinds[:2] == ["opened", "pong"], "pong")
        assert self.came[1]["clientseq"] == self._numbers

    async def end(self) -> None:
        await self.tell("close", reason="end")
        await self.until(lambda: "closed" in self.kinds, "closed")

    async def tell(self, kind: str, **parameters: Any) -> None:
        self._numbers += 1
        message = {"version": "2", "id": self.SESSION, "type": kind, "seq": self._numbers}
        position = {"serverseq": self._answered, "position": "PT0S", "parameters": parameters}
        await self.send(message | position)

    async def take(self, message: dict[str, Any]) -> None:
        assert message["seq"] == self._answered + 1, "the server's numbers have no gaps"
        assert message["clientseq"] <= self._numbers
        self._answered = message["seq"]
        if message["type"] == "event":
            assert message["parameters"]["entities"] == [{"type": "barge_in", "data": {}}]
            self._ear.clear()
        if message["type"] == "disconnect":
            await self.tell("close", reason="disconnect")

    @property
    def kinds(self) -> list[str]:
        return [message["type"] for message in self.came]

    async def press(self, digit: str) -> None:
        await self.tell("dtmf", digit=digit)


class VonageTelephone(BinaryTelephone):
    """Vonage's Voice API: linear audio at 8 kHz.

    Other than Vonage it has no limit to what it buffers (3072 messages there; Blab sends 50 ahead).
    https://developer.vonage.com/en/voice/voice-api/concepts/websockets"""

    async def begin(self) -> None:
        connected = {"event": "websocket:connected", "content-type": "audio/l16;rate=8000"}
        await self.send(connected | {"order": "A-1734"})

    async def send_audio(self, ulaw: bytes) -> None:
        await self.connection.send(g711.decode_ulaw(ulaw))

    def take_audio(self, frame: bytes) -> bytes:
        assert len(frame) == 2 * FRAME, "Vonage takes frames of 20 ms"
        return g711.encode_ulaw(frame)

    async def take(self, message: dict[str, Any]) -> None:
        match message["action"]:
            case "notify":
                self._ear.append(json.dumps(message["payload"]))
            case "clear":
                self._ear.clear()
                await self.send({"event": "websocket:cleared"})
            case other:
                raise AssertionError(f"Vonage has no action {other}")

    async def played(self, mark: str) -> None:
        await self.send({"event": "websocket:notify", "payload": json.loads(mark)})

    async def press(self, digit: str) -> None:
        await self.send({"event": "websocket:dtmf", "digit": digit, "duration": 260})


class PlivoTelephone(BinaryTelephone):
    """Plivo's audio streaming: µ-law in JSON.

    https://www.plivo.com/docs/voice-agents/audio-streaming/concepts/audio-streaming-reference"""

    STREAM = "20170ada-f610-433b-8758-c02a2aab3662"
    _numbers = 0
    _chunks = 0

    async def begin(self) -> None:
        start = {
            "callId": "12345678-1234-1234-1234-123456789abc",
            "streamId": self.STREAM,
            "accountId": "MAXXXXXXXXXXXXXXXXXX",
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000},
        }
        await self.tell("start", start=start, extra_headers="order=A-1734")

    async def end(self) -> None:
        await self.tell("stop", streamId=self.STREAM)

    async def tell(self, event: str, **members: Any) -> None:
        self._numbers += 1
        await self.send({"event": event, "sequenceNumber": self._numbers, **members})

    async def send_audio(self, ulaw: bytes) -> None:
        self._chunks += 1
        media = {
            "track": "inbound",
            "timestamp": str(1_705_312_200_000 + 20 * self._chunks),
            "chunk": self._chunks,
            "payload": base64.b64encode(ulaw).decode(),
        }
        await self.tell("media", streamId=self.STREAM, media=media)

    def take_audio(self, frame: bytes) -> bytes:
        raise AssertionError("Plivo takes text messages only")

    async def take(self, message: dict[str, Any]) -> None:
        assert message["streamId"] == self.STREAM
        match message["event"]:
            case "playAudio":
                media = message["media"]
                assert (media["contentType"], media["sampleRate"]) == ("audio/x-mulaw", 8000)
                self._ear.append(base64.b64decode(media["payload"], validate=True))
            case "checkpoint":
                self._ear.append(message["name"])
            case "clearAudio":
                self._ear.clear()
                await self.tell("clearedAudio", streamId=self.STREAM)
            case other:
                raise AssertionError(f"Plivo has no event {other}")

    async def played(self, mark: str) -> None:
        await self.tell("playedStream", streamId=self.STREAM, name=mark)

    async def press(self, digit: str) -> None:
        await self.tell("dtmf", streamId=self.STREAM, dtmf={"track": "inbound", "digit": digit})
