"""The tools' shell: one result per command, deadlines, cancelling."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import Any

import pytest

from pipelines.engines.base import EngineFailed
from sessions.core.commands import RunTool
from sessions.core.config import ListedTool, Tool, ToolKind, ToolServer
from sessions.core.events import Event, ToolListFailed, ToolReturned, ToolsListed
from sessions.tools import ToolRunner, Tools, seal

SERVER = ToolServer("shop", "https://example.com/mcp", seal({"X-Key": "k"}))
HTTP = Tool("look_up", kind=ToolKind.HTTP, url="https://example.com/", timeout_ms=100)
FIND = Tool("find", kind=ToolKind.MCP, server="shop")


class Runner:
    """Records its requests; fails or hangs as scripted."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.error: EngineFailed | None = None
        self.hangs = False
        self.cancelled = False

    async def list_tools(self, *asked: Any) -> list[tuple[str, str, str]]:
        await self._take(asked)
        return [("find", "Finds.", "{}")]

    async def call_mcp(self, *asked: Any) -> str:
        return await self._take(asked)

    async def call_http(self, *asked: Any) -> str:
        return await self._take(asked)

    async def _take(self, asked: tuple[Any, ...]) -> str:
        self.asked.append(asked)
        if self.error is not None:
            raise self.error
        try:
            await asyncio.wait_for(asyncio.Event().wait(), 10 if self.hangs else 0)
        except TimeoutError:
            return "done"
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return ""


class Shell:
    """Tools with a queue for what they dispatch."""

    def __init__(self, runner: ToolRunner | None) -> None:
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self.tasks: set[asyncio.Task[None]] = set()
        self.tools = Tools(runner, self.events.put_nowait, self._spawn)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        return task

    async def next(self) -> Event:
        return await asyncio.wait_for(self.events.get(), 5)


@pytest.fixture
async def runner() -> Runner:
    return Runner()


@pytest.fixture
async def shell(runner: Runner) -> AsyncIterator[Shell]:
    made = Shell(runner)
    yield made
    for task in made.tasks:
        task.cancel()
    await asyncio.gather(*made.tasks, return_exceptions=True)


async def test_headers_are_opened_for_the_one_who_needs_them(shell: Shell, runner: Runner) -> None:
    headers: Mapping[str, str] = {"X-Key": "k"}
    shell.tools.list(SERVER)
    assert await shell.next() == ToolsListed("shop", (ListedTool("find", "Finds.", "{}"),))
    shell.tools.run(RunTool("c1", "{}", FIND, SERVER))
    assert await shell.next() == ToolReturned("c1", "done")
    shell.tools.run(RunTool("c2", "{}", HTTP, None))
    assert await shell.next() == ToolReturned("c2", "done")
    assert runner.asked == [
        (SERVER.url, headers),
        (SERVER.url, headers, "find", "{}"),
        ("POST", HTTP.url, {}, "{}"),
    ]


async def test_a_failure_is_an_output(shell: Shell, runner: Runner) -> None:
    runner.error = EngineFailed("It rains.")
    shell.tools.run(RunTool("c", "{}", HTTP, None))
    assert await shell.next() == ToolReturned("c", "It rains.", failed=True)
    shell.tools.list(SERVER)
    assert await shell.next() == ToolListFailed("shop", "shop: It rains.")


async def test_a_tool_is_stopped_at_its_timeout(shell: Shell, runner: Runner) -> None:
    runner.hangs = True
    shell.tools.run(RunTool("c", "{}", HTTP, None))
    returned = await shell.next()
    assert isinstance(returned, ToolReturned)
    assert returned.failed


async def test_a_cancelled_tool_use_reports_nothing(shell: Shell, runner: Runner) -> None:
    runner.hangs = True
    shell.tools.run(RunTool("c", "{}", FIND, SERVER))
    await asyncio.sleep(0)
    shell.tools.cancel("c")
    await asyncio.gather(*shell.tasks, return_exceptions=True)
    assert runner.cancelled
    assert shell.events.empty()


async def test_tool_uses_fail_without_a_runner() -> None:
    shell = Shell(None)
    shell.tools.run(RunTool("c", "{}", HTTP, None))
    assert isinstance(returned := await shell.next(), ToolReturned)
    assert returned.failed
