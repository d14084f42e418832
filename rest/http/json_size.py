"""How many values a JSON text holds, counted before it is decoded.

Decoding takes time by the number of values, not by the length (measured: 15 MB of base64 12 ms,
14 MB of empty objects 225 to 800 ms), and holds the interpreter's lock, so a thread does not help.
The count is a plain search for ``,``, ``[`` and ``{`` outside strings, slice by slice.

A long text that has passed still takes 5 to 14 ms to decode (14 MB of base64). ``one_long_text``
keeps several of them, from whatever sockets, from being decoded in one turn of the event loop.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakKeyDictionary

SLICE_BYTES = 64 * 1024
"""Counted at a stretch: below 1 ms."""
_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


@asynccontextmanager
async def one_long_text() -> AsyncIterator[None]:
    """The turn for a text longer than ``SLICE_BYTES`` to be counted and decoded: first come, first
    served, and the loop does something else in between."""
    turn = _turns.setdefault(asyncio.get_running_loop(), asyncio.Lock())
    async with turn:
        yield
        await asyncio.sleep(0)


class ValueCount:
    """Counts the values of a JSON text that comes in slices, malformed text included."""

    def __init__(self) -> None:
        self.values = 1
        self._in_string = False
        self._escape = b""

    def add(self, piece: bytes) -> None:
        """Count what is in the next slice."""
        piece = (self._escape + piece).replace(b"\\\\", b"")
        self._escape = b"\\" if piece.endswith(b"\\") else b""
        parts = piece.replace(b'\\"', b"").split(b'"')
        outside = b"".join(parts[1 if self._in_string else 0 :: 2])
        self._in_string ^= len(parts) % 2 == 0
        self.values += outside.count(b",") + outside.count(b"[") + outside.count(b"{")


async def holds_more_values(data: bytes, limit: int) -> bool:
    """Whether a JSON text has more than ``limit`` values; others get their turn between slices."""
    count = ValueCount()
    for start in range(0, len(data), SLICE_BYTES):
        count.add(data[start : start + SLICE_BYTES])
        if count.values > limit:
            return True
        await asyncio.sleep(0)
    return False
