"""Listening in: the audio of a call, both tracks, for listeners on any node.

Rules
- A call that nobody listens to has no tap, and pays one comparison with None per frame.
- What is beyond ``MAX_BYTES`` is dropped, and the next message says so.
- A message is a header of 16 bytes, big-endian, and PCM16 mono, little-endian::

    0  track   0 the caller, 1 the agent
    1  flags   1 the agent's audio from this time on was taken back and is not heard (no samples)
               2 audio is missing before this message
    2  zero    2 bytes
    4  rate    Hz, 4 bytes
    8  time    of the first sample, Unix ms, 8 bytes: when it came, or when it is heard
"""

import asyncio
import struct
import time
from collections import deque

from media.formats import SAMPLE_BYTES

CALLER, AGENT = 0, 1
TAKEN_BACK, MISSING = 1, 2
MAX_BYTES = 512 * 1024
"""Of one call, waiting to be written."""
_HEADER = struct.Struct("!BBHIQ")
_APART_MS = 60
"""Audio that begins so much later than the last ended is a message of its own."""


def audio_stream(call_id: str) -> str:
    """The name of the stream of a call's audio."""
    return f"call:{call_id}:audio"


def flagged(message: bytes) -> bytes:
    """The message with the flag that audio is missing before it."""
    changed = bytearray(message)
    changed[1] |= MISSING
    return bytes(changed)


class AudioTap:
    """What passes in one call, as messages. Times in seconds of the loop's clock."""

    def __init__(self, until: float) -> None:
        self.until = until
        """When nobody listens any more."""
        self.number = 0
        """Of the last message."""
        self._unix = time.time() - asyncio.get_running_loop().time()
        self._messages: deque[bytes] = deque()
        self._open: dict[int, tuple[int, int, bytearray]] = {}
        """By track: rate, time in ms, samples."""
        self._bytes = 0
        self._missing = 0

    def heard(self, pcm: bytes | memoryview, rate: int, now: float) -> None:
        """Audio of the caller came."""
        self._add(CALLER, pcm, rate, now)

    def played(self, pcm: bytes | memoryview, rate: int, at: float) -> None:
        """Audio of the agent left, to be heard at ``at``."""
        self._add(AGENT, pcm, rate, at)

    def taken_back(self, now: float) -> None:
        """The agent's audio from now on will not be heard."""
        self._close(AGENT)
        self._put(_HEADER.pack(AGENT, TAKEN_BACK, 0, 0, self._ms(now)))

    def drop(self) -> None:
        """What was taken could not be written."""
        self._missing = MISSING

    def take(self) -> list[bytes]:
        """The messages since the last time."""
        for track in tuple(self._open):
            self._close(track)
        messages, self._messages, self._bytes = list(self._messages), deque(), 0
        return messages

    def _add(self, track: int, pcm: bytes | memoryview, rate: int, at: float) -> None:
        begins = self._ms(at)
        if (known := self._open.get(track)) is not None:
            ends = known[1] + len(known[2]) * 1000 // SAMPLE_BYTES // known[0]
            if known[0] == rate and (track == CALLER or abs(begins - ends) < _APART_MS):
                known[2].extend(pcm)
                return
            self._close(track)
        self._open[track] = rate, begins, bytearray(pcm)

    def _close(self, track: int) -> None:
        if (known := self._open.pop(track, None)) is not None:
            rate, begins, pcm = known
            missing, self._missing = self._missing, 0
            self._put(_HEADER.pack(track, missing, 0, rate, begins) + pcm)

    def _put(self, message: bytes) -> None:
        self._messages.append(message)
        self._bytes += len(message)
        while self._bytes > MAX_BYTES:
            self._bytes -= len(self._messages.popleft())
            self._messages[0] = flagged(self._messages[0])

    def _ms(self, at: float) -> int:
        return round((self._unix + at) * 1000)
