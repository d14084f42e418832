"""Tools as a client or an agent's record writes them: declared once, checked, made a call's tools.

Rules
- A client brings ``function``, ``blab.http`` and ``mcp`` (``gateway.channels.wire.tools``); an
  agent's record holds the two that the server carries out, ``blab.http`` and ``mcp``.
- Headers and ``authorization`` are sealed when a call takes them over, and shown to nobody.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from sessions.core.config import Tool, ToolKind, ToolServer

from .tools import seal

MOST = 64
"""Tools of an agent."""
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
"""Its form only: whether it may be called is decided where it is given and where it is called."""
_Value = Annotated[str, Meta(max_length=8_192)]
_Milliseconds = Annotated[int, Meta(ge=100, le=MAX_TIMEOUT_MS)]
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
_RESERVED = {"host", "content-length", "transfer-encoding", "connection", "upgrade", "te"}


class InvalidTools(ValueError):
    """The tools cannot be accepted; the message says why."""


def _no_parameters() -> dict[str, Any]:
    return {"type": "object", "properties": {}}


class FunctionTool(msgspec.Struct, tag="function", tag_field="type", forbid_unknown_fields=True):
    """A function of the client's."""

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
    """What every MCP server has; which tools it offers and which need approval comes beside it."""

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
    """Why the headers cannot be sent; None where they can."""
    if len(headers) > MAX_HEADERS:
        return f"At most {MAX_HEADERS} headers."
    for name, value in headers.items():
        if _HEADER.fullmatch(name) is None or name.lower() in _RESERVED:
            return "A header's name cannot be used."
        if not value.isprintable():
            return "A header's value is not printable."
    return None


def http_tool(declared: HttpTool, schema: str, *, fixed: bool = False) -> Tool:
    """The tool of a call; ``schema``: its parameters, as JSON."""
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
    """The headers of its requests, ``authorization`` among them."""
    headers = dict(declared.headers)
    if declared.authorization:
        headers["Authorization"] = f"Bearer {declared.authorization}"
    return seal(headers)


# ------------------------------------------------------------------ an agent's record


def check_tools(written: Iterable[Any]) -> list[dict[str, Any]]:
    """The tools as they are to be stored; raises InvalidTools."""
    tools = _read(written)
    for tool in tools:
        if (fault := header_fault(tool.headers)) is not None:
            raise InvalidTools(fault)
        if isinstance(tool, AgentServer) and not tool.authorization.isprintable():
            raise InvalidTools("'authorization' is not printable.")
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
    """Stored tools, as a conversation has them."""
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
