"""Slots: taken once, released once, and refused for a reason before those who talk suffer."""

import pytest

from pipelines.engines.base import HearingLoad
from sessions.admission import (
    FAIR_SECONDS,
    MIB,
    Admission,
    Latch,
    Reason,
    ServerFull,
    Strain,
    Thresholds,
)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def refusal(admission: Admission, workspace_id: str | None = None) -> Reason:
    with pytest.raises(ServerFull) as refused:
        admission.admit(workspace_id)
    assert refused.value.retry_after > 0
    return refused.value.reason


def test_refuses_beyond_capacity_and_frees_on_exit() -> None:
    counted: list[str] = []
    admission = Admission(1, on_refused=counted.append)
    with admission.admit():
        assert refusal(admission) is Reason.CAPACITY
    assert admission.active == 0
    admission.admit()
    assert admission.active == 1
    assert counted == ["capacity"]


def test_a_slot_is_released_once() -> None:
    admission = Admission(2)
    ticket = admission.admit("ws_1")
    ticket.release()
    ticket.release()
    assert admission.active == 0


def test_a_call_that_yields_leaves_slots_free_for_others(clock: Clock) -> None:
    admission = Admission(8, clock=clock)
    for _ in range(6):
        admission.admit("ws_1", yields=True)
    assert admission.reason("ws_1", yields=True) is Reason.SPARED
    admission.admit("ws_2")
    admission.admit("ws_1")
    assert refusal(admission) is Reason.CAPACITY


def test_a_call_that_yields_leaves_its_own_workspace_a_slot() -> None:
    admission = Admission(8, of_one_workspace=2)
    admission.admit("ws_1", yields=True)
    assert admission.reason("ws_1", yields=True) is Reason.SPARED
    assert admission.reason("ws_1") is None


def test_the_only_slot_is_shared_with_calls_that_yield() -> None:
    assert Admission(1).reason("ws_1", yields=True) is None
    assert Admission(2).reason("ws_1", yields=True) is None


def test_a_call_that_yields_does_not_make_others_share() -> None:
    admission = Admission(10)
    for _ in range(9):
        admission.admit("ws_1")
    with pytest.raises(ServerFull):
        admission.admit("ws_2", yields=True)
    assert admission.reason("ws_1") is None


def test_nobody_is_admitted_while_callers_wait_to_be_heard(clock: Clock) -> None:
    load = HearingLoad(running=2, waiting=7, places=2)
    admission = Admission(2, lambda: load.overloaded, clock=clock)
    admission.admit()
    load = HearingLoad(running=2, waiting=8, places=2)
    with pytest.raises(ServerFull, match="recognition is overloaded") as refused:
        admission.admit()
    assert (refused.value.reason, refused.value.retry_after) == (Reason.ENGINES, 5)
    assert admission.active == 1
    load = HearingLoad(running=2, waiting=7, places=2)
    assert refusal(admission) is Reason.ENGINES  # for one more second
    clock.now += 1.1
    admission.admit()


def test_nobody_is_admitted_while_draining() -> None:
    admission = Admission(2)
    admission.leaving = True
    admission.admit()
    admission.draining = True
    with pytest.raises(ServerFull, match="shutting down"):
        admission.admit()


def test_a_call_that_goes_on_is_not_refused_for_a_busy_moment(clock: Clock) -> None:
    strain = Strain()
    admission = Admission(20, lambda: True, strain=strain, clock=clock)
    for _ in range(20):
        strain.loop_lagged(1.0, clock.now)
    for _ in range(18):
        admission.admit("ws_1", goes_on=True)
    admission.admit("ws_2", goes_on=True).release()
    admission.admit("ws_1", goes_on=True)
    assert refusal(admission, "ws_1") is Reason.FAIR_SHARE
    assert refusal(admission, "ws_2") is Reason.ENGINES
    admission.admit("ws_1", goes_on=True)
    with pytest.raises(ServerFull) as full:
        admission.admit("ws_1", goes_on=True)
    assert full.value.reason is Reason.CAPACITY


def test_without_memory_not_even_a_call_that_goes_on_is_admitted(clock: Clock) -> None:
    strain = Strain()
    admission = Admission(5, of_one_workspace=1, strain=strain, clock=clock)
    admission.admit("ws_1", goes_on=True)
    assert admission.reason("ws_1", goes_on=True) is Reason.WORKSPACE
    strain.memory_measured(100 * MIB, clock.now)
    assert admission.reason("ws_2", goes_on=True) is Reason.MEMORY
    admission.draining = True
    assert admission.reason("ws_2", goes_on=True) is Reason.DRAINING


