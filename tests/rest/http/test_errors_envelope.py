"""The two shapes of answers."""

from rest.http.endpoint import success
from rest.http.errors import ApiError, NotFound, Unavailable, ValidationFailed, error_body


def test_success() -> None:
    assert success([1], "req_1") == {"ok": True, "data": [1], "meta": {"requestId": "req_1"}}


def test_the_contracts_error() -> None:
    error = ValidationFailed("'speed' must be a number.", param="speed")
    assert error_body(error, "/api/tts", "req_1") == {
        "ok": False,
        "error": {
            "code": "VALIDATION_ERROR",
            "message": "'speed' must be a number.",
            "details": {"path": "speed"},
        },
        "meta": {"requestId": "req_1"},
    }
    assert error_body(NotFound("No."), "/api/tts", "r")["error"]["details"] is None


def test_openais_error() -> None:
    assert error_body(Unavailable("Full.", openai_code="server_full"), "/v1/realtime", "r") == {
        "error": {"message": "Full.", "type": "server_error", "param": None, "code": "server_full"}
    }


def test_every_code_is_the_contracts() -> None:
    known = {
        "VALIDATION_ERROR",
        "UNAUTHENTICATED",
        "FORBIDDEN",
        "NOT_FOUND",
        "RATE_LIMITED",
        "MODEL_UNAVAILABLE",
        "PROVIDER_ERROR",
        "PAYLOAD_TOO_LARGE",
        "CONSENT_REQUIRED",
        "IDEMPOTENCY_CONFLICT",
        "REGISTRATION_CLOSED",
        "NOT_IMPLEMENTED",
        "INTERNAL",
    }
    kinds: list[type[ApiError]] = [ApiError, *ApiError.__subclasses__()]
    assert {kind.code for kind in kinds} <= known
