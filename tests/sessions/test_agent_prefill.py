"""The prompts of agents are read before anybody calls, and never while somebody does."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipelines.engines.base import ChatMessage, ToolOffer
from pipelines.engines.catalogue import Catalogue
from pipelines.engines.discovery import BUILT_IN
from pipelines.engines.engine import EngineSettings
from pipelines.engines.scripted.live import ScriptedChatModel, ScriptedEngines, scripted_engines
from sessions.agent_config import session_config, with_languages
from sessions.agent_prefill import LOOK_SECONDS, MOST_AGENTS, MOST_CHARACTERS, AgentPrefill
from sessions.core.prompt import composed
from store.errors import StoreUnavailable
from store.tenants.agents import Agent
from tests.support.sessions import virtual_clock

TOOL: dict[str, Any] = {
    "type": "blab.http",
    "name": "find_room",
    "description": "Finds a free room",
    "url": "https://hotel.example/rooms",
    "parameters": {"type": "object", "properties": {}},
}


def agent(number: int, prompt: str = "", tools: Sequence[dict[str, Any]] = ()) -> Agent:
    now = datetime(2026, 11, 26, tzinfo=UTC)
    return Agent(
        id=f"agt_{number}",
        workspace_id="ws_1",
        name=f"Agent {number}",
        system_prompt=prompt or f"You sell {number} kinds of bread.",
        model="default",
        tts_model="default",
        voice="default",
        language=None,
        is_default=False,
        created_at=now,
        updated_at=now,
        tools=tools,
    )


class SlowReader(ScriptedChatModel):
    """Reads a prompt for 2 s."""

    async def prefill(
        self, messages: Sequence[ChatMessage], *, offer: ToolOffer | None = None
    ) -> None:
        await asyncio.sleep(2.0)
        await super().prefill(messages, offer=offer)


class Machine:
    """A machine on which nobody calls, until ``calls`` is set."""

    def __init__(self, engines: ScriptedEngines, recent: Sequence[Agent] = ()) -> None:
        self.engines = engines
        self.calls = False
        self.recent = recent
        self.prefill = AgentPrefill(engines, self._recent, lambda: self.calls)

    async def _recent(self, most: int) -> Sequence[Agent]:
        return self.recent[:most]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.prefill.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    @property
    def read(self) -> list[str]:
        """The system prompts that the model has read."""
        return [messages[0].content for messages in self.engines.chat_model.prefilled]


def prompt_of(one: Agent, engines: ScriptedEngines) -> str:
    return composed(with_languages(session_config(one), engines.languages_for))


def test_the_agents_that_were_called_last_are_read() -> None:
    async def scene() -> None:
        engines = scripted_engines()
        machine = Machine(engines, [agent(number) for number in range(MOST_AGENTS + 3)])
        async with machine.running():
            await machine.prefill.offer_recent()
            await asyncio.sleep(5.0)
        assert machine.read == [prompt_of(one, engines) for one in machine.recent[:MOST_AGENTS]]

    virtual_clock.run(scene())


def test_a_changed_agent_is_read_as_a_call_reads_it() -> None:
    async def scene() -> None:
        machine = Machine(scripted_engines())
        async with machine.running():
            machine.prefill.offer(agent(1))
            machine.prefill.offer(agent(1, "You sell cakes.", [TOOL]))
            await asyncio.sleep(5.0)
        (prompt,) = machine.read
        assert prompt.endswith("You sell cakes.")
        assert "no clock" not in prompt, "it has a tool"

    virtual_clock.run(scene())


def test_a_call_goes_first() -> None:
    async def scene() -> None:
        engines = scripted_engines()
        engines.chat_model = SlowReader()
        machine = Machine(engines)
        async with machine.running():
            machine.prefill.offer(agent(1))
            await asyncio.sleep(1.0)
            machine.calls = True
            await asyncio.sleep(2 * LOOK_SECONDS)
            assert not [task for task in asyncio.all_tasks() if task.get_name() == "agent-prefill"]
            await asyncio.sleep(60.0)
            assert not machine.read, "nothing is read during a call"
            machine.calls = False
            await asyncio.sleep(5.0)
            assert len(machine.read) == 1

    virtual_clock.run(scene())


def test_what_waits_is_bounded() -> None:
    async def scene() -> None:
        machine = Machine(scripted_engines())
        machine.calls = True
        async with machine.running():
            for number in range(100):
                machine.prefill.offer(agent(number))
            machine.calls = False
            await asyncio.sleep(10.0)
            newest = [f"You sell {number} kinds of bread." for number in range(96, 100)]
            assert [prompt.rpartition("\n\n")[2] for prompt in machine.read] == newest
            machine.prefill.offer(agent(1, "long " * MOST_CHARACTERS))
            await asyncio.sleep(10.0)
            assert len(machine.read) == MOST_AGENTS, "a prompt that does not fit is not read"

    virtual_clock.run(scene())


def test_an_agent_whose_tools_cannot_be_read_does_not_stop_the_others() -> None:
    async def scene() -> None:
        machine = Machine(scripted_engines())
        async with machine.running():
            machine.prefill.offer(agent(1, tools=[{"type": "telegraph"}]))
            machine.prefill.offer(agent(2))
            await asyncio.sleep(5.0)
            assert len(machine.read) == 1
            assert machine.prefill.waiting == 0

    virtual_clock.run(scene())


def test_without_a_database_nothing_is_read() -> None:
    async def scene() -> None:
        async def fails(_: int) -> Sequence[Agent]:
            raise StoreUnavailable("no database")

        engines = scripted_engines()
        await AgentPrefill(engines, fails, lambda: False).offer_recent()
        assert not engines.chat_model.prefilled

    virtual_clock.run(scene())


@pytest.mark.alone
@pytest.mark.engines
async def test_the_real_model_answers_an_agents_first_turn_from_its_cache(models_dir: Path) -> None:
    engines = Catalogue(EngineSettings(models_dir), engines=BUILT_IN)
    await engines.start()
    one = agent(1, "You know the opening hours of a bakery. " * 20)

    async def none(_: int) -> Sequence[Agent]:
        return ()

    prefill = AgentPrefill(engines, none, lambda: False)
    prefill.offer(one)
    try:
        async with asyncio.timeout(60):
            running = asyncio.create_task(prefill.run())
            while prefill.waiting:
                await asyncio.sleep(0.05)
        running.cancel()
        instructions = composed(with_languages(session_config(one), engines.languages_for))
        prompt = (ChatMessage("system", instructions), ChatMessage("user", "When do you open?"))
        model = await engines.chat("default")
        answer = [delta async for delta in model.stream(prompt, max_tokens=4)]
        assert answer[-1].cached_tokens > 200
    finally:
        await engines.close()
