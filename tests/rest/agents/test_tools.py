"""Tools of an agent, tried with the code, the headers and the guard of a call."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from rest.agents.tools import MOST_OF_ONE
from store.bus import Bus
from store.database import Database
from store.tenants.agents import Agents
from tests.rest.agents.test_agents import create
from tests.support.gateway.tool_hosts import http_tool, mcp_server
from tests.support.rest.agent_app import AgentNode, called

Tried = tuple[int, dict[str, Any]]


@pytest.fixture
def node(database: Database, redis: Bus, tmp_path: Path) -> AgentNode:
    return AgentNode(database, redis, tmp_path, addresses=["127.0.0.1"])


@asynccontextmanager
async def agent_with(node: AgentNode, *tools: dict[str, Any]) -> AsyncIterator[Any]:
    """Tries tools of an agent that has these."""
    async with called(node) as caller:
        status, made = await create(caller, name="T", tools=list(tools))
        assert status == 200, made

        async def attempt(what: str, **body: Any) -> Tried:
            path = f"/api/agents/{made['id']}/tools/{what}"
            status, answer = await caller.ask("POST", path, json=body)
            return status, answer.get("data") or answer["error"]

        yield attempt


def weather(url: str, **more: Any) -> dict[str, Any]:
    return {"type": "blab.http", "name": "weather", "url": url, **more}


async def test_an_http_tool_is_used_with_its_headers(node: AgentNode) -> None:
    async with (
        http_tool() as tool,
        agent_with(node, weather(tool.url, headers={"Authorization": "s"})) as attempt,
    ):
        status, result = await attempt("try", name="weather", arguments={"city": "Rome"})
        assert (status, result["output"], result["failed"]) == (200, '{"sky": "rain"}', False)
        assert 0 <= result["durationMs"] < 10_000
        assert tool.asked == [({"city": "Rome"}, "s")]
        tool.status = 503
        status, result = await attempt("try", name="weather")
        assert (status, result["failed"]) == (200, True)
        assert "status 503" in result["output"]


async def test_the_tools_own_deadline_holds(node: AgentNode) -> None:
    async with http_tool() as tool, agent_with(node, weather(tool.url, timeout_ms=100)) as attempt:
        tool.gate.clear()
        status, result = await attempt("try", name="weather")
        assert (status, result["failed"]) == (200, True)
        assert result["output"] == "The tool did not answer in time."
        assert result["durationMs"] >= 100


async def test_the_guard_of_calls_refuses_private_addresses(node: AgentNode) -> None:
    node.addresses = []  # then no private address may be called
    async with http_tool() as tool, called(node) as caller:
        agents = Agents(node.database)
        await agents.update(caller.workspace_id, caller.agent.id, {"tools": [weather(tool.url)]})
        path = f"/api/agents/{caller.agent.id}/tools/try"
        status, answer = await caller.ask("POST", path, json={"name": "weather"})
        assert (status, answer["data"]["failed"]) == (200, True)
        assert "not public" in answer["data"]["output"]
        assert tool.asked == []


async def test_an_mcp_server_lists_and_is_used(node: AgentNode) -> None:
    async with mcp_server() as url:
        server = {"type": "mcp", "server_label": "shop", "server_url": url}
        async with agent_with(node, server | {"allowed_tools": ["find"]}) as attempt:
            status, listed = await attempt("list", server="shop")
            assert (status, listed["failed"], listed["message"]) == (200, False, None)
            shown = [(tool["name"], tool["allowed"], tool["asks"]) for tool in listed["tools"]]
            assert shown == [("find", True, False), ("buy", False, False)]
            assert "thing" in listed["tools"][0]["parameters"]["properties"]
            status, result = await attempt(
                "try", server="shop", name="find", arguments={"thing": "pens"}
            )
            assert (status, result["output"]) == (200, "There are 3 of pens.")
            status, error = await attempt("try", server="shop", name="buy")
            assert (status, error["details"]["path"]) == (400, "name")


async def test_a_server_that_is_not_there_is_no_error_of_the_request(node: AgentNode) -> None:
    gone = {"type": "mcp", "server_label": "gone", "server_url": "http://127.0.0.1:9/mcp"}
    async with agent_with(node, gone) as attempt:
        status, listed = await attempt("list", server="gone")
        assert (status, listed["failed"], listed["tools"]) == (200, True, [])
        assert listed["message"]


async def test_what_the_agent_does_not_have_is_not_found(node: AgentNode) -> None:
    async with agent_with(node, weather("http://127.0.0.1:9/")) as attempt:
        for what, body, param in (
            ("try", {"name": "nothing"}, "name"),
            ("try", {"name": "weather", "server": "x"}, "server"),
            ("list", {"server": "weather"}, "server"),
        ):
            status, error = await attempt(what, **body)
            assert (status, error["details"]["path"]) == (404, param)
        wrong: list[dict[str, Any]] = [{}, {"name": "weather", "arguments": []}, {"name": 1}]
        for sent in wrong:
            assert (await attempt("try", **sent))[0] == 400


async def test_only_so_many_run_at_a_time(node: AgentNode) -> None:
    async with http_tool() as tool, agent_with(node, weather(tool.url)) as attempt:
        tool.gate.clear()
        running = [asyncio.create_task(attempt("try", name="weather")) for _ in range(MOST_OF_ONE)]
        async with asyncio.timeout(10):
            while len(tool.asked) < MOST_OF_ONE:
                await tool.begun.wait()
                tool.begun.clear()
        status, error = await attempt("try", name="weather")
        assert (status, error["code"], error["details"]["retryAfter"]) == (429, "RATE_LIMITED", 1)
        tool.gate.set()
        assert {status for status, _ in await asyncio.gather(*running)} == {200}
        assert (await attempt("try", name="weather"))[0] == 200
