"""The two shapes of an answer: the contract's ``{ok, data, meta}`` envelope, and OpenAI's errors.

Paths under ``/v1/`` are OpenAI's and answer as OpenAI does; all others use the envelope.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from aiohttp import web

from pipelines.jobs.job import ApiWarning

from .errors import ApiError

OPENAI_PREFIX = "/v1/"
REQUEST_ID = web.RequestKey("request_id", str)
"""Where the server's middleware leaves the request's id."""


def success(
    data: Any,
    request_id: str,
    *,
    next_cursor: str | None = None,
    has_more: bool | None = None,
    warnings: Sequence[ApiWarning] = (),
) -> dict[str, Any]:
    """``{ok: true, data, meta}``; lists with pages say whether there is more, and where.
    ``meta.warnings`` is there only where something was accepted without its full effect."""
    meta: dict[str, Any] = {"requestId": request_id}
    if has_more is not None:
        meta |= {"nextCursor": next_cursor, "hasMore": has_more}
    if warnings:
        meta["warnings"] = list(warnings)
    return {"ok": True, "data": data, "meta": meta}


def failure(
    error: ApiError, request_id: str, warnings: Sequence[ApiWarning] = ()
) -> dict[str, Any]:
    """``{ok: false, error: {code, message, details}, meta}``; ``warnings`` as in ``success``."""
    told: dict[str, Any] = {
        "path": error.param,
        "reason": error.reason,
        "retryAfter": error.retry_after,
        "errors": msgspec.to_builtins(error.faults) if len(error.faults) > 1 else None,
    }
    details = {name: value for name, value in told.items() if value is not None}
    body: dict[str, Any] = {
        "code": error.code,
        "message": error.message,
        "details": details or None,
    }
    meta: dict[str, Any] = {"requestId": request_id}
    if warnings:
        meta["warnings"] = list(warnings)
    return {"ok": False, "error": body, "meta": meta}


def openai_failure(error: ApiError) -> dict[str, Any]:
    """``{error: {message, type, param, code}}``."""
    kind = "server_error" if error.status >= 500 else "invalid_request_error"
    return {
        "error": {
            "message": error.message,
            "type": kind,
            "param": error.param,
            "code": error.openai_code,
        }
    }


def error_body(
    error: ApiError, path: str, request_id: str, warnings: Sequence[ApiWarning] = ()
) -> dict[str, Any]:
    """The error in the shape that clients of ``path`` read."""
    if path.startswith(OPENAI_PREFIX):
        return openai_failure(error)
    return failure(error, request_id, warnings)
