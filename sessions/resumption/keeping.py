"""Calls that survive their node: kept in Redis while they run, suspended, and taken over.

Rules
- A call is kept once its client has a handle, or its carrier names it. The audio path never waits:
  the session marks what changed, and one task writes the calls of this node, together.
- After every turn and item all of a call is written, within ``GATHER_SECONDS``; while somebody
  speaks, what moves is written every ``MOVING_SECONDS``. That is what a node that is killed loses.
- A turn that has ended goes to the journal when the checkpoint that holds it is written (or cannot
  be). So whoever resumes the call can write it again under its id, and it is there exactly once.
- A call that loses its connection without a goodbye is *suspended*: it stays registered here, its
  record stays open, and it ends as ``peer_gone`` if nobody resumes it within the window.
- A client gets a handle when the call is stored under it.
- While Redis is away, calls go on but cannot be resumed; afterwards they are written again.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from sessions.core.checkpoint import Checkpoint
from sessions.core.commands import Command, Publish, RecordTurn, StopPlayout
from sessions.core.config import Extension
from sessions.core.conversation import Conversation
from sessions.core.events import CallResumed, HangUp, PlayoutStopped
from sessions.core.notices import (
    HearingWaits,
    KeyReceived,
    Latency,
    PlayoutBegan,
    PlayoutHeld,
    PlayoutResumed,
    ReplyText,
    ResumptionHandle,
    SessionChanged,
    SessionOpened,
    TranscriptPartial,
)
from sessions.core.states import State
from sessions.live import PEER_LOST, RESUMED_ELSEWHERE, LiveSession
from store.bus import Saved, Versioned
from store.errors import BusUnavailable
from store.tenants.calls import NewTurn

from .stored_calls import StoredCall, StoredCalls, digest_of, new_handle

log = logging.getLogger(__name__)

MOVED = "moved"
"""The call goes on at another node; the client reconnects."""
SUSPENDED = frozenset((PEER_LOST, MOVED, RESUMED_ELSEWHERE))
"""The reasons for which a connection ends while its call goes on."""
PEER_GONE = "peer_gone"

GATHER_SECONDS = 0.02
MOVING_SECONDS = 0.5
RENEW_SECONDS = 300.0
"""How old a handle becomes before the client gets another. Both resume the call for a while."""
_BATCH = 32
_PAUSES = (0.1, 0.5, 1.0)
_RECORDS = 8
_RESTING = (State.LISTENING.value, State.USING_TOOLS.value, State.CLOSED.value)
_PASSING = (
    HearingWaits,
    KeyReceived,
    Latency,
    PlayoutBegan,
    PlayoutHeld,
    PlayoutResumed,
    ReplyText,
    TranscriptPartial,
)
"""Notices that change nothing but what moves."""

Store = Callable[[str, str, NewTurn], None]
"""``CallJournal.store``."""


class KeptCall:
    """One call of this node that can be resumed, once ``enable`` has been called."""

    def __init__(
        self, call: StoredCall, epoch: int, window: float, wake: Callable[[], None]
    ) -> None:
        self.call = call
        self.epoch = epoch
        self._window = window
        self._wake = wake
        self.session: LiveSession | None = None
        """None while the call is suspended."""
        self.enabled = False
        self.announces = False
        """The client is to know its handles. A carrier cannot: its handle stays the same."""
        self._of_carrier = False
        self.changed = False
        self.written_at = 0.0
        self.handle_at = 0.0
        self.records: deque[NewTurn] = deque(call.records, maxlen=_RECORDS)
        self.unstored: deque[NewTurn] = deque()
        """Turns that the journal has not got yet."""
        self._handle: str | None = None
        self._unsent: str | None = None
        """A handle that the client does not know yet."""
        self._in_snapshot: tuple[str, ...] = ()
        self._covered = 0
        """How many of ``unstored`` are in the last snapshot."""

    @property
    def call_id(self) -> str:
        """The id of the call."""
        return self.call.call_id

    @property
    def workspace_id(self) -> str:
        """Whose call it is."""
        return self.call.workspace_id

    def stepped(self, commands: list[Command]) -> None:
        """The session's core has made a step."""
        for command in commands:
            if isinstance(command, RecordTurn):
                self.mark()
            elif isinstance(command, Publish) and not isinstance(command.notice, _PASSING):
                notice = command.notice
                known = self.announces or self._of_carrier
                if isinstance(notice, SessionOpened | SessionChanged) and not known:
                    self.announces = Extension.RESUMPTION in notice.config.extensions
                    if self.announces:
                        self.enable()
                        self.renew_handle()
                self.mark()

    def enable(self) -> None:
        """From now on the call can be resumed by whoever has a handle."""
        self.enabled = True
        if self.session is not None:
            self.session.resumable = True
        self.mark()

    def carry(self, session: LiveSession, handle: str | None) -> None:
        """The call runs in ``session``. ``handle``: the carrier's, which resumes it."""
        self.session = session
        if handle is not None:
            self._of_carrier = True
            self.accept(handle)
            self.enable()

    def transfer(self, agent_id: str) -> None:
        """Another agent carries on the call."""
        self.call = replace(self.call, agent_id=agent_id)
        self.mark()

    def record(self, turn: NewTurn) -> bool:
        """Keep a turn that has ended, until its checkpoint is written; False if it is not kept."""
        if self.enabled:
            self.records.append(turn)
            self.unstored.append(turn)
            self.mark()
        return self.enabled

    def mark(self) -> None:
        """Have all of the call written soon."""
        if self.enabled and not self.changed:
            self.changed = True
            self._wake()

    def renew_handle(self) -> None:
        """Make another handle for the client, which gets it as soon as it is stored. The one before
        stays good until the next one."""
        self._unsent = new_handle(self.call_id)
        self.accept(self._unsent)

    def accept(self, handle: str) -> None:
        """Let ``handle`` resume the call."""
        self.handle_at = asyncio.get_running_loop().time()
        self.call = replace(self.call, handles=(digest_of(handle), *self.call.handles[:1]))
        self.mark()

    def stored(self) -> list[NewTurn]:
        """All of the call has been written, as of the last ``snapshot``. Returns the turns in it
        that the journal has not got yet."""
        sent, self._unsent = self._unsent, None
        if sent is not None and digest_of(sent) in self._in_snapshot:
            self._handle = sent
            self._announce(sent)
        else:
            self._unsent = sent
        covered, self._covered = self._covered, 0
        return [self.unstored.popleft() for _ in range(min(covered, len(self.unstored)))]

    @property
    def can_move(self) -> bool:
        """Whether the client can reconnect, and nobody speaks or is about to."""
        session = self.session
        if self._handle is None or session is None or not session.resumable:
            return False
        return session.state == State.LISTENING.value

    def move(self) -> None:
        """Have the client go on with the call at another node."""
        if self._handle is not None:
            self._announce(self._handle, reconnect=True)
        if self.session is not None:
            self.session.suspend(MOVED)

    def _announce(self, handle: str, *, reconnect: bool = False) -> None:
        if self.session is not None:
            resumed, window = self.epoch > 1, round(self._window)
            self.session.notify(ResumptionHandle(handle, window, resumed, reconnect))

    @property
    def moves(self) -> bool:
        """Whether something is being said."""
        return self.session is not None and self.session.state not in _RESTING

    def snapshot(self) -> StoredCall:
        """All of the call now."""
        session = self.session
        checkpoint = self.call.checkpoint if session is None else session.checkpoint()
        self.call = replace(self.call, checkpoint=checkpoint, records=tuple(self.records))
        self._in_snapshot, self._covered = self.call.handles, len(self.unstored)
        return self.call


