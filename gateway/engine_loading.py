"""EngineLoading: loads the engines while the application already answers, and keeps them warm.

The first call after the start, or after an idle hour, is to be as fast as the tenth: a dry turn
goes through everything that a call goes through, and is repeated while nobody calls.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import web

from pipelines.engines.catalogue import Catalogue
from sessions.agent_config import unrecorded
from sessions.core.config import SessionConfig
from sessions.dry_turn import dry_turn
from sessions.host import SessionHost
from sessions.machine import give_back_memory, settle_memory
from store.errors import StoreError
from store.tenants.accounts import LOCAL_WORKSPACE
from store.tenants.agents import DEFAULT_PROMPT, Agents

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
        answering: Callable[[], Awaitable[SessionConfig]] | None,
        *,
        settles: bool,
        elsewhere: Callable[[], int],
    ) -> None:
        """``answering``: gives the configuration of dry turns; None: there are none. ``settles``:
        this process does nothing else, so that what is loaded is kept to its end. ``elsewhere``:
        the calls of the other gateway processes."""
        self._settles = settles
        self._engines = engines
        self._host = host
        self._task: asyncio.Task[None] | None = None
        self._warm: asyncio.Task[None] | None = None
        self._answering = answering
        self._elsewhere = elsewhere

    async def context(self, _app: web.Application) -> AsyncIterator[None]:
        """For ``cleanup_ctx``: start loading; at the end, stop it and close the engines."""
        self._task = asyncio.create_task(self._load(), name="engines-loading")
        yield
        tasks = [task for task in (self._task, self._warm) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._engines.close()

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

    async def _keep_warm(self) -> None:
        if self._settles:
            await self._host.quiet()
            settle_memory()
        while True:
            await asyncio.sleep(WARM_SECONDS)
            if self._engines.ready() and not self._busy():
                await self._warm_up()
            if self._settles and not self._host.active:
                await asyncio.to_thread(give_back_memory)

    async def _warm_up(self) -> None:
        """Go through a dry turn; whatever comes of it, calls are answered."""
        if self._answering is None:
            return
        try:
            config = await self._answering()
            await dry_turn(self._engines, config, self._busy)
        except Exception:  # the edge of a background task
            log.exception("a dry turn failed")

    def _busy(self) -> bool:
        return bool(self._host.active or self._elsewhere())
