"""The errors that a request can be refused with: one tree, each leaf with its HTTP status and
codes.

Tree::

ApiError ├── ValidationFailed 400 VALIDATION_ERROR something sent is wrong ├── Unauthenticated 401
UNAUTHENTICATED no key, or one that is not valid ├── Forbidden 403 FORBIDDEN the key may not do this
├── ConsentMissing 403 CONSENT_REQUIRED a voice may not be cloned without it ├── RegistrationClosed
403 REGISTRATION_CLOSED ├── NotFound 404 NOT_FOUND absent, or another workspace's ├── NoSuchModel
404 MODEL_UNAVAILABLE no live engine can do what was asked ├── RequestTimeout 408 VALIDATION_ERROR
the body did not come in time ├── WrongState 409 VALIDATION_ERROR not in the state it is in ├──
AgentNotUsable 409 MODEL_UNAVAILABLE it names what is not served here (any more) ├──
IdempotencyClash 409 IDEMPOTENCY_CONFLICT ├── PayloadTooLarge 413 PAYLOAD_TOO_LARGE ├──
UnsupportedMediaType 415 VALIDATION_ERROR a body of a type that is not read here ├──
RangeNotSatisfiable 416 VALIDATION_ERROR bytes that a file does not have ├── RateLimited 429
RATE_LIMITED ├── Internal 500 INTERNAL a fault of ours ├── ProviderFailed 502 PROVIDER_ERROR an
engine failed └── Unavailable 503 MODEL_UNAVAILABLE cannot be served now; try again

``code`` is the REST contract's. Paths under ``/v1/`` are OpenAI's: there errors have OpenAI's shape
and ``openai_code``; everywhere else they use the contract's envelope. A message says what was wrong
and what to do, and contains no secret.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec
from msgspec import Struct

from pipelines.engines.base import EngineBusy, EngineError, ModelUnavailable
from pipelines.jobs.job import ApiWarning


class Fault(Struct, frozen=True, omit_defaults=True):
    """One thing that is wrong with what was sent, and where it stands; ``reason`` as in
    ApiError."""

    path: str
    message: str
    reason: str | None = None


class ApiError(Exception):
    """A request that is refused. ``param``: path of the field at fault; ``retry_after``: s;
    ``reason``: a short constant for programs, where the contract's code is too coarse;
    ``faults``: all that is wrong, where that may be more than one thing; ``more``: further members
    of the envelope's ``details``."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "INTERNAL"
    default_openai_code: ClassVar[str] = "internal_error"

    def __init__(
        self,
        message: str,
        *,
        openai_code: str | None = None,
        param: str | None = None,
        retry_after: int | None = None,
        reason: str | None = None,
        faults: Sequence[Fault] = (),
        more: Mapping[str, str | int] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.openai_code = openai_code or self.default_openai_code
        self.param = param
        self.retry_after = retry_after
        self.reason = reason
        self.faults = tuple(faults)
        self.more = dict(more or {})


def faults_of(error: ApiError) -> list[Fault]:
    """Everything that an error says is wrong."""
    return list(error.faults) or [Fault(error.param or "", error.message.rstrip("."), error.reason)]


class ValidationFailed(ApiError):
    """Something sent is missing, malformed or out of range."""

    status = 400
    code = "VALIDATION_ERROR"
    default_openai_code = "invalid_value"


class Unauthenticated(ApiError):
    """No key, or one that is malformed, unknown, revoked or expired."""

    status = 401
    code = "UNAUTHENTICATED"
    default_openai_code = "invalid_api_key"


class Forbidden(ApiError):
    """The caller is known and may not do this."""

    status = 403
    code = "FORBIDDEN"
    default_openai_code = "forbidden"


class NotFound(ApiError):
    """There is no such thing, or it belongs to another workspace: the answer is the same."""

    status = 404
    code = "NOT_FOUND"
    default_openai_code = "not_found"


class ConsentMissing(ApiError):
    """A voice may not be cloned without its owner's consent."""

    status = 403
    code = "CONSENT_REQUIRED"
    default_openai_code = "consent_required"


class RegistrationClosed(ApiError):
    """The operator does not let people sign up."""

    status = 403
    code = "REGISTRATION_CLOSED"
    default_openai_code = "registration_closed"


class NoSuchModel(ApiError):
    """No live engine has that id, or none can do what was asked of it."""

    status = 404
    code = "MODEL_UNAVAILABLE"
    default_openai_code = "model_not_found"


class RequestTimeout(ApiError):
    """The body stopped arriving, or arrived too slowly."""

    status = 408
    code = "VALIDATION_ERROR"
    default_openai_code = "request_timeout"


class WrongState(ApiError):
    """The thing is in a state in which this cannot be done; ``reason`` says which.

    409 because that is what it means: the contract's text names it for one operation, its lists for
    none."""

    status = 409
    code = "VALIDATION_ERROR"
    default_openai_code = "invalid_state"


class AgentNotUsable(ApiError):
    """An agent names a model, voice or language that this server does not have (any more)."""

    status = 409
    code = "MODEL_UNAVAILABLE"
    default_openai_code = "agent_not_usable"


class IdempotencyClash(ApiError):
    """The Idempotency-Key was used for another request, or the first request with it is still
    running."""

    status = 409
    code = "IDEMPOTENCY_CONFLICT"
    default_openai_code = "idempotency_conflict"


class PayloadTooLarge(ApiError):
    """The body is longer than what is accepted."""

    status = 413
    code = "PAYLOAD_TOO_LARGE"
    default_openai_code = "payload_too_large"


class UnsupportedMediaType(ApiError):
    """A body of a type that this operation does not read."""

    status = 415
    code = "VALIDATION_ERROR"
    default_openai_code = "unsupported_media_type"


class RangeNotSatisfiable(ApiError):
    """None of the bytes asked for are in the file."""

    status = 416
    code = "VALIDATION_ERROR"
    default_openai_code = "range_not_satisfiable"


class RateLimited(ApiError):
    """Too many requests."""

    status = 429
    code = "RATE_LIMITED"
    default_openai_code = "rate_limit_exceeded"


class Internal(ApiError):
    """A fault of ours."""


class ProviderFailed(ApiError):
    """An engine or its upstream failed."""

    status = 502
    code = "PROVIDER_ERROR"
    default_openai_code = "provider_error"


class Unavailable(ApiError):
    """Cannot be served now: full, shutting down, or a store is unreachable."""

    status = 503
    code = "MODEL_UNAVAILABLE"
    default_openai_code = "server_unavailable"


OPENAI_PREFIX = "/v1/"


def failure(
    error: ApiError, request_id: str, warnings: Sequence[ApiWarning] = ()
) -> dict[str, Any]:
    """``{ok: false, error: {code, message, details}, meta}``; ``warnings`` as in ``success``."""
    known: dict[str, Any] = {
        "path": error.param,
        "reason": error.reason,
        "retryAfter": error.retry_after,
        "errors": msgspec.to_builtins(error.faults) if len(error.faults) > 1 else None,
    }
    details = {name: value for name, value in known.items() if value is not None} | error.more
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


BUSY_SECONDS = 1
"""When to try again where an engine's queue is full."""


def engine_refusal(error: EngineError) -> ApiError:
    """An engine's error as the refusal of the request."""
    if isinstance(error, ModelUnavailable):
        return NoSuchModel(str(error), param="model")
    if isinstance(error, EngineBusy):
        return Unavailable(str(error), retry_after=BUSY_SECONDS)
    return ProviderFailed(str(error))
