"""Client messages: who caused a fault, and the sender's own id for it."""

import pytest

from sessions.client_messages import MOST_INJECTED, InjectedMessages
from sessions.core.notices import Fault


def test_a_fault_goes_to_its_sender_under_the_senders_id() -> None:
    injected, told = InjectedMessages(), []
    marked = injected.mark({"type": "x", "event_id": "mine"}, told.append)
    assert marked["type"] == "x"
    claimed = injected.claim(Fault("code", "words", event_id=marked["event_id"]))
    assert claimed is not None
    fault, answer = claimed
    assert fault == Fault("code", "words", event_id="mine")
    answer([{"type": "error"}])
    assert told == [[{"type": "error"}]]


@pytest.mark.parametrize("event_id", [None, "mine", "aside_1"])
def test_a_callers_own_fault_goes_only_to_the_caller(event_id: str | None) -> None:
    injected = InjectedMessages()
    injected.mark({"event_id": "mine"}, lambda _: None)
    assert injected.claim(Fault("code", "words", event_id=event_id)) is None


@pytest.mark.parametrize("event_id", [None, 7, "x" * 513, "\n"])
def test_an_unusable_id_is_not_echoed(event_id: object) -> None:
    injected = InjectedMessages()
    marked = injected.mark({"event_id": event_id}, lambda _: None)
    claimed = injected.claim(Fault("code", "words", event_id=marked["event_id"]))
    assert claimed is not None
    assert claimed[0].event_id is None


def test_the_oldest_senders_are_forgotten_and_get_no_answer() -> None:
    injected, told = InjectedMessages(), []
    first = injected.mark({"event_id": "first"}, told.append)
    for _ in range(MOST_INJECTED):
        injected.mark({}, told.append)
    claimed = injected.claim(Fault("code", "words", event_id=first["event_id"]))
    assert claimed is not None
    claimed[1]([{"type": "error"}])
    assert told == []
