"""``tools`` and ``tool_choice``, of a session and of a single reply: read and written.

Rules
- The client runs a ``{"type": "function"}``. ``{"type": "mcp", server_label,
  server_url, …}`` and our ``{"type": "blab.http", name, url, …}`` are carried out by the server.
- A list replaces the one before; the agent's own tools stay.
- Headers and ``authorization`` are sealed as they are read and never sent back. ``blab.http`` is
  sent only where the client asked for ``blab.*`` events.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sessions.core.config import AUTO, NONE, REQUIRED, SessionConfig, Tool, ToolKind, ToolServer
from sessions.tools import (
    FunctionTool,
    HttpTool,
    McpServer,
    header_fault,
    http_tool,
    sealed_headers,
)

from .fields import Fields, names_of, read

MAX_TOOLS = 128
MAX_SERVERS = 8
MAX_SCHEMA_CHARS = 32_768


class ClientServer(McpServer, tag="mcp"):
    """An MCP server as OpenAI's clients write it."""

    server_description: Any = None
    allowed_tools: Any = None
    allowed_callers: Any = None
    require_approval: Any = None
    defer_loading: Any = None
    connector_id: Any = None
    tunnel_id: Any = None


_KINDS = ("function", "mcp", "blab.http")


def merge_tools(session: Fields, config: SessionConfig) -> SessionConfig:
    """The configuration with the client's tools and choice; raises ClientFault."""
    if session.raw("tools") is not None:
        tools, servers = read_tools(session)
        mine = tuple(tool for tool in config.tools if tool.fixed)
        fixed = tuple(server for server in config.servers if server.fixed)
        config = replace(
            config, tools=_distinct(session, mine + tools), servers=_labelled(fixed, servers)
        )
    return replace(config, tool_choice=read_choice(session) or config.tool_choice)


def read_tools(fields: Fields) -> tuple[tuple[Tool, ...], tuple[ToolServer, ...]]:
    """The tools and MCP servers of the field ``tools``; raises ClientFault."""
    tools: list[Tool] = []
    servers: list[ToolServer] = []
    for entry in fields.children("tools", max_items=MAX_TOOLS) or []:
        entry.need("type")
        match entry.choice("type", _KINDS):
            case "function":
                tools.append(_function(entry))
            case "blab.http":
                tools.append(_http_tool(entry))
            case _:
                servers.append(_server(entry))
    if len(servers) > MAX_SERVERS:
        raise fields.fault("invalid_value", f"At most {MAX_SERVERS} MCP servers.", "tools")
    if len({server.label for server in servers}) < len(servers):
        raise fields.fault("invalid_value", "Each MCP server needs a label of its own.", "tools")
    return _distinct(fields, tuple(tools)), tuple(servers)


def read_labels(fields: Fields) -> tuple[str, ...]:
    """The labels of the session's MCP servers that a reply's ``tools`` names."""
    entries = fields.children("tools", max_items=MAX_TOOLS) or []
    return tuple(
        entry.need_text("server_label", max_chars=64)
        for entry in entries
        if entry.raw("type") == "mcp"
    )


def read_reply_tools(fields: Fields) -> tuple[Tool, ...]:
    """The functions and HTTP tools of a single reply."""
    entries = fields.children("tools", max_items=MAX_TOOLS) or []
    tools = []
    for entry in entries:
        entry.need("type")
        kind = entry.choice("type", _KINDS)
        if kind != "mcp":
            tools.append(_function(entry) if kind == "function" else _http_tool(entry))
    return _distinct(fields, tuple(tools))


def read_choice(fields: Fields) -> str | None:
    """``tool_choice`` as the core has it; None where it is absent."""
    if not isinstance(fields.raw("tool_choice"), Mapping):
        return fields.choice("tool_choice", (AUTO, NONE, REQUIRED))
    choice = fields.need_child("tool_choice")
    choice.need("type")
    kind = choice.choice("type", ("function", "mcp"))
    if kind == "mcp":
        choice.only(("type", "server_label", "name"))
        return choice.text("name", max_chars=64) or REQUIRED
    choice.only(("type", "name"))
    return choice.need_text("name", max_chars=64)


def render_tools(config: SessionConfig) -> list[dict[str, Any]]:
    """The tools of the session object: without headers or authorization."""
    shown: list[dict[str, Any]] = []
    for tool in config.tools:
        shape: dict[str, Any] = {
            "type": "function" if tool.kind is ToolKind.FUNCTION else "blab.http",
            "name": tool.name,
            "description": tool.description,
            "parameters": json.loads(tool.parameters),
        }
        if tool.kind is ToolKind.FUNCTION or config.extensions:
            shown.append(shape)
    for server in config.servers:
        shown.append(
            {
                "type": "mcp",
                "server_label": server.label,
                "server_url": server.url,
                "allowed_tools": None if server.allowed is None else list(server.allowed),
                "require_approval": _render_approval(server),
            }
        )
    return shown


