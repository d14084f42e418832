"""What a live session needs of whatever carries a call: the Channel and the WireFormat.

The protocols are here because sessions use them; gateway.channels implements them (imports run
downward only).

Rules
- ``incoming`` yields audio, client messages and core events in the order in which the peer sent
  them, and ends when the peer is gone. A channel answers malformed input of its own protocol itself
  and continues.
- ``play``, ``flush`` and ``send`` never block and never raise: a channel whose bounded queue is
  full closes the connection of its slow peer.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sessions.core.config import SessionConfig
from sessions.core.events import AddItem, Event
from sessions.core.notices import Notice

Incoming = bytes | Mapping[str, Any] | Event
"""What a channel yields: audio (PCM16 mono), a client message for the wire format to parse, or an
event of the channel itself (a key press), ready for the core."""
ServerEvent = dict[str, Any]
"""One server event as the client gets it, ready for JSON."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Outgoing reply audio: PCM16 mono at the channel's ``output_rate``."""

    response_id: str
    item_id: str
    pcm: bytes | memoryview


@dataclass(frozen=True, slots=True)
class SpokenItem:
    """A client's item that is speech: the event for the core, and the audio (PCM16 mono)."""

    event: AddItem
    pcm: bytes
    rate: int


class ClientFault(Exception):
    """A client message that is refused; becomes the protocol's ``error`` event."""

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
    """A client message that is carried out except for the part that ``fault`` names."""

    event: Event
    fault: ClientFault


Parsed = Event | SpokenItem | Partly
"""A parsed client message."""


class WireFormat(Protocol):
    """Turns client messages into core events, and notices into server events; one per session,
    stateful."""

    def parse(
        self, message: Mapping[str, Any], config: SessionConfig, *, by_caller: bool = True
    ) -> Parsed:
        """The core event of a client message under the current configuration.

        ``by_caller``: False if somebody other than the caller sent it.
        Raises ClientFault if the message is malformed, unknown or out of range."""
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
    """How far playout may run ahead of what is heard."""

    @property
    def dropped(self) -> bool:
        """Whether the connection was lost: the peer is gone and has not said goodbye."""
        ...

    @property
    def missed(self) -> int:
        """How many of the last samples that ``played`` counts have perhaps not arrived; 0 unless
        the channel has reason to believe that the peer is out of reach."""
        ...

    def incoming(self) -> AsyncIterator[Incoming]:
        """Audio, client messages and core events as they come."""
        ...

    def configure(self, config: SessionConfig) -> None:
        """Adopt the formats and extensions of a new configuration."""
        ...

    def play(self, piece: Piece) -> None:
        """Send audio to the caller."""
        ...

    def flush(self) -> None:
        """Drop all audio that was given to ``play`` and has not left yet."""
        ...

    def played(self) -> int | None:
        """How many samples (at output_rate) have been heard of all given to ``play``, without
        flushed ones, by the channel's own clock; None if it has none, and the session then paces
        by time."""
        ...

    def send(self, event: ServerEvent) -> None:
        """Send one server event; its order with ``play`` is kept if the carrier has one order."""
        ...

    async def close(self, reason: str) -> None:
        """Close the connection within a deadline, and release everything."""
        ...
