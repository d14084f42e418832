"""Tools of an MCP server made with the official package, and of an HTTP server, on loopback."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from pipelines.engines.base import EngineFailed
from pipelines.ssrf import CustomerHttp
from pipelines.tool_runner import MAX_BYTES, ToolRunner
from tests.support.gateway.tool_hosts import http_tool, mcp_server


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


@pytest.mark.parametrize(
    "url",
    [
        "http://0177.0.0.1/",
        "http://256.1.1.1/",
        "http://[1::2::3]/",
        "http://[v1.x]/",
        "http://a:x/",
        "http://ex\u00e4mple..com/",
        "http://" + "\u00fc" * 70 + ".com/",
        "http://\u2603.net/",
        "http://\uff11\uff12\uff17.0.0.1/",
        "http://\ud800.com/",
        "http://a.com/\n",
        "",
    ],
)
async def test_an_address_that_a_client_library_refuses_is_a_failure_like_any(url: str) -> None:
    http = CustomerHttp(look_up=lambda _: [])
    try:
        for work in (
            ToolRunner(http).list_tools(url, {}),
            ToolRunner(http).call_mcp(url, {}, "find", "{}"),
            ToolRunner(http).call_http("POST", url, {}, '{"a": "\\ud800"}'),
        ):
            with pytest.raises(EngineFailed):
                await work
    finally:
        await http.close()


ODD = [
    (200, "text/html", b"<html>"),
    (200, "application/json", b"{"),
    (200, "application/json", b'{"a":"\xff"}'),
    (200, "application/json", b"[" * 100_000),
    (200, "application/json", b" " * (MAX_BYTES + 1)),
    (200, "text/event-stream", b"data: \xff\n\n"),
    (200, "text/event-stream", b"data: " + b"[" * 100_000 + b"\n\n"),
    (302, "text/plain", b""),
    (404, "text/plain", b""),
    (200, "application/json", None),
]
"""What an MCP server may answer; None: it breaks off in the middle."""


async def test_a_server_that_speaks_no_mcp_is_a_failure_like_any(runner: ToolRunner) -> None:
    answers = iter(ODD)

    async def answer(request: web.Request) -> web.StreamResponse:
        status, kind, body = next(answers)
        headers = {"Content-Type": kind, "Location": "http://127.0.0.1:9/"}
        if body is not None:
            return web.Response(status=status, body=body, headers=headers)
        broken = web.StreamResponse(headers=headers | {"Content-Length": "100"})
        await broken.prepare(request)
        await broken.write(b"{")
        assert request.transport is not None
        request.transport.abort()
        return broken

    app = web.Application()
    app.router.add_route("*", "/mcp", answer)
    async with TestServer(app, host="127.0.0.1") as server:
        for _ in ODD:
            with pytest.raises(EngineFailed):
                await runner.list_tools(str(server.make_url("/mcp")), {})


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
