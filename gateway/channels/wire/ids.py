"""Event ids: counted behind one random prefix a call, for there are many of them."""

import secrets


class EventIds:
    """Unique ``event_…`` ids of one call: a random prefix and a count."""

    def __init__(self) -> None:
        self._prefix = f"event_{secrets.token_hex(6)}"
        self._count = 0

    def next(self) -> str:
        """The next id."""
        self._count += 1
        return f"{self._prefix}{self._count:05d}"
