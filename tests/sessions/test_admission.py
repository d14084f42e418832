"""Slots: taken once, released once."""

import pytest

from pipelines.engines.base import HearingLoad
from sessions.admission import Admission, ServerFull


def test_refuses_beyond_capacity_and_frees_on_exit() -> None:
    admission = Admission(1)
    with admission.admit():
        with pytest.raises(ServerFull) as refused:
            admission.admit()
        assert refused.value.retry_after > 0
        assert "in use" in refused.value.reason
    assert admission.active == 0
    admission.admit()
    assert admission.active == 1


def test_a_slot_is_released_once() -> None:
    admission = Admission(2)
    ticket = admission.admit()
    ticket.release()
    ticket.release()
    assert admission.active == 0


def test_nobody_is_admitted_while_callers_wait_to_be_heard() -> None:
    load = HearingLoad(running=2, waiting=7, places=2)
    admission = Admission(2, lambda: load.overloaded)
    admission.admit()
    load = HearingLoad(running=2, waiting=8, places=2)
    with pytest.raises(ServerFull, match="recognition is overloaded") as refused:
        admission.admit()
    assert refused.value.retry_after == 5
    assert admission.active == 1


def test_nobody_is_admitted_while_draining() -> None:
    admission = Admission(2)
    admission.draining = True
    with pytest.raises(ServerFull, match="shutting down"):
        admission.admit()