# ---------------------------------------------------------------------- workspaces


def test_a_workspace_has_at_most_its_own_limit() -> None:
    admission = Admission(10, of_one_workspace=2)
    first = admission.admit("ws_1")
    admission.admit("ws_1")
    assert refusal(admission, "ws_1") is Reason.WORKSPACE
    admission.admit("ws_2")
    first.release()
    admission.admit("ws_1")


def test_the_last_slots_are_for_other_workspaces_that_call(clock: Clock) -> None:
    admission = Admission(20, clock=clock)
    for _ in range(17):
        admission.admit("ws_1")
    other = admission.admit("ws_2")
    assert refusal(admission, "ws_1") is Reason.FAIR_SHARE
    other.release()
    for _ in range(2):
        admission.admit("ws_2")
    assert refusal(admission, "ws_1") is Reason.FAIR_SHARE
    assert admission.reason() is None


def test_a_workspace_alone_may_take_every_slot(clock: Clock) -> None:
    admission = Admission(20, clock=clock)
    admission.admit("ws_2").release()
    clock.now += FAIR_SECONDS + 1
    for _ in range(20):
        admission.admit("ws_1")
    assert refusal(admission, "ws_2") is Reason.CAPACITY


def test_a_workspace_that_was_refused_gets_the_next_of_the_last_slots(clock: Clock) -> None:
    admission = Admission(20, clock=clock)
    taken = [admission.admit("ws_1") for _ in range(20)]
    assert refusal(admission, "ws_2") is Reason.CAPACITY
    taken.pop().release()
    assert refusal(admission, "ws_1") is Reason.FAIR_SHARE
    admission.admit("ws_2")


# ---------------------------------------------------------------------- strain


def lags(strain: Strain, count: int, seconds: float, now: float) -> float:
    """``count`` measurements ten times a second; the time after the last one."""
    for _ in range(count):
        now += 0.1
        strain.loop_lagged(seconds, now)
    return now


def test_calls_are_refused_while_the_event_loop_is_late_and_for_some_seconds_after() -> None:
    strain = Strain()
    now = lags(strain, 100, 0.004, 0.0)
    assert strain.reason() is None
    now = lags(strain, 2, 0.5, now)
    assert strain.reason() is None  # a stall
    now = lags(strain, 1, 0.5, now)
    assert strain.reason() is Reason.EVENT_LOOP
    now = lags(strain, 48, 0.004, now)  # the last late one is leaving the window
    assert strain.reason() is Reason.EVENT_LOOP
    now = lags(strain, 35, 0.15, now)  # neither late nor calm: nothing changes
    assert strain.reason() is Reason.EVENT_LOOP
    now = lags(strain, 50, 0.004, now)
    lags(strain, 32, 0.004, now)
    assert strain.reason() is None


def test_a_slow_start_refuses_nobody() -> None:
    strain = Strain()
    now = lags(strain, 1, 2.0, 0.0)
    assert strain.reason() is None
    lags(strain, 60, 0.001, now)
    assert strain.reason() is None


def test_calls_are_refused_before_memory_runs_out(clock: Clock) -> None:
    thresholds = Thresholds(call_bytes=10 * MIB, spare_bytes=100 * MIB, memory_hold=10)
    admission = Admission(1000, strain=Strain(thresholds), clock=clock)
    admission.strain.memory_measured(145 * MIB, clock.now)
    for _ in range(4):
        admission.admit()  # the memory that they will take is still shown as available
    assert refusal(admission) is Reason.MEMORY
    admission.strain.memory_measured(120 * MIB, clock.now)
    assert refusal(admission) is Reason.MEMORY
    admission.strain.memory_measured(200 * MIB, clock.now)
    clock.now += 5
    admission.strain.memory_measured(200 * MIB, clock.now)
    assert refusal(admission) is Reason.MEMORY
    clock.now += 6
    admission.strain.memory_measured(200 * MIB, clock.now)
    admission.admit()


def test_memory_that_is_not_known_refuses_nobody(clock: Clock) -> None:
    admission = Admission(3, clock=clock)
    admission.strain.memory_measured(None, clock.now)
    admission.admit()


def test_a_latch_waits_for_unbroken_calm() -> None:
    latch = Latch(2.0)
    for now, strained, calm, on in [
        (0, False, True, False),
        (1, True, False, True),
        (2, False, True, True),
        (3, False, False, True),
        (4, False, True, True),
        (5.9, False, True, True),
        (6, False, True, False),
    ]:
        latch.update(now, strained=strained, calm=calm)
        assert latch.on is on, now
