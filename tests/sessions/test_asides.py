"""Asides: whose fault it was, and under which id its sender knows it."""

import pytest

from sessions.asides import MOST, Asides
from sessions.core.notices import Fault


def test_a_fault_goes_to_its_sender_under_the_senders_id() -> None:
    asides, told = Asides(), []
    marked = asides.mark({"type": "x", "event_id": "mine"}, told.append)
    assert marked["type"] == "x"
    claimed = asides.claim(Fault("code", "words", event_id=marked["event_id"]))
    assert claimed is not None
    fault, answer = claimed
    assert fault == Fault("code", "words", event_id="mine")
    answer([{"type": "error"}])
    assert told == [[{"type": "error"}]]


@pytest.mark.parametrize("event_id", [None, "mine", "aside_1"])
def test_a_callers_own_fault_is_nobody_elses(event_id: str | None) -> None:
    asides = Asides()
    asides.mark({"event_id": "mine"}, lambda _: None)
    assert asides.claim(Fault("code", "words", event_id=event_id)) is None


@pytest.mark.parametrize("event_id", [None, 7, "x" * 513, "\n"])
def test_an_unusable_id_is_not_told_back(event_id: object) -> None:
    asides = Asides()
    marked = asides.mark({"event_id": event_id}, lambda _: None)
    claimed = asides.claim(Fault("code", "words", event_id=marked["event_id"]))
    assert claimed is not None
    assert claimed[0].event_id is None


def test_the_oldest_are_forgotten_and_told_to_nobody() -> None:
    asides, told = Asides(), []
    first = asides.mark({"event_id": "first"}, told.append)
    for _ in range(MOST):
        asides.mark({}, told.append)
    claimed = asides.claim(Fault("code", "words", event_id=first["event_id"]))
    assert claimed is not None
    claimed[1]([{"type": "error"}])
    assert told == []