class Resumptions:
    """The calls of this node that can be resumed, and the writer that keeps them in Redis."""

    def __init__(self, stored: StoredCalls, node_id: str, store: Store) -> None:
        """``store``: passes a turn that has ended to the journal."""
        self._stored = stored
        self._node_id = node_id
        self._store = store
        self._calls: dict[str, KeptCall] = {}
        self._wake = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._away = False

    @property
    def window(self) -> float:
        """Seconds within which a call can be resumed."""
        return self._stored.window

    def start(self) -> None:
        """Start writing; call it on the running loop."""
        self._writer = asyncio.create_task(self._write(), name="checkpoint-writer")

    async def stop(self) -> None:
        """Write what has changed, if Redis answers, and stop."""
        if self._writer is None:
            return
        self._writer.cancel()
        await asyncio.gather(self._writer, return_exceptions=True)
        self._writer = None
        await self._save_or_wait([kept for kept in self._calls.values() if kept.changed])
        self._calls.clear()

    def keep(self, call: StoredCall, epoch: int = 1) -> KeptCall:
        """Keep a call of this node, from now until ``end`` or ``leave``."""
        kept = KeptCall(call, epoch, self.window, self._wake.set)
        self._calls[call.call_id] = kept
        return kept

    def of(self, call_id: str) -> KeptCall | None:
        """The call, if it is kept on this node."""
        return self._calls.get(call_id)

    def suspend(self, kept: KeptCall) -> None:
        """The call has lost its connection: have that written at once."""
        kept.snapshot()
        kept.session, kept.changed = None, True
        self._wake.set()

    async def is_elsewhere(self, kept: KeptCall) -> bool:
        """Whether a suspended call has been resumed, here or on another node; False while Redis is
        away."""
        try:
            return await self._stored.epoch_of(kept.call_id) > kept.epoch
        except BusUnavailable:
            return False

    async def end(self, kept: KeptCall) -> bool:
        """The call is over: nobody resumes it any more. False if another node has it."""
        self.leave(kept)
        if not kept.enabled:
            return True
        try:
            return await self._stored.discard(kept.call_id, kept.epoch)
        except BusUnavailable as error:
            log.info("a call that has ended stays stored until it expires: %s", error)
            return True

    def leave(self, kept: KeptCall) -> None:
        """The call is no longer this node's. Its turns go to the journal."""
        if self._calls.get(kept.call_id) is kept:
            del self._calls[kept.call_id]
        self._hand_over_turns(kept)

    # ------------------------------------------------------------------ the writer

    async def _write(self) -> None:
        tries = 0
        while True:
            try:
                async with asyncio.timeout(MOVING_SECONDS):
                    await self._wake.wait()
                await asyncio.sleep(GATHER_SECONDS)
            except TimeoutError:
                pass
            self._wake.clear()
            now = asyncio.get_running_loop().time()
            due = [kept for kept in self._calls.values() if self._is_due(kept, now)]
            if await self._save_or_wait(due):
                tries = 0
            else:
                await asyncio.sleep(_PAUSES[min(tries, len(_PAUSES) - 1)])
                tries += 1

    def _is_due(self, kept: KeptCall, now: float) -> bool:
        if not kept.enabled:
            return False
        if kept.session is None:
            return kept.changed
        if kept.announces and now - kept.handle_at >= RENEW_SECONDS:
            kept.renew_handle()
        waited = now - kept.written_at
        return (
            kept.changed
            or waited >= self._stored.renewal
            or (kept.moves and waited >= MOVING_SECONDS)
        )

    async def _save_or_wait(self, due: list[KeptCall]) -> bool:
        """Save calls; False while Redis is away."""
        for start in range(0, len(due), _BATCH):
            batch = due[start : start + _BATCH]
            entries = [self._entry(kept) for kept in batch]
            try:
                saved = await self._stored.save(entries)
            except BusUnavailable as error:
                if not self._away:
                    log.warning("calls cannot be resumed for now: %s", error)
                self._away = True
                for kept in batch:
                    kept.changed = True
                    self._hand_over_turns(kept)
                return False
            for kept, outcome in zip(batch, saved, strict=True):
                self._note(kept, outcome)
        if due and self._away:
            self._away = False
            log.warning("calls can be resumed again")
        return True

    def _entry(self, kept: KeptCall) -> Versioned:
        kept.written_at = asyncio.get_running_loop().time()
        session = kept.session
        if kept.changed or session is None:
            kept.changed = False
            held_by = self._node_id if session is not None else ""
            return self._stored.whole(kept.snapshot(), kept.epoch, held_by)
        if kept.moves:
            return self._stored.moving(kept.call_id, kept.epoch, session.moving())
        return self._stored.renewed(kept.call_id, kept.epoch)

    def _note(self, kept: KeptCall, outcome: Saved) -> None:
        if outcome is Saved.MISSING:
            kept.mark()
            return
        if outcome is Saved.TAKEN:
            if kept.session is not None:
                log.warning("call %s has been resumed on another node", kept.call_id)
                kept.session.suspend(RESUMED_ELSEWHERE)
            return
        for turn in kept.stored():
            self._store(kept.call.workspace_id, kept.call_id, turn)

    def _hand_over_turns(self, kept: KeptCall) -> None:
        while kept.unstored:
            self._store(kept.call.workspace_id, kept.call_id, kept.unstored.popleft())


def last_turns(checkpoint: Checkpoint) -> list[RecordTurn]:
    """The records of a suspended call that nobody resumes: of the reply that was being heard, and
    of the turns without an answer."""
    core, now = Conversation(checkpoint.call_id), 0.0
    commands = [*core.handle(CallResumed(checkpoint), now), *core.handle(HangUp(PEER_GONE), now)]
    stopped = [command.reply for command in commands if isinstance(command, StopPlayout)]
    for reply in stopped:
        commands += core.handle(PlayoutStopped(reply, 0, 0), now)
    return [command for command in commands if isinstance(command, RecordTurn)]
