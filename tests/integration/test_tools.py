"""Tools over the wire, with the stock ``openai`` package: functions, HTTP tools, MCP servers.

Every stream passes the protocol validator. The chat model is scripted: ``CALL name arguments``.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.services import ServiceUrls
from pipelines.engines.base import ChatMessage
from store.database import Database
from tests.integration.test_openai_realtime import Client, connected
from tests.support.gateway.scripted_server import HEARD, ScriptedServer, running_node, speak
from tests.support.gateway.tool_hosts import http_tool, mcp_server

WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather of a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
CALL = 'CALL get_weather {"city": "Paris"}'
TEXT: Any = {"type": "realtime", "output_modalities": ["text"]}
SPEECH: Any = {"type": "realtime"}


@pytest.fixture
async def server(
    database: Database, own_database_url: str, redis_url: str, tmp_path: Path
) -> AsyncIterator[ScriptedServer]:
    """A node whose tools may go to loopback."""
    urls = ServiceUrls(own_database_url, redis_url)
    async with running_node(database, urls, tmp_path, tool_private=True) as node:
        yield node


def script(server: ScriptedServer, *answers: str) -> None:
    """What the chat model says or calls, in order."""
    model = server.engines.chat_model
    model.answer, model.answers = None, answers
    model.asked.clear()
    model.offered.clear()


def http(url: str, **more: Any) -> dict[str, Any]:
    return {"type": "blab.http", "name": "get_weather", "url": url, **more}


def called(messages: Sequence[ChatMessage]) -> list[tuple[str, str]]:
    """The calls in a prompt, each with its output."""
    outputs = {m.call_id: m.content for m in messages if m.role == "tool"}
    return [(c.name, outputs[c.call_id]) for m in messages for c in m.calls]


async def ask(client: Client) -> None:
    await client.write("How is the weather?")
    await client.connection.response.create()


@pytest.mark.parametrize("session", [TEXT, SPEECH])
async def test_a_function_call_goes_to_the_client_and_back(
    server: ScriptedServer, session: Any
) -> None:
    script(server, CALL, "It rains.")
    async with connected(server, **session, tools=[WEATHER], tool_choice="auto") as client:
        await ask(client)
        arguments = await client.until("response.function_call_arguments.done")
        assert (arguments.name, json.loads(arguments.arguments)) == (
            "get_weather",
            {"city": "Paris"},
        )
        done = (await client.until("response.done")).response
        assert (done.status, [item.type for item in done.output]) == (
            "completed",
            ["function_call"],
        )
        assert done.output[0].call_id == arguments.call_id
        kinds = client.kinds[client.kinds.index("response.created") :]
        assert kinds == [
            "response.created",
            "rate_limits.updated",
            "response.output_item.added",
            "conversation.item.added",
            "response.function_call_arguments.delta",
            "response.function_call_arguments.done",
            "response.output_item.done",
            "conversation.item.done",
            "response.done",
        ]
        output = {
            "type": "function_call_output",
            "call_id": arguments.call_id,
            "output": '{"sky": "rain"}',
        }
        await client.connection.conversation.item.create(item=output)
        added = await client.until("conversation.item.added")
        assert (added.item.type, added.item.output) == ("function_call_output", '{"sky": "rain"}')
        await client.connection.response.create()
        done = (await client.until("response.done")).response
        assert [item.type for item in done.output] == ["message"]
    model = server.engines.chat_model
    assert called(model.asked[1]) == [("get_weather", '{"sky": "rain"}')]
    offer = model.offered[0]
    assert offer is not None
    assert json.loads(offer.tools[0].parameters) == WEATHER["parameters"]


async def test_a_tool_use_is_sent_once_the_words_before_it_were_heard(
    server: ScriptedServer,
) -> None:
    script(server, f"Let me look.\n{CALL}")
    async with connected(server, **SPEECH, tools=[WEATHER]) as client:
        await ask(client)
        done = (await client.until("response.done")).response
        assert [item.type for item in done.output] == ["message", "function_call"]
        kinds = client.kinds
        assert kinds.index("response.content_part.done") < kinds.index(
            "response.function_call_arguments.delta"
        )


async def test_an_http_tool_runs_and_the_reply_continues(server: ScriptedServer) -> None:
    script(server, CALL, "It rains.")
    async with http_tool() as tool:
        tools = [http(tool.url, headers={"Authorization": "Bearer TOP-SECRET"})]
        async with connected(server, **TEXT, tools=tools) as client:
            await ask(client)
            called_first = (await client.until("response.done")).response
            assert [item.type for item in called_first.output] == ["mcp_call"]
            assert called_first.output[0].server_label == "blab.http"
            await client.until("response.mcp_call.completed")
            item = (await client.until("conversation.item.done")).item
            assert json.loads(item.output) == {"sky": "rain"}
            answer = (await client.until("response.done")).response
            assert answer.output[0].content[0].text == "It rains."
            updated = [e for e in client.events if e.type == "session.updated"]
            assert "TOP-SECRET" not in str(updated)
        assert tool.asked == [({"city": "Paris"}, "Bearer TOP-SECRET")]
    stored = await server.database.fetchval("SELECT config::text FROM calls")
    assert "get_weather" not in stored or "TOP-SECRET" not in stored


async def test_a_tool_that_fails_or_is_late_is_reported_to_the_model(
    server: ScriptedServer,
) -> None:
    script(server, CALL, "I could not find out.", CALL, "It took too long.")
    async with http_tool() as tool:
        tools = [http(tool.url, timeout_ms=200)]
        async with connected(server, **TEXT, tools=tools) as client:
            tool.status = 500
            await ask(client)
            await client.until("response.mcp_call.failed")
            await client.until("response.created")
            await client.until("response.done")
            tool.gate.clear()
            await ask(client)
            await client.until("response.mcp_call.failed")
            await client.until("response.created")
            await client.until("response.done")
    outputs = [output for _, output in called(server.engines.chat_model.asked[3])]
    assert "status 500" in outputs[0]
    assert outputs[1] == "The tool did not answer in time."


async def test_a_filler_is_spoken_while_a_tool_takes_long(server: ScriptedServer) -> None:
    script(server, CALL, "It rains.")
    async with http_tool() as tool:
        tool.gate.clear()
        async with connected(server, **SPEECH, tools=[http(tool.url)]) as client:
            await ask(client)
            await client.until("response.mcp_call.in_progress")
            filler = await client.until("response.output_audio_transcript.done")
            assert filler.transcript == "One moment."
            await client.until("response.done")
            tool.gate.set()
            answer = await client.until("response.output_audio_transcript.done")
            assert answer.transcript == "It rains."
    prompt = server.engines.chat_model.asked[1]
    assert prompt[-1].role == "tool", "the filler comes before the tool use and its output"


async def test_words_during_a_tool_use_end_it_and_history_says_so(server: ScriptedServer) -> None:
    script(server, CALL, "Never mind then.")
    async with http_tool() as tool:
        tool.gate.clear()
        async with connected(server, **SPEECH, tools=[http(tool.url)]) as client:
            await ask(client)
            await client.until("response.mcp_call.in_progress")
            await asyncio.wait_for(tool.begun.wait(), 5)
            await speak(_Voice(client))
            await client.until("response.mcp_call.failed")
            answer = await client.until("response.output_audio_transcript.done")
            assert answer.transcript == "Never mind then."
            await asyncio.wait_for(tool.gone.wait(), 5)
    prompt = server.engines.chat_model.asked[-1]
    assert called(prompt)[0][1].startswith("Cancelled")
    assert (prompt[-1].role, prompt[-1].content) == ("user", HEARD) or prompt[-1].role == "tool"


async def test_an_mcp_servers_tools_are_listed_and_called(server: ScriptedServer) -> None:
    script(server, 'CALL find {"thing": "pens"}', "Three.", 'CALL buy {"thing": "pens"}', "Sorry.")
    async with mcp_server() as url:
        tools = [
            {
                "type": "mcp",
                "server_label": "shop",
                "server_url": url,
                "require_approval": {"never": {"tool_names": ["find"]}},
            }
        ]
        async with connected(server, **TEXT, tools=tools) as client:
            await client.until("mcp_list_tools.completed")
            listed = (await client.until("conversation.item.done")).item
            assert [tool.name for tool in listed.tools] == ["find", "buy"]
            await ask(client)
            first = (await client.until("response.done")).response
            assert first.output[0].type == "mcp_call"
            item = (await client.until("conversation.item.done")).item
            assert (item.output, item.error) == ("There are 3 of pens.", None)
            await client.until("response.done")

            await ask(client)
            asking = (await client.until("response.done")).response.output[0]
            assert (asking.type, asking.name) == ("mcp_approval_request", "buy")
            approval = {
                "type": "mcp_approval_response",
                "approval_request_id": asking.id,
                "approve": True,
            }
            await client.connection.conversation.item.create(item=approval)
            await client.until("response.mcp_call.failed")
            item = (await client.until("conversation.item.done")).item
            assert (item.approval_request_id, item.output) == (asking.id, None)
            await client.until("response.done")
            await client.connection.conversation.item.create(item=approval)
            assert (await client.until("error")).error.code == "approval_request_not_found"
    assert [name for name, _ in called(server.engines.chat_model.asked[3])] == ["find", "buy"]


async def test_a_tool_use_without_approval_does_not_run(server: ScriptedServer) -> None:
    script(server, 'CALL buy {"thing": "pens"}', "As you wish.")
    async with mcp_server() as url:
        tools = [{"type": "mcp", "server_label": "shop", "server_url": url}]
        async with connected(server, **TEXT, tools=tools) as client:
            await client.until("mcp_list_tools.completed")
            await ask(client)
            asking = (await client.until("response.done")).response.output[0]
            refusal = {
                "type": "mcp_approval_response",
                "approval_request_id": asking.id,
                "approve": False,
                "reason": "Too dear.",
            }
            await client.connection.conversation.item.create(item=refusal)
            await client.until("response.done")
    assert called(server.engines.chat_model.asked[1]) == [
        ("buy", "The user did not approve this call. Too dear.")
    ]


async def test_an_unreachable_mcp_server_is_reported_and_the_call_continues(
    server: ScriptedServer,
) -> None:
    script(server, "Fine.")
    tools = [{"type": "mcp", "server_label": "away", "server_url": "http://127.0.0.1:9/mcp"}]
    async with connected(server, **TEXT, tools=tools) as client:
        await client.until("mcp_list_tools.failed")
        assert (await client.until("error")).error.code == "mcp_list_tools_failed"
        await ask(client)
        assert (await client.until("response.done")).response.status == "completed"


async def test_the_agents_own_tools_stay_when_a_client_brings_others(
    server: ScriptedServer,
) -> None:
    async with http_tool() as tool, aiohttp.ClientSession(server.url) as rest:
        bearer = {"Authorization": f"Bearer {server.key}"}
        body = {"name": "Weather", "tools": [http(tool.url, headers={"X-Key": "TOP-SECRET"})]}
        async with rest.post("/api/agents", json=body, headers=bearer) as answer:
            agent = (await answer.json())["data"]
            assert answer.status == 200
        assert "TOP-SECRET" not in str(agent)
        assert agent["tools"][0]["name"] == "get_weather"
        body = {"name": "Weather", "tools": [{"type": "blab.http", "name": "a b", "url": "x"}]}
        async with rest.post("/api/agents", json=body, headers=bearer) as answer:
            assert answer.status in (400, 422)
        script(server, CALL, "It rains.")
        other = {"type": "function", "name": "hang_up"}
        async with server.client(query=f"agent_id={agent['id']}") as caller:
            session = {"type": "realtime", "output_modalities": ["text"], "tools": [other]}
            await caller.send({"type": "session.update", "session": session})
            updated = await caller.wait_for("session.updated")
            assert [each["name"] for each in updated["session"]["tools"]] == ["hang_up"]
            await caller.send({"type": "response.create"})
            await caller.wait_for("response.done", count=2)
        assert [asked for asked, _ in tool.asked] == [{"city": "Paris"}]


BAD: list[tuple[dict[str, Any], str, str]] = [
    (
        {"type": "session.update", "session": {"tools": [{"type": "web_search"}]}},
        "invalid_value",
        "session.tools[0].type",
    ),
    (
        {"type": "session.update", "session": {"tools": [{"type": "function"}]}},
        "missing_required_parameter",
        "session.tools[0].name",
    ),
    (
        {"type": "session.update", "session": {"tools": [WEATHER, WEATHER]}},
        "invalid_value",
        "session.tools",
    ),
    (
        {"type": "session.update", "session": {"tools": [{**WEATHER, "parameters": 7}]}},
        "invalid_type",
        "session.tools[0].parameters",
    ),
    (
        {"type": "session.update", "session": {"tools": [http("ftp://example.com")]}},
        "invalid_value",
        "session.tools[0].url",
    ),
    (
        {"type": "session.update", "session": {"tool_choice": "sometimes"}},
        "invalid_value",
        "session.tool_choice",
    ),
    (
        {
            "type": "conversation.item.create",
            "item": {"type": "function_call_output", "call_id": "nope", "output": "x"},
        },
        "tool_call_not_found",
        "item.call_id",
    ),
    (
        {
            "type": "conversation.item.create",
            "item": {"type": "mcp_approval_response", "approval_request_id": "nope"},
        },
        "missing_required_parameter",
        "item.approve",
    ),
]


async def test_impossible_tools_are_refused_by_name(server: ScriptedServer) -> None:
    async with server.client() as caller:
        for number, (event, code, param) in enumerate(BAD, start=1):
            await caller.send({"event_id": f"mine_{number}", **event})
            error = (await caller.wait_for("error", count=number))["error"]
            told = (error["code"], error["param"], error["event_id"])
            assert told == (code, param, f"mine_{number}")


class _Voice:
    """A stock client as ``speak`` wants it."""

    def __init__(self, client: Client) -> None:
        self.send_audio = client.say
