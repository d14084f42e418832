"""The WebSocket channel: JSON events with base64 audio, or binary audio frames beside them.

Rules
- Outgoing: one bounded outbox, one writer task. A peer that lets it overflow is closed with 1013;
  one that does not even read that is cut off after ``_GRACE_SECONDS``.
- Incoming: nothing is queued here. ``incoming`` reads as fast as the session takes, and control
  messages at a bounded rate after a burst; beyond that TCP holds the peer back. A file may be
  pushed faster than real time; it is heard in order.
- A message is at most ``MAX_MESSAGE_BYTES``; a longer one ends the call with 1009.
- A peer that says nothing for ``_QUIET_SECONDS`` is pinged, and given up ``_PONG_SECONDS`` later.
- What is malformed at this level is answered with an ``error`` event; the call goes on. The first
  such fault of a call is logged, without content.
"""

import asyncio
import binascii
import logging
import socket
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any

import msgspec
from aiohttp import ClientError, WSMsgType, web

from gateway.channels.wire.audio import BASE64_SLICE, append_payload, decode_slice, from_pcm, to_pcm
from gateway.channels.wire.beta import AUDIO_DELTA
from gateway.channels.wire.ids import EventIds
from gateway.channels.wire.parse import event_id_of, read_message
from gateway.channels.wire.render import fault_body
from media.formats import AudioFormat, Encoding
from rest.http.decoding import holds_more_values, one_long_text
from sessions.channel import ClientFault, Piece, ServerEvent
from sessions.core.config import SessionConfig
from sessions.core.notices import Fault

from .outbox import Audio, Close, Entry, Outbox, Ping, Pong, Text
from .pace import Pace

log = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 15 * 1024 * 1024 + 4096
"""OpenAI's limit of an append, and room for the event around it."""
_MAX_VALUES = 20_000
"""JSON values of one message: what is long in a message is one string of base64."""
_COUNTED_BYTES = 128 * 1024
"""Below it a message is decoded in 3 ms whatever it holds."""
_QUIET_SECONDS = 20.0
_PONG_SECONDS = 10.0
_GRACE_SECONDS = 2.0
_SEND_BUFFER = 128 * 1024
"""Bytes the kernel may hold for a peer: about 2 s of audio, so that a stalled reader shows."""
_RECEIVE_BUFFER = 128 * 1024
"""Bytes the kernel may hold of a peer's: a flood waits with the peer, not here."""
_MESSAGES_A_SECOND = 100.0
_MESSAGES_AT_ONCE = 200
"""Control messages; audio is paced by the session, by its length."""
_TURN = 32
"""Messages taken at a stretch before the other calls get their turn."""

_STRETCH_BYTES = 48_000
"""Audio handed on at a stretch (1 s at 24 kHz): a peer that is gone is noticed in between."""

_CLOSE_CODES = {
    "server_shutdown": 1001,
    "internal_error": 1011,
    "slow_reader": 1013,
    "server_full": 1013,
    "warming_up": 1013,
    "storage_unavailable": 1013,
    **dict.fromkeys(("missing_api_key", "invalid_api_key"), 4001),
    **dict.fromkeys(
        (
            "insufficient_permissions",
            "foreign_origin",
            "agent_not_found",
            "agent_not_usable",
            "session_locked",
            "invalid_value",
            "invalid_type",
            "unknown_parameter",
            "unknown_subprotocol",
            "not_found",
        ),
        1008,
    ),
}


def make_socket(protocol: str | None) -> web.WebSocketResponse[Any]:
    """A WebSocket as this channel needs it; ``protocol`` is echoed."""
    return web.WebSocketResponse(
        protocols=(protocol,) if protocol else (),
        compress=False,
        autoping=False,
        max_msg_size=MAX_MESSAGE_BYTES,
        timeout=_GRACE_SECONDS,
        decode_text=False,
    )