def render_choice(config: SessionConfig) -> Any:
    """``tool_choice`` of the session object."""
    if config.tool_choice in (AUTO, NONE, REQUIRED):
        return config.tool_choice
    return {"type": "function", "name": config.tool_choice}


# ------------------------------------------------------------------ one tool


def _function(entry: Fields) -> Tool:
    declared = read(FunctionTool, entry)
    return Tool(declared.name, declared.description, _schema(entry))


def _http_tool(entry: Fields) -> Tool:
    declared = read(HttpTool, entry)
    _check_headers(entry, declared.headers)
    return http_tool(declared, _schema(entry))


def _server(entry: Fields) -> ToolServer:
    entry.only(names_of(ClientServer))
    for foreign in ("connector_id", "tunnel_id"):
        if entry.raw(foreign) is not None:
            raise entry.fault(
                "unsupported_value", "MCP servers are reached by 'server_url' here.", foreign
            )
    declared = read(ClientServer, entry)
    _check_headers(entry, declared.headers)
    ask, asked, trusted = _approval(entry)
    return ToolServer(
        declared.server_label,
        declared.server_url,
        sealed_headers(declared),
        _allowed(entry),
        ask,
        asked,
        trusted,
        declared.timeout_ms,
    )


def _check_headers(entry: Fields, headers: Mapping[str, str]) -> None:
    if (fault := header_fault(headers)) is not None:
        raise entry.fault("invalid_value", fault, "headers")


def _schema(entry: Fields) -> str:
    if entry.raw("parameters") is None:
        return Tool("").parameters
    try:
        schema = json.dumps(entry.raw("parameters"), allow_nan=False)
    except (ValueError, TypeError, RecursionError) as error:
        raise entry.fault("invalid_value", "The schema is not plain JSON.", "parameters") from error
    if len(schema) > MAX_SCHEMA_CHARS:
        raise entry.fault(
            "invalid_value", f"A schema has at most {MAX_SCHEMA_CHARS} characters.", "parameters"
        )
    return schema


def _allowed(entry: Fields) -> tuple[str, ...] | None:
    if isinstance(entry.raw("allowed_tools"), Mapping):
        return _tool_names(entry.need_child("allowed_tools"))
    return _names(entry, "allowed_tools")


def _approval(entry: Fields) -> tuple[bool, tuple[str, ...], tuple[str, ...]]:
    """(ask, asked, trusted) of a ToolServer; OpenAI's default is to ask."""
    if not isinstance(entry.raw("require_approval"), Mapping):
        return entry.choice("require_approval", ("always", "never")) != "never", (), ()
    wanted = entry.need_child("require_approval")
    wanted.only(("always", "never"))
    always, never = wanted.child("always"), wanted.child("never")
    asked = (_tool_names(always) or ()) if always else ()
    trusted = (_tool_names(never) or ()) if never else ()
    return never is not None or always is None, asked, trusted


def _tool_names(entry: Fields) -> tuple[str, ...] | None:
    entry.only(("tool_names", "read_only"))
    if entry.raw("read_only") is not None:
        raise entry.fault("unsupported_value", "Name the tools: 'tool_names'.", "read_only")
    return _names(entry, "tool_names")


def _names(entry: Fields, name: str) -> tuple[str, ...] | None:
    names = entry.sequence(name, max_items=MAX_TOOLS)
    if names is None:
        return None
    if not all(isinstance(each, str) and 0 < len(each) <= 128 for each in names):
        raise entry.fault("invalid_value", f"'{entry.where(name)}' must hold names.", name)
    return tuple(names)


def _render_approval(server: ToolServer) -> Any:
    if not server.asked and not server.trusted:
        return "always" if server.ask else "never"
    shown: dict[str, Any] = {}
    if server.asked:
        shown["always"] = {"tool_names": list(server.asked)}
    if server.trusted:
        shown["never"] = {"tool_names": list(server.trusted)}
    return shown


def _distinct(fields: Fields, tools: tuple[Tool, ...]) -> tuple[Tool, ...]:
    names = [tool.name for tool in tools]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise fields.fault("invalid_value", f"There are two tools named {twice!r}.", "tools")
    return tools


def _labelled(
    fixed: tuple[ToolServer, ...], given: tuple[ToolServer, ...]
) -> tuple[ToolServer, ...]:
    labels = {server.label for server in fixed}
    return fixed + tuple(server for server in given if server.label not in labels)
