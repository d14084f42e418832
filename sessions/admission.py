"""Admission: whether there is room for one more call.

Rules
- A call that cannot be served well is refused before those in progress suffer. The reasons are
  checked in the order of ``Reason``; the first one that applies is named in the error, in /readyz
  and in the metrics.
- The last tenth of the slots is not for a workspace that already has half of all slots, if another
  workspace has called within ``FAIR_SECONDS``. A server with one workspace loses nothing by this.
- What is measured (``Strain``) refuses at once, and admits again below a second, lower threshold
  that has held for some seconds: otherwise it would flap with every call that ends.
- A call that yields (a simulated caller's) leaves a quarter of the slots free, those of its
  workspace's own limit too, and at least one. Whoever else calls finds that slot; a single slot of
  all is shared.
- A call that goes on has been admitted before, and is lost if it is refused: the fair share, the
  engines' queue and the event loop do not refuse it. When a node dies, half of all calls come to
  the other one at once, and its event loop is late for as long as that takes.
- A slot is released exactly once, whatever happens to the call.
- Strain is pure: time is an argument. Admission takes ``clock``'s.
"""

import math
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

MIB = 1024 * 1024
FAIR_SECONDS = 300.0
_FAIR_PART = 10
"""One slot in so many is kept for workspaces that have less than half of all."""
_SPARED_PART = 4
"""One slot in so many stays free of calls that yield."""
_MOST_LAGS, _FEWEST_LAGS = 50, 20
"""Measurements of the lag that count: 5 s on an idle machine. One long stall is not the p95."""
_MOST_REMEMBERED = 1024
"""Workspaces whose last request is remembered."""


class Reason(StrEnum):
    """Why a call is refused, in the order in which the reasons are checked."""

    DRAINING = "draining"
    CAPACITY = "capacity"
    SPARED = "spared"
    WORKSPACE = "workspace"
    FAIR_SHARE = "fair_share"
    ENGINES = "engine_queue"
    EVENT_LOOP = "event_loop"
    MEMORY = "memory"


_MESSAGES = {
    Reason.DRAINING: ("The server is shutting down. Please call again in a moment.", 5),
    Reason.CAPACITY: ("Every line is in use. Please try again in a moment.", 10),
    Reason.SPARED: ("The free lines are kept for other callers. Please try again in a moment.", 5),
    Reason.WORKSPACE: ("Every line of this workspace is in use. Please try again in a moment.", 10),
    Reason.FAIR_SHARE: (
        "The last lines are kept for other workspaces. Please try again in a moment.",
        10,
    ),
    Reason.ENGINES: ("Speech recognition is overloaded. Please try again in a moment.", 5),
    Reason.EVENT_LOOP: ("The server is too busy for another call. Please try again shortly.", 5),
    Reason.MEMORY: ("The server is short of memory. Please try again later.", 30),
}
"""What the caller reads, and after how many seconds to try again."""


class ServerFull(Exception):
    """There is no room for a call. ``retry_after`` in seconds."""

    def __init__(self, reason: Reason) -> None:
        self.reason = reason
        self.message, self.retry_after = _MESSAGES[reason]
        super().__init__(self.message)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Above which measurements no call is admitted, and below which calls are admitted again."""

    lag: float = 0.2
    """Seconds that the event loop's timers run late, p95. Four calls with embedded engines in one
    process on two cores (load 5 to 7) made it 0.157 in one run, where a limit of 0.1 refused one of
    them, and 0.403 in the next, where all four were answered."""
    calm_lag: float = 0.1
    lag_hold: float = 3.0
    """Seconds of calm before calls are admitted again."""
    call_bytes: int = 4 * MIB
    """What a call needs at its peak."""
    spare_bytes: int = 128 * MIB
    """Kept for the calls in progress."""
    memory_hold: float = 10.0
    engines_hold: float = 1.0


class Latch:
    """On at once, off after ``hold`` seconds of calm."""

    def __init__(self, hold: float) -> None:
        self._hold = hold
        self._calm_since: float | None = None
        self.on = False

    def update(self, now: float, *, strained: bool, calm: bool) -> None:
        """Take a measurement; one that is neither strained nor calm changes nothing."""
        if strained:
            self.on, self._calm_since = True, None
        elif not calm:
            self._calm_since = None
        elif self.on:
            if self._calm_since is None:
                self._calm_since = now
            self.on = now - self._calm_since < self._hold


class Strain:
    """What was measured of this process and its machine; ``now`` never decreases (s)."""

    def __init__(self, thresholds: Thresholds = Thresholds()) -> None:
        self._thresholds = thresholds
        self._lags: deque[float] = deque(maxlen=_MOST_LAGS)
        self._event_loop = Latch(thresholds.lag_hold)
        self._memory = Latch(thresholds.memory_hold)
        self._engines = Latch(thresholds.engines_hold)
        self._available: int | None = None
        self._promised = 0
        """Calls that were admitted since memory was measured."""

    @property
    def lag(self) -> float:
        """p95 of the event loop's last lags, in seconds; 0 as long as there are too few."""
        if len(self._lags) < _FEWEST_LAGS:
            return 0.0
        return sorted(self._lags)[math.ceil(0.95 * len(self._lags)) - 1]

    def loop_lagged(self, seconds: float, now: float) -> None:
        """A timer of the event loop ran ``seconds`` late."""
        self._lags.append(seconds)
        lag = self.lag
        self._event_loop.update(
            now, strained=lag > self._thresholds.lag, calm=lag < self._thresholds.calm_lag
        )

    def memory_measured(self, available: int | None, now: float) -> None:
        """So many bytes are available to this process; None if that is not known."""
        self._available, self._promised = available, 0
        if available is not None:
            self._judge_memory(available, now)

    def engines_measured(self, overloaded: bool, now: float) -> None:
        """Whether so many utterances wait for an engine that another one would wait for long."""
        self._engines.update(now, strained=overloaded, calm=not overloaded)

    def admitted(self, now: float) -> None:
        """A call was admitted: it will need memory that is still counted as available."""
        self._promised += 1
        if self._available is not None:
            promised = self._promised * self._thresholds.call_bytes
            self._judge_memory(self._available - promised, now)

    def reason(self) -> Reason | None:
        """Why no call is admitted; None if nothing is strained."""
        if self._engines.on:
            return Reason.ENGINES
        if self._event_loop.on:
            return Reason.EVENT_LOOP
        return self.memory_reason()

    def memory_reason(self) -> Reason | None:
        """Why not even a call that goes on is admitted: without memory, all calls are lost."""
        return Reason.MEMORY if self._memory.on else None

    def _judge_memory(self, available: int, now: float) -> None:
        needed = self._thresholds.spare_bytes + self._thresholds.call_bytes
        calm = needed + self._thresholds.spare_bytes // 4
        self._memory.update(now, strained=available < needed, calm=available >= calm)


