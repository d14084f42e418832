"""Messages on their way out of a WebSocket: the bounded queue of a writer, and whole frames.

The queue never waits: ``put`` says whether there was room, and its owner closes the connection of a
peer that lets it overflow. Audio can be taken back until it leaves.
"""

import asyncio
import struct
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from aiohttp import WSMsgType


@dataclass(frozen=True, slots=True)
class Frame:
    """One message on its way out, text or binary."""

    payload: bytes
    binary: bool = False
    audio: bool = False
    """It may be taken back."""
    written: Callable[[bytes], bytes] | None = None
    """Makes the message of ``payload`` as it leaves, for what is numbered then."""


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


Entry = Frame | Ping | Pong | Close


class Outbox:
    """First in, first out; one reader. ``Close`` always fits and nothing goes in behind it."""

    def __init__(self, max_entries: int, max_bytes: int) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._entries: deque[Entry] = deque()
        self._bytes = 0
        self._filled = asyncio.Event()
        self.emptied = asyncio.Event()
        """Set while nothing waits."""
        self.emptied.set()
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
        self.emptied.clear()
        return True

    def drop_audio(self) -> None:
        """Take back all audio that has not left."""
        self._keep(deque(e for e in self._entries if not (isinstance(e, Frame) and e.audio)))

    def drop_all(self) -> None:
        """Take back everything that has not left."""
        self._keep(deque())

    async def get(self) -> Entry:
        """The next entry, as soon as there is one."""
        while not self._entries:
            self._filled.clear()
            self.emptied.set()
            await self._filled.wait()
        entry = self._entries.popleft()
        self._bytes -= len(entry.payload)
        return entry

    def _keep(self, entries: deque[Entry]) -> None:
        self._entries = entries
        self._bytes = sum(len(entry.payload) for entry in entries)


def framed(payloads: Iterable[bytes], *, binary: bool = False) -> bytes:
    """Messages as the frames of a server: whole, unmasked (RFC 6455, 5.2). They are the same for
    every peer, so that they need to be made only once."""
    first = 0x80 | (WSMsgType.BINARY if binary else WSMsgType.TEXT)
    frames = bytearray()
    for payload in payloads:
        length = len(payload)
        if length < 126:
            frames += struct.pack("!BB", first, length)
        elif length < 1 << 16:
            frames += struct.pack("!BBH", first, 126, length)
        else:
            frames += struct.pack("!BBQ", first, 127, length)
        frames += payload
    return bytes(frames)
