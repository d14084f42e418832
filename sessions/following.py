"""Following calls of any node: one reader for all observers of this node, each event read once.

Rules
- One task reads the streams of all followed calls, in one blocking request to Redis. Nobody
  follows, nothing is read.
- Each followed call has a *tail*: its latest events, at most ``TAIL_EVENTS`` and ``TAIL_BYTES``,
  shared by its followers. A follower is a position in it; it holds no events of its own.
- Events of this node's own calls come into the tail when they are published (``near``), if none is
  missing before them; Redis has them a moment later, and brings what is missing.
- A follower behind the tail (late, or slow) reads on from Redis, where about the last 2,000 events
  of a call are kept, and joins the tail again. Only what is gone there too is missed, and is
  reported: ``MISSED`` stands for it.
- Followers who have everything are served in slices of ``SLICE``, with the event loop running in
  between: a thousand observers delay no call's audio.
- A batch is rendered once for each form in which observers want it (``Batch.once``), not once for
  each observer.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from store.bus import Bus, StreamEntry
from store.errors import BusUnavailable
from store.ids import new_id

from .audio_tap import audio_stream
from .fanout import ADDRESSEE, END, PAUSES, encoded, stream_of

log = logging.getLogger(__name__)

MISSED = "blab.events.missed"
"""The type of the event that stands for a gap; ``first`` and ``last`` are the missing numbers."""
TAIL_EVENTS = 512
TAIL_BYTES = 1024 * 1024
SLICE = 50
"""Followers served before the event loop runs: 0.4 ms where each is one write to a socket."""
NEAR_SECONDS = 0.005
"""Events that come so close together reach a follower in one write: to a thousand followers each
write takes 15 to 30 ms, and the next event would wait for it."""
_READ_AT_ONCE = 200
_WAIT_SECONDS = 0.5
_BELL_SECONDS = 60.0
_ADDRESSED = f'"{ADDRESSEE}":'.encode()
"""Quotation marks within a JSON text are escaped: these bytes are a field's name."""

T = TypeVar("T")


class _Addressed(msgspec.Struct):
    to: str | None = msgspec.field(name=ADDRESSEE, default=None)


class _Typed(msgspec.Struct):
    type: str = ""


class PublishedEvent:
    """One event of a call. ``data``: JSON, as its caller gets it. ``to``: the name of the only
    follower who is to see it, None for all."""

    __slots__ = ("data", "is_gap", "number", "to")

    def __init__(self, number: int, data: bytes, *, is_gap: bool = False) -> None:
        """``is_gap``: it stands for missing events."""
        self.number = number
        self.data = data
        self.is_gap = is_gap
        self.to: str | None = None
        if _ADDRESSED in data and (to := msgspec.json.decode(data, type=_Addressed).to):
            plain = msgspec.json.decode(data)
            del plain[ADDRESSEE]
            self.to, self.data = to, msgspec.json.encode(plain)

    @property
    def type(self) -> str:
        """Its type."""
        return msgspec.json.decode(self.data, type=_Typed).type

    @property
    def numbered(self) -> bytes:
        """The JSON with its number as ``sequence_number``."""
        return b'%b,"sequence_number":%d}' % (self.data[:-1], self.number)


def _missed(first: int, last: int) -> PublishedEvent:
    gap = {
        "type": MISSED,
        "event_id": f"event_missed_{first}_{last}",
        "first": first,
        "last": last,
    }
    return PublishedEvent(last, msgspec.json.encode(gap), is_gap=True)


@dataclass(slots=True)
class Batch:
    """Events of one call in their order, perhaps none; ``last``: the position behind them.
    ``ended``: the call is over, and nothing follows."""

    events: Sequence[PublishedEvent]
    last: int
    ended: bool = False
    _rendered: dict[object, Any] = field(default_factory=dict)

    def once(self, render: Callable[["Batch"], T]) -> T:
        """What ``render`` makes of it: made once, and shared by all who ask for it."""
        if render not in self._rendered:
            self._rendered[render] = render(self)
        made: T = self._rendered[render]
        return made

    def seen_by(self, name: str) -> "Batch":
        """Without the events that are for other followers."""
        addressees = {event.to for event in self.events}
        if addressees <= {None}:
            return self
        if name in addressees:
            mine = [event for event in self.events if event.to in (None, name)]
            return Batch(mine, self.last, self.ended)
        return self.once(_for_all)


def _for_all(batch: Batch) -> Batch:
    events = [event for event in batch.events if event.to is None]
    return Batch(events, batch.last, batch.ended)


