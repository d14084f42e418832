"""What operations declare, and what their handlers receive."""

from types import NoneType
from typing import get_args, get_type_hints

import pytest

from rest.http.operation import AnyOperation
from tests.support.rest.all_resources import all_operations

EVERY = all_operations(r"\w+Resource|Compat\w+")


@pytest.mark.parametrize("operation", EVERY, ids=lambda one: f"{one.method} {one.path}")
def test_a_handler_reads_what_its_operation_declares(operation: AnyOperation) -> None:
    hints = get_type_hints(operation.handler)
    read = get_args(hints["request"] if "request" in hints else hints["_request"])
    declared = (operation.body or NoneType, operation.query or NoneType)
    assert all(issubclass(kind, accepted) for kind, accepted in zip(declared, read, strict=True))


def test_openais_operations_are_among_them() -> None:
    assert {one.path for one in EVERY} > {"/v1/audio/speech", "/v1/chat/completions", "/api/tts"}
