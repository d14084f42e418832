"""An event loop with virtual time: instead of waiting for a timer it jumps to that time.

``run`` is ``asyncio.run`` on such a loop: a test of ten seconds takes none, and its times are
exact. For code that waits for timers only; work in a thread would be overtaken.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _NoWaiting(selectors.DefaultSelector):
    """Says how long it was to wait, and does not."""

    def __init__(self) -> None:
        super().__init__()
        self.waited = 1_000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0 if timeout is not None else None)
        if not ready and timeout:
            self.waited += timeout
        return ready


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """A selector loop that never waits for a timer."""

    def __init__(self) -> None:
        self._instant = _NoWaiting()
        super().__init__(self._instant)

    def time(self) -> float:
        return self._instant.waited


def run(main: Coroutine[Any, Any, T]) -> T:
    """What ``main`` returns."""
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        return runner.run(main)
