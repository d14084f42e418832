"""AgentPrefill: has the chat model read the prompts of agents before anybody calls them.

An answer begins when the whole prompt has been read, and the chat model keeps what it has read. The
dry turns read the default agent's prompt; here those of the agents that were called last are read,
and that of an agent that was created or changed. What does not get its turn in time is read when a
call connects (``core.turns.endpointing``), while the caller is greeted or speaks.

Rules
- A call goes first: nothing is read while there is one. If one begins, reading stops within
  ``LOOK_SECONDS``; what was read by then is kept, and the rest is read after the call.
- At most ``MOST_AGENTS`` wait, whose prompts have ``MOST_CHARACTERS`` together: the engine's prompt
  cache must hold them all. Beyond that, those that have waited longest are dropped.
- The tools of MCP servers are not read: only a call lists them.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from pipelines.engines.base import EngineError
from pipelines.engines.catalogue import Catalogue
from store.errors import StoreError
from store.tenants.agents import Agent

from .agent_config import session_config, with_languages
from .core.commands import PrepareReply
from .core.config import SessionConfig
from .core.conversation import Conversation
from .core.events import CallStarted
from .speech.reply_task import chat_message, offer_of
from .tools import InvalidTools

log = logging.getLogger(__name__)

MOST_AGENTS = 4
MOST_CHARACTERS = 12_000
"""About 3,000 tokens: 86 MB of the prompt cache (128 MiB) with the 1.5B model, 37 MB with 0.5B."""
LOOK_SECONDS = 0.05
"""Between two looks for a call while a prompt is read."""
PAUSE_SECONDS = 1.0
"""Between two looks for the end of the calls."""
READ_SECONDS = 60.0

Recent = Callable[[int], Awaitable[Sequence[Agent]]]
"""So many of the agents that were called last, the latest first."""


class AgentPrefill:
    """Reads ahead for agents; ``busy``: whether there is a call on this machine."""

    def __init__(self, engines: Catalogue, recent: Recent, busy: Callable[[], bool]) -> None:
        self._engines = engines
        self._recent = recent
        self._busy = busy
        self._waiting: dict[str, Agent] = {}
        """By id, the one that has waited longest first."""
        self._offered = asyncio.Event()

    @property
    def waiting(self) -> int:
        """Agents whose prompts are still to be read."""
        return len(self._waiting)

    def offer(self, agent: Agent) -> None:
        """Have an agent's prompt read, that is new or was changed."""
        self._waiting.pop(agent.id, None)
        self._waiting[agent.id] = agent
        while self._waiting and not _fits([*self._waiting.values()]):
            del self._waiting[next(iter(self._waiting))]
        self._offered.set()

    async def offer_recent(self) -> None:
        """Have the prompts of the agents that were called last read, as far as there is room."""
        try:
            agents = await self._recent(MOST_AGENTS)
        except StoreError as error:
            log.debug("no agents to read ahead for: %s", error)
            return
        for agent in agents:
            if agent.id not in self._waiting and _fits([*self._waiting.values(), agent]):
                self._waiting[agent.id] = agent
        self._offered.set()

    async def run(self) -> None:
        """Read what is offered, one prompt after the other, until cancelled."""
        while True:
            await self._offered.wait()
            agent = next(iter(self._waiting.values()), None)
            if agent is None:
                self._offered.clear()
            elif self._busy() or not self._engines.ready():
                await asyncio.sleep(PAUSE_SECONDS)
            elif await self._read(agent) and self._waiting.get(agent.id) is agent:
                del self._waiting[agent.id]

    async def _read(self, agent: Agent) -> bool:
        """Read an agent's prompt; False where a call began meanwhile."""
        try:
            config = with_languages(session_config(agent), self._engines.languages_for)
        except InvalidTools as error:  # it cannot be called either
            log.debug("agent %s is not read ahead: %s", agent.id, error)
            return True
        reading = asyncio.create_task(self._prefill(config), name="agent-prefill")
        try:
            async with asyncio.timeout(READ_SECONDS):
                while not reading.done():
                    if self._busy():
                        return False
                    await asyncio.wait((reading,), timeout=LOOK_SECONDS)
        except TimeoutError:
            log.debug("the prompt of agent %s took too long to read", agent.id)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        return True

    async def _prefill(self, config: SessionConfig) -> None:
        hint = _first_hint(config)
        if hint is None:
            return
        try:
            model = await self._engines.chat(config.model)
            messages = [chat_message(message) for message in hint.history]
            await model.prefill(messages, offer=offer_of(hint.tools, config.tool_choice))
        except EngineError as error:  # a call will report it
            log.debug("a prompt was not read ahead: %s", error.code)


def _first_hint(config: SessionConfig) -> PrepareReply | None:
    """What a call with ``config`` has read when it connects."""
    commands = Conversation("prefill").handle(CallStarted(config), 0.0)
    return next((one for one in commands if isinstance(one, PrepareReply)), None)


def _fits(agents: Sequence[Agent]) -> bool:
    size = sum(len(agent.system_prompt) + len(str(agent.tools)) for agent in agents)
    return len(agents) <= MOST_AGENTS and size <= MOST_CHARACTERS
