"""Which node carries which call: leases that every node can read, and that expire with their node.

Rules
- Registering is synchronous and never fails: the call lives on this node whatever Redis says. One
  background task takes the leases, renews them every third of their lifetime, and takes them again
  after an outage.
- The node itself holds a lease too, so that others know whether it is alive.
- A call of another workspace looks as if it did not exist.
"""

import asyncio
import logging

from store.bus import Bus
from store.errors import BusUnavailable
from store.ids import new_id

logger = logging.getLogger(__name__)

LEASE_SECONDS = 15.0
_SEPARATOR = "|"


def _call_key(call_id: str) -> str:
    return f"call:{call_id}:node"


def _node_key(node_id: str) -> str:
    return f"node:{node_id}"


class CallRegistry:
    """Registers the calls of this node, and finds those of any node."""

    def __init__(self, bus: Bus, *, lease_seconds: float = LEASE_SECONDS) -> None:
        self._bus = bus
        self._lease = lease_seconds
        self._calls: dict[str, str] = {}
        """Call id -> owner (``_whose``), for the calls of this node."""
        self._released: dict[str, str] = {}
        self._wake = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._away = False
        self.node_id = new_id("node")
        """The id of this process; a new one at every start."""

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
        self._released.update(self._calls)
        try:
            await self._release()
            await self._bus.lease_release(_node_key(self.node_id), self.node_id)
        except BusUnavailable as error:
            logger.info("leases could not be released and will expire: %s", error)
        self._calls.clear()

    def register(self, call_id: str, workspace_id: str, owner: str | None = None) -> None:
        """Register a call on this node. ``owner``: id of the ephemeral key that started it."""
        self._calls[call_id] = _whose(workspace_id, owner)
        self._released.pop(call_id, None)
        self._wake.set()

    def unregister(self, call_id: str) -> None:
        """Remove a call that has ended. Harmless for unknown calls."""
        if whose := self._calls.pop(call_id, None):
            self._released[call_id] = whose
            self._wake.set()

    async def find(self, workspace_id: str, call_id: str, owner: str | None = None) -> str | None:
        """The node that carries the workspace's call, or None. Raises BusUnavailable, but never
        for the calls of this node.

        ``owner``: the ephemeral key that looks for it; it finds only the calls that it started."""
        node_id, whose = self.node_id, self._calls.get(call_id)
        if whose is None:
            value = await self._bus.get(_call_key(call_id))
            node_id, _, whose = (value or b"").decode().partition(_SEPARATOR)
        if owner is None:
            found = whose.partition(_SEPARATOR)[0] == workspace_id
        else:
            found = whose == _whose(workspace_id, owner)
        return node_id if found and node_id else None

    async def is_alive(self, node_id: str) -> bool:
        """Whether the node holds its lease. Raises BusUnavailable."""
        return node_id == self.node_id or await self._bus.get(_node_key(node_id)) is not None

    async def _keep(self) -> None:
        while True:
            try:
                await self._hold_all()
                await self._release()
                if self._away:
                    logger.warning("other nodes can find this node's calls again")
                self._away = False
            except BusUnavailable as error:
                if not self._away:
                    logger.warning("other nodes cannot find this node's calls: %s", error)
                self._away = True
            try:
                async with asyncio.timeout(self._lease / 3 if not self._away else 1.0):
                    await self._wake.wait()
            except TimeoutError:
                pass
            if self._away:
                await asyncio.sleep(0.2)  # so that a busy node does not flood a dead server
            self._wake.clear()

    async def _hold_all(self) -> None:
        await self._hold(_node_key(self.node_id), self.node_id)
        for call_id, whose in tuple(self._calls.items()):
            if self._calls.get(call_id) != whose:
                continue
            holder = self._holder(whose)
            if not await self._hold(_call_key(call_id), holder):
                logger.error("call %s is also registered on another node", call_id)

    async def _hold(self, key: str, holder: str) -> bool:
        """Renew a lease, or take it if nobody holds it."""
        return await self._bus.lease_renew(
            key, holder, self._lease
        ) or await self._bus.lease_acquire(key, holder, self._lease)

    async def _release(self) -> None:
        """Release the leases of ended calls; those that fail will expire."""
        while self._released:
            call_id, whose = self._released.popitem()
            await self._bus.lease_release(_call_key(call_id), self._holder(whose))

    def _holder(self, whose: str) -> str:
        return f"{self.node_id}{_SEPARATOR}{whose}"


def _whose(workspace_id: str, owner: str | None) -> str:
    """The owner of a call: its workspace, and the ephemeral key that started it, if any."""
    return f"{workspace_id}{_SEPARATOR}{owner}" if owner else workspace_id
