"""The ``tools`` of a session: how they are read and sent back, and what is never shown."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.channels.wire.fields import Fields
from gateway.channels.wire.session_object import render_session
from gateway.channels.wire.tools import merge_tools
from sessions.channel import ClientFault
from sessions.core.config import SessionConfig, Tool, ToolKind, ToolServer
from sessions.tools import unseal

FUNCTION = {"type": "function", "name": "f", "description": "", "parameters": {"type": "object"}}
HTTP = {"type": "blab.http", "name": "h", "url": "https://example.com/?a=b", "headers": {"X": "k"}}
MCP = {
    "type": "mcp",
    "server_label": "shop",
    "server_url": "https://example.com/mcp",
    "authorization": "TOP-SECRET",
    "allowed_tools": {"tool_names": ["find", "buy"]},
    "require_approval": {"always": {"tool_names": ["buy"]}},
}
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner),
    max_leaves=6,
)


def merge(config: SessionConfig = SessionConfig(), **session: Any) -> SessionConfig:  # noqa: B008
    return merge_tools(Fields(session, "session", None), config)


def test_each_type_of_tool_is_parsed() -> None:
    config = merge(tools=[FUNCTION, HTTP, MCP], tool_choice={"type": "function", "name": "f"})
    assert [tool.kind for tool in config.tools] == [ToolKind.FUNCTION, ToolKind.HTTP]
    (server,) = config.servers
    assert (server.allowed, server.asks("buy"), server.asks("find")) == (
        ("find", "buy"),
        True,
        False,
    )
    assert unseal(server.sealed) == {"Authorization": "Bearer TOP-SECRET"}
    assert unseal(config.tools[1].sealed) == {"X": "k"}
    assert config.tool_choice == "f"


def test_echoed_tools_hold_no_credentials() -> None:
    config = merge(tools=[FUNCTION, HTTP, MCP], tool_choice="required")
    told = render_session(config, "sess_1")
    assert [tool["type"] for tool in told["tools"]] == ["function", "mcp"]
    assert told["tools"][0] == FUNCTION
    assert told["tool_choice"] == "required"
    assert "TOP-SECRET" not in json.dumps(told)


def test_absent_tools_stay_and_given_ones_replace_them() -> None:
    config = merge(tools=[FUNCTION, MCP])
    assert merge(config) == config
    assert merge(config, tools=[]).tools == ()
    assert merge(config, tools=[]).servers == ()


def test_the_agents_own_stay() -> None:
    own = SessionConfig(
        tools=(Tool("own", fixed=True),), servers=(ToolServer("shop", "https://a/", fixed=True),)
    )
    config = merge(own, tools=[FUNCTION, MCP])
    assert [tool.name for tool in config.tools] == ["own", "f"]
    assert [server.url for server in config.servers] == ["https://a/"]


@pytest.mark.parametrize(
    "tool",
    [
        {**FUNCTION, "name": ""},
        {**FUNCTION, "name": "two words"},
        {**FUNCTION, "parameters": {"a": float("nan")}},
        {**FUNCTION, "url": "https://example.com"},
        {**HTTP, "url": "file:///etc/passwd"},
        {**HTTP, "url": "https://user:word@example.com"},
        {**HTTP, "headers": {"Content-Length": "1"}},
        {**HTTP, "headers": {"X": "a\r\nY: b"}},
        {**HTTP, "method": "TRACE"},
        {**MCP, "server_url": None},
        {**MCP, "connector_id": "connector_gmail"},
        {**MCP, "require_approval": "sometimes"},
        {**MCP, "allowed_tools": [1]},
    ],
)
def test_bad_tools_are_refused(tool: Any) -> None:
    with pytest.raises(ClientFault) as refused:
        merge(tools=[tool])
    assert refused.value.param is not None
    assert refused.value.param.startswith("session.tools[0]")


@pytest.mark.slow
@given(tools=st.lists(JSON | st.dictionaries(st.sampled_from(sorted({*HTTP, *MCP})), JSON)))
def test_any_json_is_tools_or_a_fault(tools: list[Any]) -> None:
    try:
        config = merge(tools=tools)
    except ClientFault:
        return
    json.dumps(render_session(config, "sess_1"))
