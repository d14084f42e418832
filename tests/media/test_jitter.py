"""Order, exact time, bounded memory; whatever the network does."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.jitter import (
    CALM_PACKETS,
    DRY_AFTER,
    HOLE_PATIENCE,
    MAX_GAP_PACKETS,
    MAX_HOLD,
    JitterBuffer,
    Lost,
    Quiet,
    Received,
)
from tests.support.examples import examples

FRAME = 960
STEP = 0.02


class Network:
    """Packets of one stream by their number; wraps both counters soon."""

    def __init__(self, first_sequence: int = 65_500, first_timestamp: int = 2**32 - 30_000):
        self.buffer = JitterBuffer()
        self.first_sequence, self.first_timestamp = first_sequence, first_timestamp
        self.now = 100.0

    def arrive(self, number: int, timestamp_shift: int = 0):
        self.now += STEP
        return self.buffer.push(
            (self.first_sequence + number) % 65_536,
            (self.first_timestamp + number * FRAME + timestamp_shift) % 2**32,
            str(number).encode(),
            FRAME,
            self.now,
        )

    def wait(self, seconds: float):
        self.now += seconds
        return self.buffer.poll(self.now)


def shape(frames) -> list[object]:
    """Numbers of packets, "lost" for a concealed one, ("quiet", ticks) for silence."""
    names: list[object] = []
    for frame in frames:
        match frame:
            case Received():
                names.append(int(frame.payload))
            case Lost():
                names.append("lost")
            case Quiet():
                names.append(("quiet", frame.ticks))
    return names


def test_packets_in_order_leave_at_once_across_both_wraps():
    network = Network()
    for number in range(100):
        assert shape(network.arrive(number)) == [number]
    assert network.buffer.lost == 0


def test_a_lost_packet_costs_no_delay_at_first():
    network = Network()
    network.arrive(0)
    frames = network.arrive(2)
    assert shape(frames) == ["lost", 2]
    assert frames[0] == Lost(FRAME, b"2")
    assert shape(network.arrive(3)) == [3]


def test_only_the_last_of_a_burst_can_be_recovered():
    network = Network()
    network.arrive(0)
    frames = network.arrive(4)
    assert shape(frames) == ["lost", "lost", "lost", 4]
    assert [frame.following for frame in frames[:3]] == [None, None, b"4"]
    assert sum(frame.ticks for frame in frames) == 4 * FRAME


def test_the_delay_grows_with_reordering_and_shrinks_in_calm():
    network = Network()
    network.arrive(0)
    assert shape(network.arrive(2)) == ["lost", 2]
    assert shape(network.arrive(1)) == []
    assert network.buffer.hold == 2
    network.arrive(3)
    assert shape(network.arrive(5)) == []
    assert shape(network.arrive(4)) == [4, 5]
    for number in range(6, 6 + CALM_PACKETS):
        assert shape(network.arrive(number)) == [number]
    assert network.buffer.hold == 1


def test_a_hole_is_given_up_after_the_maximum_wait():
    network = Network()
    network.buffer.hold = MAX_HOLD
    network.arrive(0)
    assert shape(network.arrive(2)) == []
    assert network.buffer.deadline() == pytest.approx(network.now + HOLE_PATIENCE)
    assert shape(network.wait(HOLE_PATIENCE - 0.001)) == []
    assert shape(network.wait(0.002)) == ["lost", 2]
    assert shape(network.arrive(3)) == [3]


def test_duplicates_and_latecomers_are_dropped():
    network = Network()
    network.buffer.hold = MAX_HOLD
    network.arrive(0)
    assert shape(network.arrive(0)) == []
    network.arrive(2)
    assert shape(network.arrive(2)) == []
    assert shape(network.arrive(1)) == [1, 2]
    assert network.buffer.late == 2


def test_a_big_jump_is_a_new_stream():
    network = Network()
    network.arrive(0)
    jump = network.buffer.push(
        network.first_sequence - 5 * MAX_GAP_PACKETS, 7, b"9", FRAME, network.now
    )
    assert shape(jump) == [9]
    assert network.buffer.resets == 1
    assert network.buffer.lost == 0


def test_gaps_in_sending_become_silence():
    network = Network()
    network.arrive(0)
    assert shape(network.arrive(1, timestamp_shift=480)) == [("quiet", 480), 1]


def test_without_packets_the_clock_emits_silence():
    network = Network()
    network.arrive(0)
    assert shape(network.wait(DRY_AFTER - 0.01)) == []
    assert shape(network.wait(0.011)) == [("quiet", 10 * FRAME)]
    assert shape(network.wait(0.02)) == [("quiet", FRAME)]
    # What was only delayed comes out whole; what was not sent is there already.
    assert shape(network.arrive(1)) == [1]
    network.wait(DRY_AFTER + 0.001)
    assert shape(network.arrive(2, timestamp_shift=12 * FRAME)) == [("quiet", 2 * FRAME), 2]


def test_silence_after_a_stall_of_the_server_is_bounded():
    network = Network()
    network.arrive(0)
    assert shape(network.wait(3_600)) == [("quiet", 48_000)]
    assert network.buffer.deadline() == pytest.approx(network.now + 0.02, abs=0.021)


def test_nothing_is_due_before_the_first_packet():
    buffer = JitterBuffer()
    assert buffer.deadline() is None
    assert buffer.poll(1e9) == []


def test_a_nonsense_clock_in_the_timestamps_still_conceals_once_per_packet():
    network = Network()
    network.arrive(0)
    frames = network.arrive(3, timestamp_shift=-500_000)
    assert shape(frames) == ["lost", "lost", 3]
    assert [frame.ticks for frame in frames[:2]] == [FRAME, FRAME]


arrivals = st.lists(st.integers(-6, 12), min_size=1, max_size=150)


@settings(max_examples=examples(200), deadline=None)
@given(arrivals, st.integers(0, 65_535), st.lists(st.booleans(), max_size=150))
def test_whatever_the_network_does(jumps, first, waits):
    """Numbers wander by ``jumps`` (repeats, reordering, bursts); the clock may pass between."""
    network = Network(first_sequence=first)
    out, at = [], 0
    for n, jump in enumerate(jumps):
        at = max(0, at + jump)
        frames = network.arrive(at)
        if n < len(waits) and waits[n]:
            frames += network.wait(HOLE_PATIENCE + 0.001)
        assert len(network.buffer._held) < MAX_HOLD
        assert len(frames) <= MAX_GAP_PACKETS + MAX_HOLD
        out += frames
    out += network.wait(1)
    numbers = [name for name in shape(out) if isinstance(name, int)]
    assert numbers == sorted(set(numbers))
    filled = any(isinstance(frame, Quiet) for frame in out)
    if network.buffer.resets == 0 and not filled:
        concealed = shape(out).count("lost")
        assert concealed == network.buffer.lost
        assert concealed == numbers[-1] - numbers[0] + 1 - len(numbers)
    assert network.buffer.received >= len(numbers)


@settings(max_examples=examples(100), deadline=None)
@given(st.sets(st.integers(1, 298), max_size=120))
def test_the_count_of_samples_is_exact_under_loss(lost):
    network = Network()
    ticks = 0
    delay = 0
    for number in range(300):
        network.now += STEP
        if number in lost:
            continue
        network.now -= STEP
        frames = network.arrive(number)
        ticks += sum(frame.ticks for frame in frames)
        delay = (number + 1) * FRAME - ticks
        assert delay == 0  # back at the base delay with the first packet that arrives
    assert ticks == 300 * FRAME
    assert network.buffer.lost == len(lost)
