"""Chat completions through the stock client: at once and streamed, tools, stops, refusals."""

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pydantic
import pytest

from pipelines.engines.base import (
    AnswerFormat,
    ChatMessage,
    ChatToolCall,
    EngineBusy,
    EngineFailed,
    ToolDefinition,
    ToolOffer,
)
from pipelines.engines.scripted.live import Fault, ScriptedChatModel
from rest.compat.chat_request import DEFAULT_TOKENS
from tests.support.rest.compat_app import KEY, NOW, CompatNode
from tests.support.services import eventually

ANSWER = "Paris is the capital."
ASKED: Any = [{"role": "user", "content": "What is the capital of France?"}]
TOOL: Any = {
    "type": "function",
    "function": {"name": "look", "description": "Looks.", "parameters": {"type": "object"}},
}


def node_of(folder: Path, *answers: str) -> CompatNode:
    node = CompatNode(folder)
    node.engines.chat_model = ScriptedChatModel(answers or (ANSWER,))
    return node


async def chat(client: openai.AsyncOpenAI, **asked: Any) -> Any:
    asked = {"model": "gpt-4o-mini", "messages": ASKED} | asked
    return await client.chat.completions.create(**asked)


async def test_an_answer_is_returned_whole(tmp_path: Path) -> None:
    async with node_of(tmp_path).running() as node, node.client() as client:
        answer = await chat(client)
        assert answer.id.startswith("chatcmpl-")
        assert (answer.object, answer.created) == ("chat.completion", int(NOW))
        assert answer.model == "scripted-chat"
        [choice] = answer.choices
        assert (choice.message.role, choice.message.content) == ("assistant", ANSWER)
        assert (choice.finish_reason, choice.message.tool_calls) == ("stop", None)
        usage = answer.usage
        assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (6, 4, 10)
        [unit] = await node.units(1)
        assert (unit.name, unit.type, unit.model, unit.tokens) == (
            "chat",
            "agent",
            "verinova-stable",
            10,
        )


async def test_an_answer_is_streamed(tmp_path: Path) -> None:
    async with node_of(tmp_path).running() as node, node.client() as client:
        stream = await chat(client, stream=True)
        chunks = [chunk async for chunk in stream]
        assert len({chunk.id for chunk in chunks}) == 1
        assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
        assert chunks[0].choices[0].delta.role == "assistant"
        texts = [chunk.choices[0].delta.content or "" for chunk in chunks]
        assert texts == ["", "Paris", " is", " the", " capital.", ""]
        reasons = [chunk.choices[0].finish_reason for chunk in chunks]
        assert reasons == [None] * 5 + ["stop"]
        assert all(chunk.usage is None for chunk in chunks)
        assert [unit.tokens for unit in await node.units(1)] == [10]


@pytest.mark.parametrize("stream", [False, True])
async def test_thoughts_are_not_content(tmp_path: Path, stream: bool) -> None:
    """They are ``reasoning_content``, as DeepSeek, vLLM and llama.cpp have it."""
    thinker = node_of(tmp_path, "<think>The user asks.</think>Paris.")
    async with thinker.running() as node, node.client() as client:
        answer = await chat(client, stream=stream)
        if not stream:
            message = answer.choices[0].message
            assert (message.content, message.reasoning_content) == ("Paris.", "The user asks.")
            return
        deltas = [chunk.choices[0].delta for chunk in [chunk async for chunk in answer]]
        assert "".join(delta.content or "" for delta in deltas) == "Paris."
        thought = "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas)
        assert thought == "The user asks."


async def test_a_thought_recognised_only_at_its_end_is_not_content(tmp_path: Path) -> None:
    async with node_of(tmp_path, "A city. </think> Paris.").running() as node, node.client() as c:
        message = (await chat(c)).choices[0].message
        assert (message.content, message.reasoning_content) == ("Paris.", "A city. ")


async def test_a_stream_reports_usage_on_request(tmp_path: Path) -> None:
    async with node_of(tmp_path).running() as node, node.client() as client:
        stream = await chat(client, stream=True, stream_options={"include_usage": True})
        *others, last = [chunk async for chunk in stream]
        assert last.choices == []
        assert last.usage.total_tokens == 10
        assert all(chunk.usage is None for chunk in others)


async def test_the_stream_ends_as_clients_expect(tmp_path: Path) -> None:
    async with node_of(tmp_path).running() as node, aiohttp.ClientSession() as http:
        body = {"model": "gpt-4o-mini", "messages": ASKED, "stream": True}
        headers = {"Authorization": f"Bearer {KEY}"}
        async with http.post(
            f"{node.url}/v1/chat/completions", json=body, headers=headers
        ) as answer:
            assert answer.content_type == "text/event-stream"
            text = await answer.text()
        *events, done, rest = text.split("\n\n")
        assert (done, rest) == ("data: [DONE]", "")
        assert all(json.loads(event.removeprefix("data: ")) for event in events)


