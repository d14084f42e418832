"""Tools at work for one call: listings and tool uses, each a task of the session under a deadline.

Every command is answered once: a listing with ToolsListed or ToolListFailed, a use with
ToolReturned, unless it is cancelled. Neither arguments nor outputs of tools are logged.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol

import msgspec
from cryptography.fernet import Fernet, InvalidToken

from pipelines.engines.base import EngineError
from sessions.core.commands import RunTool
from sessions.core.config import ListedTool, ToolKind, ToolServer
from sessions.core.events import Event, ToolListFailed, ToolReturned, ToolsListed

log = logging.getLogger(__name__)

_LIST_SECONDS = 15.0
_KEY = Fernet(Fernet.generate_key())
"""Of this process only: what it sealed can be opened where the call runs, and nowhere else."""


class ToolRunner(Protocol):
    """Speaks to tools; raises EngineError with words that are safe to show."""

    async def list_tools(
        self, url: str, headers: Mapping[str, str]
    ) -> Sequence[tuple[str, str, str]]:
        """Name, description and JSON schema of each tool of an MCP server."""
        ...

    async def call_mcp(
        self, url: str, headers: Mapping[str, str], name: str, arguments: str
    ) -> str:
        """The result of a tool of an MCP server, as text."""
        ...

    async def call_http(
        self, method: str, url: str, headers: Mapping[str, str], arguments: str
    ) -> str:
        """The body of the response to an HTTP tool, as text."""
        ...


class Tools:
    """Carries out one call's orders about tools. ``runner`` None: there are none here."""

    def __init__(
        self,
        runner: ToolRunner | None,
        dispatch: Callable[[Event], None],
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self._runner = runner
        self._dispatch = dispatch
        self._spawn = spawn
        self._uses: dict[str, asyncio.Task[None]] = {}

    def list(self, server: ToolServer) -> None:
        """Ask a server for its tools."""
        self._spawn(self._list(server))

    def run(self, order: RunTool) -> None:
        """Carry out a tool use."""
        task = self._uses[order.tool_use_id] = self._spawn(self._run(order))
        task.add_done_callback(lambda _: self._uses.pop(order.tool_use_id, None))

    def cancel(self, tool_use_id: str) -> None:
        """Stop a tool use; nothing comes of it any more."""
        task = self._uses.pop(tool_use_id, None)
        if task is not None:
            task.cancel()

    async def _list(self, server: ToolServer) -> None:
        if self._runner is None:
            return
        try:
            async with asyncio.timeout(_LIST_SECONDS):
                found = await self._runner.list_tools(server.url, unseal(server.sealed))
        except EngineError as error:
            self._list_failed(server.label, str(error))
        except TimeoutError:
            self._list_failed(server.label, "The MCP server did not answer in time.")
        else:
            tools = tuple(ListedTool(*tool) for tool in found)
            self._dispatch(ToolsListed(server.label, tools))

    def _list_failed(self, label: str, why: str) -> None:
        log.info("an MCP server's tools could not be listed")
        self._dispatch(ToolListFailed(label, f"{label}: {why}"))

    async def _run(self, order: RunTool) -> None:
        try:
            async with asyncio.timeout(order.tool.timeout_ms / 1000):
                output, failed = await self._output(order), False
        except EngineError as error:
            output, failed = str(error), True
        except TimeoutError:
            output, failed = "The tool did not answer in time.", True
        self._dispatch(ToolReturned(order.tool_use_id, output, failed))

    async def _output(self, order: RunTool) -> str:
        runner, tool, server = self._runner, order.tool, order.server
        if runner is None or (server is None and tool.kind is ToolKind.MCP):
            raise EngineError("The tool cannot be reached from here.")
        if server is not None:
            return await runner.call_mcp(
                server.url, unseal(server.sealed), tool.name, order.arguments
            )
        return await runner.call_http(tool.method, tool.url, unseal(tool.sealed), order.arguments)


def seal(headers: Mapping[str, str]) -> str:
    """The headers, sealed; empty where there are none."""
    return _KEY.encrypt(msgspec.json.encode(dict(headers))).decode() if headers else ""


def unseal(sealed: str) -> dict[str, str]:
    """What was sealed by this process; nothing where another process did it."""
    if not sealed:
        return {}
    try:
        return msgspec.json.decode(_KEY.decrypt(sealed.encode()), type=dict[str, str])
    except InvalidToken:
        return {}
