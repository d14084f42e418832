"""A call's events leave its node through a capped stream, which any node can read (``following``).

The call never waits for Redis.

Rules
- ``publish`` neither blocks nor awaits. Events wait in one bounded queue; when it is full, the
  *oldest* event is dropped and counted. An outage of Redis only fills that queue; its beginning
  and its end are logged.
- The events of a call are numbered from 1, in order of publishing. A dropped event keeps its
  number, so an observer sees the gap.
- A call that moves to another node keeps its numbers: its new node calls ``adopt`` before the first
  event there, and its old node, if it is alive, ``release`` instead of ``end``.
- An event published to one follower (``to``) is seen by that follower only.
- Followers on this node (``Near``) get an event at once, the others through Redis.
- Events of all calls that come within ``WRITE_SECONDS`` of a write leave together in the next one.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from store.bus import Bus, StreamEntry
from store.errors import BusUnavailable

from .audio_tap import audio_stream
from .resumption.stored_calls import resumption_key

log = logging.getLogger(__name__)

PAUSES = (0.05, 0.25, 1.0)
"""Seconds before the next try while Redis does not answer; the last one repeats."""
ADDRESSEE = "blab.to"
"""The field that names the one follower of an event."""
END = b"end"
"""The last entry of a call's stream."""
QUEUE_EVENTS = 4096
BATCH_EVENTS = 128
KEPT_EVENTS = 2000
"""About how many events of a call are kept for observers who join later."""
KEPT_SECONDS = 3600.0
"""How long they are kept after the last event of the call."""
WRITE_SECONDS = 0.02
"""Between two writes; an event that comes alone is written at once."""


Near = Callable[[str, int, Mapping[str, Any] | None], bytes | None]
"""Takes an event of a call (None: the call is over) for its followers on this node; returns it as
it is written, None if nobody follows the call here."""
_Queued = tuple[str, int, Mapping[str, Any] | bytes | None]


def stream_of(call_id: str) -> str:
    """The name of a call's stream."""
    return f"call:{call_id}:events"


async def forget(bus: Bus, call_ids: Sequence[str]) -> None:
    """Delete what Redis has of calls that have ended: their events, their audio for listeners, and
    what would resume them. Raises BusUnavailable."""
    for call_id in call_ids:
        for key in (stream_of(call_id), audio_stream(call_id), resumption_key(call_id)):
            await bus.delete(key)


class Fanout:
    """Publishes the events of this node's calls."""

    def __init__(
        self, bus: Bus, *, near: Near | None = None, queue_events: int = QUEUE_EVENTS
    ) -> None:
        self._bus = bus
        self._near = near
        self._capacity = queue_events
        self._queue: deque[_Queued] = deque()
        self._sequences: dict[str, int] = {}
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._writer: asyncio.Task[None] | None = None
        self.dropped = 0
        """How many events have been dropped since the process started."""

    @property
    def waiting(self) -> int:
        """How many events are not written yet."""
        return len(self._queue)

    def start(self) -> None:
        """Start writing; call it on the running loop."""
        self._writer = asyncio.create_task(self._write(), name="fanout-writer")

    async def stop(self, deadline: float = 2.0) -> None:
        """Write the queued events, within ``deadline`` seconds, and stop."""
        if self._writer is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline):
                await self._idle.wait()
        self._writer.cancel()
        await asyncio.gather(self._writer, return_exceptions=True)
        self._writer = None
        self.dropped += len(self._queue)
        self._queue.clear()
        self._sequences.clear()

    def publish(self, call_id: str, event: Mapping[str, Any], *, to: str | None = None) -> int:
        """Queue an event and return its number. The event must not change afterwards.

        ``to``: the name of the only follower who is to see it."""
        sequence = self._sequences[call_id] = self._sequences.get(call_id, 0) + 1
        if to is not None:
            event = {**event, ADDRESSEE: to}
        self._enqueue(call_id, sequence, event)
        return sequence

    def end(self, call_id: str) -> None:
        """The call is over: end its followers. Harmless for unknown calls."""
        if sequence := self._sequences.pop(call_id, 0):
            self._enqueue(call_id, sequence + 1, None)

    async def adopt(self, call_id: str, after: int = 0) -> int:
        """Continue the numbers of a call that comes from another node: the next event gets the
        number behind its last one, so that observers see one call without a break.

        ``after``: the last number that is known otherwise (``release``), if it is; numbers between
        the stream's last one and that are reported as missed. Call it before anything is published
        here. Returns the last number; raises BusUnavailable."""
        last = max(after, await self._bus.last(stream_of(call_id)), self._sequences.get(call_id, 0))
        self._sequences[call_id] = last
        return last

    def release(self, call_id: str) -> int:
        """The call goes on elsewhere: forget its numbers without ending its followers. Returns the
        number of its last event, for ``adopt``; 0 for unknown calls."""
        return self._sequences.pop(call_id, 0)

    def _enqueue(self, call_id: str, sequence: int, event: Mapping[str, Any] | None) -> None:
        if len(self._queue) >= self._capacity:
            self._queue.popleft()
            self.dropped += 1
        taken = self._near(call_id, sequence, event) if self._near is not None else None
        self._queue.append((call_id, sequence, event if taken is None else taken))
        self._idle.clear()
        self._wake.set()

    async def _write(self) -> None:
        """Write batches in order, for ever; after a failure, retry the same batch."""
        tries, loop = 0, asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            batch = [self._queue.popleft() for _ in range(min(BATCH_EVENTS, len(self._queue)))]
            if not batch:
                self._wake.clear()
                self._idle.set()
                continue
            began = loop.time()
            try:
                await self._bus.append(_entries(batch), keep=KEPT_EVENTS, ttl=KEPT_SECONDS)
            except BusUnavailable as error:
                if not tries:
                    log.warning(
                        "session events are queued, and the oldest may be dropped: %s", error
                    )
                self._put_back(batch)
                await asyncio.sleep(PAUSES[min(tries, len(PAUSES) - 1)])
                tries += 1
                continue
            except asyncio.CancelledError:
                self._put_back(batch)
                raise
            if tries:
                log.warning("session events are published again; %d dropped so far", self.dropped)
            tries = 0
            if not self._queue:
                self._idle.set()
            if len(self._queue) < BATCH_EVENTS:
                await asyncio.sleep(began + WRITE_SECONDS - loop.time())

    def _put_back(self, batch: list[_Queued]) -> None:
        """Put the batch back at the front; if it does not fit, drop its oldest events."""
        room = max(0, self._capacity - len(self._queue))
        kept = batch[len(batch) - room :] if room < len(batch) else batch
        self.dropped += len(batch) - len(kept)
        self._queue.extendleft(reversed(kept))


def _entries(batch: list[_Queued]) -> list[StreamEntry]:
    return [
        StreamEntry(stream_of(call_id), sequence, encoded(event))
        for call_id, sequence, event in batch
    ]


def encoded(event: Mapping[str, Any] | bytes | None) -> bytes:
    """An event as it is written; None: the end of the call."""
    if isinstance(event, bytes):
        return event
    return END if event is None else msgspec.json.encode(event)
