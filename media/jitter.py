"""Audio jitter buffer for a listener that is a machine: order, few gaps, hardly any delay.

The listener is speech recognition, so arrival is not smoothed: a packet that continues the stream
is released by the push that brings it. What it does wait for is learnt from how late the packets of
the last seconds came (``ArrivalDelays``): each has an expected time (that of the fastest) and a
``spread`` within which nearly all arrive.

- A missing packet is given up, and becomes one ``Lost``, once it is later than the spread and later
  than any packet that was overtaken lately. On a steady network that is at once.
- While packets are being lost, early packets are held until ``_smoothing`` after their expected
  time, so that the packet after a lost one comes less than ``BRIDGE_AFTER`` after the one before.
- When nothing was released for ``BRIDGE_AFTER`` and the next packet is overdue, ``poll`` emits a
  short ``Bridge``, at most ``MAX_BRIDGES`` times, and from ``DRY_AFTER`` on ``Quiet`` by the clock
  (DTX, a frozen network, a sender that stopped): the stream's samples keep counting time.
- What the clock filled takes the place of packets that are lost. Packets that were only late are
  released whole; ``surplus`` says how much too long the stream has become, and the listener calls
  ``repay`` for the pauses that it shortens.

Invariants
- Packets are released in sequence order, none twice, none from before a reset.
- Every missing sequence number is counted in ``lost`` once; ``Lost``, ``Bridge`` and ``Quiet``
  together last as long as what is missing, plus ``surplus``.
- A packet that is polled for leaves within ``MAX_SPREAD`` of its arrival. At most ``MAX_HELD`` are
  held; a push releases at most ``MAX_GAP_PACKETS`` + ``MAX_HELD`` + 1 packets and losses.
- The clock is an argument; times in seconds, durations in RTP timestamp ticks.
"""

from bisect import bisect_left, insort
from collections import deque
from dataclasses import dataclass

WINDOW_PACKETS = 500
"""Packets from which the delays are learnt: 10 s of 20 ms."""
QUANTILE = 0.95
"""Of the delays, that the spread covers: two freezes of 200 ms (10 packets each) leave it as it
was."""
MAX_SPREAD = 0.1
"""Seconds that a missing packet is waited for at most."""
MARGIN = 0.002
"""Seconds beyond the spread, for what it does not cover and for late timers."""
MAX_SMOOTHING = 0.04
BRIDGE_AFTER = 0.055
"""Seconds without a release after which the clock fills in: timers may be 5 ms late before the gap
is 60 ms long."""
BRIDGE = 0.02
MAX_BRIDGES = 3
"""In a row; concealment has faded by then."""
MAX_HELD = 16
MAX_GAP_PACKETS = 100
"""A larger jump of the sequence number, either way, is a new stream."""
DRY_AFTER = 0.2
"""Seconds without a packet after which silence is let out by the clock."""
QUIET_STEP = 0.02
MAX_QUIET = 1.0
"""Seconds of silence that one call may let out."""
MAX_SURPLUS = 1.0
"""Seconds; a stream that is further behind was paused by its sender."""
MAX_JUMP = 1.0
"""Seconds by which a packet's delay may differ from the others before they are forgotten."""

