"""Voice activity of all calls of a process: the network runs for many windows at once.

Rules
- With ``FEW`` calls or less, and wherever the gate is shut, a window is judged at once.
- So it is where the end of a turn depends on it.
- Otherwise windows that need the network wait for those of other calls, ``WAIT_SECONDS`` at most;
  then one run judges all. A call hears nothing further meanwhile, so its order is kept.
- A network that fails does so for every call that waits for it.
- No task and no future: a call's windows are judged 31 times a second.
"""

import asyncio
import weakref
from collections.abc import Callable
from contextvars import Context, copy_context
from dataclasses import dataclass

from media.vad import SileroModel, VoiceDetector, Window, judge

FEW = 16
"""So many calls need the network 200 times a second: 2 % of a core, with nobody to wait for."""
WAIT_SECONDS = 0.01
"""25 calls that speak a quarter of the time need the network 290 times a second: four windows a
run, two with 4 ms. A run takes 45 µs and 70 for each window, but where other work uses the caches
its 2 MB of weights are seldom in them: then two windows take 700 µs."""

Judged = Callable[[Exception | None], None]
"""Called when windows that waited are judged, or with the network's failure; raises nothing."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    detector: VoiceDetector
    windows: list[Window]
    judged: Judged
    context: Context
    """The call's."""


class VoiceActivity:
    """Shared by the calls of one event loop."""

    def __init__(self) -> None:
        self._detectors: weakref.WeakSet[VoiceDetector] = weakref.WeakSet()
        self._waiting: list[_Waiting] = []

    def detector(self, model: SileroModel) -> VoiceDetector:
        """A detector for one more call."""
        detector = VoiceDetector(model)
        self._detectors.add(detector)
        return detector

    def judge(
        self,
        detector: VoiceDetector,
        windows: list[Window],
        judged: Judged,
        *,
        at_once: bool = False,
    ) -> bool:
        """Give the windows their probabilities: now (True; raises what the network raises), or
        soon, and then ``judged`` is called. ``at_once``: something is to be decided by them."""
        if not any(window.unheard for window in windows):
            return True
        if at_once or len(self._detectors) <= FEW:
            judge((detector, window) for window in windows)
            return True
        if not self._waiting:
            asyncio.get_running_loop().call_later(WAIT_SECONDS, self._run)
        self._waiting.append(_Waiting(detector, windows, judged, copy_context()))
        return False

    def _run(self) -> None:
        waiting, self._waiting = self._waiting, []
        for model in {one.detector.model for one in waiting}:
            group = [one for one in waiting if one.detector.model is model]
            failure: Exception | None = None
            try:
                judge((one.detector, window) for one in group for window in one.windows)
            except Exception as error:  # noqa: BLE001 - raised in each call that waits
                failure = error
            for one in group:
                one.context.run(one.judged, failure)
