"""Audio jitter buffer for a listener that is a machine: order without delay.

The listener is speech recognition, so nothing is held back to smooth the arrival: a packet that
continues the stream is released by the push that brings it. Only a hole makes later packets wait,
until ``hold`` of them have arrived (1 to 3: more after the network has reordered packets, fewer
again after a while in order) or until ``HOLE_PATIENCE`` has passed. Then the hole becomes one
``Lost`` per missing packet. The base delay is therefore zero, and zero again as soon as a hole is
closed.

If nothing arrives at all (DTX, a frozen network, a sender that stopped), ``poll`` emits ``Quiet``
by the clock, so that the stream's samples keep counting time.

Invariants
- Packets are released in sequence order, none twice, none from before a reset.
- Every missing sequence number becomes exactly one ``Lost`` (unless ``Quiet`` filled its time).
- At most ``MAX_HOLD`` packets are held; a push releases at most ``MAX_GAP_PACKETS`` + 3 frames.
- The clock is an argument; times in seconds, durations in RTP timestamp ticks.
"""

from collections import deque
from dataclasses import dataclass

MIN_HOLD = 1
MAX_HOLD = 3
"""Packets that may wait after a hole."""
HOLE_PATIENCE = 0.06
"""Seconds that a hole may keep packets waiting."""
CALM_PACKETS = 250
"""Packets in order after which ``hold`` decreases by one."""
MAX_GAP_PACKETS = 100
"""A larger jump of the sequence number, either way, is a new stream."""
DRY_AFTER = 0.2
"""Seconds without a packet after which silence is let out by the clock."""
QUIET_STEP = 0.02
MAX_QUIET = 1.0
"""Seconds of silence that one call may let out."""

MAX_PACKET_SECONDS = 0.12

_SEQUENCES = 1 << 16
_TIMESTAMPS = 1 << 32


@dataclass(frozen=True, slots=True)
class Received:
    """A packet in its place."""

    payload: bytes
    sequence: int
    timestamp: int
    ticks: int


@dataclass(frozen=True, slots=True)
class Lost:
    """A packet that never came (or too late). ``following`` is the packet after it, if it is
    the last of its hole: its redundancy may hold what was lost."""

    ticks: int
    following: bytes | None


@dataclass(frozen=True, slots=True)
class Quiet:
    """Time in which nothing was sent."""

    ticks: int


Frame = Received | Lost | Quiet


class JitterBuffer:
    """Puts the packets of one stream (one SSRC) in order; see the module's rules."""

    def __init__(self, clock_rate: int = 48_000) -> None:
        self._rate = clock_rate
        self._held: dict[int, Received] = {}
        self._held_since = 0.0
        self._next_sequence: int | None = None
        self._next_timestamp = 0
        self._given_up: deque[int] = deque(maxlen=MAX_GAP_PACKETS)
        self._accounted = 0.0
        self._filled = 0
        self._calm = 0
        self.hold = MIN_HOLD
        """How many packets a hole makes wait at present."""
        self.received = 0
        self.lost = 0
        self.late = 0
        """Packets dropped: older than what has been let out, or there already."""
        self.resets = 0

    def push(
        self, sequence: int, timestamp: int, payload: bytes, ticks: int, now: float
    ) -> list[Frame]:
        """Take a packet (16-bit ``sequence``, 32-bit ``timestamp``, ``ticks`` long) and return
        what may go out now."""
        packet = Received(payload, sequence, timestamp, ticks)
        if self._next_sequence is None:
            self._begin(packet)
        ahead = _distance(sequence, self._next_sequence or 0, _SEQUENCES)
        if abs(ahead) > MAX_GAP_PACKETS:
            self.resets += 1
            self._begin(packet)
        elif ahead < 0 or sequence in self._held:
            self._note_late(sequence, -ahead)
            return []
        self._note_order(overtaken=ahead == 0 and bool(self._held))
        if not self._held:
            self._held_since = now
        self._held[sequence] = packet
        self._accounted = now
        self.received += 1
        frames = self._let_out(self.hold)
        self._held_since = now if frames else self._held_since
        return frames

    def poll(self, now: float) -> list[Frame]:
        """What the clock alone lets out: a hole waited for long enough, or silence."""
        due = self.deadline()
        if due is None or now < due:
            return []
        if self._held:
            return self._let_out(MIN_HOLD)
        steps = max(1, int((now - self._accounted) / QUIET_STEP + 1e-6))
        self._accounted += steps * QUIET_STEP
        ticks = round(min(steps * QUIET_STEP, MAX_QUIET) * self._rate)
        self._filled += ticks
        return [Quiet(ticks)]

    def deadline(self) -> float | None:
        """When ``poll`` will have something to let out if nothing arrives before."""
        if self._next_sequence is None:
            return None
        if self._held:
            return self._held_since + HOLE_PATIENCE
        return self._accounted + (QUIET_STEP if self._filled else DRY_AFTER)

    def _begin(self, packet: Received) -> None:
        self._held.clear()
        self._given_up.clear()
        self._next_sequence = packet.sequence
        self._next_timestamp = packet.timestamp
        self._filled = 0

    def _note_late(self, sequence: int, behind: int) -> None:
        """A packet that was given up had only been overtaken: wait for more from now on."""
        self.late += 1
        if sequence in self._given_up:
            self._given_up.remove(sequence)
            self._calm = 0
            self.hold = max(self.hold, min(behind, MAX_HOLD))

    def _note_order(self, *, overtaken: bool) -> None:
        self._calm = 0 if overtaken else self._calm + 1
        if self._calm >= CALM_PACKETS:
            self._calm = 0
            self.hold = max(MIN_HOLD, self.hold - 1)

    def _let_out(self, hold: int) -> list[Frame]:
        frames: list[Frame] = []
        while self._held:
            expected = self._next_sequence or 0
            packet = self._held.pop(expected, None)
            missing = 0
            if packet is None:
                if len(self._held) < hold:
                    break
                ahead = {_distance(s, expected, _SEQUENCES): s for s in self._held}
                missing = min(ahead)
                packet = self._held.pop(ahead[missing])
                self._give_up(expected, missing)
            frames += self._before(packet, missing)
            frames.append(packet)
            self._next_sequence = (packet.sequence + 1) % _SEQUENCES
            self._next_timestamp = (packet.timestamp + packet.ticks) % _TIMESTAMPS
        return frames

    def _give_up(self, first: int, count: int) -> None:
        self.lost += count
        self._given_up.extend((first + i) % _SEQUENCES for i in range(count))

    def _before(self, packet: Received, missing: int) -> list[Frame]:
        """What stands for the time between the last packet let out and ``packet``."""
        gap = _distance(packet.timestamp, self._next_timestamp, _TIMESTAMPS)
        filled, self._filled = self._filled, 0
        if filled:
            missing, gap = 0, gap - filled
        if missing == 0:
            return [Quiet(gap)] if 0 < gap <= MAX_QUIET * self._rate else []
        share = gap // missing
        if not 0 < share <= MAX_PACKET_SECONDS * self._rate:
            share, gap = packet.ticks, packet.ticks * missing
        frames: list[Frame] = [Lost(share, None) for _ in range(missing - 1)]
        frames.append(Lost(gap - share * (missing - 1), packet.payload))
        return frames


def _distance(later: int, earlier: int, modulus: int) -> int:
    """Signed distance on a circle of ``modulus`` numbers."""
    ahead = (later - earlier) % modulus
    return ahead - modulus if ahead >= modulus // 2 else ahead
