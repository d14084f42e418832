"""The call journal: writes calls and turns into Postgres; no call ever waits for it.

Rules
- ``opened``, ``record`` and ``closed`` are synchronous: they queue an entry and return. One
  background task writes the entries in that order, up to ``GROUP`` of them in a transaction: an
  idle node writes at once, a busy one many entries for the price of one commit.
- While the database is unavailable, the writer retries the same group, with back-off, for as long
  as it takes.
- If the database refuses a group, or a fault ends its writing, its entries are written one by one:
  the one that fails then is logged (never its text) and skipped.
- The queue is bounded. When it is full, the *new* entry is dropped, counted and logged, so that the
  stored part has no gaps. A call left open is closed as an orphan once this node is gone.
- Times are those of the method calls, not of the writing.
- A turn is booked in the transaction that stores it, and never twice. Storing it again under the
  same id, here or on another node, changes nothing.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import msgspec

from sessions.core.commands import RecordTurn
from sessions.core.config import SessionConfig
from sessions.recording.parts import PartRecord
from store.database import Database
from store.errors import DatabaseUnavailable, StoreRefused
from store.ids import new_id
from store.tenants.calls import Calls, NewCall, NewTurn, Turns
from store.tenants.recordings import Recordings

logger = logging.getLogger(__name__)

QUEUE_ENTRIES = 2048
GROUP = 64
"""Entries of a transaction at most. Where a commit took 20 ms, 2,048 entries were written in 1.5 s
(one by one: 48 s), and in 1.2 s on a quick disk (2.1 s)."""
_PAUSES = (0.1, 0.5, 1.0, 2.0, 5.0)

BookTurn = Callable[[Any, str, str, NewTurn], Awaitable[None]]
"""Books a turn in the transaction that stores it; takes connection, workspace, call and turn."""

_Write = Callable[[Any], Awaitable[object]]
"""Writes an entry over the transaction's connection; safe to repeat."""

_Entry = tuple[str, _Write]
"""Its name, for the log, and how to write it."""


@dataclass(frozen=True, slots=True)
class OpenedCall:
    """A call that has started. ``call_id`` from ``store.ids.new_id("call")``; ``caller``: as in
    CallRequest."""

    call_id: str
    workspace_id: str
    agent_id: str | None
    channel: str
    config: SessionConfig
    caller: bytes | None = None


