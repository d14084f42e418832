"""Order, exact time, bounded delay and memory; whatever the network does."""

import random
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.jitter import (
    BRIDGE_AFTER,
    DRY_AFTER,
    MARGIN,
    MAX_BRIDGES,
    MAX_GAP_PACKETS,
    MAX_HELD,
    MAX_SPREAD,
    MAX_SURPLUS,
    WINDOW_PACKETS,
    ArrivalDelays,
    Bridge,
    Frame,
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

    def arrive(self, number: int, timestamp_shift: int = 0, after: float = STEP):
        self.now += after
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
    """Numbers of packets, "lost" or "bridge" for concealed time, ("quiet", ticks) for silence."""
    names: list[object] = []
    for frame in frames:
        match frame:
            case Received():
                names.append(int(frame.payload))
            case Lost():
                names.append("lost")
            case Bridge():
                names.append("bridge")
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
    frames = network.arrive(2, after=2 * STEP)
    assert shape(frames) == ["lost", 2]
    assert frames[0] == Lost(FRAME, b"2")
    assert shape(network.arrive(3)) == [3]


def test_only_the_last_of_a_burst_can_be_recovered():
    network = Network()
    network.arrive(0)
    frames = network.arrive(4, after=4 * STEP)
    assert shape(frames) == ["lost", "lost", "lost", 4]
    assert [frame.following for frame in frames[:3]] == [None, None, b"4"]
    assert sum(frame.ticks for frame in frames) == 4 * FRAME


def test_duplicates_and_latecomers_are_dropped():
    network = Network()
    network.arrive(0)
    assert shape(network.arrive(0, after=0)) == []
    network.arrive(2, after=2 * STEP)
    assert shape(network.arrive(2, after=0)) == []
    assert shape(network.arrive(1, after=0)) == []
    assert network.buffer.late == 3


def test_a_late_packet_is_bridged_a_few_times_and_then_released_whole():
    network = Network()
    network.arrive(0)
    assert shape(network.wait(BRIDGE_AFTER - 0.001)) == []
    assert shape(network.wait(0.001)) == ["bridge"]
    for _ in range(MAX_BRIDGES - 1):
        assert shape(network.wait(BRIDGE_AFTER)) == ["bridge"]
    assert shape(network.wait(DRY_AFTER - MAX_BRIDGES * BRIDGE_AFTER)) == [
        ("quiet", (10 - MAX_BRIDGES) * FRAME)
    ]
    assert shape(network.arrive(1, after=0)) == [1]
    assert network.buffer.surplus == 10 * FRAME
    network.buffer.repay(4 * FRAME)
    assert shape(network.arrive(2, timestamp_shift=8 * FRAME)) == [("quiet", 2 * FRAME), 2]
    assert network.buffer.surplus == 0


def test_a_bridge_takes_the_place_of_a_lost_packet():
    network = Network()
    network.arrive(0)
    assert shape(network.wait(BRIDGE_AFTER)) == ["bridge"]
    frames = network.arrive(3, after=3 * STEP - BRIDGE_AFTER)
    assert shape(frames) == ["lost", 3]
    assert frames[0] == Lost(FRAME, b"3")
    assert (network.buffer.lost, network.buffer.surplus) == (2, 0)


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
    assert shape(network.wait(DRY_AFTER + 0.001)) == [("quiet", 10 * FRAME)]
    assert shape(network.wait(0.02)) == [("quiet", FRAME)]
    # What was not sent is there already.
    assert shape(network.arrive(1, timestamp_shift=12 * FRAME)) == [("quiet", FRAME), 1]
    assert network.buffer.surplus == 0


def test_a_sender_that_paused_owes_no_pauses():
    network = Network()
    network.arrive(0)
    for _ in range(round(MAX_SURPLUS / DRY_AFTER) + 1):
        network.wait(DRY_AFTER)
    assert shape(network.arrive(1)) == [1]
    assert network.buffer.surplus == 0


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
    network.arrive(3, timestamp_shift=-500_000)
    frames = network.wait(MAX_SPREAD)
    assert shape(frames) == ["lost", "lost", 3]
    assert [frame.ticks for frame in frames[:2]] == [FRAME, FRAME]


def test_an_overtaken_packet_is_waited_for_until_none_was_for_a_while():
    late = {10: 0.03, 30: 0.028}
    lost = {50, 60 + WINDOW_PACKETS}
    buffer, out = played(
        [(n * STEP + late.get(n, 0), n) for n in range(70 + WINDOW_PACKETS) if n not in lost]
    )
    given_up = [(at, frame) for at, frame in out if isinstance(frame, Lost)]
    assert [frame.following for _, frame in given_up] == [b"11", b"51", b"561"]
    assert [at for at, _ in given_up] == pytest.approx(
        [11 * STEP, 50 * STEP + 0.03 + MARGIN, 561 * STEP]
    )
    assert buffer.late == 1


def test_the_spread_covers_what_nearly_all_packets_need_and_forgets():
    delays, dice = ArrivalDelays(), random.Random(1)
    for _ in range(WINDOW_PACKETS):
        delays.add(7 + dice.uniform(0, 0.03))
    assert delays.spread == pytest.approx(0.0285, abs=0.001)
    for _ in range(10):
        delays.add(7.2)
    assert delays.spread < 0.03
    for _ in range(WINDOW_PACKETS):
        delays.add(7.01)
    assert (delays.spread, delays.base) == (0, 7.01)
    delays.add(12.0)
    assert (delays.spread, delays.base) == (0, 12.0)


Timed = list[tuple[float, Frame]]


def played(arrivals: list[tuple[float, int]]) -> tuple[JitterBuffer, Timed]:
    """What a buffer releases, and when, of packets given as (second, number) and polled exactly
    when it wants to be."""
    buffer, out = JitterBuffer(), Timed()
    for at, number in sorted(arrivals):
        due = buffer.deadline()
        while due is not None and due < at:
            out += [(due, frame) for frame in buffer.poll(due)]
            due = buffer.deadline()
        payload = str(number).encode()
        frames = buffer.push(number % 65_536, number * FRAME % 2**32, payload, FRAME, at)
        out += [(at, frame) for frame in frames]
        assert len(buffer._held) <= MAX_HELD
    return buffer, out


def lossy(count: int, loss: float, jitter: float, seed: int) -> Iterator[tuple[float, int]]:
    """Packets that arrive, with single losses only."""
    dice, was_lost = random.Random(seed), True
    for number in range(count):
        was_lost = not was_lost and dice.random() < loss
        if not was_lost:
            yield number * STEP + dice.uniform(0, jitter), number


@settings(max_examples=examples(40), deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 0.05), st.floats(0, 0.03))
def test_loss_and_30_ms_of_jitter_leave_no_gap_over_60_ms(seed, loss, jitter):
    arrivals = list(lossy(600, loss, jitter, seed))
    _, out = played(arrivals)
    times = [at for at, _ in out]
    assert max(b - a for a, b in pairwise(times)) < 0.06
    came = {number: at for at, number in arrivals}
    added = sorted(
        at - came[int(frame.payload)] for at, frame in out if isinstance(frame, Received)
    )
    assert added[len(added) // 2] < 0.01


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.tuples(st.floats(0, 0.4), st.booleans()), min_size=2, max_size=120))
def test_no_packet_waits_beyond_the_bound_and_time_stays_exact(network):
    """Any delays up to 400 ms, any losses."""
    arrivals = [(n * STEP + delay, n) for n, (delay, lost) in enumerate(network) if not lost]
    if not arrivals:
        return
    buffer, out = played(arrivals)
    came = {number: at for at, number in arrivals}
    numbers = [int(frame.payload) for _, frame in out if isinstance(frame, Received)]
    assert numbers == sorted(set(numbers))
    for at, frame in out:
        if isinstance(frame, Received):
            assert at - came[int(frame.payload)] <= MAX_SPREAD + 1e-6
    if numbers:
        last = max(n for n, (_, frame) in enumerate(out) if isinstance(frame, Received))
        released = sum(frame.ticks for _, frame in out[: last + 1])
        length = (numbers[-1] - numbers[0] + 1) * FRAME
        assert released == length + buffer.surplus


