"""Which node carries which call, and what is known of it: leases that every node can read, and that
expire with their node.

Rules
- Registering is synchronous and never fails: the call lives on this node whatever Redis says. One
  background task takes the leases, renews them every third of their lifetime, and takes them again
  after an outage.
- With its lease a call has a record (``LiveCall``), which is in its workspace's list. A record that
  ``touch`` marked is looked at within ``LOOK_SECONDS`` and written if it has changed, together with
  those of all calls; otherwise it is written with the lease's renewal. It expires with the lease.
- A call that moves here from another node is registered with ``adopted``: its lease is taken over.
- The node itself holds a lease too, so that others know whether it is alive. While it takes calls,
  it is in the list of those that do.
- A call of another workspace looks as if it did not exist.
"""

import asyncio
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass

import msgspec

from store.bus import Bus, Lease
from store.errors import BusUnavailable
from store.ids import new_id

logger = logging.getLogger(__name__)

LEASE_SECONDS = 15.0
LOOK_SECONDS = 1.0
"""How soon a change of a call's state is seen by others."""
_SEPARATOR = "|"


def _call_key(call_id: str) -> str:
    return f"call:{call_id}:node"


def _record_key(call_id: str) -> str:
    return f"call:{call_id}:record"


def _list_key(workspace_id: str) -> str:
    return f"workspace:{workspace_id}:calls"


def _node_key(node_id: str) -> str:
    return f"node:{node_id}"


_NODES = "nodes"
"""The list of nodes that take calls."""


def _place_key(node_id: str) -> str:
    return f"node:{node_id}:place"


@dataclass(frozen=True, slots=True)
class RegisteredCall:
    """What does not change while a call runs. ``owner``: id of the ephemeral key that started it;
    ``started_at``: Unix seconds."""

    call_id: str
    workspace_id: str
    channel: str = ""
    started_at: float = 0.0
    owner: str | None = None

    @property
    def whose(self) -> str:
        """Its workspace, and the ephemeral key that started it, if any."""
        return f"{self.workspace_id}{_SEPARATOR}{self.owner}" if self.owner else self.workspace_id


@dataclass(frozen=True, slots=True)
class CallState:
    """What changes. ``language``: the caller's, None while it is not known; ``turns``: how many
    have ended."""

    agent_id: str | None = None
    state: str = "listening"
    language: str | None = None
    turns: int = 0


class LiveCall(msgspec.Struct, frozen=True, omit_defaults=True):
    """A call of any node as others see it; ``started_at``: Unix seconds."""

    id: str
    workspace_id: str
    node_id: str
    agent_id: str | None
    channel: str
    started_at: float
    state: str
    turns: int
    language: str | None = None


class _Registered:
    def __init__(self, call: RegisteredCall, describe: Callable[[], CallState], adopted: bool):
        self.call = call
        self.describe = describe
        self.adopted = adopted
        self.written: bytes | None = None
        """The record as others see it; None before they do."""


