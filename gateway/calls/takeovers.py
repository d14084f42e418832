"""Taking over a call that lost its connection, or still has another one, anywhere.

Order: whose handle it is (``find``), then a slot, and only then ``take``: a client that is refused
for want of a slot has not harmed its call.

Rules
- The handle proves which call; the key proves the workspace, as for every call. A handle that is
  unknown, expired or of another workspace is one error, ``resumption_not_found``.
- A node that carries the call is requested to release it, and given ``RELEASE_SECONDS`` for that.
  One that does not answer is dead or cut off: the call is taken all the same, and whatever that
  node still writes is refused. All calls of such a node come back at once, so that they wait for it
  together, and those that come within ``SILENT_SECONDS`` after it do not wait.
- Of several clients with the same handle one wins; the others get ``resumption_conflict``.
- A call that was claimed and cannot be carried, because Redis or the client has gone meanwhile, is
  given back: otherwise its handle would be spent for nothing. Where that fails, too, or the node
  has died over it, the spent handle is good again: whoever holds the call is requested to confirm
  that it carries it. One that is silent counts as dead once its lease has expired.
"""

import asyncio
import contextlib
import logging

from rest.accounts.auth import Principal
from rest.http.errors import NotFound, WrongState
from sessions.host import SessionHost
from sessions.remote import Confirm, NoAnswer, Release, RemoteRequests, TooManyRequests
from sessions.resumption.stored_calls import LoadedCall, StoredCalls, call_of
from store.errors import BusUnavailable

log = logging.getLogger(__name__)

RELEASE_SECONDS = 0.5
"""The node that carries a call answers within some 50 ms, if it lives. One that answers later has
lost the call, which harms nobody: what it still writes is refused."""
SILENT_SECONDS = 3.0
"""After the death of a node its calls come back within some two seconds, on busy machines."""
_LOOK_SECONDS = 0.02


class Takeovers:
    """Finds calls by their handles, and takes them over for this node."""

    def __init__(self, stored: StoredCalls, host: SessionHost, remote: RemoteRequests) -> None:
        self._stored = stored
        self._host = host
        self._remote = remote
        self._deadlines = ReleaseDeadlines()

    async def find(self, handle: str, principal: Principal) -> LoadedCall:
        """The call that ``handle`` resumes; raises NotFound, WrongState, BusUnavailable."""
        call_id = call_of(handle)
        loaded = await self._stored.load(call_id) if call_id is not None else None
        if loaded is None or not _may_resume(principal, loaded):
            raise not_found()
        if loaded.call.knows(handle, held=bool(loaded.held_by)):
            return loaded
        if not loaded.call.was_resumed_by(handle):
            raise not_found()
        if await self._is_carried(loaded):
            raise _conflict()
        log.warning("call %s had been claimed for nothing", loaded.call.call_id)
        return loaded

    async def _is_carried(self, loaded: LoadedCall) -> bool:
        """Whether the node that holds a call says so, or is alive and too busy to answer: taken
        from that one by a late repetition, the call would not know the handle its client has."""
        call_id, node_id = loaded.call.call_id, loaded.held_by
        try:
            refusal = await self._remote.ask(node_id, call_id, Confirm(), within=RELEASE_SECONDS)
        except TooManyRequests:
            return True
        except NoAnswer:
            return await self._host.is_alive(node_id)
        return refusal is None

    async def take(self, found: LoadedCall, handle: str) -> LoadedCall:
        """Take over the call, as it is at its last moment elsewhere. Raises WrongState, NotFound,
        BusUnavailable."""
        call_id = found.call.call_id
        if found.held_by:
            await self._have_released(call_id, found.held_by)
        self._host.expect(call_id)
        try:
            taken = await self._stored.claim(found, handle, self._host.node_id)
        except (BusUnavailable, asyncio.CancelledError):
            await self.give_back(call_id, found.known.epoch + 1)
            raise
        if taken is None:
            raise _conflict()
        return taken.spent_on(handle)

    async def give_back(self, call_id: str, epoch: int) -> None:
        """Let a call be resumed again that was claimed, with this epoch, for nothing."""
        try:
            await self._stored.give_back(call_id, epoch)
        except BusUnavailable as error:
            log.warning("call %s may be claimed for nothing until it expires: %s", call_id, error)

    async def _have_released(self, call_id: str, node_id: str) -> None:
        """Have the call suspended where it is carried; returns when it is, or at the deadline."""
        loop = asyncio.get_running_loop()
        if node_id == self._host.node_id:
            deadline = loop.time() + RELEASE_SECONDS
            self._host.release(call_id)  # or it is suspended, and its last moment not written yet
        else:
            deadline = self._deadlines.of(node_id, loop.time())
            await self._ask_to_release(call_id, node_id, deadline - loop.time())
        while loop.time() < deadline:
            if await self._stored.held_by(call_id) != node_id:
                return
            await asyncio.sleep(_LOOK_SECONDS)
        log.warning("call %s is taken from a node that does not answer", call_id)

    async def _ask_to_release(self, call_id: str, node_id: str, within: float) -> None:
        if within <= 0:
            return
        with contextlib.suppress(BusUnavailable, NoAnswer, TooManyRequests):
            await self._remote.ask(node_id, call_id, Release(), within=within)
            self._deadlines.answered(node_id)


class ReleaseDeadlines:
    """Until when each node is given time to release calls. Times are the loop's clock."""

    def __init__(self) -> None:
        self._asked: dict[str, float] = {}
        """When a node was first requested to release a call, of those that have answered no
        request since."""

    def of(self, node_id: str, now: float) -> float:
        """The deadline of a request to ``node_id``; it may have passed."""
        forgotten = now - RELEASE_SECONDS - SILENT_SECONDS
        self._asked = {node: at for node, at in self._asked.items() if at > forgotten}
        return self._asked.setdefault(node_id, now) + RELEASE_SECONDS

    def answered(self, node_id: str) -> None:
        """The node lives."""
        self._asked.pop(node_id, None)


def _may_resume(principal: Principal, loaded: LoadedCall) -> bool:
    call = loaded.call
    if call.workspace_id != principal.workspace_id:
        return False
    if principal.embed is not None and call.owner != principal.ephemeral_id:
        return False  # a visitor's key is for the visitor's own call
    return principal.agent_id in (None, call.agent_id)


def not_found() -> NotFound:
    """The error for a call that has ended."""
    return NotFound(
        "The call cannot be resumed: it has ended, or the handle is unknown or has expired. Begin "
        "a new call.",
        openai_code="resumption_not_found",
        param="resume",
    )


def _conflict() -> WrongState:
    return WrongState(
        "The call has been resumed over another connection. Use the newest handle, or end that "
        "connection first.",
        openai_code="resumption_conflict",
        param="resume",
    )
