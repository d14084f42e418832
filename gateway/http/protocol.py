"""HttpProtocol: one connection, below every middleware.

Rules
- The framework answers a malformed or overlong head, or an unknown ``Expect``, with a text that
  quotes what was sent. Ours answers with the contract's error, quotes nothing, and logs one line
  without a traceback.
- Bodies are not decompressed. The framework's parser would do that on the event loop, before
  authentication; the middleware refuses compressed bodies with 415.
- An unmasked WebSocket frame fails the connection with 1002 (RFC 6455, 5.1), and so does a close
  frame with 1006 (7.4.1); the framework's reader would accept both.
- A long WebSocket frame is unmasked as it arrives, not at its end.
- A short WebSocket message can be taken as it arrives (``FrameFilter.take``): the framework would
  queue it and wake a task, which costs more than all that is done with 20 ms of silence.
- A connection that the guard refuses is answered with 503 and closed.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, cast

import msgspec
from aiohttp import web
from aiohttp.http_websocket import WebSocketReader

from rest.http.errors import ApiError, Internal, Unavailable, ValidationFailed, error_body

from .requests import REQUEST_ID_HEADER, new_request_id
from .responses import as_api_error_of_http, json_response

log = logging.getLogger(__name__)


_TOO_MANY = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 10\r\nConnection: close\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
)
_REFUSED_FRAME = b"\x70\x80"
"""Reserved bits that no extension defines: the framework's reader refuses them with 1002."""
_DATA = (0, 1, 2)
_WHOLE_TEXT, _WHOLE_BINARY = 0x81, 0x82
"""First byte of a frame that is a whole message."""
_SHORT = 4_096
"""Bytes of a frame that may be taken as it arrives: 85 ms of PCM at 24 kHz, 0.4 s of G.711 in
JSON."""
_CLOSE = 8
_LOCAL_CLOSE_CODE = 1006
"""Never sent (RFC 6455, 7.4.1); of all such codes the one that the framework's reader lets pass."""
_FRAGMENT = 64 * 1024
"""Bytes unmasked at a stretch; a multiple of 4, the length of a mask."""
_LONGEST = 16 * 1024 * 1024
"""No socket takes a longer message; such a frame is refused by its head, so it stays whole."""


Take = Callable[[bool, bytes], bool]
"""Takes a message as it arrives: whether it is binary, and its payload. Returns False where it is
to be received instead; raises nothing."""


class FrameFilter:
    """A filter in front of the framework's WebSocket reader.

    It follows the frames' heads and passes everything on, but keeps an incomplete head (at most
    13 bytes) until the rest arrives. Instead of the first frame that breaks the protocol without
    the framework noticing (unmasked, or closing with 1006) it passes one that is refused.

    A long data frame is passed on as fragments of ``_FRAGMENT``. The framework joins, unmasks and
    copies a frame at its last byte, all at once (measured for 14 MB: 5 to 17 ms of CPU, 39 ms on a
    busy machine); it unmasks fragments as they arrive (2 to 3 ms remain at the end)."""

    def __init__(self, reader: WebSocketReader) -> None:
        self._reader = reader
        self.take: Take | None = None
        """Takes short messages, while whoever reads waits. Once anything has been passed on to be
        received, nothing is taken until it is set again."""
        self._held = b""
        self._refused = False
        self._payload = 0
        """Bytes of payload until the next head."""
        self._rest = 0
        """Bytes of the frame after that, for further fragments."""
        self._last = 0
        """First byte of the head of the frame's last fragment."""
        self._mask = b""

    def feed_data(self, data: bytes | bytearray | memoryview) -> tuple[bool, bytes]:
        """See WebSocketReader.feed_data."""
        take, self.take = self.take, None
        if self._is_one_short_frame(data):
            whole = data[0] in (_WHOLE_TEXT, _WHOLE_BINARY) and len(data) <= _SHORT
            if take and whole and take(data[0] == _WHOLE_BINARY, _payload(bytes(data))):
                self.take = take
                return False, b""
            return self._reader.feed_data(bytes(data))
        data, self._held = self._held + bytes(data), b""
        passed: list[bytes] = []
        at = 0
        while at < len(data) and not self._refused:
            if not self._payload and self._rest:
                passed.append(self._fragment(0))
            elif not self._payload:
                size = _head_size(data[at : at + 2])
                head = data[at : at + size]
                if len(head) < size:
                    self._held = head
                    break
                passed.append(self._begin(head))
                at += size
            piece = data[at : at + self._payload]
            passed.append(piece)
            at += len(piece)
            self._payload -= len(piece)
        if passed:
            return self._reader.feed_data(b"".join(passed))
        return self._refused, b""

    def feed_eof(self) -> None:
        """See WebSocketReader.feed_eof."""
        self._reader.feed_eof()

    def _is_one_short_frame(self, data: bytes | bytearray | memoryview) -> bool:
        """Whether ``data`` is exactly one masked data frame below 64 KiB, as audio in real time
        is: nothing about it needs a change."""
        if self._payload or self._rest or self._held or self._refused or len(data) < 6:
            return False
        length = data[1] - 0x80
        if length == 126:
            length = 2 + (data[2] << 8 | data[3])
        elif not 0 <= length < 126:
            return False
        return data[0] & 0x0F in _DATA and len(data) == 6 + length

    def _begin(self, head: bytes) -> bytes:
        """What to pass for a frame's head, and with a close frame its code."""
        opcode, length = head[0] & 0x0F, head[1] & 0x7F
        start = 2 + _EXTENDED.get(length, 0)
        if not head[1] & 0x80:
            self._refused = True
            return _REFUSED_FRAME
        if start > 2:
            length = int.from_bytes(head[2:start])
        self._mask = head[start : start + 4]
        code = head[start + 4 :]
        if code and bytes(a ^ b for a, b in zip(code, self._mask, strict=False)) == (
            _LOCAL_CLOSE_CODE.to_bytes(2)
        ):
            self._refused = True
            return _REFUSED_FRAME
        self._payload = length - len(code)
        if opcode not in _DATA or not _FRAGMENT < length <= _LONGEST:
            return head
        self._payload, self._rest, self._last = 0, length, head[0] & 0xF0
        return self._fragment(opcode)

    def _fragment(self, opcode: int) -> bytes:
        """The head of a long frame's next fragment, which is ``opcode``."""
        self._payload = min(self._rest, _FRAGMENT)
        self._rest -= self._payload
        first = self._last if not self._rest else self._last & 0x7F
        return bytes([first | opcode, 0xFF]) + self._payload.to_bytes(8) + self._mask


