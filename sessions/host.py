"""SessionHost: runs the calls of this process, and gives each what all calls share.

Rules
- A slot is taken before anything else (``admit``).
- A call runs (``run``) while its ticket is held. It is registered, journaled and published from its
  first event, and closed in all three however it ends; one that can be resumed and loses its
  connection is suspended instead (``resumption``).
- This is the connection's edge: whatever a session raises is logged here once, without content, and
  ends that call only.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from pipelines.engines.catalogue import Catalogue
from sessions.core.commands import Command, RecordTurn
from sessions.core.config import SessionConfig
from sessions.core.events import Event
from store.ids import new_id
from store.tenants.agents import Agent

from .admission import Admission, Reason, Ticket
from .channel import Channel, WireFormat
from .event_log import EventLogWriter, event_log_path
from .fanout import Fanout
from .live import INTERNAL_ERROR, SERVER_SHUTDOWN, LiveSession
from .persistence import CallJournal, OpenedCall, stored_turn
from .recording.parts import Part, PartRecord
from .recording.recorder import CallRecorder
from .registry import CallRegistry, CallState, RegisteredCall
from .resumption.keeping import SUSPENDED, KeptCall, Resumptions
from .resumption.stored_calls import LoadedCall
from .resumption.suspended_calls import SuspendedCalls, new_call, release
from .speech.voice_activity import VoiceActivity
from .tools import ToolRunner

log = logging.getLogger(__name__)

TRANSFERRED = "blab.session.transferred"
"""The type of the event for observers when another agent carries on a call."""
_GOODBYE_SECONDS = 5.0
_MOVE_SECONDS = 0.1
_MOVES_AT_ONCE = 5
"""So many calls are handed over every ``_MOVE_SECONDS``, to nodes that have calls of their own."""
SUSPENDED_STATE = "suspended"
"""What the list of live calls says of a call without a connection."""
EXPECTED_SECONDS = 3.0
"""A takeover takes some 50 ms, on an overloaded machine a second or two."""
QUIET_SECONDS = 10.0
"""After so long without a call nobody calls. A caller who waited for the start calls sooner."""


@dataclass(frozen=True, slots=True)
class CallRequest:
    """A call to run. ``owner``: id of the ephemeral key that started it; ``caller``: a digest of
    who calls, by which the call is found when everything kept of them is to be erased."""

    call_id: str
    workspace_id: str
    agent_id: str | None
    config: SessionConfig
    owner: str | None = None
    caller: bytes | None = None
    locked: bool = False
    """The key that started it was; see ``gateway.channels.wire.checks``."""


class Journal(Protocol):
    """Records calls and their turns; CallJournal, unless a call has its own."""

    def opened(self, call: OpenedCall) -> None:
        """A call has started."""
        ...

    def record(self, workspace_id: str, call_id: str, turn: RecordTurn) -> None:
        """A turn has ended."""
        ...

    def closed(self, workspace_id: str, call_id: str, reason: str) -> None:
        """A call has ended."""
        ...


class CallObserver(Protocol):
    """Follows one call to its end, and never blocks it."""

    def stepped(self, event: Event, now: float, commands: list[Command]) -> None:
        """One step of the core; ``now`` is the loop's time."""
        ...

    def ended(self, reason: str) -> None:
        """The call is over."""
        ...


Observe = Callable[[CallRequest, str], CallObserver]
"""Makes the observer of a call that begins; takes the call and its channel's name."""


class _CallObservers:
    """Passes what one call publishes to the journal, the fan-out, the event log and to others."""

    def __init__(
        self,
        request: CallRequest,
        journal: Journal,
        fanout: Fanout,
        registry: CallRegistry,
        event_log: EventLogWriter | None,
        others: Sequence[CallObserver],
        kept: KeptCall | None,
    ) -> None:
        self._kept = kept
        self._request = request
        self._journal = journal
        self._fanout = fanout
        self._registry = registry
        self._event_log = event_log
        self._others = others
        self.turns = 0
        """How many have ended."""

    def published(self, events: list[dict[str, Any]]) -> None:
        for event in events:
            self._fanout.publish(self._request.call_id, event)
        self._registry.touch(self._request.call_id)

    def recorded(self, turn: RecordTurn) -> None:
        self.turns = max(self.turns, turn.turn)
        if self._kept is None or not self._kept.record(stored_turn(turn)):
            self._journal.record(self._request.workspace_id, self._request.call_id, turn)

    def stepped(self, event: Event, now: float, commands: list[Command]) -> None:
        if self._event_log is not None:
            self._event_log.append(event, now, commands)
        if commands and self._kept is not None:
            self._kept.stepped(commands)
        for other in self._others:
            other.stepped(event, now, commands)


