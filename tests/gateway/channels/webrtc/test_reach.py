"""What counts as received by a peer: signs of life, proofs, and their absence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.channels.webrtc.reach import LONGEST_PATIENCE, PROOF_PATIENCE, Reach


def voiced(until: float) -> Reach:
    """A peer that has sent a packet of voice every 20 ms since it was connected at 0."""
    reach = Reach()
    reach.connected(0.0)
    for number in range(1, round(until * 50) + 1):
        reach.sign(number / 50)
    return reach


def test_before_the_connection_nothing_is_doubted() -> None:
    assert not Reach().doubted(100.0)
    assert Reach().until() == 0.0


def test_a_voice_that_stops_puts_its_caller_out_of_reach() -> None:
    reach = voiced(2.0)
    assert not reach.doubted(2.4)
    assert reach.doubted(2.6)
    assert reach.until() == 2.0
    reach.sign(2.7)
    assert not reach.doubted(2.8)


def test_who_only_listens_is_heard_of_seldom_and_believed_for_longer() -> None:
    reach = Reach()
    reach.connected(0.0)
    reach.answered(2.0, 2.1)
    reach.answered(4.1, 4.2)
    assert not reach.doubted(6.5)
    assert reach.doubted(4.2 + LONGEST_PATIENCE + 0.1)
    assert reach.until() == pytest.approx(4.2)


def test_where_only_our_direction_is_dead_the_last_proof_counts() -> None:
    reach = voiced(2.0)
    reach.answered(2.0, 2.02)
    for number in range(102, 500):
        now = number / 50
        reach.sign(now)
        if now in (4.5, 5.1, 5.7):
            reach.unanswered(now - 0.5)
    assert not reach.doubted(2.0 + PROOF_PATIENCE)
    assert reach.doubted(2.0 + PROOF_PATIENCE + 0.1)
    assert reach.until() == 2.0, "the check at 4.0 was lost while the caller was heard"


def test_a_report_proves_as_much_as_a_check() -> None:
    reach = voiced(4.0)
    reach.unanswered(3.0)
    reach.reported(3.9, 4.0)
    assert not reach.doubted(4.4)
    assert reach.until() == 4.0, "one check was lost, as packets are"


def test_a_dead_network_is_dead_since_the_last_sign_of_life() -> None:
    reach = voiced(3.9)
    reach.answered(3.8, 3.9)
    for sent in (5.0, 5.6, 6.2):
        reach.unanswered(sent)
    assert reach.doubted(7.0)
    assert reach.until() == pytest.approx(3.9)


@given(
    st.lists(
        st.tuples(
            st.floats(0, 3), st.sampled_from(("sign", "answered", "unanswered")), st.floats(0, 1)
        ),
        max_size=60,
    )
)
def test_nothing_counts_that_no_evidence_speaks_for(
    steps: list[tuple[float, str, float]],
) -> None:
    reach, now, last = Reach(), 0.0, 0.0
    reach.connected(0.0)
    for pause, kind, ago in steps:
        now += pause
        sent = max(0.0, now - ago)
        if kind == "sign":
            reach.sign(now)
        elif kind == "answered":
            reach.answered(sent, now)
        else:
            reach.unanswered(sent)
        last = now if kind != "unanswered" else last
        assert 0.0 <= reach.until() <= last
    assert reach.doubted(last + LONGEST_PATIENCE + 0.01)
