"""A call's tools: declared by a client or an agent's record, checked, listed and used.

Rules
- A client may declare ``function``, ``blab.http`` and ``mcp`` (``gateway.channels.wire.tools``); an
  agent's record only the two that the server carries out, ``blab.http`` and ``mcp``.
- Headers and ``authorization`` are sealed when a call adopts them, and shown to nobody.
- Every listing and every use is a task of the session with a deadline. Unless it is cancelled, it
  is answered once: a listing with ToolsListed or ToolListFailed, a use with ToolReturned. Arguments
  and outputs of tools are never logged.
"""

import asyncio
import json
import logging
import re
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, Protocol

import msgspec
from cryptography.fernet import Fernet, InvalidToken
from msgspec import Meta

from pipelines.engines.base import EngineError, EngineFailed
from sessions.core.commands import RunTool
from sessions.core.config import ListedTool, Tool, ToolKind, ToolServer
from sessions.core.events import Event, ToolListFailed, ToolReturned, ToolsListed

log = logging.getLogger(__name__)


_LIST_SECONDS = 15.0
_KEY = Fernet(Fernet.generate_key())
"""The key of this process: what it seals can be opened where the call runs, and nowhere else."""


class ToolRunner(Protocol):
    """Calls tools; raises EngineError with a message that is safe to show."""

    async def list_tools(
        self, url: str, headers: Mapping[str, str]
    ) -> Sequence[tuple[str, str, str]]:
        """Name, description and JSON schema of each tool of an MCP server."""
        ...

    async def call_mcp(
        self, url: str, headers: Mapping[str, str], name: str, arguments: str
    ) -> str:
        """The result of an MCP server's tool, as text."""
        ...

    async def call_http(
        self, method: str, url: str, headers: Mapping[str, str], arguments: str
    ) -> str:
        """The body of the response to an HTTP tool, as text."""
        ...


class Tools:
    """Executes one call's tool commands. ``runner`` None: this process runs no tools."""

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
        """List the tools of a server."""
        self._spawn(self._list(server))

    def run(self, order: RunTool) -> None:
        """Carry out a tool use."""
        task = self._uses[order.tool_use_id] = self._spawn(self._run(order))
        task.add_done_callback(lambda _: self._uses.pop(order.tool_use_id, None))

    def cancel(self, tool_use_id: str) -> None:
        """Stop a tool use, which then returns nothing."""
        task = self._uses.pop(tool_use_id, None)
        if task is not None:
            task.cancel()

    async def _list(self, server: ToolServer) -> None:
        if self._runner is None:
            return
        try:
            found = await list_tools(self._runner, server)
        except EngineError as error:
            log.info("an MCP server's tools could not be listed")
            self._dispatch(ToolListFailed(server.label, f"{server.label}: {error}"))
        else:
            self._dispatch(ToolsListed(server.label, found))

    async def _run(self, order: RunTool) -> None:
        output, failed = await use_tool(self._runner, order.tool, order.server, order.arguments)
        self._dispatch(ToolReturned(order.tool_use_id, output, failed))


async def list_tools(runner: ToolRunner, server: ToolServer) -> tuple[ListedTool, ...]:
    """What an MCP server offers; raises EngineError."""
    try:
        async with asyncio.timeout(_LIST_SECONDS):
            found = await runner.list_tools(server.url, unseal(server.sealed))
    except TimeoutError:
        raise EngineFailed("The MCP server did not answer in time.") from None
    return tuple(ListedTool(*tool) for tool in found)


async def use_tool(
    runner: ToolRunner | None, tool: Tool, server: ToolServer | None, arguments: str
) -> tuple[str, bool]:
    """The output of a tool of ``server`` (None: an HTTP tool), and whether it failed: the output
    says why then. ``arguments``: JSON."""
    try:
        async with asyncio.timeout(tool.timeout_ms / 1000):
            return await _output(runner, tool, server, arguments), False
    except EngineError as error:
        return str(error), True
    except TimeoutError:
        return "The tool did not answer in time.", True


async def _output(
    runner: ToolRunner | None, tool: Tool, server: ToolServer | None, arguments: str
) -> str:
    if runner is None or (server is None and tool.kind is ToolKind.MCP):
        raise EngineFailed("The tool cannot be reached from this server.")
    if server is not None:
        return await runner.call_mcp(server.url, unseal(server.sealed), tool.name, arguments)
    return await runner.call_http(tool.method, tool.url, unseal(tool.sealed), arguments)


def seal(headers: Mapping[str, str]) -> str:
    """The headers, sealed; empty if there are none."""
    return _KEY.encrypt(msgspec.json.encode(dict(headers))).decode() if headers else ""


def unseal(sealed: str) -> dict[str, str]:
    """The headers that this process sealed; none if another process sealed them."""
    if not sealed:
        return {}
    try:
        return msgspec.json.decode(_KEY.decrypt(sealed.encode()), type=dict[str, str])
    except InvalidToken:
        return {}


# ---------------------------------------------------------------------- as they are written


MOST = 64
"""The most tools of an agent."""
MAX_AGENT_CHARS = 262_144
MAX_HEADERS = 32
MAX_TIMEOUT_MS = 60_000