async def test_deltas_arrive_while_generated_and_a_leaving_client_stops_it(
    tmp_path: Path,
) -> None:
    node = node_of(tmp_path)
    second = asyncio.Event()

    async def wait(seconds: float) -> None:
        if seconds:
            second.set()
            await asyncio.Event().wait()

    node.engines.chat_model.delay, node.engines.chat_model.token_delay = wait, 1.0
    async with node.running(), node.client() as client:
        stream = await chat(client, stream=True)
        await anext(stream)
        assert (await anext(stream)).choices[0].delta.content == "Paris"
        await second.wait()
        await stream.close()
        await eventually(lambda: node.engines.chat_model.cancelled == 1)
        [unit] = await node.units(1)
        assert unit.tokens == -(-len(ASKED[0]["content"]) // 4) + 1  # a quarter of it, and a piece


async def test_history_and_limits_reach_the_model(tmp_path: Path) -> None:
    async with node_of(tmp_path).running() as node, node.client() as client:
        parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
        call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
        messages = [
            {"role": "system", "content": "Be brief."},
            {"role": "developer", "content": "Very."},
            {"role": "user", "content": parts},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "content": "found", "tool_call_id": "c1"},
        ]
        answer = await chat(client, messages=messages, max_completion_tokens=2, top_p=0.5, seed=1)
        assert answer.choices[0].message.content == "Paris is"
        assert answer.choices[0].finish_reason == "length"
        assert node.engines.chat_model.asked[0] == (
            ChatMessage("system", "Be brief."),
            ChatMessage("system", "Very."),
            ChatMessage("user", "one\ntwo"),
            ChatMessage("assistant", "", calls=(ChatToolCall("c1", "look", "{}"),)),
            ChatMessage("tool", "found", call_id="c1"),
        )


async def test_an_answer_has_enough_tokens_by_default(tmp_path: Path) -> None:
    long = " ".join(["word"] * (DEFAULT_TOKENS + 1))
    async with node_of(tmp_path, long).running() as node, node.client() as client:
        answer = await chat(client)
        assert answer.usage.completion_tokens == DEFAULT_TOKENS
        assert answer.choices[0].finish_reason == "length"


@pytest.mark.parametrize("stop", [" capital", ["never", "ris is the cap"]])
@pytest.mark.parametrize("stream", [False, True])
async def test_stop_sequences(tmp_path: Path, stop: Any, stream: bool) -> None:
    async with node_of(tmp_path).running() as node, node.client() as client:
        answer = await chat(client, stop=stop, stream=stream)
        if stream:
            chunks = [chunk async for chunk in answer]
            text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
            reason = chunks[-1].choices[0].finish_reason
        else:
            text, reason = answer.choices[0].message.content, answer.choices[0].finish_reason
        assert text == ("Paris is the" if isinstance(stop, str) else "Pa")
        assert reason == "stop"
        await node.units(1)


@pytest.mark.parametrize(
    ("choice", "passed"),
    [
        (None, "auto"),
        ("required", "required"),
        ({"type": "function", "function": {"name": "look"}}, "look"),
    ],
)
async def test_tools(tmp_path: Path, choice: Any, passed: str) -> None:
    script = 'CALL look {"at": "sea"}\nCALL look {"at": "sky"}'
    async with node_of(tmp_path, script).running() as node, node.client() as client:
        more = {"tool_choice": choice} if choice is not None else {}
        answer = await chat(client, tools=[TOOL], **more)
        definition = ToolDefinition("look", "Looks.", '{"type": "object"}')
        assert node.engines.chat_model.offered == [ToolOffer((definition,), passed)]
        [made] = answer.choices
        assert (made.finish_reason, made.message.content) == ("tool_calls", None)
        calls = [
            (one.type, one.function.name, one.function.arguments) for one in made.message.tool_calls
        ]
        assert calls == [("function", "look", f'{{"at": "{at}"}}') for at in ("sea", "sky")]
        assert len({one.id for one in made.message.tool_calls}) == 2


async def test_tools_in_a_stream(tmp_path: Path) -> None:
    async with node_of(tmp_path, 'CALL look {"at": "sea"}').running() as node:
        async with node.client() as client:
            stream = await chat(client, tools=[TOOL], stream=True)
            chunks = [chunk.choices[0] async for chunk in stream]
        pieces = [call for chunk in chunks for call in chunk.delta.tool_calls or ()]
        assert [piece.index for piece in pieces] == [0, 0]
        assert (pieces[0].function.name, pieces[1].function.name) == ("look", None)
        assert "".join(piece.function.arguments for piece in pieces) == '{"at": "sea"}'
        assert chunks[-1].finish_reason == "tool_calls"


