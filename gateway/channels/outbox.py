"""What is on its way out of a WebSocket: one bounded queue, from which audio can be taken back.

Overflow rule: ``put`` refuses (False) where the bound of entries or bytes would be passed; the
channel then closes the peer, for it reads more slowly than it is spoken to.
"""

import asyncio
from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Text:
    """One message: a text frame, or a binary one where ``binary`` is set."""

    payload: bytes
    binary: bool = False


@dataclass(frozen=True, slots=True)
class Audio:
    """Reply audio, as raw samples or as the message of a carrier (``binary`` as in Text)."""

    response_id: str
    item_id: str
    payload: bytes
    binary: bool = False


@dataclass(frozen=True, slots=True)
class Ping:
    """A question whether the peer is still there."""

    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to the peer's ping."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """The last entry."""

    code: int
    payload: bytes


Entry = Text | Audio | Ping | Pong | Close


class Outbox:
    """First in, first out; one reader. ``Close`` always fits and nothing goes in behind it."""

    def __init__(self, max_entries: int = 512, max_bytes: int = 2 * 1024 * 1024) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._entries: deque[Entry] = deque()
        self._bytes = 0
        self._filled = asyncio.Event()
        self.closed = False

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, entry: Entry) -> bool:
        """Queue an entry; False where there is no room."""
        if self.closed:
            return True
        if isinstance(entry, Close):
            self.closed = True
        elif len(self._entries) >= self._max_entries or (
            self._entries and self._bytes + len(entry.payload) > self._max_bytes
        ):
            return False
        self._entries.append(entry)
        self._bytes += len(entry.payload)
        self._filled.set()
        return True

    def drop_audio(self) -> None:
        """Take back all audio that has not left."""
        self._keep(deque(entry for entry in self._entries if not isinstance(entry, Audio)))

    def drop_all(self) -> None:
        """Take back everything that has not left."""
        self._keep(deque())

    async def get(self) -> Entry:
        """The next entry, as soon as there is one."""
        while not self._entries:
            self._filled.clear()
            await self._filled.wait()
        entry = self._entries.popleft()
        self._bytes -= len(entry.payload)
        return entry

    def _keep(self, entries: deque[Entry]) -> None:
        self._entries = entries
        self._bytes = sum(len(entry.payload) for entry in entries)