class _Tail:
    """The latest events of one call, and who follows them here."""

    def __init__(self, after: int) -> None:
        self.last = after
        """The number of the last event that was read."""
        self.begins_after = after
        """Everything later is in ``events``, or was never published."""
        self.events: deque[PublishedEvent] = deque()
        self.bytes = 0
        self.ended = False
        self.followers: set[Follower] = set()
        self.lock = asyncio.Lock()
        """Held while a batch is handed out."""

    def take(self, entries: Sequence[tuple[int, bytes]]) -> Batch:
        """Add what was read; returns what is new."""
        new: list[PublishedEvent] = []
        last = self.last
        for number, data in entries:
            if number <= last or self.ended:
                continue
            if number > last + 1:
                new.append(_missed(last + 1, number - 1))
            last = number
            if data == END:
                self.ended = True
            else:
                new.append(PublishedEvent(number, data))
        self.last = last
        self.events.extend(new)
        self.bytes += sum(len(event.data) for event in new)
        while len(self.events) > TAIL_EVENTS or self.bytes > TAIL_BYTES:
            dropped = self.events.popleft()
            self.bytes -= len(dropped.data)
            self.begins_after = dropped.number
        return Batch(new, last, self.ended)

    def after(self, position: int) -> Batch | None:
        """What follows ``position``, with a gap where that is gone; None where nothing does."""
        if position >= self.last:
            return Batch((), position, ended=True) if self.ended else None
        events = [event for event in self.events if event.number > position]
        if self.begins_after > position:
            events.insert(0, _missed(position + 1, self.begins_after))
        return Batch(events, self.last, self.ended)


class Follower:
    """One observer of one call. ``position``: the number of the last event that it has."""

    def __init__(self, following: "Following", call_id: str, position: int, name: str) -> None:
        self._following = following
        self._call_id = call_id
        self.position = position
        self.name = name
        self.news = asyncio.Event()
        self.push: Callable[[Batch], bool] | None = None
        self.ended = False

    async def take(self) -> Batch | None:
        """The events that the follower does not have yet; None where there are none now: ``news``
        is set when there are, or once ``ended``.

        Survives outages of Redis. Check with the registry first that the call exists. A call whose
        node dies never ends here: ``leave`` when the registry says so."""
        self.news.clear()
        if self.ended:
            return None
        batch = await self._following.behind(self._call_id, self)
        if batch is None:
            return None
        self.position = batch.last
        self.ended = self.ended or batch.ended
        return batch.seen_by(self.name)

    async def next(self) -> Batch | None:
        """As ``take``, as soon as there are some; None once the call has ended."""
        while not self.ended:
            if (batch := await self.take()) is not None:
                return batch
            await self.news.wait()
        return None

    def leave(self) -> None:
        """Follow no longer."""
        self.ended = True
        self.news.set()

    async def attend(self, push: Callable[[Batch], bool]) -> None:
        """Have new events pushed as they are read, for as long as ``push`` takes them.

        ``push`` neither blocks nor awaits, and returns False, without having sent anything, where
        its client does not keep up. Returns when ``next`` has something: at once if the follower
        is behind."""
        self.news.clear()
        if self.ended or not self._following.is_up_to_date(self._call_id, self):
            return
        self.push = push
        try:
            await self.news.wait()
        finally:
            self.push = None

    def offer(self, batch: Batch, before: int) -> None:
        """The tail has grown by ``batch``, from position ``before``."""
        if self.push is not None and self.position == before and not batch.ended:
            if self.push(batch.seen_by(self.name)):
                self.position = batch.last
                return
            self.push = None
        self.news.set()


