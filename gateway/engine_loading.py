"""EngineLoading: loads the engines while the application already answers, and keeps them warm.

The first call after the start, or after an idle hour, is to be as fast as the tenth: a dry turn
goes through everything that a call to the default agent goes through, and is repeated while nobody
calls. Of other agents, the prompts are read (``sessions.agent_prefill``).
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

from aiohttp import web

from pipelines.engines.catalogue import Catalogue
from sessions.agent_config import unrecorded
from sessions.agent_prefill import AgentPrefill
from sessions.core.config import SessionConfig
from sessions.dry_turn import dry_turn
from sessions.host import SessionHost
from sessions.machine import give_back_memory, settle_memory
from store.errors import StoreError
from store.tenants.accounts import LOCAL_WORKSPACE
from store.tenants.agents import DEFAULT_PROMPT, Agent, Agents

log = logging.getLogger(__name__)


async def default_config(agents: Agents) -> SessionConfig:
    """Of a call to the local workspace's default agent; a plain one where there is none."""
    try:
        return unrecorded(await agents.ensure_default_agent(LOCAL_WORKSPACE))
    except StoreError as error:
        log.debug("no default agent: %s", error)
        return SessionConfig(instructions=DEFAULT_PROMPT)


WARM_SECONDS = 240.0
"""Between two dry turns of a server that nobody calls."""


class EngineLoading:
    """Loads the engines while the application already answers, keeps them warm, and puts the
    process's memory in order while nobody calls."""

    def __init__(
        self,
        engines: Catalogue,
        host: SessionHost,
        agents: Agents,
        *,
        keep_warm: bool,
        settles: bool,
        elsewhere: Callable[[], int],
    ) -> None:
        """``keep_warm``: go through dry turns, and read the prompts of agents that were called.
        ``settles``: this process does nothing else, so that what is loaded is kept to its end.
        ``elsewhere``: the calls of the other gateway processes."""
        self._settles = settles
        self._engines = engines
        self._host = host
        self._task: asyncio.Task[None] | None = None
        self._warm: asyncio.Task[None] | None = None
        self._prefilling: asyncio.Task[None] | None = None
        self._agents = agents
        self._keeps_warm = keep_warm
        self._elsewhere = elsewhere
        self._prefill = AgentPrefill(engines, agents.recently_called, self._busy)

    async def context(self, _app: web.Application) -> AsyncIterator[None]:
        """For ``cleanup_ctx``: start loading; at the end, stop it and close the engines."""
        self._task = asyncio.create_task(self._load(), name="engines-loading")
        yield
        begun = (self._task, self._warm, self._prefilling)
        tasks = [task for task in begun if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._engines.close()

    def read_ahead(self, agent: Agent) -> None:
        """Have the prompt of an agent read that was created or changed."""
        if self._settles:
            self._prefill.offer(agent)

    async def waiting_for(self) -> str | None:
        """Why the engines cannot answer calls (a sentence); None when they can."""
        if self._task is not None and self._task.done() and not self._task.cancelled():
            error = self._task.exception()
            if error is not None:
                return f"The engines could not be loaded: {error}."
        return self._engines.waiting_for()

    async def _load(self) -> None:
        try:
            await self._engines.start(self._host.quiet, self._warm_up)
        except Exception:  # the edge of a background task: reported here and in /readyz
            log.exception("the engines could not be loaded")
            raise
        self._warm = asyncio.create_task(self._keep_warm(), name="engines-warm")
        if self._settles:
            self._prefilling = asyncio.create_task(self._prefill.run(), name="agents-prefill")

    async def _keep_warm(self) -> None:
        if self._keeps_warm:
            await self._prefill.offer_recent()
        if self._settles:
            await self._host.quiet()
            settle_memory()
        while True:
            await asyncio.sleep(WARM_SECONDS)
            if self._engines.ready() and not self._busy():
                await self._warm_up()
                if self._keeps_warm:  # a larger chat model may have taken over
                    await self._prefill.offer_recent()
            if self._settles and not self._host.active:
                await asyncio.to_thread(give_back_memory)

    async def _warm_up(self) -> None:
        """Go through a dry turn; whatever comes of it, calls are answered."""
        if not self._keeps_warm:
            return
        try:
            config = await default_config(self._agents)
            await dry_turn(self._engines, config, self._busy)
        except Exception:  # the edge of a background task
            log.exception("a dry turn failed")

    def _busy(self) -> bool:
        return bool(self._host.active or self._elsewhere())
