"""Session events for whoever observes a call, from any node: out through a stream, never awaited.

Rules
- ``publish`` neither blocks nor awaits. Events wait in one bounded queue; overflow drops the
  *oldest* event, and counts it. An outage of Redis does no more than fill that queue; it is
  logged when it begins and when it ends.
- Events of a call are numbered from 1 when published, in order; a dropped event keeps its
  number, so an observer sees the hole, as an event (``MISSED``).
- A call's events are published by one Fanout (the node that carries the call).
- An event ``publish``ed to one follower (``to``) is seen by that one only.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec

from store.bus import Bus, StreamEntry
from store.errors import BusUnavailable

logger = logging.getLogger(__name__)

MISSED = "blab.events.missed"
"""Type of the event that stands for a hole: ``first`` and ``last`` are the lost numbers."""
_TO = "blab.to"
"""Field of an event that is for one follower only."""
_END = b"end"
QUEUE_EVENTS = 4096
BATCH_EVENTS = 128
KEPT_EVENTS = 2000
"""Of each call, about; an observer who joins later sees from there on."""
KEPT_SECONDS = 3600.0
"""After the last event of a call."""
_PAUSES = (0.05, 0.25, 1.0)


def _stream(call_id: str) -> str:
    return f"call:{call_id}:events"


class Fanout:
    """Publishes the events of this node's calls, follows those of any."""

    def __init__(self, bus: Bus, *, queue_events: int = QUEUE_EVENTS) -> None:
        self._bus = bus
        self._capacity = queue_events
        self._queue: deque[tuple[str, int, Mapping[str, Any] | None]] = deque()
        self._sequences: dict[str, int] = {}
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._writer: asyncio.Task[None] | None = None
        self.dropped = 0
        """Events that will never be seen, since the beginning."""

    def start(self) -> None:
        """Begin to write; call on the running loop."""
        self._writer = asyncio.create_task(self._write(), name="fanout-writer")

    async def stop(self, deadline: float = 2.0) -> None:
        """Write what waits, as far as the deadline (seconds) allows, and end."""
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

        ``to``: the name of the one follower that it is for."""
        sequence = self._sequences[call_id] = self._sequences.get(call_id, 0) + 1
        if to is not None:
            event = {**event, _TO: to}
        self._enqueue(call_id, sequence, event)
        return sequence

    def end(self, call_id: str) -> None:
        """The call is over: its followers come to their end. Harmless for unknown calls."""
        if sequence := self._sequences.pop(call_id, 0):
            self._enqueue(call_id, sequence + 1, None)

    async def follow(
        self, call_id: str, after: int = 0, *, name: str = ""
    ) -> AsyncIterator[tuple[int, Mapping[str, Any]]]:
        """The events of a call with numbers above ``after``, as they come, with their numbers.

        ``name``: the follower's, for events that are published to it alone.

        Where numbers are missing (trimmed, dropped, lost with the server), an event of type
        MISSED comes in their place, numbered as the last of them. Ends with the call; follows
        through an outage of Redis. Whether there is such a call, ask the registry first; a
        call whose node dies never ends here, so close the generator when the registry says so.
        """
        tries = 0
        while True:
            try:
                entries = await self._bus.read(_stream(call_id), after)
                tries = 0
            except BusUnavailable:
                await asyncio.sleep(_PAUSES[min(tries, len(_PAUSES) - 1)])
                tries += 1
                continue
            for sequence, data in entries:
                if sequence > after + 1:
                    yield sequence - 1, {"type": MISSED, "first": after + 1, "last": sequence - 1}
                after = sequence
                if data == _END:
                    return
                event = msgspec.json.decode(data)
                if event.pop(_TO, name) == name:
                    yield sequence, event

    def _enqueue(self, call_id: str, sequence: int, event: Mapping[str, Any] | None) -> None:
        if len(self._queue) >= self._capacity:
            self._queue.popleft()
            self.dropped += 1
        self._queue.append((call_id, sequence, event))
        self._idle.clear()
        self._wake.set()

    async def _write(self) -> None:
        """Forever: batches in order; after a failure the same batch again."""
        tries = 0
        while True:
            await self._wake.wait()
            batch = [self._queue.popleft() for _ in range(min(BATCH_EVENTS, len(self._queue)))]
            if not batch:
                self._wake.clear()
                self._idle.set()
                continue
            try:
                await self._bus.append(_entries(batch), keep=KEPT_EVENTS, ttl=KEPT_SECONDS)
            except BusUnavailable as error:
                if not tries:
                    logger.warning("session events wait, the oldest are dropped: %s", error)
                self._put_back(batch)
                await asyncio.sleep(_PAUSES[min(tries, len(_PAUSES) - 1)])
                tries += 1
            except asyncio.CancelledError:
                self._put_back(batch)
                raise
            else:
                if tries:
                    logger.warning("session events flow again; %d dropped so far", self.dropped)
                tries = 0

    def _put_back(self, batch: list[tuple[str, int, Mapping[str, Any] | None]]) -> None:
        """The batch goes to the front again; of what does not fit, the oldest are dropped."""
        room = max(0, self._capacity - len(self._queue))
        kept = batch[len(batch) - room :] if room < len(batch) else batch
        self.dropped += len(batch) - len(kept)
        self._queue.extendleft(reversed(kept))


def _entries(batch: list[tuple[str, int, Mapping[str, Any] | None]]) -> list[StreamEntry]:
    return [
        StreamEntry(
            _stream(call_id), sequence, _END if event is None else msgspec.json.encode(event)
        )
        for call_id, sequence, event in batch
    ]
