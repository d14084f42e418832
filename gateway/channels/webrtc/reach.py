"""Until when the peer has received what was sent to it.

A packet that has left is not one that was heard: when a network dies, ICE notices that after
seconds. Two kinds of evidence come earlier.

- A *sign of life* is anything authentic that arrives: the caller's voice (every 20 ms), an answer
  to a consent check (every two seconds), a receiver report. After some time without one, which
  depends on how often they usually come, the peer counts as out of reach.
- A *proof* is something that arrives because the peer received something: the answer to a consent
  check (RFC 7675) proves that what was sent together with the check arrives, a receiver report
  (RFC 3550, 6.4.2) names the last packet of voice. Where signs of life come and proofs do not, the
  path is dead in one direction.

Pure: time is an argument, in seconds; it never decreases.
"""

SHORTEST_PATIENCE, LONGEST_PATIENCE = 0.5, 3.0
"""Without a sign of life. Voice comes every 20 ms, with jitter, and in Wi-Fi's worst moments after
200 ms; a caller who only listens is heard of every two seconds."""
PATIENCE_GAPS = 2.0
"""So many of the usual gaps between signs make the patience."""
GAP_DECAY = 0.95
"""Of the usual gap, with each sign: the longest of the last gaps counts."""
PROOF_PATIENCE = 4.5
"""Without a proof: after one, the next check is made within 2.4 s, and then every 0.6 s."""


class Reach:
    """What arrived from one peer, and what that says. Nothing is known before ``connected``."""

    def __init__(self) -> None:
        self._sign: float | None = None
        self._gap = 0.0
        """The usual time between two signs."""
        self._proven = 0.0
        """What left before this moment has arrived."""
        self._doubt: float | None = None
        """When the first consent check was sent that has not been answered since ``_proven``."""

    def connected(self, now: float) -> None:
        """The handshake is complete."""
        self._proven = now
        self.sign(now)

    def sign(self, now: float) -> None:
        """Something authentic has arrived."""
        if self._sign is not None:
            self._gap = max(now - self._sign, self._gap * GAP_DECAY)
        self._sign = now

    def answered(self, sent: float, now: float) -> None:
        """The consent check that was sent at ``sent`` has been answered."""
        self.sign(now)
        self._prove(sent)

    def unanswered(self, sent: float) -> None:
        """The consent check that was sent at ``sent`` has not been answered in time."""
        if self._doubt is None and sent > self._proven:
            self._doubt = sent

    def reported(self, left: float, now: float) -> None:
        """A report says that the packet of voice that left at ``left`` has arrived."""
        self.sign(now)
        self._prove(left)

    def doubted(self, now: float) -> bool:
        """Whether the peer may not receive any more what is sent to it."""
        if self._sign is None:
            return False
        patience = min(LONGEST_PATIENCE, max(SHORTEST_PATIENCE, PATIENCE_GAPS * self._gap))
        return now - self._sign > patience or now - self._proven > PROOF_PATIENCE

    def until(self) -> float:
        """What left before this moment counts as received, once it is ``doubted``: until the last
        sign of life, or where only our own direction is dead, until the last proof."""
        if self._sign is None:
            return 0.0
        only_ours = self._doubt is not None and self._doubt + SHORTEST_PATIENCE < self._sign
        return self._proven if only_ours else max(self._sign, self._proven)

    def _prove(self, moment: float) -> None:
        if moment > self._proven:
            self._proven = moment
        if self._doubt is not None and moment >= self._doubt:
            self._doubt = None
