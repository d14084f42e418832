"""FairQueue: what waits for an engine, in one line for each call.

Rules
- The lines take turns, so a call that asks for much waits for itself and delays the others by one
  item at most. Work outside of calls (``FLOW`` not set) is one line.
- Whoever holds a full queue lets ``displaced`` take back the newest item of the longest line for a
  newcomer of a shorter one: a flood is refused, not those who meet it.
"""

from collections import deque
from contextvars import ContextVar
from typing import Generic, TypeVar

T = TypeVar("T")

FLOW: ContextVar[str] = ContextVar("flow", default="")
"""Whose work this task does: a call's id. Set by the task that carries the call, and inherited by
the tasks that it makes."""


class FairQueue(Generic[T]):
    """Items by flow, unbounded; its owner bounds it, and locks it where threads share it."""

    def __init__(self) -> None:
        self._lines: dict[str, deque[T]] = {}
        """The line whose turn it is comes first; none is empty."""
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def push(self, item: T, flow: str) -> None:
        """Put ``item`` at the end of its flow's line."""
        self._lines.setdefault(flow, deque()).append(item)
        self._size += 1

    def pop(self) -> T:
        """The next item; raises IndexError where there is none."""
        if not self._lines:
            raise IndexError("nothing is waiting")
        flow = next(iter(self._lines))
        line = self._lines.pop(flow)
        item = line.popleft()
        if line:
            self._lines[flow] = line
        self._size -= 1
        return item

    def remove(self, item: T, flow: str) -> bool:
        """Take ``item`` out; False where it is not waiting."""
        line = self._lines.get(flow)
        if line is None or item not in line:
            return False
        line.remove(item)
        self._size -= 1
        if not line:
            del self._lines[flow]
        return True

    def displaced(self, flow: str) -> T | None:
        """The newest item of the longest line, taken out for a newcomer of ``flow``; None where
        that line would then be shorter than the newcomer's."""
        if not self._lines:
            return None
        longest = max(self._lines, key=lambda name: len(self._lines[name]))
        own = len(self._lines.get(flow, ()))
        if len(self._lines[longest]) <= own + 1:
            return None
        self._size -= 1
        return self._lines[longest].pop()
