"""The taps of this node's calls, written for listeners on any node.

Rules
- A call is tapped only while somebody listens: a listener's node orders it every few seconds, and
  ``LISTEN_SECONDS`` after the last order the tap is removed.
- Audio leaves in messages of about ``WRITE_SECONDS`` through a capped stream of a few seconds. The
  call never waits: what Redis does not take at once is dropped, and the next message says so.
"""

import asyncio
import logging
import time

from store.bus import Bus, StreamEntry
from store.errors import BusUnavailable

from .audio_tap import AudioTap, audio_stream
from .fanout import END
from .host import SessionHost
from .live import LiveSession

log = logging.getLogger(__name__)

LISTEN_SECONDS = 15.0
WRITE_SECONDS = 0.1
KEPT_MESSAGES = 100
KEPT_SECONDS = 10.0


class AudioTaps:
    """The taps of this node's calls."""

    def __init__(self, bus: Bus, host: SessionHost) -> None:
        self._bus = bus
        self._host = host
        self._taps: dict[str, tuple[LiveSession, AudioTap]] = {}
        self._wanted = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start writing; call it on the running loop."""
        self._writer = asyncio.create_task(self._write(), name="audio-taps")

    async def stop(self) -> None:
        """Remove all taps."""
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)
            self._writer = None
        for session, _ in self._taps.values():
            session.listen_in(None)
        self._taps.clear()

    def listen(self, call_id: str) -> None:
        """Somebody listens to a call of this node for the next ``LISTEN_SECONDS``."""
        session = self._host.find(call_id)
        if session is None:
            return
        until = asyncio.get_running_loop().time() + LISTEN_SECONDS
        known = self._taps.get(call_id)
        if known is not None and known[0] is session:
            known[1].until = until
            return
        tap = AudioTap(until)
        self._taps[call_id] = session, tap
        session.listen_in(tap)
        self._wanted.set()

    async def _write(self) -> None:
        while True:
            if not self._taps:
                self._wanted.clear()
                await self._wanted.wait()
            await asyncio.sleep(WRITE_SECONDS)
            entries: list[StreamEntry] = []
            for call_id, (session, tap) in tuple(self._taps.items()):
                messages = tap.take()
                if self._host.find(call_id) is not session:
                    messages.append(END)
                    del self._taps[call_id]
                elif asyncio.get_running_loop().time() >= tap.until:
                    session.listen_in(None)
                    del self._taps[call_id]
                for message in messages:
                    # by the clock, so that a call that moves goes on with higher numbers
                    tap.number = max(tap.number + 1, time.time_ns() // 1_000_000)
                    entries.append(StreamEntry(audio_stream(call_id), tap.number, message))
            try:
                if entries:
                    await self._bus.append(entries, keep=KEPT_MESSAGES, ttl=KEPT_SECONDS)
            except BusUnavailable as error:
                log.info("listeners miss audio: %s", error)
                for _, tap in self._taps.values():
                    tap.drop()
