"""What a live session needs of the thing that carries a call: the Channel and the WireFormat.

The protocols stand here because sessions call them; gateway.channels implements them (imports
run downward only).

Rules
- ``incoming`` yields audio, client messages and core events in the order in which the peer sent
  what they stand for, and ends when the peer is gone; a channel answers what is malformed at its
  own level itself and goes on.
- ``play``, ``flush`` and ``send`` never block and never raise: a peer that reads too slowly is
  closed by its channel when its bounded queue is full.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sessions.core.config import SessionConfig
from sessions.core.events import AddItem, Event
from sessions.core.notices import Notice

Incoming = bytes | Mapping[str, Any] | Event
"""What a channel brings: audio (PCM16 mono), a client's message, which its wire format parses, or
what happened on the channel itself (a key was pressed), ready for the core."""
ServerEvent = dict[str, Any]
"""One server event as the client gets it, ready for JSON."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Reply audio on its way out: PCM16 mono at the channel's ``output_rate``."""

    response_id: str
    item_id: str
    pcm: bytes | memoryview


@dataclass(frozen=True, slots=True)
class SpokenItem:
    """A client's item that is speech: the event for the core, and the audio, PCM16 mono."""

    event: AddItem
    pcm: bytes
    rate: int


class ClientFault(Exception):
    """A client message that cannot be carried out; becomes the protocol's ``error`` event."""

    def __init__(
        self, code: str, message: str, *, param: str | None = None, event_id: str | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param
        self.event_id = event_id


@dataclass(frozen=True, slots=True)
class Partly:
    """A client message that is carried out but for a part of it, which ``fault`` names."""

    event: Event
    fault: ClientFault


Parsed = Event | SpokenItem | Partly
"""What a client message means."""


class WireFormat(Protocol):
    """Client messages to core events, notices to server events; one per session, stateful."""

    def parse(
        self, message: Mapping[str, Any], config: SessionConfig, *, by_caller: bool = True
    ) -> Parsed:
        """The core event that a client message means, given the present configuration.

        ``by_caller``: False for what somebody beside the caller sends into the call.
        Raises ClientFault where the message is malformed, unknown or out of range."""
        ...

    def render(self, notice: Notice) -> Sequence[ServerEvent]:
        """The server events of a notice, in protocol order, each with its event_id."""
        ...


class Channel(Protocol):
    """One peer of one call."""

    name: str
    """"websocket", "webrtc", …: for logs, metrics and the calls table."""
    input_rate: int
    """Hz of the PCM16 mono that ``incoming`` yields; may change after ``configure``."""
    output_rate: int
    """Hz of the PCM16 mono that ``play`` takes; may change after ``configure``."""
    lead_ms: int
    """How far playout may run ahead of the moment of hearing."""

    def incoming(self) -> AsyncIterator[Incoming]:
        """Audio, client messages and core events as they come."""
        ...

    def configure(self, config: SessionConfig) -> None:
        """Take over formats and extensions of a new configuration."""
        ...

    def play(self, piece: Piece) -> None:
        """Send audio towards the caller's ear."""
        ...

    def flush(self) -> None:
        """Forget all audio that has been given to ``play`` and not left yet."""
        ...

    def played(self) -> int | None:
        """Samples (output_rate) heard of all that ``play`` ever took, flushed ones excluded,
        by the channel's own clock; None where it has none (the session then paces by time)."""
        ...

    def send(self, event: ServerEvent) -> None:
        """Send one server event; order with ``play`` is kept where the carrier has one order."""
        ...

    async def close(self, reason: str) -> None:
        """Say goodbye within a deadline and free everything."""
        ...
