"""Tools of an MCP server made with the official package, and of an HTTP server, on loopback."""

from collections.abc import AsyncIterator

import pytest

from pipelines.engines.base import EngineFailed
from pipelines.ssrf import CustomerHttp
from pipelines.tools.tool_runner import ToolRunner
from tests.gateway.tool_hosts import http_tool, mcp_server


@pytest.fixture
async def runner() -> AsyncIterator[ToolRunner]:
    http = CustomerHttp(allow_private=True, deadline=5)
    yield ToolRunner(http)
    await http.close()


async def test_an_mcp_server_lists_and_answers(runner: ToolRunner) -> None:
    async with mcp_server() as url:
        listed = await runner.list_tools(url, {"X-Key": "k"})
        assert [(name, description) for name, description, _ in listed] == [
            ("find", "Find a thing in the shop."),
            ("buy", "Buy a thing."),
        ]
        assert await runner.call_mcp(url, {}, "find", '{"thing": "pens"}') == "There are 3 of pens."
        for name, arguments in (("buy", '{"thing": "x"}'), ("nothing", "{}"), ("find", "[]")):
            with pytest.raises(EngineFailed):
                await runner.call_mcp(url, {}, name, arguments)


@pytest.mark.parametrize("allowed", [True, False])
async def test_what_cannot_or_may_not_be_reached_fails(allowed: bool) -> None:
    http = CustomerHttp(allow_private=allowed, deadline=5)
    try:
        with pytest.raises(EngineFailed):
            await ToolRunner(http).list_tools("http://127.0.0.1:9/mcp", {})
        with pytest.raises(EngineFailed):
            await ToolRunner(http).call_http("POST", "http://127.0.0.1:9/", {}, "{}")
    finally:
        await http.close()


async def test_an_http_tool_answers_or_fails(runner: ToolRunner) -> None:
    async with http_tool() as tool:
        output = await runner.call_http("POST", tool.url, {"Authorization": "a"}, '{"city": "ä"}')
        assert output == '{"sky": "rain"}'
        assert tool.asked == [({"city": "ä"}, "a")]
        tool.status = 503
        with pytest.raises(EngineFailed, match="status 503"):
            await runner.call_http("POST", tool.url, {}, "{}")
        with pytest.raises(EngineFailed, match="status 405"):
            await runner.call_http("GET", tool.url, {}, '{"a": [1]}')
        with pytest.raises(EngineFailed, match="JSON"):
            await runner.call_http("POST", tool.url, {}, "nonsense")
