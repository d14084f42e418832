"""An agent's tools, tried: one used with given arguments, or what an MCP server offers.

A try is the same request as in a call: the same code sends it, with the stored headers, the check
of the address and the deadline of the tool. A tool that fails is no error of the request: the
answer says so, as the chat model would read it. At most ``MOST_TRIES`` run at a time on a node,
``MOST_OF_ONE`` of them of one workspace, whose tools may be slow; more are refused.
"""

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from msgspec import Struct

from pipelines.engines.base import EngineError
from rest.http.errors import NotFound, RateLimited, ValidationFailed
from rest.http.fields import Name
from rest.http.operation import Answer, AnyOperation, AnyRequest, Operation, Request
from rest.http.waiting import unless_gone
from sessions.core.config import ListedTool, Tool, ToolKind, ToolServer
from sessions.tools import InvalidTools, ToolRunner, list_tools, tools_of, use_tool
from store.database import Database
from store.tenants.agents import Agents
from store.vault import Vault

from .agents import NOUN, PATH, WRITE

MOST_TRIES = 32
MOST_OF_ONE = 4


class ToolTry(Struct, kw_only=True):
    """Which of the agent's tools to use. ``server``: the label of the MCP server that has it; null:
    it is an HTTP tool."""

    name: Name
    server: Name | None = None
    arguments: dict[str, Any] = {}


class ToolTryResult(Struct, rename="camel"):
    """What the chat model would read. ``failed``: ``output`` says why."""

    output: str
    failed: bool
    duration_ms: int


class ToolListing(Struct, kw_only=True):
    """The label of the agent's MCP server that is to list its tools."""

    server: Name


class OfferedTool(Struct, kw_only=True):
    """A tool of an MCP server. ``parameters``: a JSON schema; ``allowed``: the agent may use it;
    ``asks``: each use needs the client's approval."""

    name: str
    description: str
    parameters: dict[str, Any]
    allowed: bool
    asks: bool


class ToolListingResult(Struct, rename="camel"):
    """What an MCP server offers. ``failed``: nothing, and ``message`` says why."""

    tools: list[OfferedTool]
    failed: bool
    message: str | None
    duration_ms: int


class AgentToolResource:
    """Tries the tools of a workspace's agents; ``runner`` is that of calls."""

    def __init__(self, database: Database, runner: ToolRunner, vault: Vault | None = None) -> None:
        self._agents = Agents(database, vault)
        self._runner = runner
        self._running: Counter[str] = Counter()

    def operations(self) -> Sequence[AnyOperation]:
        """See Resource."""
        all_of = f"{PATH}/{{id}}/tools"
        return [
            Operation(
                method="POST",
                path=f"{all_of}/try",
                tag="Agents",
                summary="Use one of an agent's tools, as a call would",
                handler=self._try,
                data=ToolTryResult,
                scope=WRITE,
                body=ToolTry,
                deadline=None,
                description="The request is real: whatever the tool does is done.",
            ),
            Operation(
                method="POST",
                path=f"{all_of}/list",
                tag="Agents",
                summary="List what an agent's MCP server offers",
                handler=self._list,
                data=ToolListingResult,
                scope=WRITE,
                body=ToolListing,
                deadline=None,
            ),
        ]

    async def _try(self, request: Request[ToolTry, None]) -> Answer:
        wanted = request.body
        tools, servers = await self._tools(request)
        tool, server = _found(wanted, tools, servers)
        arguments = json.dumps(wanted.arguments, ensure_ascii=False)
        with self._place(request.workspace_id):
            began = time.monotonic()
            using = use_tool(self._runner, tool, server, arguments)
            output, failed = await unless_gone(request.http, using)
        return Answer(ToolTryResult(output, failed, _since(began)))

    async def _list(self, request: Request[ToolListing, None]) -> Answer:
        _, servers = await self._tools(request)
        server = _server(request.body.server, servers)
        with self._place(request.workspace_id):
            began = time.monotonic()
            try:
                found = await unless_gone(request.http, list_tools(self._runner, server))
            except EngineError as error:
                return Answer(ToolListingResult([], True, str(error), _since(began)))
        offered = [_offered(server, listed) for listed in found]
        return Answer(ToolListingResult(offered, False, None, _since(began)))

    async def _tools(self, request: AnyRequest) -> tuple[Sequence[Tool], Sequence[ToolServer]]:
        agent = await request.stored(NOUN, self._agents.get)
        try:
            return tools_of(agent.tools)
        except InvalidTools as error:
            raise ValidationFailed(f"The agent's tools cannot be used: {error}") from error

    @contextmanager
    def _place(self, workspace_id: str) -> Iterator[None]:
        if self._running.total() >= MOST_TRIES or self._running[workspace_id] >= MOST_OF_ONE:
            raise RateLimited("Too many tools are being tried: try again.", retry_after=1)
        self._running[workspace_id] += 1
        try:
            yield
        finally:
            self._running -= Counter([workspace_id])  # keeps no zeros


def _found(
    wanted: ToolTry, tools: Sequence[Tool], servers: Sequence[ToolServer]
) -> tuple[Tool, ToolServer | None]:
    """The tool to use, with its server; raises NotFound or ValidationFailed."""
    if wanted.server is None:
        tool = next((tool for tool in tools if tool.name == wanted.name), None)
        if tool is None:
            raise NotFound("The agent has no HTTP tool of that name.", param="name")
        return tool, None
    server = _server(wanted.server, servers)
    if server.allowed is not None and wanted.name not in server.allowed:
        raise ValidationFailed("The agent may not use that tool of the server.", param="name")
    kind, label = ToolKind.MCP, server.label
    return Tool(wanted.name, kind=kind, server=label, timeout_ms=server.timeout_ms), server


def _server(label: str, servers: Sequence[ToolServer]) -> ToolServer:
    server = next((server for server in servers if server.label == label), None)
    if server is None:
        raise NotFound("The agent has no MCP server of that label.", param="server")
    return server


def _offered(server: ToolServer, listed: ListedTool) -> OfferedTool:
    schema = msgspec.json.decode(listed.parameters)
    return OfferedTool(
        name=listed.name,
        description=listed.description,
        parameters=schema if isinstance(schema, dict) else {},
        allowed=server.allowed is None or listed.name in server.allowed,
        asks=server.asks(listed.name),
    )


def _since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)
