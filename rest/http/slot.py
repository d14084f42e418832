"""A slot for what a request asks of the engines that calls need: it counts as one of them."""

from typing import Protocol

from sessions.admission import ServerFull, Ticket

from .errors import Unavailable


class Slots(Protocol):
    """Where slots are taken (sessions.host, sessions.admission)."""

    def admit(self) -> Ticket: ...


def slot(slots: Slots) -> Ticket:
    """A slot, to be given back; raises Unavailable where every one is taken."""
    try:
        return slots.admit()
    except ServerFull as full:
        raise Unavailable(
            full.reason,
            openai_code="server_full",
            reason="server_full",
            retry_after=full.retry_after,
        ) from full
