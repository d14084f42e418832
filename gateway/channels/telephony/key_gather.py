"""Pressed keys as something the caller says: gathered until they make an answer.

An answer ends with ``#``, after ``PAUSE_SECONDS`` without another key, or at ``MOST`` keys. Time is
an argument.
"""

PAUSE_SECONDS = 2.0
MOST = 32
_END = "#"


class KeyGather:
    """The keys pressed so far."""

    def __init__(self) -> None:
        self._keys = ""
        self._pressed = 0.0

    def press(self, digit: str, now: float) -> str | None:
        """Take a key at ``now`` (s); the whole answer where it is one now."""
        self._keys += digit
        self._pressed = now
        return self._take() if digit == _END or len(self._keys) >= MOST else None

    def due(self, now: float) -> str | None:
        """The answer, where no other key has come for long enough."""
        return self._take() if self._keys and now - self._pressed >= PAUSE_SECONDS else None

    def _take(self) -> str:
        keys, self._keys = self._keys, ""
        return keys
