"""What a caller needs of the carrier of its call: audio and events, both ways."""

from collections.abc import AsyncIterator
from typing import Any, Protocol

CLIENT_RATE = 24_000
"""Hz of the PCM16 mono a line carries in both directions (the protocol's default)."""


class LineClosed(Exception):
    """The call cannot be set up or has ended; the message is the reason that was given."""


class Line(Protocol):
    """One call's carrier, seen from the caller's side."""

    continuous: bool
    """Whether audio comes all the time, silence included (WebRTC), or only while there is some."""

    async def send_audio(self, pcm: bytes) -> None:
        """Send 20 ms of PCM16 mono at CLIENT_RATE; raises LineClosed."""
        ...

    async def send_event(self, event: dict[str, Any]) -> None:
        """Send one client event; raises LineClosed."""
        ...

    def receive(self) -> AsyncIterator[bytes | dict[str, Any]]:
        """Reply audio (PCM16 mono, CLIENT_RATE) and server events until the call ends."""
        ...

    async def close(self) -> None:
        """Hang up and free everything; harmless when called twice."""
        ...
