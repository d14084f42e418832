"""The WebSocket channel: JSON events with base64 audio, or binary audio frames beside them.

Rules
- The bounds of both directions are those of ``LIMITS`` (see ``message_socket``).
- Audio in real time is passed on as it arrives (``push_to``); the rest comes by ``incoming``.
- ``incoming`` reads as fast as the session takes, and control messages at a bounded rate after a
  burst; beyond that TCP holds the peer back. A file may be pushed faster than real time; it is
  heard in order.
- What is malformed at this level is answered with an ``error`` event; the call goes on. The first
  such fault of a call is logged, without content.
"""

import asyncio
import binascii
import logging
from collections.abc import AsyncIterator, Mapping
from functools import partial
from types import TracebackType
from typing import Any

import msgspec
from aiohttp import web

from gateway.channels.wire.client_events import event_id_of, read_message
from gateway.channels.wire.fields import (
    BASE64_SLICE,
    append_payload,
    decode_slice,
    from_pcm,
    to_pcm,
)
from gateway.channels.wire.render import fault_body
from gateway.channels.wire.wire_format import AUDIO_DELTA, EventIds
from media.formats import SAMPLE_BYTES, AudioFormat, Encoding
from rest.http.decoding import holds_more_values, one_long_text
from sessions.channel import ClientFault, Incoming, Piece, ServerEvent
from sessions.core.config import SessionConfig
from sessions.core.notices import Fault
from sessions.speech.call_input import CallInput

from .message_socket import CLOSE_CODES, Limits, MessageSocket

log = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 15 * 1024 * 1024 + 4096
"""OpenAI's limit of an append, and room for the event around it."""
LIMITS = Limits(
    max_message_bytes=MAX_MESSAGE_BYTES,
    messages_a_second=100.0,  # control messages; audio is paced by the session, by its length
    messages_at_once=200,
    kernel_buffer=128 * 1024,  # about 2 s of audio
)
_MAX_VALUES = 20_000
"""JSON values of one message: what is long in a message is one string of base64."""
_COUNTED_BYTES = 128 * 1024
"""Below it a message is decoded in 3 ms whatever it holds."""
_STRETCH_BYTES = 48_000
"""Audio handed on at a stretch (1 s at 24 kHz): a peer that is gone is noticed in between."""

_APPEND = b'"input_audio_buffer.append"'
_APPEND_WITHIN = 100
"""Where in a message its type is looked for, before it is read for that alone."""

_CLOSE_CODES = {
    **CLOSE_CODES,
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
            "resumption_not_found",
            "resumption_conflict",
            "resumed_elsewhere",
        ),
        1008,
    ),
    "moved": 1012,
}


