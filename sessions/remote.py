"""A call as other nodes see it: its events leave through a stream, requests arrive in a queue.

The call never waits for Redis. Its own node publishes and executes; any node follows and sends.

Rules of events
- ``publish`` neither blocks nor awaits. Events wait in one bounded queue; when it is full, the
  *oldest* event is dropped and counted. An outage of Redis only fills that queue; its beginning
  and its end are logged.
- The events of a call are numbered from 1, in order of publishing. A dropped event keeps its
  number, so an observer sees the gap, as an event (``MISSED``).
- An event published to one follower (``to``) is seen by that follower only.

Rules of requests
- The requests for a call wait in one queue of ``WAITING``. If it is full, ``send`` returns False,
  so that a flood reaches neither the call nor its neighbours.
- A request that is not taken within ``REQUEST_SECONDS`` is dropped: its node is dead.
- One task per node waits for signals. After an outage it checks the queues of all its calls,
  because signals may have been lost.
- A request is injected as if the caller had sent it. Its effects are published as usual; a refusal
  is published to the sender alone.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from typing import Any

import msgspec

from store.bus import Bus, StreamEntry
from store.errors import BusUnavailable

from .live import Answer, LiveSession

log = logging.getLogger(__name__)

_PAUSES = (0.05, 0.25, 1.0)
"""Seconds before the next try while Redis does not answer; the last one repeats."""


# ---------------------------------------------------------------------- events out


MISSED = "blab.events.missed"
"""The type of the event that stands for a gap; ``first`` and ``last`` are the missing numbers."""
_TO = "blab.to"
"""The field that names the one follower of an event."""
_END = b"end"
QUEUE_EVENTS = 4096
BATCH_EVENTS = 128
KEPT_EVENTS = 2000
"""About how many events of a call are kept for observers who join later."""
KEPT_SECONDS = 3600.0
"""How long they are kept after the last event of the call."""


def _stream(call_id: str) -> str:
    return f"call:{call_id}:events"


class Fanout:
    """Publishes the events of this node's calls, and follows those of any call."""

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
            event = {**event, _TO: to}
        self._enqueue(call_id, sequence, event)
        return sequence

    def end(self, call_id: str) -> None:
        """The call is over: end its followers. Harmless for unknown calls."""
        if sequence := self._sequences.pop(call_id, 0):
            self._enqueue(call_id, sequence + 1, None)

    async def follow(
        self, call_id: str, after: int = 0, *, name: str = ""
    ) -> AsyncIterator[tuple[int, Mapping[str, Any]]]:
        """Yield the number and the content of each event of a call numbered above ``after``.

        ``name``: the follower's, for events that are published to it alone.

        If numbers are missing (trimmed, dropped, lost with the server), an event of type MISSED
        takes their place, with the number of the last one. The generator ends with the call and
        survives outages of Redis. Check with the registry first that the call exists. A call whose
        node dies never ends here, so close the generator when the registry says so.
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
        """Write batches in order, for ever; after a failure, retry the same batch."""
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
                    log.warning(
                        "session events are queued, and the oldest may be dropped: %s", error
                    )
                self._put_back(batch)
                await asyncio.sleep(_PAUSES[min(tries, len(_PAUSES) - 1)])
                tries += 1
            except asyncio.CancelledError:
                self._put_back(batch)
                raise
            else:
                if tries:
                    log.warning(
                        "session events are published again; %d dropped so far", self.dropped
                    )
                tries = 0

    def _put_back(self, batch: list[tuple[str, int, Mapping[str, Any] | None]]) -> None:
        """Put the batch back at the front; if it does not fit, drop its oldest events."""
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


# ---------------------------------------------------------------------- requests in


WAITING = 32
"""How many requests for one call may wait."""
REQUEST_SECONDS = 20.0
HANG_UP_REASON = "client_hangup"
_TAKEN_AT_ONCE = 16


class RemoteRequest(msgspec.Struct, frozen=True):
    """A client event for a call, from ``sender``. Without ``message``, it ends the call, or, if
    ``describe`` is set, has the current session sent to the sender."""

    sender: str
    message: dict[str, Any] | None = None
    describe: bool = False


def _queue(call_id: str) -> str:
    return f"call:{call_id}:commands"


def _signal(node_id: str) -> str:
    return f"node:{node_id}:bell"


class RemoteRequests:
    """Sends requests to calls of any node, and executes those for this node's calls."""

    def __init__(
        self,
        bus: Bus,
        fanout: Fanout,
        node_id: str,
        find: Callable[[str], LiveSession | None],
        calls: Callable[[], Collection[str]],
    ) -> None:
        """``find``: a call of this node; ``calls``: the ids of all of them."""
        self._bus = bus
        self._fanout = fanout
        self._node_id = node_id
        self._find = find
        self._calls = calls
        self._listener: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start listening; call it on the running loop."""
        self._listener = asyncio.create_task(self._listen(), name="remote-requests")

    async def stop(self) -> None:
        """Stop listening."""
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.gather(self._listener, return_exceptions=True)
            self._listener = None

    async def send(self, node_id: str, call_id: str, request: RemoteRequest) -> bool:
        """Queue a request for a call of ``node_id``; False if too many are waiting. Raises
        BusUnavailable."""
        return await self._bus.post(
            _queue(call_id),
            msgspec.json.encode(request),
            bell=_signal(node_id),
            name=call_id,
            keep=WAITING,
            ttl=REQUEST_SECONDS,
        )

    async def _listen(self) -> None:
        tries = 0
        while True:
            try:
                if tries:
                    for call_id in tuple(self._calls()):
                        await self._drain(call_id)
                    log.info("requests from other nodes arrive again")
                    tries = 0
                signalled = await self._bus.rung(_signal(self._node_id))
                if signalled is not None:
                    await self._drain(signalled)
            except BusUnavailable as error:
                if not tries:
                    log.warning("requests from other nodes are delayed: %s", error)
                await asyncio.sleep(_PAUSES[min(tries, len(_PAUSES) - 1)])
                tries += 1

    async def _drain(self, call_id: str) -> None:
        """Execute the requests in a call's queue, a few at a time."""
        while taken := await self._bus.collect(_queue(call_id), _TAKEN_AT_ONCE):
            for encoded in taken:
                try:
                    self._carry_out(call_id, msgspec.json.decode(encoded, type=RemoteRequest))
                except Exception:  # a request's edge: a fault fails this request only
                    log.exception("a request to call %s failed", call_id)

    def _carry_out(self, call_id: str, request: RemoteRequest) -> None:
        call = self._find(call_id)
        if call is None:
            return
        answer = self._answer(call_id, request.sender)
        if request.message is not None:
            call.inject(request.message, answer)
        elif request.describe:
            call.describe(answer)
        else:
            call.hang_up(HANG_UP_REASON)

    def _answer(self, call_id: str, sender: str) -> Answer:
        def publish(events: list[dict[str, Any]]) -> None:
            for event in events:
                self._fanout.publish(call_id, event, to=sender)

        return publish
