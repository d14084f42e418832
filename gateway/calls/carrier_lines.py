"""Carriers' calls that come back by another stream: on any node, in place of the one that was lost.

A *line* is one call of a carrier with one agent: what its streams have in common. It stands for the
carrier's id of the call under a secret of the server, so nobody can make one up, and is good for
nothing without the proof that every stream needs.

Rules
- A new stream of a line whose call still goes on continues the call, as a client does with a handle
  (``takeovers``). The old stream is closed if it still lives.
- A stream of a line whose call has ended begins a new call, unless its parameters say that it is
  there to resume only.
- While Redis is away, calls begin all the same, and cannot be resumed.
"""

import asyncio
import hashlib
import hmac
import logging

from gateway.channels.telephony.carrier import Started
from gateway.channels.telephony.facts import resumes_only
from rest.accounts.auth import Principal
from rest.http.errors import NotFound, WrongState
from sessions.resumption.stored_calls import LoadedCall, StoredCalls, handle_with
from store.errors import BusUnavailable

from .takeovers import Takeovers, not_found

log = logging.getLogger(__name__)

_PAUSES = (0.05, 0.1, 0.2, 0.4)


class Line:
    """One call of a carrier, over whatever stream it comes."""

    def __init__(self, stored: StoredCalls, takeovers: Takeovers, secret: str) -> None:
        self._stored = stored
        self._takeovers = takeovers
        self._secret = secret

    async def find(self, principal: Principal) -> LoadedCall | None:
        """The call that goes on over this line, if any. Raises WrongState if other streams keep
        resuming it, and BusUnavailable."""
        call_id = await self._stored.call_on(self._secret)
        if call_id is None:
            return None
        handle = self.handle(call_id)
        for pause in _PAUSES:
            try:
                return await self._takeovers.find(handle, principal)
            except NotFound:
                return None  # it has ended
            except WrongState:  # it has just been resumed, and is not stored again yet
                await asyncio.sleep(pause)
        return await self._takeovers.find(handle, principal)

    async def take(self, found: LoadedCall) -> LoadedCall:
        """Take over the call that was found. Raises WrongState, NotFound, BusUnavailable."""
        return await self._takeovers.take(found, self.handle(found.call.call_id))

    def handle(self, call_id: str) -> str:
        """What resumes the call."""
        return handle_with(call_id, self._secret)

    async def note(self, call_id: str) -> str | None:
        """Have the next stream find a call that begins; returns the handle that resumes it, None if
        it cannot be resumed."""
        try:
            await self._stored.put_on(self._secret, call_id)
        except BusUnavailable as error:
            log.warning("call %s cannot be resumed: %s", call_id, error)
            return None
        return self.handle(call_id)


class CarrierLines:
    """Makes lines."""

    def __init__(self, stored: StoredCalls, takeovers: Takeovers, secret: bytes) -> None:
        """``secret``: the same on all nodes."""
        self._stored = stored
        self._takeovers = takeovers
        self._secret = secret

    def of(self, workspace_id: str, agent_id: str | None, carrier: str, call_id: str) -> Line:
        """The line of the carrier's call ``call_id`` with an agent."""
        message = "\n".join((workspace_id, agent_id or "", carrier, call_id))
        signed = hmac.new(self._secret, message.encode(errors="replace"), hashlib.sha256)
        return Line(self._stored, self._takeovers, signed.hexdigest())


async def find_call(line: Line | None, started: Started, principal: Principal) -> LoadedCall | None:
    """The call that a stream goes on with; None if it begins one. Raises WrongState if another
    stream has just resumed it; NotFound and BusUnavailable if the stream is there to resume only.

    ``line``: None if its calls cannot be resumed."""
    only = resumes_only(started.parameters)
    try:
        found = await line.find(principal) if line is not None else None
    except BusUnavailable as error:
        if only:
            raise
        log.warning("a call of a carrier begins, though it may be one that waits: %s", error)
        return None
    if found is None and only:
        raise not_found()
    return found
