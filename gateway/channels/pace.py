"""How fast a peer's control messages are taken: a burst at once, then a steady rate.

A token bucket with time as an argument. Whoever is over the rate is read later, not refused: TCP
holds the peer back.
"""


class Pace:
    """``burst`` messages at once, ``rate`` a second in the long run."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._credit = float(burst)
        self._counted = 0.0

    def delay(self, now: float) -> float:
        """Count one message at ``now`` (s); how long to wait before the next (s), often 0."""
        refilled = self._credit + max(0.0, now - self._counted) * self._rate
        self._credit = min(self._burst, refilled) - 1
        self._counted = now
        return max(0.0, -self._credit / self._rate)

    def left(self, now: float) -> tuple[int, int, float]:
        """Of how many messages at once how many are left at ``now`` (s), and the seconds until
        all are."""
        credit = min(self._burst, self._credit + max(0.0, now - self._counted) * self._rate)
        return int(self._burst), max(0, int(credit)), (self._burst - credit) / self._rate
