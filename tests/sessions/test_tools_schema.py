"""An agent's tools: checked before they are stored, shown without headers, used with them."""

from typing import Any

import pytest

from sessions.core.config import ToolKind
from sessions.tools import InvalidTools, check_tools, shown_tools, tools_of, unseal

HTTP: dict[str, Any] = {
    "type": "blab.http",
    "name": "look_up",
    "url": "https://example.com/x",
    "headers": {"X-Key": "TOP-SECRET"},
    "timeout_ms": 500,
}
MCP: dict[str, Any] = {
    "type": "mcp",
    "server_label": "shop",
    "server_url": "https://example.com/mcp",
    "authorization": "TOP-SECRET",
    "allowed_tools": ["find"],
    "require_approval": "always",
}


def test_stored_tools_become_those_of_a_conversation() -> None:
    (tool,), (server,) = tools_of(check_tools([HTTP, MCP]))
    assert (tool.kind, tool.timeout_ms, tool.fixed) == (ToolKind.HTTP, 500, True)
    assert unseal(tool.sealed) == {"X-Key": "TOP-SECRET"}
    assert (server.allowed, server.asks("find"), server.fixed) == (("find",), True, True)
    assert unseal(server.sealed) == {"Authorization": "Bearer TOP-SECRET"}
    assert "SECRET" not in repr((tool, server))


def test_headers_are_not_shown() -> None:
    assert "SECRET" not in str(shown_tools(check_tools([HTTP, MCP])))


@pytest.mark.parametrize(
    "tool",
    [
        {**HTTP, "name": "two words"},
        {**HTTP, "name": "look_up\n"},
        {**HTTP, "url": "https://example.com\n"},
        {**HTTP, "headers": {f"X-{number}": "x" for number in range(33)}},
        {**MCP, "authorization": "a\r\nX: b"},
        {**HTTP, "url": "ftp://example.com"},
        {**HTTP, "url": "https://user:word@example.com"},
        {**HTTP, "method": "CONNECT"},
        {**HTTP, "headers": {"Host": "x"}},
        {**HTTP, "headers": {"X": "a\r\nb"}},
        {**HTTP, "timeout_ms": 10**6},
        {**HTTP, "surprise": 1},
        {"type": "function", "name": "f"},
        "text",
    ],
)
def test_invalid_tools_are_refused(tool: Any) -> None:
    with pytest.raises(InvalidTools):
        check_tools([tool])


def test_names_are_used_once() -> None:
    with pytest.raises(InvalidTools):
        check_tools([HTTP, HTTP])
