"""How many calls this process carries at once: a slot is taken before anything else is.

Rules: a call that cannot be served well is refused before those already talking suffer; a slot
is given back exactly once, whatever happens to the call.
"""


class ServerFull(Exception):
    """Every slot is taken, or the server is about to stop. ``retry_after`` in seconds."""

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
        """Give the slot back; harmless when called twice."""
        if self._admission is not None:
            self._admission.active -= 1
            self._admission = None


class Admission:
    """Counts slots."""

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError("capacity must be at least 1 call")
        self.capacity = capacity
        self.active = 0
        self.draining = False

    def admit(self) -> Ticket:
        """Take a slot; raises ServerFull."""
        if self.draining:
            raise ServerFull("The server is shutting down. Please call again in a moment.", 5)
        if self.active >= self.capacity:
            raise ServerFull("Every line is in use. Please try again in a moment.")
        self.active += 1
        return Ticket(self)
