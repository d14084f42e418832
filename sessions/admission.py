"""Admission: whether there is room for one more call.

Rules
- A call that cannot be served well is refused before the running ones suffer.
- A slot is released exactly once, whatever happens to the call.
"""

from collections.abc import Callable


class ServerFull(Exception):
    """Every slot is taken, or the server is shutting down. ``retry_after`` in seconds."""

    def __init__(self, reason: str, retry_after: int = 10) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after


class Ticket:
    """One slot, as a context manager."""

    def __init__(self, admission: "Admission") -> None:
        self._admission: Admission | None = admission

    def __enter__(self) -> "Ticket":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Release the slot; harmless when called twice."""
        if self._admission is not None:
            self._admission.active -= 1
            self._admission = None


class Admission:
    """Counts slots."""

    def __init__(self, capacity: int, overloaded: Callable[[], bool] = lambda: False) -> None:
        """``overloaded``: whether the callers that are here already wait to be heard."""
        if capacity < 1:
            raise ValueError("capacity must be at least 1 call")
        self.capacity = capacity
        self._overloaded = overloaded
        self.active = 0
        self.draining = False

    def admit(self) -> Ticket:
        """Take a slot; raises ServerFull."""
        if self.draining:
            raise ServerFull("The server is shutting down. Please call again in a moment.", 5)
        if self.active >= self.capacity:
            raise ServerFull("Every line is in use. Please try again in a moment.")
        if self._overloaded():
            raise ServerFull("Speech recognition is overloaded. Please try again in a moment.", 5)
        self.active += 1
        return Ticket(self)