class SessionHost:
    """The live calls of this process."""

    def __init__(
        self,
        engines: Catalogue,
        admission: Admission,
        journal: CallJournal,
        fanout: Fanout,
        registry: CallRegistry,
        record_to: Path | None = None,
        tools: ToolRunner | None = None,
        observe: Sequence[Observe] = (),
        drain_grace: float = 0.0,
        resumptions: Resumptions | None = None,
        recordings: Path | None = None,
        on_recorded: Callable[[], None] = lambda: None,
    ) -> None:
        """``recordings``: where recorded calls are written; ``on_recorded``: a part is finished.
        ``observe``: who follows every call besides the journal and the fan-out. ``drain_grace``:
        how many seconds /readyz announces a drain before calls are refused. ``resumptions``: keeps
        the calls that can be resumed; None: none can."""
        self._drain_grace = drain_grace
        self._engines = engines
        self._admission = admission
        self._journal = journal
        self._fanout = fanout
        self._registry = registry
        self._record_to = record_to
        self._recordings = recordings
        self._on_recorded = on_recorded
        self._tools = tools
        self._voices = VoiceActivity()
        self._observe = tuple(observe)
        self._sessions: dict[str, LiveSession] = {}
        self._expected: dict[str, float] = {}
        """By call id: when its takeover began."""
        self._agents: dict[str, str | None] = {}
        """By call id: the agent that carries on the call."""
        self._suspended: SuspendedCalls | None = None
        if resumptions is not None:
            self._suspended = SuspendedCalls(
                resumptions, journal, fanout, registry, lambda gone: self._agents.pop(gone, None)
            )
        self._running = 0
        self._begun = 0
        """Calls since the start."""
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def active(self) -> int:
        """Calls in progress."""
        return self._running

    @property
    def node_id(self) -> str:
        """The id of this process in the calls table."""
        return self._registry.node_id

    def admit(self, workspace_id: str, *, goes_on: bool = False, yields: bool = False) -> Ticket:
        """Take a slot for a call of the workspace; raises ServerFull. See ``Admission.admit``."""
        return self._admission.admit(workspace_id, goes_on=goes_on, yields=yields)

    @property
    def leaving(self) -> bool:
        """Whether the server is about to stop."""
        return self._admission.leaving

    def full_for(self, workspace_id: str) -> Reason | None:
        """Why a call of the workspace would get no slot now; None if it would."""
        return self._admission.reason(workspace_id)

    def find(self, call_id: str) -> LiveSession | None:
        """A call of this process."""
        return self._sessions.get(call_id)

    def expect(self, call_id: str) -> None:
        """A call is being taken over: it begins here within ``EXPECTED_SECONDS``, or not at all."""
        now = asyncio.get_running_loop().time()
        fresh = {one: at for one, at in self._expected.items() if now - at < EXPECTED_SECONDS}
        self._expected = fresh | {call_id: now}

    def carries(self, call_id: str) -> bool:
        """Whether a call is carried here, or is being taken over."""
        expected = self._expected.get(call_id, -math.inf)
        taking = asyncio.get_running_loop().time() - expected < EXPECTED_SECONDS
        return taking or call_id in self._sessions

    async def is_alive(self, node_id: str) -> bool:
        """Whether a node still holds its lease. Raises BusUnavailable."""
        return await self._registry.is_alive(node_id)

    def call_ids(self) -> tuple[str, ...]:
        """The ids of the calls of this process."""
        return tuple(self._sessions)

    async def run(
        self,
        request: CallRequest,
        channel: Channel,
        wire_format: WireFormat,
        journal: Journal | None = None,
        resumed: LoadedCall | None = None,
        carrier_handle: str | None = None,
    ) -> str:
        """Run the call until it ends or is suspended, and close the channel; returns the reason.

        ``journal``: replaces the host's, for a call that is stored in another way. ``resumed``: the
        call goes on from there. ``carrier_handle``: it can be resumed with that, whatever the
        client wants."""
        call_id = request.call_id
        kept = self._keep(request, channel.name, resumed) if journal is None else None
        journal = journal or self._journal
        event_log = self._event_log(request, kept)
        others = [observe(request, channel.name) for observe in self._observe]
        recorder = None
        if journal is self._journal and request.config.records:
            recorder = await self._recorder(request, kept, resumed)
        if recorder is not None:
            others.append(recorder)
        observer = _CallObservers(
            request, journal, self._fanout, self._registry, event_log, others, kept
        )
        self._begin(request, channel.name, journal, observer, resumed)
        if recorder is not None:
            self._journal.recording(recorder.part)
        reason, session = INTERNAL_ERROR, None
        try:
            if resumed is not None and self._suspended is not None:
                await self._suspended.adopt_events(call_id)
            session = self._sessions[call_id] = LiveSession(
                call_id,
                request.config,
                channel,
                wire_format,
                self._engines,
                observer,
                self._tools,
                self._voices,
                resumed.call.checkpoint if resumed is not None else None,
            )
            if recorder is not None:
                session.record(recorder)
            if kept is not None:
                kept.carry(session, carrier_handle)
            reason = await session.run()
        except asyncio.CancelledError:
            reason = SERVER_SHUTDOWN
            raise
        except Exception:  # the connection's edge
            log.exception("call %s failed", call_id)
        finally:
            if self._sessions.get(call_id) is session:
                self._sessions.pop(call_id, None)
            self._leave(request, reason, journal, kept)
            for other in others:
                other.ended(reason)
            if event_log is not None:
                await asyncio.to_thread(event_log.close)
            if recorder is not None:
                await self._finish(recorder)
            if kept is not None and reason not in SUSPENDED and self._suspended is not None:
                await self._suspended.end(kept)
            await _say_goodbye(channel, reason)
        return reason

    def _keep(
        self, request: CallRequest, channel: str, resumed: LoadedCall | None
    ) -> KeptCall | None:
        if self._suspended is None:
            return None
        call = new_call(
            request.call_id,
            request.workspace_id,
            request.agent_id,
            request.config,
            owner=request.owner,
            locked=request.locked,
            caller=request.caller,
            channel=channel,
            started_at=time.time(),
        )
        return self._suspended.keep(call, resumed)

    def _begin(
        self,
        request: CallRequest,
        carrier: str,
        journal: Journal,
        observer: _CallObservers,
        resumed: LoadedCall | None,
    ) -> None:
        self._running += 1
        self._begun += 1
        self._empty.clear()
        self._agents[request.call_id] = request.agent_id
        started_at = time.time() if resumed is None else resumed.call.started_at
        registered = RegisteredCall(
            request.call_id, request.workspace_id, carrier, started_at, request.owner
        )
        self._registry.register(
            registered, partial(self._describe, request, observer), adopted=resumed is not None
        )
        opened = OpenedCall(
            request.call_id,
            request.workspace_id,
            request.agent_id,
            carrier,
            request.config,
            request.caller,
        )
        if resumed is None or self._suspended is None:
            journal.opened(opened)
        else:
            self._suspended.adopt(opened, resumed)

    def _leave(
        self, request: CallRequest, reason: str, journal: Journal, kept: KeptCall | None
    ) -> None:
        """A connection has ended: suspend its call, or end it."""
        self._running -= 1
        if not self._running:
            self._empty.set()
        if kept is not None and self._suspended is not None:
            if reason in SUSPENDED:
                self._suspended.suspend(kept)
                return
            self._suspended.leave(kept)
        self._agents.pop(request.call_id, None)
        self._registry.unregister(request.call_id)
        journal.closed(request.workspace_id, request.call_id, reason)
        self._fanout.end(request.call_id)

    def release(self, call_id: str) -> bool:
        """Suspend a call of this process that its caller resumes over another connection; False if
        there is none that can be."""
        return release(self._sessions.get(call_id))

    def hand_over(self, *, resting: int | None = None) -> int:
        """Have the clients of all calls that can be resumed reconnect to another node; how many.

        ``resting``: at most so many, of those in which nobody speaks and whose client has a handle.
        Each gets its handle with ``reconnect``; its connection is closed with 1012, "moved"."""
        moved = 0
        for call_id, session in list(self._sessions.items()):
            kept = self._suspended.of(call_id) if self._suspended is not None else None
            if kept is None or moved == resting:
                continue
            if session.resumable if resting is None else kept.can_move:
                kept.move()
                moved += 1
        return moved

    def note_transfer(self, call_id: str, agent: Agent) -> None:
        """Another agent carries on a call of this process: show and publish that."""
        self._agents[call_id] = agent.id
        if self._suspended is not None and (kept := self._suspended.of(call_id)) is not None:
            kept.transfer(agent.id)
        self._registry.touch(call_id)
        event = {"type": TRANSFERRED, "event_id": new_id("event")}
        self._fanout.publish(call_id, event | {"agent_id": agent.id, "name": agent.name})

    def _describe(self, request: CallRequest, observer: _CallObservers) -> CallState:
        """What the list of live calls says of it now."""
        session, agent_id = self._sessions.get(request.call_id), self._agents.get(request.call_id)
        if session is None:
            return CallState(agent_id, SUSPENDED_STATE, turns=observer.turns)
        config = session.config
        known = observer.turns > 0 or not config.detects_language
        language = config.language if known else None
        return CallState(agent_id, session.state, language, observer.turns)

    async def quiet(self) -> None:
        """Wait until there has been no call for ``QUIET_SECONDS``."""
        begun = -1
        while self._running or begun != self._begun:
            await self._empty.wait()
            begun = self._begun
            await asyncio.sleep(QUIET_SECONDS)

    async def drain(self, deadline: float) -> None:
        """Admit no more calls, and give those in progress ``deadline`` seconds to end; without a
        deadline (0), at once. Calls that can be resumed are handed over: if another node takes
        calls, as soon as nobody speaks in them; otherwise at the deadline."""
        self._admission.leaving = True
        if deadline and self._drain_grace:
            await asyncio.sleep(self._drain_grace)
        self._admission.draining = True
        try:
            await asyncio.wait_for(self._emptied(), deadline)
        except TimeoutError:
            if moved := self.hand_over():
                log.info("%d calls are handed over to other nodes", moved)
            for session in list(self._sessions.values()):
                session.hang_up(SERVER_SHUTDOWN)
            try:
                await asyncio.wait_for(self._empty.wait(), _GOODBYE_SECONDS)
            except TimeoutError:
                log.warning("%d calls did not end in time", self.active)
        if self._suspended is not None:
            await self._suspended.stop()

    async def _emptied(self) -> None:
        """Wait until no call is left, and hand over those that can be meanwhile."""
        if self._running and self._suspended and await self._suspended.can_hand_over():
            while self._running:
                self.hand_over(resting=_MOVES_AT_ONCE)
                await asyncio.sleep(_MOVE_SECONDS)
        await self._empty.wait()

    async def _recorder(
        self, request: CallRequest, kept: KeptCall | None, resumed: LoadedCall | None
    ) -> CallRecorder | None:
        """The recorder of a call's next part; None, with a warning, if the disk refuses it."""
        wanted, folder = request.config.recording, self._recordings
        if wanted is None or folder is None:
            return None
        begins = time.time() - resumed.call.started_at if resumed is not None else 0.0
        record = PartRecord(
            request.workspace_id,
            request.call_id,
            kept.epoch if kept is not None else 1,
            max(0, round(begins * 1000)),
            wanted.keep_days,
            withheld=bool(wanted.consent),
        )
        try:
            part = await asyncio.to_thread(Part.create, folder, record)
        except OSError as error:
            log.warning("call %s is not recorded: %s", request.call_id, error)
            return None
        return CallRecorder(part, request.config)

    async def _finish(self, recorder: CallRecorder) -> None:
        await asyncio.to_thread(recorder.close)
        self._on_recorded()

    def _event_log(self, request: CallRequest, kept: KeptCall | None) -> EventLogWriter | None:
        if self._record_to is None:
            return None
        path = event_log_path(self._record_to, request.call_id, kept.epoch if kept else 1)
        return EventLogWriter(path, request.call_id, request.config)


async def _say_goodbye(channel: Channel, reason: str) -> None:
    try:
        await asyncio.wait_for(channel.close(reason), _GOODBYE_SECONDS)
    except TimeoutError:
        log.warning("a %s channel did not close within %g s", channel.name, _GOODBYE_SECONDS)
