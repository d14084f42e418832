"""HttpProtocol: what cannot even be read as HTTP is answered in the envelope, too.

The framework answers a malformed head, or one that is too long, before any middleware sees it, with
a text that quotes what was sent. Here the answer is the contract's, quotes nothing, and is logged
once, without a traceback.
"""

import asyncio
import logging
from typing import Any

from aiohttp import web

from rest.envelope import error_body
from rest.errors import ApiError, Internal, ValidationFailed

from .http_errors import json_response
from .request_ids import REQUEST_ID_HEADER, new_request_id

log = logging.getLogger(__name__)


class HttpProtocol(web.RequestHandler):
    """One connection."""

    __slots__ = ()

    @classmethod
    def of(cls, server: web.Server, loop: asyncio.AbstractEventLoop) -> "HttpProtocol":
        """A connection's protocol, as ``server()`` makes it."""
        options: dict[str, Any] = server._kwargs  # what the framework hands its own protocol
        return cls(server, loop=loop, **options)

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
