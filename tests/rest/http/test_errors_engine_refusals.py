"""Engine errors as answers."""

import pytest

from pipelines.engines.base import (
    EngineBusy,
    EngineError,
    EngineFailed,
    EngineTimeout,
    ModelUnavailable,
)
from rest.http.errors import BUSY_SECONDS, engine_refusal


@pytest.mark.parametrize(
    ("error", "status", "code", "retry_after"),
    [
        (ModelUnavailable("none"), 404, "MODEL_UNAVAILABLE", None),
        (EngineBusy("full"), 503, "MODEL_UNAVAILABLE", BUSY_SECONDS),
        (EngineFailed("broken"), 502, "PROVIDER_ERROR", None),
        (EngineTimeout("late"), 502, "PROVIDER_ERROR", None),
    ],
)
def test_each_engine_error_has_its_answer(
    error: EngineError, status: int, code: str, retry_after: int | None
) -> None:
    refusal = engine_refusal(error)
    assert (refusal.status, refusal.code, refusal.retry_after) == (status, code, retry_after)
    assert refusal.message == str(error)
