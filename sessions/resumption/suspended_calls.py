"""What a node does with its calls that can be resumed: it keeps, suspends, resumes and ends them.

Rules
- A suspended call holds no slot. It stays registered, and open in the journal and for observers,
  until it is resumed, here or elsewhere, or the window for that is over.
- The node that suspended a call ends it (``peer_gone``), unless another node has it by then. If the
  node itself dies, housekeeping closes the call.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime

from sessions.core.checkpoint import Checkpoint
from sessions.core.config import SessionConfig
from sessions.fanout import Fanout
from sessions.live import RESUMED_ELSEWHERE, LiveSession
from sessions.persistence import CallJournal, OpenedCall
from sessions.registry import CallRegistry
from store.errors import BusUnavailable

from .keeping import PEER_GONE, KeptCall, Resumptions, last_turns
from .stored_calls import LoadedCall, StoredCall

log = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
"""How soon a node finds out that a call it has suspended goes on elsewhere."""
_LEAVING_SECONDS = 1.0
"""Nodes that are stopped together have left the list of those that take calls."""


class SuspendedCalls:
    """The calls of one node that can be resumed, whether they have a connection or not."""

    def __init__(
        self,
        resumptions: Resumptions,
        journal: CallJournal,
        fanout: Fanout,
        registry: CallRegistry,
        gone: Callable[[str], object],
    ) -> None:
        """``gone`` is called with the id of a call that was suspended and is no longer here."""
        self._gone = gone
        self._resumptions = resumptions
        self._journal = journal
        self._fanout = fanout
        self._registry = registry
        self._waiting: dict[str, asyncio.Task[None]] = {}
        """By call id: those without a connection."""

    def keep(self, call: StoredCall, resumed: LoadedCall | None) -> KeptCall:
        """A call gets a connection here. ``resumed``: it had one before, here or elsewhere."""
        if (waiting := self._waiting.pop(call.call_id, None)) is not None:
            waiting.cancel()
        if resumed is None:
            return self._resumptions.keep(call)
        return self._resumptions.keep(resumed.call, resumed.known.epoch)

    def of(self, call_id: str) -> KeptCall | None:
        """A call of this node."""
        return self._resumptions.of(call_id)

    def adopt(self, opened: OpenedCall, resumed: LoadedCall) -> None:
        """Have the journal go on with a call that comes from elsewhere."""
        call = resumed.call
        self._journal.resumed(opened, datetime.fromtimestamp(call.started_at, UTC))
        for turn in call.records:
            self._journal.store(call.workspace_id, call.call_id, turn)

    async def adopt_events(self, call_id: str) -> None:
        """Number the events of a resumed call after those of its earlier connections."""
        try:
            await self._fanout.adopt(call_id)
        except BusUnavailable as error:
            log.warning("observers of call %s miss events: %s", call_id, error)

    def suspend(self, kept: KeptCall) -> None:
        """The connection of a call has ended, but not the call."""
        self._resumptions.suspend(kept)
        task = asyncio.create_task(self._await_return(kept), name=f"suspended {kept.call_id}")
        self._waiting[kept.call_id] = task

    def leave(self, kept: KeptCall) -> None:
        """The call is over: its turns go to the journal."""
        self._resumptions.leave(kept)

    async def end(self, kept: KeptCall) -> None:
        """The call is over: nobody resumes it."""
        await self._resumptions.end(kept)

    async def can_hand_over(self) -> bool:
        """Take no more calls; whether another node still does."""
        try:
            await self._registry.leave()
            await asyncio.sleep(_LEAVING_SECONDS)
            return await self._registry.has_others()
        except BusUnavailable as error:
            log.info("calls stay here until the deadline: %s", error)
            return False

    async def stop(self) -> None:
        """Leave the suspended calls to the other nodes."""
        waiting = list(self._waiting.values())
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        self._waiting.clear()

    async def _await_return(self, kept: KeptCall) -> None:
        """Wait until the call has been resumed elsewhere; end it after the window."""
        loop, call_id, workspace_id = asyncio.get_running_loop(), kept.call_id, kept.workspace_id
        deadline = loop.time() + self._resumptions.window
        while (left := deadline - loop.time()) > 0:
            await asyncio.sleep(min(left, _LOOK_SECONDS))
            if await self._resumptions.is_elsewhere(kept):
                break
        ours = await self._resumptions.end(kept)
        self._waiting.pop(call_id, None)
        self._registry.unregister(call_id)
        self._gone(call_id)
        if not ours:
            log.info("call %s goes on at another node", call_id)
            self._fanout.release(call_id)
            return
        log.info("call %s ended: nobody resumed it", call_id)
        for turn in last_turns(kept.call.checkpoint):
            self._journal.record(workspace_id, call_id, turn)
        self._journal.closed(workspace_id, call_id, PEER_GONE)
        self._fanout.end(call_id)


def new_call(
    call_id: str,
    workspace_id: str,
    agent_id: str | None,
    config: SessionConfig,
    *,
    owner: str | None,
    locked: bool,
    caller: bytes | None,
    channel: str,
    started_at: float,
) -> StoredCall:
    """A call that begins, as it is stored."""
    return StoredCall(
        call_id,
        workspace_id,
        agent_id,
        owner,
        locked,
        channel,
        started_at,
        Checkpoint(call_id, config),
        caller=caller,
    )


def release(session: LiveSession | None) -> bool:
    """Suspend a call that its caller resumes over another connection; False if it has none here."""
    if session is None or not session.resumable:
        return False
    session.suspend(RESUMED_ELSEWHERE)
    return True