@settings(max_examples=examples(20), deadline=None)
@given(st.integers(0, 10_000), st.floats(0.005, 0.15))
def test_the_delay_is_back_at_zero_when_the_jitter_is_over(seed, jitter):
    rough = list(lossy(300, 0.05, jitter, seed))
    calm = [(n * STEP, n) for n in range(310, 311 + 2 * WINDOW_PACKETS)]
    _, out = played(rough + calm)
    end = 310 + WINDOW_PACKETS
    for at, frame in out:
        if isinstance(frame, Received) and int(frame.payload) > end:
            assert at == int(frame.payload) * STEP
    assert shape([frame for _, frame in out])[-WINDOW_PACKETS:] == list(
        range(311 + WINDOW_PACKETS, 311 + 2 * WINDOW_PACKETS)
    )


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
            frames += network.wait(MAX_SPREAD + 0.001)
        assert len(network.buffer._held) <= MAX_HELD
        assert len(frames) <= MAX_GAP_PACKETS + MAX_HELD + 1
        out += frames
    out += network.wait(1)
    numbers = [name for name in shape(out) if isinstance(name, int)]
    assert numbers == sorted(set(numbers))
    filled = any(isinstance(frame, Quiet | Bridge) for frame in out)
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
        frames = network.arrive(number, after=0)
        ticks += sum(frame.ticks for frame in frames)
        delay = (number + 1) * FRAME - ticks
        assert delay == 0  # back at the base delay with the first packet that arrives
    assert ticks == 300 * FRAME
    assert network.buffer.lost == len(lost)
