"""Voice activity of all calls of a process: the network runs for many windows at once.

Rules
- With ``FEW`` calls or less, and wherever the gate is shut, a window is judged at once.
- Otherwise windows that need the network wait for those of other calls, ``WAIT_SECONDS`` at most;
  then one run judges all. A call hears nothing further meanwhile, so its order is kept.
- A network that fails does so for every call that waits for it.
"""

import asyncio
import weakref

from media.vad import SileroModel, VoiceDetector, Window, judge

FEW = 16
"""So many calls need the network 200 times a second: 2 % of a core, with nobody to wait for."""
WAIT_SECONDS = 0.004
"""A hundred calls that speak a quarter of the time need the network 1,000 times a second: five
windows a run (70 µs each; ten: 62 µs)."""


class VoiceActivity:
    """Shared by the calls of one event loop."""

    def __init__(self) -> None:
        self._detectors: weakref.WeakSet[VoiceDetector] = weakref.WeakSet()
        self._waiting: list[tuple[VoiceDetector, list[Window], asyncio.Future[None]]] = []

    def detector(self, model: SileroModel) -> VoiceDetector:
        """A detector for one more call."""
        detector = VoiceDetector(model)
        self._detectors.add(detector)
        return detector

    def judge(self, detector: VoiceDetector, windows: list[Window]) -> asyncio.Future[None] | None:
        """Give the windows their probabilities: now (None), or when the result is done."""
        if not any(window.unheard for window in windows):
            return None
        if len(self._detectors) <= FEW:
            judge((detector, window) for window in windows)
            return None
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_later(WAIT_SECONDS, self._run)
        judged: asyncio.Future[None] = loop.create_future()
        self._waiting.append((detector, windows, judged))
        return judged

    def _run(self) -> None:
        waiting, self._waiting = self._waiting, []
        for model in {detector.model for detector, _, _ in waiting}:
            group = [one for one in waiting if one[0].model is model]
            failure: Exception | None = None
            try:
                judge((detector, one) for detector, windows, _ in group for one in windows)
            except Exception as error:  # noqa: BLE001 - raised in each call that waits
                failure = error
            for _, _, judged in group:
                if judged.done():
                    continue
                if failure is None:
                    judged.set_result(None)
                else:
                    judged.set_exception(failure)
