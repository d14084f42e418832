"""AudioSocket, the protocol of Asterisk (and of FreeSWITCH's module of that name) over plain TCP.

A message is one byte of kind, two of length (big-endian) and a payload. The first names the call by
a UUID; linear audio at 8, 16, 24 or 48 kHz and pressed keys follow. There is no TLS, no mark and no
way to take audio back: it is sent as it is played. The only credential that fits is the UUID: it is
an ephemeral key's digits or, where callers need no key, an agent's id (``uuid_of``).
https://docs.asterisk.org/Configuration/Channel-Drivers/AudioSocket/
"""

import asyncio
import logging
import struct
import uuid
from contextlib import suppress
from typing import Any

from aiohttp import WSMessage, WSMsgType

from store.ids import ALPHABET, is_id

from .carrier import (
    BadAudio,
    Carrier,
    Heard,
    Message,
    Started,
    Stopped,
    StreamEvent,
    StreamFormat,
    UnsupportedFormat,
    WireFault,
)
from .media_stream import pressed_key

log = logging.getLogger(__name__)

_HEADER = struct.Struct(">BH")
_TERMINATE, _UUID, _DTMF, _ERROR = 0x00, 0x01, 0x03, 0xFF
_RATES = {0x10: 8_000, 0x12: 16_000, 0x13: 24_000, 0x16: 48_000}
_UUID_BYTES = 16
_AUDIO = range(0x10, 0x19)
"""All kinds of audio; 12, 32, 44.1, 96 and 192 kHz are not spoken here."""
_AGENT = "agt_"


def agent_id_of(call: uuid.UUID) -> str:
    """The agent's id that a call's UUID stands for."""
    number = call.int
    return _AGENT + "".join(ALPHABET[number >> 5 * i & 31] for i in reversed(range(26)))


def uuid_of(agent_id: str) -> uuid.UUID:
    """What to dial for an agent; raises ValueError for what is no agent's id."""
    if not is_id(agent_id) or not agent_id.startswith(_AGENT):
        raise ValueError(f"{agent_id!r} is no agent's id")
    digits = [ALPHABET.index(letter) for letter in agent_id.removeprefix(_AGENT)]
    return uuid.UUID(int=sum(digit << 5 * i for i, digit in enumerate(reversed(digits))))


class AudioSocket(Carrier):
    """One connection. The stream's id is the UUID; audio begins with the first frame, and is
    answered at its rate."""

    name = "audiosocket"
    lead_ms = 60
    """Nothing that was sent can be taken back: the caller hears so much after interrupting."""

    def __init__(self) -> None:
        super().__init__(StreamFormat("l16", _RATES[0x10]))
        self._call: uuid.UUID | None = None
        self._kind: int | None = None
        """Of the audio; None before the first of it."""
        self._stopped = False

    def parse(self, message: Message) -> list[StreamEvent]:
        """The events of one message with its header; raises WireFault."""
        if isinstance(message, str) or len(message) < _HEADER.size:
            raise WireFault("no_message")
        if self._stopped:
            raise WireFault("after_stop")
        kind, length = _HEADER.unpack_from(message)
        payload = message[_HEADER.size :]
        if len(payload) != length:
            raise WireFault("invalid_length")
        if kind == _UUID:
            return self._name(payload)
        if self._call is None:
            raise WireFault("before_start")
        if kind in _AUDIO:
            return self._media(kind, payload)
        if kind == _DTMF:
            return [pressed_key(payload.decode("ascii", "replace"))]
        if kind in (_TERMINATE, _ERROR):
            self._stopped = True
            return [Stopped()]
        raise WireFault("unknown_event")

    def _name(self, payload: bytes) -> list[StreamEvent]:
        if self._call is not None:
            raise WireFault("out_of_order")
        if len(payload) != _UUID_BYTES:
            raise WireFault("invalid_stream_id")
        self._call = uuid.UUID(bytes=payload)
        return []

    def _media(self, kind: int, payload: bytes) -> list[StreamEvent]:
        events: list[StreamEvent] = []
        if self._kind is None:
            events = [self._start(kind)]
        if kind != self._kind:
            raise WireFault("format_changed")
        try:
            pcm = self._decoder.decode(payload)
        except BadAudio as error:
            raise WireFault(error.code) from error
        return [*events, Heard(pcm)] if pcm else events

    def _start(self, kind: int) -> Started:
        if kind not in _RATES:
            raise UnsupportedFormat("unsupported_media_format")
        self._kind = kind
        form = StreamFormat("l16", _RATES[kind])
        self._agree(form, form)
        return Started(str(self._call), "", "", form)

    def media(self, pcm: bytes) -> bytes:
        """Audio of the caller's own kind."""
        audio = self._encoder.encode(pcm)
        return _HEADER.pack(self._kind or min(_RATES), len(audio)) + audio

    def hang_up(self, reason: str) -> bytes:  # noqa: ARG002
        """The message that ends the call; the dial plan goes on."""
        return _HEADER.pack(_TERMINATE, 0)


_CLOSED = WSMessage(WSMsgType.CLOSED, None, None)


class TcpMessages:
    """An AudioSocket connection with the interface of a WebSocket of aiohttp's, as far as
    ``MessageSocket`` uses it: every message is binary, and ends where its header says.

    There are no pings: a peer that says nothing is given up when the answer does not come. One that
    does not begin with a UUID speaks another protocol (a browser, a port scanner): its connection
    counts as closed."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._head: bytes | None = None
        """Of a message whose rest has not come yet."""
        self._begun = False

    @property
    def closed(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._writer.is_closing()

    async def receive(self) -> WSMessage:
        """The next message with its header; CLOSED at the connection's end. Cancelled, it loses
        nothing of a message that has come in part."""
        try:
            if self._head is None:
                self._head = await self._reader.readexactly(_HEADER.size)
            kind, length = _HEADER.unpack(self._head)
            if not self._begun and (kind, length) != (_UUID, _UUID_BYTES):
                log.info("an audiosocket connection does not begin with a UUID: closed")
                return _CLOSED
            self._begun = True
            payload = await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            return _CLOSED
        message, self._head = self._head + payload, None
        return WSMessage(WSMsgType.BINARY, message, None)

    async def send_frame(self, message: bytes, _kind: WSMsgType) -> None:
        """Send a message; waits while the peer does not read."""
        self._writer.write(message)
        await self._writer.drain()

    async def ping(self, _payload: bytes = b"") -> None:
        """The protocol has none."""

    async def pong(self, _payload: bytes = b"") -> None:
        """The protocol has none."""

    async def close(self, **_reason: Any) -> None:
        """Close the connection; the protocol has no words for the reason."""
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()