async def test_tool_call_ids_are_never_reused(tmp_path: Path) -> None:
    async with node_of(tmp_path, "CALL look {}").running() as node, node.client() as client:
        answers = [await chat(client, tools=[TOOL]) for _ in range(3)]
    ids = [answer.choices[0].message.tool_calls[0].id for answer in answers]
    assert len(set(ids)) == 3
    assert all(one.startswith("call_") for one in ids)


async def test_options_of_tools_reach_the_model(tmp_path: Path) -> None:
    async with node_of(tmp_path).running() as node, node.client() as client:
        strict = {**TOOL, "function": {**TOOL["function"], "strict": True}}
        await chat(client, tools=[strict], parallel_tool_calls=False)
        [offer] = node.engines.chat_model.offered
    assert offer is not None
    assert (offer.parallel, offer.tools[0].strict) == (False, True)


class Event(pydantic.BaseModel):
    name: str
    people: list[str]


async def test_a_parsed_answer(tmp_path: Path) -> None:
    answer = '{"name": "fair", "people": ["Ann", "Bob"]}'
    async with node_of(tmp_path, answer).running() as node, node.client() as client:
        made = await client.chat.completions.parse(
            model="gpt-4o-mini", messages=ASKED, response_format=Event
        )
        assert made.choices[0].message.parsed == Event(name="fair", people=["Ann", "Bob"])
        await chat(client, response_format={"type": "json_object"})
        await chat(client, response_format={"type": "text"})
        event, any_object, text = node.engines.chat_model.formats
    assert event is not None
    assert (event.name, event.strict) == ("Event", True)
    assert json.loads(event.schema)["required"] == ["name", "people"]
    assert (any_object, text) == (AnswerFormat(), None)


@pytest.mark.parametrize("stream", [False, True])
async def test_an_engine_that_fails_at_once_is_an_error(tmp_path: Path, stream: bool) -> None:
    node = node_of(tmp_path)
    node.engines.chat_model.fault = Fault(EngineBusy("the queue is full"))
    async with node.running(), node.client() as client:
        with pytest.raises(openai.InternalServerError) as refused:
            await chat(client, stream=stream)
        assert refused.value.status_code == 503
        assert refused.value.response.headers["Retry-After"] == "1"
        assert not node.booked


async def test_an_engine_that_fails_later_ends_the_stream_with_an_error(tmp_path: Path) -> None:
    node = node_of(tmp_path)
    node.engines.chat_model.fault = Fault(EngineFailed("it broke"), at=1)
    async with node.running(), node.client() as client:
        with pytest.raises(openai.APIError, match="it broke"):
            async for _ in await chat(client, stream=True):
                pass


async def test_an_answer_that_takes_too_long_is_aborted(tmp_path: Path) -> None:
    node = node_of(tmp_path)
    node.seconds, node.engines.chat_model.first_token_delay = 0.05, 30.0
    async with node.running(), node.client() as client:
        with pytest.raises(openai.InternalServerError) as refused:
            await chat(client)
        assert (refused.value.status_code, refused.value.code) == (503, "timeout")


PICTURE = {"type": "image_url", "image_url": {"url": "data:,"}}


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"messages": []}, "messages"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a b"}}},
            "response_format.json_schema.name",
        ),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "a", "schema": {"properties": {"b": {"type": "list"}}}},
                }
            },
            "response_format.json_schema.schema.properties.b.type",
        ),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "a", "strict": True, "schema": {"type": "string"}},
                }
            },
            "response_format.json_schema.schema.type",
        ),
        (
            {
                "tools": [
                    {"type": "function", "function": {"name": "a", "parameters": {"required": "b"}}}
                ]
            },
            "tools[0].function.parameters.required",
        ),
        (
            {
                "tools": [
                    {"type": "function", "function": {"name": "a", "parameters": {"type": "array"}}}
                ]
            },
            "tools[0].function.parameters.type",
        ),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"temperature": 3}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"messages": [{"role": "user", "content": [PICTURE]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "user", "content": "x" * 400_001}]}, "messages"),
        ({"tool_choice": "required"}, "tool_choice"),
        (
            {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "no"}}},
            "tool_choice",
        ),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
    ],
)
async def test_bad_fields_are_named(tmp_path: Path, asked: dict[str, Any], param: str) -> None:
    async with node_of(tmp_path).running() as node, node.client() as client:
        with pytest.raises(openai.BadRequestError) as refused:
            await chat(client, **asked)
        assert (refused.value.param, refused.value.type) == (param, "invalid_request_error")
        assert not node.engines.chat_model.asked


async def test_an_unknown_model(tmp_path: Path) -> None:
    async with node_of(tmp_path).running() as node, node.client() as client:
        with pytest.raises(openai.NotFoundError) as refused:
            await chat(client, model="no-such-model")
        assert (refused.value.code, refused.value.param) == ("model_not_found", "model")
