"""HttpProtocol: one connection, below every middleware.

Rules
- The framework answers a malformed head, or one that is too long, with a text that quotes what was
  sent. Here the answer is the contract's, quotes nothing, and is logged once, without a traceback.
- Bodies are not decompressed. The framework's parser would do that on the event loop, before
  anybody is authenticated; the middleware refuses compressed bodies with 415.
- An unmasked WebSocket frame fails the connection with 1002 (RFC 6455, 5.1); the framework's
  reader would accept it.
- A connection that the guard does not admit is answered with 503 and closed.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, cast

import msgspec
from aiohttp import web
from aiohttp.http_websocket import WebSocketReader

from rest.http.envelope import error_body
from rest.http.errors import ApiError, Internal, Unavailable, ValidationFailed

from .errors import json_response
from .request_ids import REQUEST_ID_HEADER, new_request_id

log = logging.getLogger(__name__)


_TOO_MANY = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 10\r\nConnection: close\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
)
_REFUSED_FRAME = b"\x70\x80"
"""Reserved bits that no extension defines: the framework's reader refuses them with 1002."""


class MaskedFrames:
    """A WebSocket reader that takes masked frames only.

    Follows the heads of the frames and passes everything on, but holds an incomplete head back
    (at most 9 bytes); in place of the first unmasked frame it passes one that is refused."""

    def __init__(self, reader: WebSocketReader) -> None:
        self._reader = reader
        self._held = b""
        self._until_head = 0
        self._refused = False

    def feed_data(self, data: bytes | bytearray | memoryview) -> tuple[bool, bytes]:
        """As WebSocketReader.feed_data."""
        if self._refused:
            return True, b""
        data, self._held = self._held + bytes(data), b""
        at, size = self._until_head, len(data)
        while at < size:
            head = data[at : at + 10]
            if len(head) > 1 and not head[1] & 0x80:
                self._refused = True
                return self._reader.feed_data(data[:at] + _REFUSED_FRAME)
            length = head[1] & 0x7F if len(head) > 1 else 0
            head_size = 2 + {126: 2, 127: 8}.get(length, 0)
            if len(head) < head_size:
                data, self._held = data[:at], data[at:]
                break
            if head_size > 2:
                length = int.from_bytes(head[2:head_size])
            at += head_size + 4 + length
        self._until_head = at - len(data)
        return self._reader.feed_data(data) if data else (False, b"")

    def feed_eof(self) -> None:
        """As WebSocketReader.feed_eof."""
        self._reader.feed_eof()


class HttpProtocol(web.RequestHandler):
    """One connection. ``opened``: whether it is admitted; ``closed``: it has ended."""

    __slots__ = ("_closed", "_connection", "_opened")

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

    @classmethod
    def of(
        cls,
        server: web.Server,
        loop: asyncio.AbstractEventLoop,
        opened: Callable[[asyncio.Transport], bool],
        closed: Callable[[asyncio.Transport], None],
    ) -> "HttpProtocol":
        """A connection's protocol, as ``server()`` makes it."""
        options: dict[str, Any] = server._kwargs  # what the framework hands its own protocol
        options = {**options, "auto_decompress": False}
        return cls(server, loop=loop, opened=opened, closed=closed, **options)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, or refuse where the guard admits no more connections of this address."""
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
        super().set_parser(cast(WebSocketReader, MaskedFrames(parser)), data_received_cb)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it quotes what was sent
    ) -> web.StreamResponse:
        """The answer to what went wrong outside every handler; closes the connection."""
        request_id = new_request_id()
        log.info("request %s was refused: %s", request_id, type(exc).__name__)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun already")
        error: ApiError = Internal("Something went wrong on the server.")
        if status < 500:
            error = ValidationFailed(
                "The request is no HTTP that is read here: its line, its headers or its framing are"
                " malformed or too long.",
                openai_code="malformed_request",
            )
        answer = json_response(
            error_body(error, request.path, request_id),
            status=status, headers={REQUEST_ID_HEADER: request_id},
        )  # fmt: skip
        answer.force_close()
        return answer