class CallRegistry:
    """Registers the calls of this node, and finds those of any node."""

    def __init__(self, bus: Bus, *, lease_seconds: float = LEASE_SECONDS) -> None:
        self._bus = bus
        self._lease = lease_seconds
        self._calls: dict[str, _Registered] = {}
        self._touched: set[str] = set()
        self._released: dict[str, RegisteredCall] = {}
        self._wake = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._away = False
        self.node_id = new_id("node")
        """The id of this process; a new one at every start."""
        self._leaving = False

    def start(self) -> None:
        """Start holding leases; call it on the running loop."""
        self._keeper = asyncio.create_task(self._keep(), name="registry-keeper")

    async def stop(self) -> None:
        """Release all leases, if Redis answers, and stop."""
        if self._keeper is None:
            return
        self._keeper.cancel()
        await asyncio.gather(self._keeper, return_exceptions=True)
        self._keeper = None
        self._released |= {call_id: one.call for call_id, one in self._calls.items()}
        try:
            await self._release()
            await self._bus.release([self._place])
            await self._bus.lease_release(_node_key(self.node_id), self.node_id)
        except BusUnavailable as error:
            logger.info("leases could not be released and will expire: %s", error)
        self._calls.clear()

    def register(
        self,
        call: RegisteredCall,
        describe: Callable[[], CallState] = CallState,
        *,
        adopted: bool = False,
    ) -> None:
        """Register a call on this node. ``describe``: its state now; called when the record is
        written. ``adopted``: it comes from another node, which may still hold its lease."""
        self._calls[call.call_id] = _Registered(call, describe, adopted)
        self._released.pop(call.call_id, None)
        self._touched.add(call.call_id)
        self._wake.set()

    def touch(self, call_id: str) -> None:
        """The state of a call of this node may have changed."""
        self._touched.add(call_id)

    def unregister(self, call_id: str) -> None:
        """Remove a call that has ended, or goes on elsewhere. Harmless for unknown calls."""
        if registered := self._calls.pop(call_id, None):
            self._released[call_id] = registered.call
            self._wake.set()

    async def find(self, workspace_id: str, call_id: str, owner: str | None = None) -> str | None:
        """The node that carries the workspace's call, or None. Raises BusUnavailable, but never
        for the calls of this node.

        ``owner``: the ephemeral key that looks for it; it finds only the calls that it started."""
        if (here := self._calls.get(call_id)) is not None:
            node_id, whose = self.node_id, here.call.whose
        else:
            value = await self._bus.get(_call_key(call_id))
            node_id, _, whose = (value or b"").decode().partition(_SEPARATOR)
        if owner is None:
            found = whose.partition(_SEPARATOR)[0] == workspace_id
        else:
            found = whose == RegisteredCall(call_id, workspace_id, owner=owner).whose
        return node_id if found and node_id else None

    async def get(self, workspace_id: str, call_id: str) -> LiveCall | None:
        """The workspace's live call, or None. Raises BusUnavailable, but never for the calls of
        this node."""
        if (here := self._calls.get(call_id)) is not None:
            found = self._record(here)
        else:
            record = await self._bus.get(_record_key(call_id))
            if record is None:
                return None
            found = msgspec.json.decode(record, type=LiveCall)
        return found if found.workspace_id == workspace_id else None

    async def list(
        self, workspace_id: str, *, before: str | None = None, limit: int = 100
    ) -> list[LiveCall]:
        """The workspace's live calls on all nodes, newest first, at most ``limit``, from the one
        before id ``before`` on. Raises BusUnavailable."""
        records = await self._bus.members(
            _list_key(workspace_id), value_of=_record_key("*"), before=before, count=limit
        )
        return [msgspec.json.decode(record, type=LiveCall) for record in records]

    async def is_alive(self, node_id: str) -> bool:
        """Whether the node holds its lease. Raises BusUnavailable."""
        return node_id == self.node_id or await self._bus.get(_node_key(node_id)) is not None

    async def leave(self) -> None:
        """This node takes no more calls. Raises BusUnavailable."""
        self._leaving = True
        await self._bus.release([self._place])

    async def has_others(self) -> bool:
        """Whether any other node takes calls. Raises BusUnavailable."""
        nodes = await self._bus.members(_NODES, value_of=_place_key("*"), count=2)
        return any(node.decode() != self.node_id for node in nodes)

    # ------------------------------------------------------------------ within

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        renew_at = loop.time()
        while True:
            try:
                if loop.time() >= renew_at:
                    await self._renew()
                    renew_at = loop.time() + self._lease / 3
                else:
                    await self._write_changes()
                await self._release()
                if self._away:
                    logger.warning("other nodes can find this node's calls again")
                self._away = False
            except BusUnavailable as error:
                if not self._away:
                    logger.warning("other nodes cannot find this node's calls: %s", error)
                self._away, renew_at = True, loop.time()
            try:
                async with asyncio.timeout(min(LOOK_SECONDS, self._lease / 3)):
                    await self._wake.wait()
            except TimeoutError:
                pass
            if self._away:
                await asyncio.sleep(0.2)  # so that a busy node does not flood a dead server
            self._wake.clear()

    async def _renew(self) -> None:
        """Renew all leases, or take those that nobody holds."""
        own = [Lease(_node_key(self.node_id), self.node_id)]
        await self._bus.hold(own if self._leaving else [*own, self._place], self._lease)
        self._touched.clear()
        await self._hold(tuple(self._calls))

    async def _write_changes(self) -> None:
        """Write the records that have changed."""
        touched, self._touched = self._touched, set()
        changed = [
            call_id
            for call_id in touched
            if (one := self._calls.get(call_id)) and one.written != self._encoded(one)
        ]
        try:
            await self._hold(changed)
        except BusUnavailable:
            self._touched |= touched
            raise

    async def _hold(self, call_ids: Collection[str]) -> None:
        held = [one for call_id in call_ids if (one := self._calls.get(call_id)) is not None]
        records = [self._encoded(one) for one in held]
        leases = [
            self._lease_of(one.call, record, forced=one.adopted)
            for one, record in zip(held, records, strict=True)
        ]
        granted = await self._bus.hold(leases, self._lease)
        for one, record, is_ours in zip(held, records, granted, strict=True):
            call_id = one.call.call_id
            if self._calls.get(call_id) is not one:
                continue
            if is_ours:
                one.written, one.adopted = record, False
            else:
                logger.warning("call %s is carried by another node now", call_id)

    async def _release(self) -> None:
        """Release the leases of ended calls; those that fail will expire."""
        released, self._released = self._released, {}
        if released:
            await self._bus.release([self._lease_of(call) for call in released.values()])

    @property
    def _place(self) -> Lease:
        """The node's place in the list of those that take calls."""
        node_id = self.node_id
        return Lease(
            f"node:{node_id}:open",
            node_id,
            record_key=_place_key(node_id),
            record=node_id.encode(),
            list_key=_NODES,
            member=node_id,
        )

    def _record(self, one: _Registered) -> LiveCall:
        call, state = one.call, one.describe()
        return LiveCall(
            id=call.call_id,
            workspace_id=call.workspace_id,
            node_id=self.node_id,
            agent_id=state.agent_id,
            channel=call.channel,
            started_at=call.started_at,
            state=state.state,
            turns=state.turns,
            language=state.language,
        )

    def _encoded(self, one: _Registered) -> bytes:
        return msgspec.json.encode(self._record(one))

    def _lease_of(
        self, call: RegisteredCall, record: bytes = b"", *, forced: bool = False
    ) -> Lease:
        return Lease(
            _call_key(call.call_id),
            f"{self.node_id}{_SEPARATOR}{call.whose}",
            record_key=_record_key(call.call_id),
            record=record,
            list_key=_list_key(call.workspace_id),
            member=call.call_id,
            forced=forced,
        )