_NAME_RULE = {"refusal": "'{name}' must be 1 to 64 letters, digits, underscores or hyphens."}
_URL_RULE = {"refusal": "'{where}' must begin with https:// or http://."}
_Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z", max_length=64, extra=_NAME_RULE)]
_Url = Annotated[
    str,
    Meta(pattern=r"^https?://[^\s/@\\]+([/?#]\S*)?\Z", max_length=2_048, extra=_URL_RULE),
]
"""Only its form is checked here; whether it may be called is checked where it is set and called."""
_Value = Annotated[str, Meta(max_length=8_192)]
_Milliseconds = Annotated[int, Meta(ge=100, le=MAX_TIMEOUT_MS)]
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
_RESERVED = {"host", "content-length", "transfer-encoding", "connection", "upgrade", "te"}


class InvalidTools(ValueError):
    """The tools are refused; the message says why."""


def _no_parameters() -> dict[str, Any]:
    return {"type": "object", "properties": {}}


class FunctionTool(msgspec.Struct, tag="function", tag_field="type", forbid_unknown_fields=True):
    """A function of the client."""

    name: _Name
    description: str = ""
    parameters: dict[str, Any] | None = None
    strict: Any = None


class HttpTool(msgspec.Struct, tag="blab.http", tag_field="type", forbid_unknown_fields=True):
    """An HTTP request that the server makes."""

    name: _Name
    url: _Url
    description: str = ""
    parameters: dict[str, Any] = msgspec.field(default_factory=_no_parameters)
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    headers: dict[str, _Value] = {}
    timeout_ms: _Milliseconds = 15_000


class McpServer(msgspec.Struct, tag="mcp", tag_field="type", forbid_unknown_fields=True):
    """What every MCP server has; subclasses add which tools it offers and which need approval."""

    server_label: _Name
    server_url: _Url
    headers: dict[str, _Value] = {}
    authorization: _Value = ""
    timeout_ms: _Milliseconds = 15_000


class AgentServer(McpServer, tag="mcp"):
    """An MCP server in an agent's record."""

    allowed_tools: Annotated[list[str], Meta(max_length=128)] | None = None
    require_approval: Literal["always", "never"] = "never"


_AgentTool = HttpTool | AgentServer


def header_fault(headers: Mapping[str, str]) -> str | None:
    """Why the headers cannot be sent; None if they can."""
    if len(headers) > MAX_HEADERS:
        return f"At most {MAX_HEADERS} headers."
    for name, value in headers.items():
        if _HEADER.fullmatch(name) is None or name.lower() in _RESERVED:
            return "A header's name is invalid or reserved."
        if not value.isprintable():
            return "A header's value has unprintable characters."
    return None


def http_tool(declared: HttpTool, schema: str, *, fixed: bool = False) -> Tool:
    """A call's tool; ``schema``: its parameters, as JSON."""
    return Tool(
        declared.name,
        declared.description,
        schema,
        ToolKind.HTTP,
        url=declared.url,
        method=declared.method,
        sealed=seal(declared.headers),
        timeout_ms=declared.timeout_ms,
        fixed=fixed,
    )


def sealed_headers(declared: McpServer) -> str:
    """The sealed headers of its requests, with ``authorization``."""
    headers = dict(declared.headers)
    if declared.authorization:
        headers["Authorization"] = f"Bearer {declared.authorization}"
    return seal(headers)


# ------------------------------------------------------------------ an agent's record


def check_tools(written: Iterable[Any]) -> list[dict[str, Any]]:
    """The tools in the form in which they are stored; raises InvalidTools."""
    tools = _read(written)
    for tool in tools:
        if (fault := header_fault(tool.headers)) is not None:
            raise InvalidTools(fault)
        if isinstance(tool, AgentServer) and not tool.authorization.isprintable():
            raise InvalidTools("'authorization' has unprintable characters.")
    names = [tool.name if isinstance(tool, HttpTool) else tool.server_label for tool in tools]
    if len(set(names)) < len(names):
        raise InvalidTools("Two tools have the same name.")
    plain: list[dict[str, Any]] = msgspec.to_builtins(tools)
    if len(json.dumps(plain)) > MAX_AGENT_CHARS:
        raise InvalidTools("The tools are too long.")
    return plain


def tools_of(
    written: Iterable[Mapping[str, Any]],
) -> tuple[tuple[Tool, ...], tuple[ToolServer, ...]]:
    """Stored tools, as a conversation uses them."""
    tools: list[Tool] = []
    servers: list[ToolServer] = []
    for each in _read(written):
        if isinstance(each, HttpTool):
            schema = json.dumps(each.parameters, ensure_ascii=False)
            tools.append(http_tool(each, schema, fixed=True))
            continue
        servers.append(
            ToolServer(
                each.server_label,
                each.server_url,
                sealed_headers(each),
                None if each.allowed_tools is None else tuple(each.allowed_tools),
                each.require_approval == "always",
                timeout_ms=each.timeout_ms,
                fixed=True,
            )
        )
    return tuple(tools), tuple(servers)


def shown_tools(written: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Stored tools without their headers."""
    return [
        {name: value for name, value in tool.items() if name not in ("headers", "authorization")}
        for tool in written
    ]


def _read(written: Iterable[Any]) -> list[_AgentTool]:
    kinds = Annotated[list[_AgentTool], Meta(max_length=MOST)]
    try:
        tools: list[_AgentTool] = msgspec.convert(list(written), kinds)
    except msgspec.ValidationError as error:
        raise InvalidTools(str(error)) from error
    return tools
