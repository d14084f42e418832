"""Puts what arrives out of order back in order, by its number.

Bounded: at most ``limit`` items wait for an earlier one; then that one is given up, and dropped
should it still come. A number far behind means that the sender counts anew.
"""

from typing import Generic, TypeVar

T = TypeVar("T")

_RESTART = 100
"""So far behind (2 s of 20 ms frames) nothing comes late."""


class Reorder(Generic[T]):
    """Items by rising number."""

    def __init__(self, limit: int = 5) -> None:
        self._limit = limit
        self._next: int | None = None
        self._waiting: dict[int, T] = {}

    def push(self, number: int, item: T) -> list[T]:
        """Take an item; all that are due now, in order."""
        due: list[T] = []
        if self._next is None:
            self._next = number
        elif number < self._next - _RESTART:
            due += self._drain()
            self._next = number
        if number < self._next or number in self._waiting:
            return due
        self._waiting[number] = item
        due += self._due()
        if len(self._waiting) > self._limit:
            self._next = min(self._waiting)
            due += self._due()
        return due

    def _due(self) -> list[T]:
        due: list[T] = []
        while self._next is not None and self._next in self._waiting:
            due.append(self._waiting.pop(self._next))
            self._next += 1
        return due

    def _drain(self) -> list[T]:
        rest = [self._waiting[number] for number in sorted(self._waiting)]
        self._waiting.clear()
        return rest