class CallJournal:
    """Writes this node's calls and turns."""

    def __init__(
        self,
        database: Database,
        node_id: str,
        *,
        book: BookTurn | None = None,
        queue_entries: int = QUEUE_ENTRIES,
    ) -> None:
        """``node_id``: as in the registry, which shows whose calls are orphans. Without ``book``,
        turns are stored but not booked."""
        self._database = database
        self._book = book
        self._node_id = node_id
        self._capacity = queue_entries
        self._queue: deque[_Entry] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._writer: asyncio.Task[None] | None = None
        self.dropped = 0
        """How many entries have been lost since the process started."""

    @property
    def waiting(self) -> int:
        """How many entries are not written yet."""
        return len(self._queue)

    def start(self) -> None:
        """Start writing; call it on the running loop."""
        self._writer = asyncio.create_task(self._write(), name="call-journal")

    async def stop(self, deadline: float = 5.0) -> None:
        """Write the queued entries, within ``deadline`` seconds, and stop."""
        if self._writer is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline):
                await self._idle.wait()
        self._writer.cancel()
        await asyncio.gather(self._writer, return_exceptions=True)
        self._writer = None
        if self._queue:
            self.dropped += len(self._queue)
            logger.error("%d journal entries were not written before shutdown", len(self._queue))
            self._queue.clear()

    def opened(self, call: OpenedCall, started_at: datetime | None = None) -> None:
        """A call has started, now or at ``started_at``."""
        new = NewCall(
            id=call.call_id,
            agent_id=call.agent_id,
            node_id=self._node_id,
            channel=call.channel,
            config=msgspec.to_builtins(call.config),
            started_at=started_at or datetime.now(UTC),
            caller=call.caller,
            agent_version=call.config.agent_version,
        )
        self._enqueue(
            f"call {call.call_id}",
            lambda connection: Calls(connection).open(call.workspace_id, new),
        )

    def resumed(self, call: OpenedCall, started_at: datetime) -> None:
        """A call that has started elsewhere goes on here; its record may be missing, or closed."""
        self.opened(call, started_at)
        self._enqueue(
            f"return of {call.call_id}",
            lambda connection: Calls(connection).adopt(
                call.workspace_id, call.call_id, self._node_id
            ),
        )

    def recording(self, part: PartRecord) -> None:
        """A part of the call is being recorded from now on; after ``opened`` or ``resumed``."""
        self._enqueue(
            f"recording of {part.call_id}",
            lambda connection: Recordings(connection).begin(
                part.workspace_id, part.call_id, part.number, part.begins_ms, part.keep_days
            ),
        )

    def record(self, workspace_id: str, call_id: str, turn: RecordTurn) -> None:
        """A turn of the call has ended."""
        self.store(workspace_id, call_id, stored_turn(turn))

    def store(self, workspace_id: str, call_id: str, turn: NewTurn) -> None:
        """Store a turn that has ended. Harmless if repeated."""
        self._enqueue(
            f"turn {turn.number} of {call_id}",
            lambda connection: self._store(connection, workspace_id, call_id, turn),
        )

    def closed(self, workspace_id: str, call_id: str, reason: str) -> None:
        """The call has ended. Harmless if repeated, or if the call is unknown."""
        now = datetime.now(UTC)
        self._enqueue(
            f"end of {call_id}",
            lambda connection: Calls(connection).close(workspace_id, call_id, reason, now),
        )

    async def _store(self, connection: Any, workspace_id: str, call_id: str, turn: NewTurn) -> None:
        stored = await Turns(connection).insert(workspace_id, call_id, turn)
        if stored and self._book is not None:
            await self._book(connection, workspace_id, call_id, turn)

    def _enqueue(self, what: str, write: _Write) -> None:
        if len(self._queue) >= self._capacity:
            self.dropped += 1
            logger.error("the journal is full: %s was dropped (%d so far)", what, self.dropped)
            return
        self._queue.append((what, write))
        self._idle.clear()
        self._wake.set()

    async def _write(self) -> None:
        """Write what waits, a group at a time, for ever."""
        while True:
            await self._wake.wait()
            if self._queue:
                await self._settle(list(islice(self._queue, GROUP)))
            else:
                self._wake.clear()
                self._idle.set()

    async def _settle(self, group: Sequence[_Entry]) -> None:
        """Write the head of the queue and remove it, without the entries that are refused."""
        try:
            await self._commit(group)
        except Exception as error:  # noqa: BLE001 - refused, or our fault: it costs its entry only
            reason = error if isinstance(error, StoreRefused) else type(error).__name__
            if len(group) > 1:
                logger.warning("%d journal entries are written one by one: %s", len(group), reason)
                for entry in group:
                    await self._settle([entry])
                return
            self.dropped += 1
            logger.error("%s could not be stored: %s", group[0][0], reason)
        for _ in group:
            self._queue.popleft()

    async def _commit(self, group: Sequence[_Entry]) -> None:
        """Write entries in one transaction, however long the database is unavailable; raises
        StoreRefused."""
        tries = 0
        while True:
            try:
                async with self._database.transaction() as connection:
                    for _, write in group:
                        await write(connection)
                break
            except DatabaseUnavailable as error:
                if not tries:
                    logger.warning("the journal is waiting for the database: %s", error)
            await asyncio.sleep(_PAUSES[min(tries, len(_PAUSES) - 1)])
            tries += 1
        if tries:
            logger.warning("the journal is writing again; %d entries are queued", len(self._queue))


def stored_turn(turn: RecordTurn) -> NewTurn:
    """The turn as it is stored, with a new id."""
    latency = turn.latency
    return NewTurn(
        id=new_id("turn"),
        number=turn.turn,
        user_text=turn.user_text,
        reply_text=turn.reply_text,
        heard_text=turn.heard_text,
        interrupted=turn.interrupted,
        status=str(turn.status),
        endpointing_ms=latency.endpointing_ms if latency else None,
        stt_ms=latency.stt_ms if latency else None,
        llm_ms=latency.llm_ms if latency else None,
        tts_ms=latency.tts_ms if latency else None,
        gateway_ms=latency.gateway_ms if latency else None,
        total_ms=latency.total_ms if latency else None,
        prompt_tokens=turn.usage[0],
        completion_tokens=turn.usage[1],
        created_at=datetime.now(UTC),
    )