def _payload(frame: bytes) -> bytes:
    """What a whole masked frame below 64 KiB holds."""
    start = 4 if frame[1] == 0xFE else 2
    mask, payload = frame[start : start + 4], frame[start + 4 :]
    length = len(payload)
    key = int.from_bytes((mask * (length // 4 + 1))[:length])
    return (int.from_bytes(payload) ^ key).to_bytes(length)


_EXTENDED = {126: 2, 127: 8}
"""Length as the head's second byte has it, and the bytes of the true length."""


def _head_size(start: bytes) -> int:
    """Bytes of the head that starts so and of a close code after it; 2 if that is not known yet, or
    not worth reading."""
    if len(start) < 2 or not start[1] & 0x80:
        return 2
    length = start[1] & 0x7F
    size = 2 + _EXTENDED.get(length, 0) + 4
    return size + 2 if start[0] & 0x0F == _CLOSE and length >= 2 else size


class HttpProtocol(web.RequestHandler):
    """One connection. ``opened``: whether it is admitted; ``closed``: called at its end."""

    __slots__ = ("_closed", "_connection", "_opened", "frames")

    def __init__(
        self,
        server: web.Server,
        *,
        loop: asyncio.AbstractEventLoop,
        opened: Callable[[asyncio.Transport], bool],
        closed: Callable[[asyncio.Transport], None],
        **options: Any,
    ) -> None:
        super().__init__(server, loop=loop, **options)
        self._opened = opened
        self._closed = closed
        self._connection: asyncio.Transport | None = None
        self.frames: FrameFilter | None = None
        """Once it is a WebSocket."""

    @classmethod
    def of(
        cls,
        server: web.Server,
        loop: asyncio.AbstractEventLoop,
        opened: Callable[[asyncio.Transport], bool],
        closed: Callable[[asyncio.Transport], None],
    ) -> "HttpProtocol":
        """The protocol of a new connection, as ``server()`` would make it."""
        options: dict[str, Any] = server._kwargs  # what the framework passes to its own protocol
        options = {**options, "auto_decompress": False}
        return cls(server, loop=loop, opened=opened, closed=closed, **options)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, or refuse if the guard admits no more connections from this address."""
        connection = cast(asyncio.Transport, transport)
        if not self._opened(connection):
            error = Unavailable(
                "Too many connections are open from this address: close some first.",
                openai_code="too_many_connections",
            )
            body = msgspec.json.encode(error_body(error, "/", new_request_id()))
            connection.write(_TOO_MANY % (len(body), body))
            connection.close()
            return
        self._connection = connection
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """The end of the connection."""
        if self._connection is None:
            return
        self._closed(self._connection)
        super().connection_lost(exc)

    def set_parser(
        self, parser: WebSocketReader, data_received_cb: Callable[[], None] | None = None
    ) -> None:
        """Become a WebSocket."""
        self.frames = FrameFilter(parser)
        super().set_parser(cast(WebSocketReader, self.frames), data_received_cb)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send a response; a refusal that the framework made before any middleware (of ``Expect``)
        is sent in the contract's form."""
        if isinstance(resp, web.HTTPException) and isinstance(request, web.Request):
            error = as_api_error_of_http(resp, request)
            if error is not None:
                resp = _refusal(error, request, new_request_id())
        return await super().finish_response(request, resp, start_time)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it quotes what was sent
    ) -> web.StreamResponse:
        """The response to an error outside every handler; closes the connection."""
        request_id = new_request_id()
        log.info("request %s was refused: %s", request_id, type(exc).__name__)
        if request.writer.output_size > 0:
            raise ConnectionError("the response has begun already")
        error: ApiError = Internal("Something went wrong on the server.")
        no_text = isinstance(exc, UnicodeEncodeError)  # the framework quotes ``Expect``
        if status < 500 or no_text:
            error = ValidationFailed(
                "The request is not HTTP that this server reads: its line, headers or framing are"
                " malformed or too long.",
                openai_code="malformed_request",
            )
        answer = _refusal(error, request, request_id)
        answer.force_close()
        return answer


def _refusal(error: ApiError, request: web.BaseRequest, request_id: str) -> web.Response:
    return json_response(
        error_body(error, request.path, request_id),
        status=error.status,
        headers={REQUEST_ID_HEADER: request_id},
    )
