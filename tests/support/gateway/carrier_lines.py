"""What every carrier sends, and a line to its door on which anything else can be sent as well.

A carrier in ``CARRIERS`` whose messages are Twilio's is covered by being there; any other needs its
own messages in ``OWN``. They are written from the carrier's documentation, as the telephones in
``binary_telephone`` are.
"""

import asyncio
import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidState
from websockets.frames import Frame as WebSocketFrame
from websockets.frames import Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from gateway.calls.telephony import AUDIOSOCKET_PORT, CARRIERS
from gateway.channels.telephony.audiosocket import AudioSocket, uuid_of
from gateway.channels.telephony.carrier import Carrier
from gateway.channels.telephony.media_stream import MediaStream
from store.ids import new_id
from tests.support.gateway.scripted_server import ScriptedServer

Frame = str | bytes
EVERY: tuple[type[Carrier], ...] = (*CARRIERS, AudioSocket)


@dataclass(frozen=True)
class Spoken:
    """A carrier's own messages."""

    opening: Sequence[Frame]
    audio: Frame
    """20 ms."""
    key: Frame
    end: Frame | None = None
    first: Frame | None = None
    """What a connection must begin with; only its own protocol comes behind it."""
    wrapped: Callable[[bytes], bytes] = bytes
    """Bytes as a message of the transport's, where that is not a WebSocket."""


def spoken(carrier: type[Carrier], agent_id: str) -> Spoken:
    """What a carrier sends; raises KeyError for one that is not declared here."""
    if issubclass(carrier, MediaStream):
        return _media_stream(carrier)
    return OWN[carrier.name](agent_id)


def _media_stream(carrier: type[MediaStream]) -> Spoken:
    names = carrier.names
    address = {names.stream_id: "s"}
    names_of = {names.call_id: new_id("call"), names.account_id: "a"}
    start = {**address, **names_of, names.parameters: {"order": "A"}}
    return Spoken(
        opening=[json.dumps({"event": "start", "start": start, **address})],
        audio=json.dumps({"event": "media", "media": {"payload": "A" * 216}, **address}),
        key=json.dumps({"event": "dtmf", "dtmf": {"digit": "5"}, **address}),
        end=json.dumps({"event": "stop", "stop": {}, **address}),
    )


def _asterisk(_agent_id: str) -> Spoken:
    start = {
        "event": "MEDIA_START",
        "connection_id": "media_connection1",
        "channel": "WebSocket/media_connection1/0x5140001a0040",
        "channel_id": "1761245643.1",
        "format": "ulaw",
        "optimal_frame_size": 160,
        "ptime": 20,
        "channel_variables": {"order": "A-1734"},
    }
    key = {"event": "DTMF_END", "channel_id": "1761245643.1", "digit": "5"}
    return Spoken([json.dumps(start)], b"\xff" * 160, json.dumps(key))


def _vonage(_agent_id: str) -> Spoken:
    connected = {"event": "websocket:connected", "content-type": "audio/l16;rate=16000"}
    key = {"event": "websocket:dtmf", "digit": "5", "duration": 260}
    return Spoken([json.dumps({**connected, "order": "A-1734"})], bytes(640), json.dumps(key))


def _genesys(_agent_id: str) -> Spoken:
    media = [{"type": "audio", "format": "PCMU", "channels": ["external"], "rate": 8000}]

    def message(number: int, kind: str, **parameters: Any) -> str:
        own = {"version": "2", "id": "30b0e395-84d3-4570-ac13-9a62d8f514c0", "type": kind}
        more = {"seq": number, "serverseq": 0, "position": "PT0S", "parameters": parameters}
        return json.dumps(own | more)

    participant = {"id": "p", "ani": "+15555550100", "aniName": "", "dnis": "+1555"}
    return Spoken(
        opening=[
            message(
                1,
                "open",
                organizationId="d7934305-0972-4844-938e-9060eef73d05",
                conversationId="090eaa2f-72fa-480a-83e0-8667ff89c0ec",
                participant=participant,
                media=media,
                inputVariables={"order": "A-1734"},
            )
        ],
        audio=b"\xff" * 160,
        key=message(2, "dtmf", digit="5"),
        end=message(3, "close", reason="end"),
    )


def _audiosocket(agent_id: str) -> Spoken:
    def message(kind: int, payload: bytes = b"") -> bytes:
        return struct.pack(">BH", kind, len(payload)) + payload

    return Spoken(
        opening=[message(0x10, bytes(320))],
        audio=message(0x10, bytes(320)),
        key=message(0x03, b"5"),
        end=message(0x00),
        first=message(0x01, uuid_of(agent_id).bytes),
        wrapped=lambda raw: message(0x42, raw[:65_535]),
    )


