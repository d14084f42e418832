"""Commands to a call from any node: posted to the node that carries it, carried out there.

Rules
- A call's commands wait in one box of ``WAITING``; a full box refuses (``send`` says False), so
  that a flood reaches neither the call nor its neighbours.
- A command that nobody takes within ``KEPT_SECONDS`` is forgotten: its node is dead.
- One task a node listens; a call never waits for Redis, and an outage only delays commands. After
  one the boxes of all calls are looked into, for the bell may have rung unheard.
- Carried out means: injected as if the caller had sent it. What follows is published as always;
  what is refused is published to the sender alone.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

import msgspec

from store.bus import Bus
from store.errors import BusUnavailable

from .asides import Answer
from .fanout import Fanout

logger = logging.getLogger(__name__)

WAITING = 32
"""Commands of one call that may wait."""
KEPT_SECONDS = 20.0
HANG_UP_REASON = "client_hangup"
_TAKEN_AT_ONCE = 16
_PAUSES = (0.05, 0.25, 1.0)


class Command(msgspec.Struct, frozen=True):
    """A client event for a call, from ``sender``. Without ``message`` the call is to end, or, where
    ``describe`` is set, the sender is to be told the session as it is."""

    sender: str
    message: dict[str, Any] | None = None
    describe: bool = False


class CommandedCall(Protocol):
    """What is needed of LiveSession."""

    def inject(self, message: Mapping[str, Any], answer: Answer | None = None) -> None: ...

    def describe(self, answer: Answer) -> None: ...

    def hang_up(self, reason: str) -> None: ...


def _box(call_id: str) -> str:
    return f"call:{call_id}:commands"


def _bell(node_id: str) -> str:
    return f"node:{node_id}:bell"


class RemoteCommands:
    """Sends commands to the calls of any node, carries out those for this node's."""

    def __init__(
        self,
        bus: Bus,
        fanout: Fanout,
        node_id: str,
        find: Callable[[str], CommandedCall | None],
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
        self._listener = asyncio.create_task(self._listen(), name="remote-commands")

    async def stop(self) -> None:
        """Listen no more."""
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.gather(self._listener, return_exceptions=True)
            self._listener = None

    async def send(self, node_id: str, call_id: str, command: Command) -> bool:
        """Post a command for a call of ``node_id``; False where too many wait. Raises
        BusUnavailable."""
        return await self._bus.post(
            _box(call_id),
            msgspec.json.encode(command),
            bell=_bell(node_id),
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
                        await self._empty(call_id)
                    logger.info("commands from other nodes arrive again")
                    tries = 0
                rung = await self._bus.rung(_bell(self._node_id))
                if rung is not None:
                    await self._empty(rung)
            except BusUnavailable as error:
                if not tries:
                    logger.warning("commands from other nodes wait: %s", error)
                await asyncio.sleep(_PAUSES[min(tries, len(_PAUSES) - 1)])
                tries += 1

    async def _empty(self, call_id: str) -> None:
        """Carry out what is in a call's box, a few at a time."""
        while letters := await self._bus.collect(_box(call_id), _TAKEN_AT_ONCE):
            for letter in letters:
                try:
                    self._carry_out(call_id, msgspec.json.decode(letter, type=Command))
                except Exception:  # a command's edge: a fault costs this one only
                    logger.exception("a command for call %s failed", call_id)

    def _carry_out(self, call_id: str, command: Command) -> None:
        call = self._find(call_id)
        if call is None:
            return
        answer = self._answer(call_id, command.sender)
        if command.message is not None:
            call.inject(command.message, answer)
        elif command.describe:
            call.describe(answer)
        else:
            call.hang_up(HANG_UP_REASON)

    def _answer(self, call_id: str, sender: str) -> Answer:
        def tell(events: list[dict[str, Any]]) -> None:
            for event in events:
                self._fanout.publish(call_id, event, to=sender)

        return tell
