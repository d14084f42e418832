"""The agent's voice: PCM16 in, one Opus packet every 20 ms out, on the clock.

aiortc sends an ``av.Packet`` that a track returns as it is; so the track encodes mono voice itself,
one frame at the moment it is due, and nothing that ``flush`` should take back has been encoded
before. While nobody speaks, silence goes out, so that the caller's own jitter buffer stays warm.

Invariants
- Packet ``n`` is due at ``start + n * 20 ms``; lateness is made up, never added up. After a stall
  longer than ``MAX_CATCH_UP`` the lost time is skipped in the timestamps too: the caller hears a
  gap, not a delay that stays.
- ``played`` counts samples of ``play`` whose packet has been handed to the network.
- The queue is bounded by ``MAX_QUEUED_MS``; ``play`` says whether there was room.
"""

import asyncio
from collections import deque
from fractions import Fraction
from typing import Any

import av
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from media.formats import SAMPLE_BYTES, samples_of
from media.opus import TICK_RATE, OpusEncoder

FRAME_MS = 20
FRAME_TICKS = TICK_RATE * FRAME_MS // 1000
MAX_CATCH_UP = 0.1
"""Seconds of lateness that are made up by sending faster."""
MAX_QUEUED_MS = 30_000
TAIL_PATIENCE = 2
"""Frames that the incomplete last frame of a reply waits for more samples."""
SETTLE_FRAMES = 10
"""Frames of silence really encoded after speech, so that it can die away."""
QUIET_PACKET = bytes.fromhex("f8fffe")
"""Then this: 20 ms of digital silence (CELT, full band, mono), the same every time."""

_TIME_BASE = Fraction(1, TICK_RATE)


class VoiceTrack(MediaStreamTrack):
    """The one audio track of a call; aiortc's sender pulls packets out of it."""

    kind = "audio"

    def __init__(self, rate: int) -> None:
        super().__init__()
        self._now = asyncio.get_running_loop().time
        self._encoder = OpusEncoder(rate)
        self._frame_bytes = samples_of(FRAME_MS, rate) * SAMPLE_BYTES
        self._silence = bytes(self._frame_bytes)
        self._room = samples_of(MAX_QUEUED_MS, rate) * SAMPLE_BYTES
        self._queue: deque[memoryview] = deque()
        self._queued = 0
        self._waited = 0
        self._quiet_frames = SETTLE_FRAMES
        self._due: float | None = None
        self._ticks = 0
        self._played = 0

    def play(self, pcm: bytes | memoryview) -> bool:
        """Queue samples; False (and nothing queued) where there is no room."""
        if self._queued + len(pcm) > self._room:
            return False
        if len(pcm):
            self._queue.append(memoryview(pcm))
            self._queued += len(pcm)
        return True

    def flush(self) -> None:
        """Forget what has not been sent."""
        self._queue.clear()
        self._queued = 0
        self._waited = 0

    def played(self) -> int:
        """Samples sent of all that ``play`` took and ``flush`` did not forget."""
        return self._played

    async def recv(self) -> "av.Packet[Any]":
        """The next packet, when it is due."""
        if self.readyState != "live":
            raise MediaStreamError
        await self._wait()
        packet = av.Packet(self._next_payload())
        packet.pts = self._ticks
        packet.time_base = _TIME_BASE
        self._ticks += FRAME_TICKS
        return packet

    async def _wait(self) -> None:
        now = self._now()
        if self._due is None:
            self._due = now
        late = now - self._due
        if late > MAX_CATCH_UP:
            skipped = int(late * 1000) // FRAME_MS
            self._ticks += skipped * FRAME_TICKS
            self._due += skipped * FRAME_MS / 1000
        elif late < 0:
            await asyncio.sleep(-late)
        self._due += FRAME_MS / 1000

    def _next_payload(self) -> bytes:
        frame = self._next_frame()
        if frame is not None:
            self._quiet_frames = 0
            return self._encoder.encode(frame)
        if self._quiet_frames < SETTLE_FRAMES:
            self._quiet_frames += 1
            return self._encoder.encode(self._silence)
        if self._quiet_frames == SETTLE_FRAMES:
            self._quiet_frames += 1
            self._encoder.reset()  # as the change of coding mode resets the caller's decoder
        return QUIET_PACKET

    def _next_frame(self) -> bytes | None:
        """The next frame of speech, or None where there is none (yet)."""
        if not self._queued:
            return None
        if self._queued < self._frame_bytes and self._waited < TAIL_PATIENCE:
            self._waited += 1
            return None
        self._waited = 0
        frame = bytearray()
        while self._queue and len(frame) < self._frame_bytes:
            piece = self._queue.popleft()
            room = self._frame_bytes - len(frame)
            frame += piece[:room]
            if len(piece) > room:
                self._queue.appendleft(piece[room:])
        self._queued -= len(frame)
        self._played += len(frame) // SAMPLE_BYTES
        return bytes(frame) + self._silence[len(frame) :]