class WebSocketChannel:
    """A prepared WebSocket as a Channel; use as an async context manager.

    ``binary``: audio goes as binary frames of raw samples in the session's format. ``beta``: it
    goes by the beta's name of its event."""

    name = "websocket"
    lead_ms = 200

    def __init__(
        self,
        ws: web.WebSocketResponse[Any],
        transport: asyncio.Transport | None,
        event_ids: EventIds,
        *,
        binary: bool = False,
        beta: bool = False,
    ) -> None:
        self._ws = ws
        self._transport = transport
        self._event_ids = event_ids
        self._binary = binary
        self._audio_event = AUDIO_DELTA if beta else "response.output_audio.delta"
        self._input = AudioFormat()
        self._output = AudioFormat()
        self.input_rate = self._input.rate
        self.output_rate = self._output.rate
        self._outbox = Outbox()
        self._writer: asyncio.Task[None] | None = None
        self._cutter: asyncio.TimerHandle | None = None
        self._fault_seen = False
        self._pace = Pace(_MESSAGES_A_SECOND, _MESSAGES_AT_ONCE)

    async def __aenter__(self) -> "WebSocketChannel":
        connection = self._transport.get_extra_info("socket") if self._transport else None
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        self._writer = asyncio.create_task(self._write(), name="websocket-writer")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close("internal_error" if kind else "ended")

    # ------------------------------------------------------------------ Channel

    def configure(self, config: SessionConfig) -> None:
        """Take over the formats."""
        self._input, self.input_rate = config.input_format, config.input_format.rate
        self._output, self.output_rate = config.output_format, config.output_format.rate

    def play(self, piece: Piece) -> None:
        """Queue audio for the peer."""
        payload = bytes(from_pcm(piece.pcm, self._output))
        self._put(Audio(piece.response_id, piece.item_id, payload))

    def flush(self) -> None:
        """Take back the audio that has not left; what the peer holds it flushes itself."""
        self._outbox.drop_audio()

    def played(self) -> int | None:
        """None: a WebSocket peer does not tell; the session paces by time."""
        return None

    def send(self, event: ServerEvent) -> None:
        """Queue one event."""
        self._put(Text(msgspec.json.encode(event)))

    async def close(self, reason: str, words: str | None = None) -> None:
        """Send what is queued, then close with ``reason``; cut the peer off if it lingers.

        ``words``: to be told in the reason's place."""
        writer, self._writer = self._writer, None
        if writer is not None:
            self._outbox.put(Close(_CLOSE_CODES.get(reason, 1000), _short(words or reason)))
            try:
                await asyncio.wait_for(writer, 2 * _GRACE_SECONDS)
            except TimeoutError:
                log.info("websocket peer did not take the goodbye: connection cut")
            finally:
                if not self._ws.closed:
                    self._cut()
        if self._cutter is not None:
            self._cutter.cancel()
            self._cutter = None

    async def incoming(self) -> AsyncIterator[bytes | Mapping[str, Any]]:
        """PCM16 at ``input_rate`` and client events, until the peer is gone."""
        pinged, taken = False, 0
        while True:
            try:
                received = await self._ws.receive(_PONG_SECONDS if pinged else _QUIET_SECONDS)
            except TimeoutError:
                if pinged:
                    log.info("websocket peer vanished")
                    self._cut()
                    return
                pinged = True
                self._put(Ping())
                continue
            pinged = False
            taken += 1
            if taken % _TURN == 0:
                await asyncio.sleep(0)
            match received.type:
                case WSMsgType.TEXT | WSMsgType.BINARY:
                    content = await self._take(received.type, received.data)
                    if isinstance(content, bytes):
                        for start in range(0, len(content), _STRETCH_BYTES):
                            if self._lost:
                                return
                            yield content[start : start + _STRETCH_BYTES]
                        continue
                    if content is not None:
                        yield content
                    if await self._hold_back() and self._lost:
                        return
                case WSMsgType.PING:
                    self._put(Pong(received.data))
                case WSMsgType.PONG:
                    continue
                case _:
                    return

    def rate_limits(self) -> list[dict[str, Any]]:
        """What rate_limits.updated tells: the pace at which control messages are taken."""
        limit, remaining, seconds = self._pace.left(asyncio.get_running_loop().time())
        requests = {"name": "requests", "limit": limit, "remaining": remaining}
        return [requests | {"reset_seconds": round(seconds, 3)}]

    # ------------------------------------------------------------------ incoming

    @property
    def _lost(self) -> bool:
        """Whether the connection is gone; what it has left behind needs no hearing then."""
        return self._transport is None or self._transport.is_closing()

    async def _hold_back(self) -> bool:
        """Let a peer that sends control messages too fast wait, empty and faulty ones included.

        False where there was no need."""
        delay = self._pace.delay(asyncio.get_running_loop().time())
        if delay:
            await asyncio.sleep(delay)
        return bool(delay)

    async def _take(self, kind: WSMsgType, data: bytes) -> bytes | Mapping[str, Any] | None:
        """What a message holds; None where it was empty or has been answered as faulty. Long ones
        wait for their turn among all calls."""
        read = self._read_text if kind is WSMsgType.TEXT else self._read_binary
        try:
            if len(data) <= _COUNTED_BYTES:
                return await read(data)
            async with one_long_text():
                return await read(data)
        except ClientFault as fault:
            self._refuse(fault)
            return None

    async def _read_text(self, data: bytes) -> bytes | Mapping[str, Any] | None:
        if len(data) > _COUNTED_BYTES and await holds_more_values(data, _MAX_VALUES):
            raise ClientFault(
                "too_many_values",
                f"The message holds more than {_MAX_VALUES} values: send several events.",
            )
        message = read_message(data)
        if message.get("type") != "input_audio_buffer.append":
            return message
        try:
            return await _as_pcm(await _decode(append_payload(message)), self._input) or None
        except ClientFault as fault:
            fault.event_id = event_id_of(message)
            raise

    async def _read_binary(self, data: bytes) -> bytes | None:
        if not self._binary:
            raise ClientFault(
                "unexpected_binary",
                "Binary frames need the subprotocol 'blab.binary.v1': offer it, or send audio "
                "as base64 in input_audio_buffer.append.",
            )
        return await _as_pcm(data, self._input) or None

    def _refuse(self, fault: ClientFault) -> None:
        if not self._fault_seen:
            self._fault_seen = True
            log.info("websocket peer sent what cannot be taken: %s", fault.code)
        told = Fault(fault.code, fault.message, fault.param, fault.event_id)
        self.send({"event_id": self._event_ids.next(), **fault_body(told)})

    # ------------------------------------------------------------------ outgoing

    def _put(self, entry: Entry) -> None:
        if self._outbox.put(entry):
            return
        log.info("websocket peer reads too slowly: closed")
        self._outbox.drop_all()
        self._outbox.put(Close(_CLOSE_CODES["slow_reader"], b"you read too slowly"))
        self._cutter = asyncio.get_running_loop().call_later(_GRACE_SECONDS, self._cut)

    def _cut(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    async def _write(self) -> None:
        """Send the outbox until its Close, or until the peer is gone."""
        try:
            while not self._ws.closed:
                entry = await self._outbox.get()
                if isinstance(entry, Close):
                    await self._ws.close(code=entry.code, message=entry.payload)
                    return
                await self._send(entry)
        except (ConnectionError, ClientError):
            self._outbox.closed = True
            self._outbox.drop_all()

    async def _send(self, entry: Entry) -> None:
        match entry:
            case Text(payload, _):
                await self._ws.send_frame(payload, WSMsgType.TEXT)
            case Audio() if self._binary:
                await self._ws.send_bytes(entry.payload)
            case Audio():
                await self._ws.send_frame(self._audio_delta(entry), WSMsgType.TEXT)
            case Ping(payload):
                await self._ws.ping(payload)
            case Pong(payload):
                await self._ws.pong(payload)

    def _audio_delta(self, audio: Audio) -> bytes:
        return msgspec.json.encode(
            {
                "event_id": self._event_ids.next(),
                "type": self._audio_event,
                "response_id": audio.response_id,
                "item_id": audio.item_id,
                "output_index": 0,
                "content_index": 0,
                "delta": binascii.b2a_base64(audio.payload, newline=False).decode(),
            }
        )


async def _decode(text: str) -> bytes:
    """Base64 decoded in slices, so that a long append holds nobody up; raises ClientFault."""
    if len(text) <= BASE64_SLICE:
        return decode_slice(text, last=True)
    decoded = bytearray()
    for start in range(0, len(text), BASE64_SLICE):
        end = start + BASE64_SLICE
        decoded += decode_slice(text[start:end], last=end >= len(text))
        await asyncio.sleep(0)
    return bytes(decoded)


async def _as_pcm(payload: bytes, form: AudioFormat) -> bytes:
    """PCM16 of raw samples, in slices where that is work (G.711: 7 ms a megabyte); raises
    ClientFault."""
    if form.encoding is Encoding.PCM or len(payload) <= BASE64_SLICE:
        return to_pcm(payload, form)
    pcm = bytearray()
    for start in range(0, len(payload), BASE64_SLICE):
        pcm += to_pcm(payload[start : start + BASE64_SLICE], form)
        await asyncio.sleep(0)
    return bytes(pcm)


def _short(reason: str) -> bytes:
    """A close frame's reason: at most 123 bytes (RFC 6455, 5.5)."""
    return reason.encode()[:120].decode(errors="ignore").encode()
