"""Asides: messages that somebody beside the caller sent into a call, and who hears of their faults.

Such a message goes in under an event id of ours. A fault that comes back under it, at once or
later, is told to its sender alone, under the sender's own event id.

Bound: ``MOST`` messages are remembered; a fault of one that was forgotten is told to nobody.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from sessions.core.notices import Fault

from .channel import ServerEvent

MOST = 256
_LONGEST_ID = 512

Answer = Callable[[list[ServerEvent]], None]
"""Takes the error events of one message."""


class Asides:
    """The asides of one call."""

    def __init__(self) -> None:
        self._prefix = f"aside_{secrets.token_hex(8)}_"
        self._count = 0
        self._senders: dict[str, tuple[str | None, Answer]] = {}

    def mark(self, message: Mapping[str, Any], answer: Answer) -> Mapping[str, Any]:
        """The message as it goes in; ``answer`` is told of its faults."""
        own = message.get("event_id")
        known = isinstance(own, str) and len(own) <= _LONGEST_ID and own.isprintable()
        self._count += 1
        event_id = f"{self._prefix}{self._count}"
        if len(self._senders) >= MOST:
            del self._senders[next(iter(self._senders))]
        self._senders[event_id] = own if known else None, answer
        return {**message, "event_id": event_id}

    def claim(self, fault: Fault) -> tuple[Fault, Answer] | None:
        """The fault as its sender is told, and the sender; None where it is not an aside's."""
        if fault.event_id is None or not fault.event_id.startswith(self._prefix):
            return None
        own, answer = self._senders.get(fault.event_id, (None, _tell_nobody))
        return replace(fault, event_id=own), answer


def _tell_nobody(_events: list[ServerEvent]) -> None:
    pass
