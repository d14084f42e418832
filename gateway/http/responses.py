"""JSON responses, and everything a handler may raise as an error response."""

import logging
from typing import Any

import msgspec
from aiohttp import web

from rest.http.decoding import WARNINGS
from rest.http.errors import (
    ApiError,
    Internal,
    NotFound,
    PayloadTooLarge,
    Unavailable,
    ValidationFailed,
    error_body,
)
from sessions.admission import ServerFull
from sessions.channel import ClientFault
from store.errors import StoreUnavailable

log = logging.getLogger(__name__)


def as_api_error(error: BaseException) -> ApiError:
    """The error that an exception stands for; an unforeseen exception is an Internal."""
    match error:
        case ApiError():
            return error
        case ClientFault():
            return ValidationFailed(error.message, openai_code=error.code, param=error.param)
        case ServerFull():
            return Unavailable(
                error.message, openai_code="server_full", retry_after=error.retry_after
            )
        case StoreUnavailable():
            return Unavailable(
                "The server's storage cannot be reached just now. Please try again in a moment.",
                openai_code="storage_unavailable",
                retry_after=5,
            )
        case web.RequestPayloadError():
            return ValidationFailed(
                "The body cannot be read: its length or its chunks are malformed.", param="body"
            )
        case TimeoutError():
            return Unavailable(
                "The request took too long and was given up.",
                openai_code="timeout",
                retry_after=5,
            )
    return Internal("Something went wrong on the server; its log has the details.")


def as_response(error: ApiError, request: web.Request, request_id: str) -> web.Response:
    """The error as a JSON response."""
    headers = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    body = error_body(error, request.path, request_id, request.get(WARNINGS, ()))
    return json_response(body, status=error.status, headers=headers)


def as_api_error_of_http(error: web.HTTPException, request: web.Request) -> ApiError | None:
    """Our error for the framework's own; None where that should stay as it is."""
    match error.status:
        case 404:
            return NotFound(
                f"There is nothing at {request.method} {request.path[:200]}.",
                openai_code="unknown_url",
            )
        case 413:
            return PayloadTooLarge("The body is longer than this server accepts.")
        case 405:
            return _MethodNotAllowed(f"{request.method} is not possible here.")
        case 417:
            return _ExpectationFailed(
                "The only Expect understood is '100-continue': leave the header out.",
                param="Expect",
            )
        case status if 400 <= status < 500 and error.content_type != "application/json":
            return ValidationFailed(f"The request cannot be read: {error.reason}.")
    return None


def json_response(
    body: Any, *, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    """A JSON response that no cache keeps."""
    return web.Response(
        body=msgspec.json.encode(body),
        status=status,
        headers={"Cache-Control": "no-store", **(headers or {})},
        content_type="application/json",
    )


class ClientGone(ApiError):
    """The client closed the connection before the response; nobody reads it, but it is logged."""

    status = 499
    code = "VALIDATION_ERROR"
    default_openai_code = "client_gone"


class _MethodNotAllowed(ValidationFailed):
    status = 405
    default_openai_code = "method_not_allowed"


class _ExpectationFailed(ValidationFailed):
    status = 417
    default_openai_code = "expectation_failed"
