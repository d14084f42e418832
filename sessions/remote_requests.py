"""Requests to a call from any node: queued for the node that carries it, carried out there.

Rules
- A call's requests wait in one queue of ``WAITING``; a full one refuses (``send`` says False), so
  that a flood reaches neither the call nor its neighbours.
- A request that nobody takes within ``KEPT_SECONDS`` is forgotten: its node is dead.
- One task a node waits for signals; a call never waits for Redis, and an outage only delays
  requests. After one the queues of all calls are looked into, for signals may have been lost.
- Carried out means: injected as if the caller had sent it. What follows is published as always;
  what is refused is published to the sender alone.
"""

import asyncio
import logging
from collections.abc import Callable, Collection
from typing import Any

import msgspec

from store.bus import Bus
from store.errors import BusUnavailable

from .fanout import Fanout
from .live import Answer, LiveSession

logger = logging.getLogger(__name__)

WAITING = 32
"""Requests of one call that may wait."""
KEPT_SECONDS = 20.0
HANG_UP_REASON = "client_hangup"
_TAKEN_AT_ONCE = 16
_PAUSES = (0.05, 0.25, 1.0)


class RemoteRequest(msgspec.Struct, frozen=True):
    """A client event for a call, from ``sender``. Without ``message`` the call is to end, or, where
    ``describe`` is set, the sender is to be sent the session as it is."""

    sender: str
    message: dict[str, Any] | None = None
    describe: bool = False


def _queue(call_id: str) -> str:
    return f"call:{call_id}:commands"


def _signal(node_id: str) -> str:
    return f"node:{node_id}:bell"


class RemoteRequests:
    """Sends requests to the calls of any node, carries out those for this node's."""

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
        """Begin to listen; call on the running loop."""
        self._listener = asyncio.create_task(self._listen(), name="remote-requests")

    async def stop(self) -> None:
        """Listen no more."""
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.gather(self._listener, return_exceptions=True)
            self._listener = None

    async def send(self, node_id: str, call_id: str, request: RemoteRequest) -> bool:
        """Queue a request for a call of ``node_id``; False where too many wait. Raises
        BusUnavailable."""
        return await self._bus.post(
            _queue(call_id),
            msgspec.json.encode(request),
            bell=_signal(node_id),
            name=call_id,
            keep=WAITING,
            ttl=KEPT_SECONDS,
        )

    async def _listen(self) -> None:
        tries = 0
        while True:
            try:
                if tries:
                    for call_id in tuple(self._calls()):
                        await self._drain(call_id)
                    logger.info("requests from other nodes arrive again")
                    tries = 0
                signalled = await self._bus.rung(_signal(self._node_id))
                if signalled is not None:
                    await self._drain(signalled)
            except BusUnavailable as error:
                if not tries:
                    logger.warning("requests from other nodes wait: %s", error)
                await asyncio.sleep(_PAUSES[min(tries, len(_PAUSES) - 1)])
                tries += 1

    async def _drain(self, call_id: str) -> None:
        """Carry out what a call's queue holds, a few requests at a time."""
        while taken := await self._bus.collect(_queue(call_id), _TAKEN_AT_ONCE):
            for encoded in taken:
                try:
                    self._carry_out(call_id, msgspec.json.decode(encoded, type=RemoteRequest))
                except Exception:  # a request's edge: a fault costs this one only
                    logger.exception("a request to call %s failed", call_id)

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