class Following:
    """The followers of this node, whichever node their calls are on."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._tails: dict[str, _Tail] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._wanted = asyncio.Event()
        self._bell = f"following:{new_id('node')}:bell"
        """A stream of this node's own: an entry ends the reader's wait, for a longer list."""
        self._rung = self._heard = 0
        self._near: dict[str, list[tuple[int, bytes]]] = {}
        """By call id: events of this node that have not been handed out."""
        self._came = asyncio.Event()

    def start(self) -> None:
        """Start reading; call it on the running loop."""
        self._tasks = [
            asyncio.create_task(self._read(), name="following-reader"),
            asyncio.create_task(self._hand_out_near(), name="following-near"),
        ]

    async def stop(self) -> None:
        """Stop reading; followers get nothing more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    def near(self, call_id: str, number: int, event: Mapping[str, Any] | None) -> bytes | None:
        """See ``fanout.Near``."""
        if call_id not in self._tails:
            return None
        data = encoded(event)
        waiting = self._near.setdefault(call_id, [])
        if len(waiting) < TAIL_EVENTS:
            waiting.append((number, data))
        self._came.set()
        return data

    @contextlib.contextmanager
    def follow(self, call_id: str, after: int = 0, *, name: str = "") -> Iterator[Follower]:
        """Follow a call from the events numbered above ``after`` on.

        ``name``: the follower's, for events that are published to it alone."""
        follower = Follower(self, call_id, after, name)
        try:
            yield follower
        finally:
            self._leave(call_id, follower)

    async def audio(self, call_id: str) -> AsyncIterator[list[bytes]]:
        """The messages of a call's audio from now on (``audio_tap``), as they come; ``END`` is the
        last one. Takes a connection of its own; survives outages of Redis."""
        stream, tries, after = audio_stream(call_id), 0, -1
        while True:
            try:
                if after < 0:
                    after = await self._bus.last(stream)
                found = await self._bus.read({stream: after}, wait=_WAIT_SECONDS)
                tries = 0
            except BusUnavailable:
                await asyncio.sleep(PAUSES[min(tries, len(PAUSES) - 1)])
                tries += 1
                continue
            if entries := found.get(stream):
                after = entries[-1][0]
                yield [message for _, message in entries]

    # ------------------------------------------------------------------ for followers

    def is_up_to_date(self, call_id: str, follower: Follower) -> bool:
        """Whether the follower has joined the tail and has all of it."""
        tail = self._tails.get(call_id)
        return tail is not None and follower in tail.followers and follower.position == tail.last

    async def behind(self, call_id: str, follower: Follower) -> Batch | None:
        """What the follower does not have yet; None where it has everything: then it has joined
        the tail, and its ``news`` is set when there is more."""
        tries = 0
        while True:
            tail = self._tails.get(call_id)
            if tail is not None and follower.position >= tail.begins_after:
                tail.followers.add(follower)
                return tail.after(follower.position)
            try:
                entries = await self._bus.range(
                    stream_of(call_id), follower.position, count=_READ_AT_ONCE
                )
            except BusUnavailable:
                await asyncio.sleep(PAUSES[min(tries, len(PAUSES) - 1)])
                tries += 1
                continue
            if entries:
                return _Tail(follower.position).take(entries)
            tail = self._tails.get(call_id)
            if tail is None:
                self._tails[call_id] = _Tail(follower.position)
                await self._ring()
            elif tail.events or tail.ended:  # what lies between is gone
                tail.followers.add(follower)
                return tail.after(follower.position)
            else:  # somebody named a number that has not come yet
                tail.last = tail.begins_after = min(tail.last, follower.position)
                await self._ring()

    def _leave(self, call_id: str, follower: Follower) -> None:
        tail = self._tails.get(call_id)
        if tail is not None:
            tail.followers.discard(follower)
            if not tail.followers:
                del self._tails[call_id]

    async def _ring(self) -> None:
        """Have the reader look at its list again."""
        self._wanted.set()
        self._rung += 1
        with contextlib.suppress(BusUnavailable):  # it looks again by itself soon
            await self._bus.append(
                [StreamEntry(self._bell, self._rung, b"")], keep=1, ttl=_BELL_SECONDS
            )

    # ------------------------------------------------------------------ reading

    async def _read(self) -> None:
        tries = 0
        while True:
            if not self._tails:
                self._wanted.clear()
                await self._wanted.wait()
            asked = {id: tail.last for id, tail in self._tails.items() if not tail.ended}
            positions = {stream_of(call_id): last for call_id, last in asked.items()}
            positions[self._bell] = self._heard
            try:
                found = await self._bus.read(positions, count=_READ_AT_ONCE, wait=_WAIT_SECONDS)
            except BusUnavailable as error:
                if not tries:
                    log.warning("observers get their events late: %s", error)
                await asyncio.sleep(PAUSES[min(tries, len(PAUSES) - 1)])
                tries += 1
                continue
            if tries:
                log.info("observers get their events again")
            tries = 0
            for number, _ in found.get(self._bell, ()):
                self._heard = number
            for call_id, last in asked.items():
                entries, tail = found.get(stream_of(call_id)), self._tails.get(call_id)
                if entries and tail is not None and tail.last >= last:
                    await self._feed(tail, entries)

    async def _hand_out_near(self) -> None:
        while True:
            await self._came.wait()
            await asyncio.sleep(NEAR_SECONDS)
            self._came.clear()
            near, self._near = self._near, {}
            for call_id, entries in near.items():
                if (tail := self._tails.get(call_id)) is not None:
                    await self._feed(tail, entries, is_near=True)

    async def _feed(
        self, tail: _Tail, entries: Sequence[tuple[int, bytes]], *, is_near: bool = False
    ) -> None:
        """Hand new events to the followers, a slice at a time."""
        async with tail.lock:
            before = tail.last
            if is_near:
                entries = [entry for entry in entries if entry[0] > before]
                if not entries or entries[0][0] != before + 1:
                    return  # what is before them is on its way through Redis
            batch = tail.take(entries)
            if batch.last == before:
                return
            for served, follower in enumerate(tuple(tail.followers), 1):
                try:
                    follower.offer(batch, before)
                except Exception:  # an observer's edge: a fault costs this one its place
                    log.exception("an observer could not be served")
                    follower.news.set()
                if served % SLICE == 0:
                    await asyncio.sleep(0)