MAX_PACKET_SECONDS = 0.12
_SMOOTHED_PACKET = 0.02
_TINY = 1e-6
"""Seconds below the resolution of any timer: what is due then is due now."""

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
    the last of its hole and that packet is here: its redundancy may hold what was lost."""

    ticks: int
    following: bytes | None


@dataclass(frozen=True, slots=True)
class Bridge:
    """Time to conceal although it is not known yet whether the next packet is lost or late."""

    ticks: int


@dataclass(frozen=True, slots=True)
class Quiet:
    """Time in which nothing was sent."""

    ticks: int


Frame = Received | Lost | Bridge | Quiet


class ArrivalDelays:
    """How late packets arrive, from the last ``WINDOW_PACKETS``. Offsets are arrival time minus
    stream time, in seconds."""

    def __init__(self) -> None:
        self._recent: deque[float] = deque()
        self._sorted: list[float] = []

    def add(self, offset: float) -> None:
        """Note one packet. An offset ``MAX_JUMP`` away from the others starts anew."""
        if self._sorted and abs(offset - self._recent[-1]) > MAX_JUMP:
            self._recent.clear()
            self._sorted.clear()
        if len(self._recent) == WINDOW_PACKETS:
            del self._sorted[bisect_left(self._sorted, self._recent.popleft())]
        self._recent.append(offset)
        insort(self._sorted, offset)

    @property
    def base(self) -> float:
        """The offset of the fastest packet."""
        return self._sorted[0] if self._sorted else 0.0

    @property
    def spread(self) -> float:
        """Seconds after the fastest within which nearly all packets arrive."""
        if not self._sorted:
            return 0.0
        beyond = int(len(self._sorted) * (1 - QUANTILE))
        return min(self._sorted[-1 - beyond] - self._sorted[0], MAX_SPREAD)


class JitterBuffer:
    """Puts the packets of one stream (one SSRC) in order; see the module's rules."""

    def __init__(self, clock_rate: int = 48_000) -> None:
        self._rate = clock_rate
        self._delays = ArrivalDelays()
        self._held: dict[int, tuple[Received, float]] = {}
        self._next_sequence: int | None = None
        self._next_position = 0
        """Ticks since the beginning, without wrapping: where the next packet belongs."""
        self._origin = 0
        self._packet_ticks = 0
        self._given_up: deque[int] = deque(maxlen=MAX_GAP_PACKETS)
        self._since_loss = WINDOW_PACKETS
        self._since_overtaking = 0
        self._overtaken_by = 0.0
        self._accounted = 0.0
        self._released = 0.0
        self._filled = 0
        self._bridged = 0
        self._is_dry = False
        self.surplus = 0
        """Ticks by which more was released than the stream lasts."""
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
            self._note_late(packet, now)
            return []
        self._learn(packet, now, overtaken=ahead == 0 and bool(self._held))
        self._held[sequence] = packet, now
        self._accounted = now
        self.received += 1
        return self._let_out(now)

    def poll(self, now: float) -> list[Frame]:
        """What the clock alone lets out: what was waited for long enough, or filled time."""
        due = self.deadline()
        if due is None or now + _TINY < due:
            return []
        if self._held:
            return self._let_out(now)
        if now + _TINY >= self._quiet_due():
            return self._quiet(now)
        return self._bridge(now)

    def deadline(self) -> float | None:
        """When ``poll`` will have something to let out if nothing arrives before."""
        if self._next_sequence is None:
            return None
        if self._held:
            return self._due(self._next_sequence)
        if self._bridged < MAX_BRIDGES and not self._is_dry:
            return min(self._quiet_due(), self._bridge_due())
        return self._quiet_due()

    def repay(self, ticks: int) -> None:
        """Note that the listener left out so many ticks of a pause."""
        self.surplus = max(0, self.surplus - ticks)

    # ------------------------------------------------------------------ when

    @property
    def _smoothing(self) -> float:
        """Seconds after its expected time that a packet leaves at the earliest: with it, the
        packet after a lost one is less than ``BRIDGE_AFTER`` behind the one before."""
        duration = self._packet_ticks / self._rate
        if self._since_loss >= WINDOW_PACKETS or duration > _SMOOTHED_PACKET:
            return 0.0
        needed = self._delays.spread + 2 * duration - BRIDGE_AFTER + MARGIN / 2
        return min(max(0.0, needed), MAX_SMOOTHING)

    def _expected(self) -> float:
        """When the next packet would arrive if it were as fast as the fastest."""
        return self._delays.base + self._next_position / self._rate

    def _due(self, sequence: int) -> float:
        """When the next packet goes out, or is given up, while packets are held."""
        if sequence in self._held:
            at = self._held[sequence][1]
            return min(self._expected() + self._smoothing, at + MAX_SMOOTHING)
        oldest = min(at for _, at in self._held.values())
        patience = max(self._delays.spread, self._overtaken_by) + MARGIN
        return min(self._expected() + patience, oldest + MAX_SPREAD)

    def _bridge_due(self) -> float:
        overdue = self._expected() + self._delays.spread + MARGIN
        return max(overdue, self._released + BRIDGE_AFTER)

    def _quiet_due(self) -> float:
        return self._accounted + (QUIET_STEP if self._is_dry else DRY_AFTER)

    # ------------------------------------------------------------------ what

    def _begin(self, packet: Received) -> None:
        self._held.clear()
        self._given_up.clear()
        self._next_sequence = packet.sequence
        self._origin = packet.timestamp
        self._next_position = 0
        self._delays = ArrivalDelays()
        self._filled, self._bridged, self._is_dry = 0, 0, False
        self._overtaken_by = 0.0

    def _learn(self, packet: Received, now: float, *, overtaken: bool) -> None:
        """Note how late the packet is, for the next ``WINDOW_PACKETS``."""
        offset = now - self._position(packet) / self._rate
        self._delays.add(offset)
        self._packet_ticks = packet.ticks
        self._since_loss += 1
        self._since_overtaking += 1
        if overtaken:
            self._since_overtaking = 0
            self._overtaken_by = max(self._overtaken_by, offset - self._delays.base)
        elif self._since_overtaking >= WINDOW_PACKETS:
            self._overtaken_by = 0.0

    def _position(self, packet: Received) -> int:
        """Where the packet belongs, in ticks without wrapping."""
        expected = (self._origin + self._next_position) % _TIMESTAMPS
        return self._next_position + _distance(packet.timestamp, expected, _TIMESTAMPS)

    def _note_late(self, packet: Received, now: float) -> None:
        self.late += 1
        if packet.sequence in self._given_up:
            self._given_up.remove(packet.sequence)
            self._learn(packet, now, overtaken=True)

    def _let_out(self, now: float) -> list[Frame]:
        frames: list[Frame] = []
        while self._held:
            expected = self._next_sequence or 0
            if len(self._held) <= MAX_HELD and now + _TINY < self._due(expected):
                break
            if expected in self._held:
                frames += self._take(self._held.pop(expected)[0])
            else:
                frames += self._give_up(expected)
            self._next_sequence = (expected + 1) % _SEQUENCES
        if frames:
            self._released = now
        return frames

    def _take(self, packet: Received) -> list[Frame]:
        """A packet, after what stands for the time since the one before."""
        gap = self._position(packet) - self._next_position
        too_much = self._filled + self.surplus
        self._filled, self._bridged, self._is_dry = 0, 0, False
        self._next_position += gap + packet.ticks
        if gap > MAX_QUIET * self._rate + too_much:
            return [packet]
        silent = max(0, gap) - too_much
        self.surplus = max(0, -silent)
        if self.surplus > MAX_SURPLUS * self._rate:
            self.surplus = 0
        return [Quiet(silent), packet] if silent > 0 else [packet]

    def _give_up(self, sequence: int) -> list[Frame]:
        """What stands for a missing packet, less what the clock has filled already."""
        ahead, nearest = min(
            (_distance(number, sequence, _SEQUENCES), packet)
            for number, (packet, _) in self._held.items()
        )
        self.lost += 1
        self._since_loss = 0
        self._given_up.append(sequence)
        share = (self._position(nearest) - self._next_position) // ahead
        if not 0 < share <= MAX_PACKET_SECONDS * self._rate:
            share = nearest.ticks
        self._next_position += share
        filled = min(self._filled, share)
        self._filled -= filled
        if filled == share:
            return []
        return [Lost(share - filled, nearest.payload if ahead == 1 else None)]

    def _bridge(self, now: float) -> list[Frame]:
        self._bridged += 1
        self._released = now
        ticks = round(BRIDGE * self._rate)
        self._filled += ticks
        return [Bridge(ticks)]

    def _quiet(self, now: float) -> list[Frame]:
        steps = max(1, int((now - self._accounted) / QUIET_STEP + _TINY))
        self._accounted += steps * QUIET_STEP
        ticks = round(min(steps * QUIET_STEP, MAX_QUIET) * self._rate)
        if not self._is_dry:
            ticks -= self._filled
        self._is_dry = True
        self._filled += ticks
        self._released = now
        return [Quiet(ticks)]


def _distance(later: int, earlier: int, modulus: int) -> int:
    """Signed distance on a circle of ``modulus`` numbers."""
    ahead = (later - earlier) % modulus
    return ahead - modulus if ahead >= modulus // 2 else ahead