OWN: dict[str, Callable[[str], Spoken]] = {
    "asterisk": _asterisk,
    "vonage": _vonage,
    "genesys": _genesys,
    "audiosocket": _audiosocket,
}


def altered(frame: Frame, values: Sequence[Any]) -> list[Frame]:
    """A message of JSON with each of its members replaced by each of ``values``; none for one that
    is no JSON."""
    found: list[Frame] = []
    if isinstance(frame, bytes):
        return found
    whole = json.loads(frame)

    def walk(node: Any) -> None:
        for name in list(node) if isinstance(node, dict) else range(len(node)):
            kept = node[name]
            for value in values:
                node[name] = value
                found.append(json.dumps(whole))
            node[name] = kept
            if isinstance(kept, dict | list):
                walk(kept)

    walk(whole)
    return found


# ---------------------------------------------------------------------- the line


class Line:
    """A connection to a carrier's door, as a WebSocket or over TCP, down to its bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._protocol: ClientProtocol | None = None
        self._reading: asyncio.Task[None] | None = None
        self.came = asyncio.Event()
        """Set once anything has come."""
        self.torn = False
        """What was sent is no longer whole messages."""
        self._over = False

    @classmethod
    async def open(cls, server: ScriptedServer, carrier: type[Carrier], agent_id: str) -> "Line":
        """A line that is through to the carrier's code."""
        if carrier is AudioSocket:
            port = server.app[AUDIOSOCKET_PORT]
            line = cls(*await asyncio.open_connection("127.0.0.1", port))
        else:
            url = parse_uri(f"{server.ws_url}/api/agents/{agent_id}/{carrier.name}/{server.key}")
            line = cls(*await asyncio.open_connection(url.host, url.port))
            line._protocol = protocol = ClientProtocol(url, max_size=None)
            protocol.send_request(protocol.connect())
            line._flush()
            while protocol.state is State.CONNECTING:
                protocol.receive_data(await line._reader.read(65_536))
        line._reading = asyncio.create_task(line._read())
        return line

    def send(self, frame: Frame) -> None:
        """Send one message."""
        self.send_bytes(self._bytes_of(frame), torn=False)

    def send_half(self, frame: Frame) -> None:
        """Send the first half of a message's bytes."""
        whole = self._bytes_of(frame)
        self.send_bytes(whole[: max(1, len(whole) // 2)])

    def send_bytes(self, data: bytes, *, torn: bool = True) -> None:
        """Send bytes as they are; ``torn``: they are no whole messages."""
        self.torn = self.torn or torn
        if not (self._over or self._writer.is_closing()):
            self._writer.write(data)

    def abort(self) -> None:
        """Cut the connection, with what has not been sent."""
        self.torn = True
        self._writer.transport.abort()

    async def ended(self, seconds: float = 10.0) -> tuple[int, str] | None:
        """End the line, if the other side has not; code and reason of its close, None where the
        transport has none or the line was torn."""
        if not self._writer.is_closing():
            if self._protocol is None or self.torn:
                self._end()
            elif self._protocol.state is State.OPEN:
                self._protocol.send_close(1000)
                self._flush()
        assert self._reading is not None
        try:
            async with asyncio.timeout(seconds):
                await self._reading
        finally:
            self._writer.transport.abort()
        closed = self._protocol.close_rcvd if self._protocol is not None else None
        return (closed.code, closed.reason) if closed is not None else None

    def _end(self) -> None:
        self._over = True
        self._writer.write_eof()

    def _bytes_of(self, frame: Frame) -> bytes:
        data = frame.encode("utf-8", "surrogatepass") if isinstance(frame, str) else frame
        if self._protocol is None:
            return data
        opcode = Opcode.TEXT if isinstance(frame, str) else Opcode.BINARY
        return WebSocketFrame(opcode, data).serialize(mask=True)

    def _flush(self) -> None:
        for data in self._protocol.data_to_send() if self._protocol is not None else ():
            if data:
                self.send_bytes(data, torn=False)

    async def _read(self) -> None:
        """Until the other side is gone."""
        try:
            while data := await self._reader.read(65_536):
                self.came.set()
                if self._protocol is not None:
                    self._protocol.receive_data(data)
                    self._flush()
        except (ConnectionError, InvalidState):
            pass
        self.came.set()