class WebSocketChannel:
    """A prepared WebSocket as a Channel; use as an async context manager.

    ``binary``: audio goes as binary frames of raw samples in the session's format. ``beta``: it
    goes by the beta's name of its event."""

    name = "websocket"
    lead_ms = 200
    missed = 0

    def __init__(
        self,
        ws: web.WebSocketResponse[Any],
        transport: asyncio.Transport | None,
        event_ids: EventIds,
        *,
        binary: bool = False,
        beta: bool = False,
        limits: Limits = LIMITS,
    ) -> None:
        self._socket = MessageSocket(
            ws,
            transport,
            limits,
            name=self.name,
            close_codes=_CLOSE_CODES,
            slow_words="you read too slowly",
        )
        self._event_ids = event_ids
        self._binary = binary
        self._audio_event = AUDIO_DELTA if beta else "response.output_audio.delta"
        self._input = AudioFormat()
        self._output = AudioFormat()
        self.input_rate = self._input.rate
        self.output_rate = self._output.rate
        self._fault_seen = False
        self._taker: CallInput | None = None

    async def __aenter__(self) -> "WebSocketChannel":
        await self._socket.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close("internal_error" if kind else "ended")

    # ------------------------------------------------------------------ Channel

    @property
    def dropped(self) -> bool:
        """Whether the connection was lost: the peer has sent no close frame."""
        return not self._socket.said_goodbye

    def configure(self, config: SessionConfig) -> None:
        """Take over the formats."""
        self._input, self.input_rate = config.input_format, config.input_format.rate
        self._output, self.output_rate = config.output_format, config.output_format.rate

    def play(self, piece: Piece) -> None:
        """Queue audio for the peer."""
        payload = bytes(from_pcm(piece.pcm, self._output))
        if self._binary:
            self._socket.send(payload, binary=True, audio=True)
        else:
            # Numbered as it leaves: what is flushed leaves no hole in the event ids.
            delta = partial(self._audio_delta, piece.response_id, piece.item_id)
            self._socket.send(payload, audio=True, written=delta)

    def flush(self) -> None:
        """Take back the audio that has not left; what the peer holds it flushes itself."""
        self._socket.drop_audio()

    def played(self) -> int | None:
        """None: a WebSocket peer does not report it; the session paces by time."""
        return None

    def send(self, event: ServerEvent) -> None:
        """Queue one event."""
        self._socket.send(msgspec.json.encode(event))

    async def close(self, reason: str, words: str | None = None) -> None:
        """Send what is queued, then close with ``reason``; cut the peer off if it lingers.

        ``words`` go out in the reason's place."""
        await self._socket.close(reason, words)

    async def incoming(self) -> AsyncIterator[Incoming]:
        """PCM16 at ``input_rate`` and client events, until the peer is gone."""
        while (received := await self._socket.receive()) is not None:
            binary, data = received
            if binary and self._is_plain(data):
                yield data
                continue
            content = await self._take(binary, data)
            if isinstance(content, bytes):
                for start in range(0, len(content), _STRETCH_BYTES):
                    if self._socket.lost:
                        return
                    yield content[start : start + _STRETCH_BYTES]
                continue
            if content is not None:
                yield content
            # Empty and faulty messages count as well.
            if await self._socket.hold_back() and self._socket.lost:
                return

    def push_to(self, taker: CallInput) -> None:
        """Pass audio in real time to ``taker`` as it arrives, in order with ``incoming``."""
        self._taker = taker
        self._socket.push_to(self._pushed)

    def _pushed(self, binary: bool, data: bytes) -> bool:
        """Pass on a short message that is nothing but audio; False for any other."""
        taker = self._taker
        if taker is None or not taker.ready:
            return False
        if binary:
            if self._is_plain(data):
                taker.take(data)
                return True
            return False
        if _APPEND not in data[:_APPEND_WITHIN]:
            return False
        try:
            message = read_message(data)
            if message.get("type") != "input_audio_buffer.append":
                return False
            pcm = to_pcm(decode_slice(append_payload(message), last=True), self._input)
        except ClientFault:
            return False  # it is refused when it is received
        if pcm:
            taker.take(bytes(pcm))
        return bool(pcm)

    def rate_limits(self) -> list[dict[str, Any]]:
        """What rate_limits.updated reports: the pace at which control messages are taken."""
        limit, remaining, seconds = self._socket.pace_left()
        requests = {"name": "requests", "limit": limit, "remaining": remaining}
        return [requests | {"reset_seconds": round(seconds, 3)}]

    # ------------------------------------------------------------------ incoming

    async def _take(self, binary: bool, data: bytes) -> bytes | Mapping[str, Any] | None:
        """What a message holds; None where it was empty or has been answered as faulty. Long ones
        wait for their turn among all calls."""
        read = self._read_binary if binary else self._read_text
        try:
            if len(data) <= _COUNTED_BYTES:
                return await read(data)
            async with one_long_text():
                return await read(data)
        except ClientFault as fault:
            self._refuse(fault)
            return None

    def _is_plain(self, data: bytes) -> bool:
        """Whether a binary frame is PCM16 that can be taken as it is, as in real time it is."""
        return (
            self._binary
            and self._input.encoding is Encoding.PCM
            and 0 < len(data) <= _STRETCH_BYTES
            and len(data) % SAMPLE_BYTES == 0
        )

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
        error = Fault(fault.code, fault.message, fault.param, fault.event_id)
        self.send({"event_id": self._event_ids.next(), **fault_body(error)})

    # ------------------------------------------------------------------ outgoing

    def _audio_delta(self, response_id: str, item_id: str, payload: bytes) -> bytes:
        return msgspec.json.encode(
            {
                "event_id": self._event_ids.next(),
                "type": self._audio_event,
                "response_id": response_id,
                "item_id": item_id,
                "output_index": 0,
                "content_index": 0,
                "delta": binascii.b2a_base64(payload, newline=False).decode(),
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