class Ticket:
    """One slot, as a context manager."""

    def __init__(self, admission: "Admission", workspace_id: str | None) -> None:
        self._admission: Admission | None = admission
        self._workspace_id = workspace_id

    def __enter__(self) -> "Ticket":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Release the slot; harmless when called twice."""
        if self._admission is not None:
            self._admission.give_back(self._workspace_id)
            self._admission = None


class Admission:
    """Counts slots, and decides who gets one."""

    def __init__(
        self,
        capacity: int,
        overloaded: Callable[[], bool] = lambda: False,
        *,
        of_one_workspace: int = 0,
        strain: Strain | None = None,
        on_refused: Callable[[str], None] = lambda _reason: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``overloaded``: whether the callers that are here already wait to be heard;
        ``of_one_workspace``: calls at once of one workspace, 0 for any number; ``on_refused``
        receives the reason of every refusal."""
        if capacity < 1:
            raise ValueError("capacity must be at least 1 call")
        self.capacity = capacity
        self.strain = strain or Strain()
        self._overloaded = overloaded
        self._of_one_workspace = of_one_workspace
        self._on_refused = on_refused
        self._clock = clock
        self._of: Counter[str] = Counter()
        """Calls in progress by workspace."""
        self._called: dict[str, float] = {}
        """When each workspace last wanted a slot, the latest last."""
        self.active = 0
        self.leaving = False
        """/readyz says that the server is about to stop; calls are still admitted."""
        self.draining = False

    def admit(
        self, workspace_id: str | None = None, *, goes_on: bool = False, yields: bool = False
    ) -> Ticket:
        """Take a slot; raises ServerFull. Without a workspace, only the rules for all apply.

        ``goes_on``: the call began before, over another connection; ``yields``: it takes no slot
        that another caller may need."""
        now = self._clock()
        if workspace_id is not None and not yields:
            self._called.pop(workspace_id, None)
            self._called[workspace_id] = now
            if len(self._called) > _MOST_REMEMBERED:
                del self._called[next(iter(self._called))]
        reason = self.reason(workspace_id, goes_on=goes_on, yields=yields)
        if reason is not None:
            self._on_refused(reason)
            raise ServerFull(reason)
        self.active += 1
        if workspace_id is not None:
            self._of[workspace_id] += 1
        self.strain.admitted(now)
        return Ticket(self, workspace_id)

    def give_back(self, workspace_id: str | None) -> None:
        """A slot is free again; for Ticket, which does so once."""
        self.active -= 1
        if workspace_id is not None:
            self._of[workspace_id] -= 1
            if not self._of[workspace_id]:
                del self._of[workspace_id]

    def reason(
        self, workspace_id: str | None = None, *, goes_on: bool = False, yields: bool = False
    ) -> Reason | None:
        """Why a call, of the workspace if given, would be refused now; None if it would not.
        ``goes_on``, ``yields``: as for ``admit``."""
        if self.draining:
            return Reason.DRAINING
        if self.active >= self.capacity:
            return Reason.CAPACITY
        if yields and self._is_spared(workspace_id):
            return Reason.SPARED
        if workspace_id is not None:
            if self._of_one_workspace and self._of[workspace_id] >= self._of_one_workspace:
                return Reason.WORKSPACE
            if not goes_on and self._takes_too_much(workspace_id):
                return Reason.FAIR_SHARE
        self.measure_engines()
        return self.strain.memory_reason() if goes_on else self.strain.reason()

    def measure_engines(self) -> None:
        """Look at the engines' queues; also called regularly, so that calm is noticed."""
        self.strain.engines_measured(self._overloaded(), self._clock())

    def _is_spared(self, workspace_id: str | None) -> bool:
        if self.capacity > 1 and self.capacity - self.active <= _spared(self.capacity):
            return True
        most = self._of_one_workspace
        if not most or workspace_id is None:
            return False
        return most - self._of[workspace_id] <= _spared(most)

    def _takes_too_much(self, workspace_id: str) -> bool:
        if self.capacity - self.active > self.capacity // _FAIR_PART:
            return False
        if self._of[workspace_id] * 2 < self.capacity:
            return False
        since = self._clock() - FAIR_SECONDS
        return (
            any(at >= since for other, at in self._called.items() if other != workspace_id)
            or self.active > self._of[workspace_id]
        )


def _spared(slots: int) -> int:
    """How many of them stay free of calls that yield."""
    return max(1, slots // _SPARED_PART)
