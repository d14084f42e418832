"""Housekeeping: closes the calls of dead nodes, and schedules the daily cleanup.

A node that dies leaves open calls in the table. A node without a lease in two looks, one lease's
lifetime apart, is dead; its calls are closed as ``node_lost``. While Redis does not answer, no node
is declared dead. Several processes may do this at once: closing is idempotent.
"""

import asyncio
import logging

from pipelines.jobs.cleanup import CleanupSchedule
from sessions.registry import LEASE_SECONDS, CallRegistry
from store.errors import BusUnavailable, DatabaseUnavailable
from store.tenants.calls import Calls

logger = logging.getLogger(__name__)


class Housekeeping:
    """Looks every ``interval`` seconds while ``run`` runs."""

    def __init__(
        self,
        calls: Calls,
        registry: CallRegistry,
        cleanups: CleanupSchedule | None = None,
        *,
        interval: float = LEASE_SECONDS,
    ) -> None:
        self._calls = calls
        self._registry = registry
        self._cleanups = cleanups
        self._interval = interval
        self._suspects: set[str] = set()

    async def run(self) -> None:
        """Look until cancelled; an outage is logged once and waited out."""
        away = False
        while True:
            try:
                await self.look()
                if self._cleanups is not None:
                    await self._cleanups.ensure()
                away = False
            except (BusUnavailable, DatabaseUnavailable) as error:
                if not away:
                    logger.warning("housekeeping waits: %s", error)
                away = True
                self._suspects.clear()
            await asyncio.sleep(self._interval)

    async def look(self) -> int:
        """Look once; returns how many calls were closed. Raises StoreUnavailable."""
        missing = {
            node
            for node in await self._calls.nodes_with_open_calls()
            if not await self._registry.is_alive(node)
        }
        dead, self._suspects = missing & self._suspects, missing
        closed = 0
        for node in dead:
            closed += await self._calls.close_orphaned(node)
        if closed:
            logger.info("closed %d calls of %d dead nodes", closed, len(dead))
        return closed
