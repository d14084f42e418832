"""Requests to calls: any node sends them, the call's own node executes them.

Rules
- The requests for a call wait in one queue of ``WAITING``. If it is full, ``send`` returns False,
  so that a flood reaches neither the call nor its neighbours.
- A request that is not taken within ``REQUEST_SECONDS`` is dropped: its node is dead.
- One task per node waits for signals. After an outage it checks the queues of all its calls,
  because signals may have been lost.
- A request is injected as if the caller had sent it. Its effects are published as usual; a refusal
  is published to the sender alone.
"""

import asyncio
import logging
from collections.abc import Callable, Collection
from typing import Any

import msgspec

from store.bus import Bus
from store.errors import BusUnavailable

from .client_messages import Answer
from .fanout import PAUSES, Fanout
from .live import LiveSession

log = logging.getLogger(__name__)

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
                await asyncio.sleep(PAUSES[min(tries, len(PAUSES) - 1)])
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
