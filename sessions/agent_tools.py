"""Tools of an agent's record: read, checked, and shown without what opens doors.

An agent's tools are those that the server carries out, written as in the session's ``tools``:
``{"type": "blab.http", …}`` and ``{"type": "mcp", …}``. Headers are told to nobody again.
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

_Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
_Url = Annotated[str, Meta(pattern=r"^https?://[^\s/@\\]+([/?#]\S*)?$", max_length=2048)]
_Headers = Annotated[
    dict[
        Annotated[str, Meta(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$")],
        Annotated[str, Meta(pattern=r"^[\x20-\x7e]*$", max_length=8192)],
    ],
    Meta(max_length=32),
]
_Milliseconds = Annotated[int, Meta(ge=100, le=60_000)]
_RESERVED = re.compile(r"host|content-length|transfer-encoding|connection|upgrade|te", re.I)


class InvalidTools(ValueError):
    """The tools cannot be taken; the message says why."""


def _no_parameters() -> dict[str, Any]:
    return {"type": "object", "properties": {}}


class _Http(msgspec.Struct, tag="blab.http", tag_field="type", forbid_unknown_fields=True):
    name: _Name
    url: _Url
    description: Annotated[str, Meta(max_length=4096)] = ""
    parameters: dict[str, Any] = msgspec.field(default_factory=_no_parameters)
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    headers: _Headers = {}
    timeout_ms: _Milliseconds = 15_000


class _Mcp(msgspec.Struct, tag="mcp", tag_field="type", forbid_unknown_fields=True):
    server_label: _Name
    server_url: _Url
    headers: _Headers = {}
    authorization: Annotated[str, Meta(pattern=r"^[\x20-\x7e]*$", max_length=8192)] = ""
    allowed_tools: Annotated[list[str], Meta(max_length=128)] | None = None
    require_approval: Literal["always", "never"] = "never"
    timeout_ms: _Milliseconds = 15_000


def check_tools(written: Iterable[Any]) -> list[dict[str, Any]]:
    """The tools as they are to be stored; raises InvalidTools."""
    tools = _read(written)
    for tool in tools:
        if any(_RESERVED.fullmatch(name) for name in tool.headers):
            raise InvalidTools("A header's name cannot be used.")
    names = [tool.name if isinstance(tool, _Http) else tool.server_label for tool in tools]
    if len(set(names)) < len(names):
        raise InvalidTools("Two tools have the same name.")
    plain: list[dict[str, Any]] = msgspec.to_builtins(tools)
    if len(json.dumps(plain)) > 262_144:
        raise InvalidTools("The tools are too long.")
    return plain


def tools_of(
    written: Iterable[Mapping[str, Any]],
) -> tuple[tuple[Tool, ...], tuple[ToolServer, ...]]:
    """Stored tools, as a conversation has them."""
    tools: list[Tool] = []
    servers: list[ToolServer] = []
    for each in _read(written):
        if isinstance(each, _Http):
            schema = json.dumps(each.parameters, ensure_ascii=False)
            tools.append(
                Tool(
                    each.name,
                    each.description,
                    schema,
                    ToolKind.HTTP,
                    url=each.url,
                    method=each.method,
                    sealed=seal(each.headers),
                    timeout_ms=each.timeout_ms,
                    fixed=True,
                )
            )
            continue
        headers = dict(each.headers)
        if each.authorization:
            headers["Authorization"] = f"Bearer {each.authorization}"
        servers.append(
            ToolServer(
                each.server_label,
                each.server_url,
                seal(headers),
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


def _read(written: Iterable[Any]) -> list[_Http | _Mcp]:
    kinds = Annotated[list[_Http | _Mcp], Meta(max_length=MOST)]
    try:
        tools: list[_Http | _Mcp] = msgspec.convert(list(written), kinds)
    except msgspec.ValidationError as error:
        raise InvalidTools(str(error)) from error
    return tools
