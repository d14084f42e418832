"""An in-memory channel: records what was played and sent, in order; the test sets the clock."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from sessions.channel import Piece, ServerEvent
from sessions.core.config import SessionConfig

FLUSH = "flush"


class FakeChannel:
    """Implements sessions.channel.Channel. Takes over formats when it is configured."""

    name = "fake"
    lead_ms = 200
    dropped = False
    missed = 0

    def __init__(self, rate: int = 16_000, *, own_clock: bool = False) -> None:
        self.input_rate = self.output_rate = rate
        self.own_clock = own_clock
        self.clock = 0
        """Samples heard, where the channel has its own clock."""
        self.ear = bytearray()
        """What ``listen`` heard; flushed audio is not in it."""
        self._unheard = bytearray()
        self.log: list[Piece | ServerEvent | str] = []
        """Everything that went out, in order; FLUSH where the channel was flushed."""
        self.pieces: list[Piece] = []
        self.flushed = 0
        self.events: list[ServerEvent] = []
        self.closed: str | None = None
        self.hangs = False
        """Makes ``close`` wait for ever."""
        self.reading = False
        self.inbox: asyncio.Queue[bytes | Mapping[str, Any] | None] = asyncio.Queue(10_000)

    async def incoming(self) -> AsyncIterator[bytes | Mapping[str, Any]]:
        self.reading = True
        try:
            while (item := await self.inbox.get()) is not None:
                yield item
        finally:
            self.reading = False

    def configure(self, config: SessionConfig) -> None:
        self.config = config
        self.input_rate = config.input_format.rate
        self.output_rate = config.output_format.rate

    def play(self, piece: Piece) -> None:
        kept = Piece(piece.response_id, piece.item_id, bytes(piece.pcm))
        self.pieces.append(kept)
        self._unheard += kept.pcm
        self.log.append(kept)

    def flush(self) -> None:
        self.flushed += 1
        self._unheard.clear()
        self.log.append(FLUSH)

    def played(self) -> int | None:
        return self.clock if self.own_clock else None

    def send(self, event: ServerEvent) -> None:
        self.events.append(event)
        self.log.append(event)

    async def close(self, reason: str) -> None:
        self.closed = reason
        if self.hangs:
            await asyncio.Event().wait()

    def listen(self, samples: int) -> None:
        """Hear so much of what was played and not flushed; moves the clock."""
        self.ear += self._unheard[: 2 * samples]
        self.clock = len(self.ear) // 2
        del self._unheard[: 2 * samples]

    @property
    def audio(self) -> bytes:
        """All that was played."""
        return b"".join(bytes(piece.pcm) for piece in self.pieces)
