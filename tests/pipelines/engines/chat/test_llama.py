import asyncio
import json
import os
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from pipelines.engines.base import (
    AnswerFormat,
    ChatDelta,
    ChatMessage,
    ChatToolCall,
    EngineBusy,
    EngineFailed,
    EngineTimeout,
    ToolDefinition,
    ToolOffer,
)
from pipelines.engines.chat.json_schemas import arguments_schema, fits
from pipelines.engines.chat.llama import LlamaChat
from pipelines.engines.chat.llama_server import LlamaSettings

QUESTION = (
    ChatMessage("system", "Be brief."),
    ChatMessage("user", "What is the capital of France?"),
)
DEADLINE = 10.0


class FakeServer:
    """Speaks the vendor's chunks; each answer waits for ``gate`` before every token."""

    def __init__(self, tokens: tuple[str, ...] = ("Hello", " there")) -> None:
        self.tokens = tokens
        self.gates: dict[str, threading.Event] = {}
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.changed = threading.Condition()
        self.context = 10_000

    def note(self, log: list[str], name: str) -> None:
        with self.changed:
            log.append(name)
            self.changed.notify_all()

    def wait_for(self, log: list[str], count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(log) >= count, DEADLINE)

    def handle_chat_completions(
        self, prompt: dict[str, Any], callback: Callable[[dict[str, Any]], bool]
    ) -> None:
        name = prompt["messages"][-1]["content"]
        self.note(self.begun, name)
        try:
            self._answer(prompt, name, callback)
        finally:
            self.note(self.ended, name)

    def _answer(
        self, prompt: dict[str, Any], name: str, callback: Callable[[dict[str, Any]], bool]
    ) -> None:
        size = sum(len(m["content"]) for m in prompt["messages"])
        if size > self.context:
            callback({"error": {"code": 400, "type": "exceed_context_size_error"}})
            return
        gate = self.gates.get(name)
        for number, token in enumerate(self.tokens):
            held = gate if number or name != "stalls" else None
            while held is not None and not held.wait(0.002):
                if callback({"choices": [{"delta": {}}], "prompt_progress": {}}):
                    return
            if callback({"choices": [{"delta": {"content": token}}]}):
                return
        if name == "broken":
            return
        callback({"choices": [{"delta": {}, "finish_reason": "stop"}]})
        callback({"choices": [], "usage": {"prompt_tokens": size, "completion_tokens": 2}})


def ask(text: str) -> tuple[ChatMessage, ...]:
    return (ChatMessage("user", text),)


async def drain(chat: LlamaChat, text: str) -> list[ChatDelta]:
    return [delta async for delta in chat.stream(ask(text))]


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest_asyncio.fixture
async def chat(server: FakeServer) -> AsyncIterator[LlamaChat]:
    settings = LlamaSettings(
        Path("unused"), slots=2, queue_limit=1, first_token=0.3, next_token=0.2
    )
    chat = LlamaChat("fake", server, settings)
    yield chat
    for gate in server.gates.values():
        gate.set()
    await chat.close()


async def test_tokens_come_as_deltas_and_counts_come_last(chat: LlamaChat) -> None:
    assert await drain(chat, "hi") == [
        ChatDelta("Hello"),
        ChatDelta(" there"),
        ChatDelta("", "stop", 2, 2),
    ]


async def test_an_answer_without_an_end_is_a_failure(chat: LlamaChat) -> None:
    with pytest.raises(EngineFailed, match="without a reason"):
        await drain(chat, "broken")


async def test_no_first_token_is_a_timeout_and_the_engine_goes_on(
    chat: LlamaChat, server: FakeServer
) -> None:
    server.gates["slow"] = threading.Event()
    with pytest.raises(EngineTimeout):
        await drain(chat, "slow")
    assert (await drain(chat, "hi"))[-1].finish_reason == "stop"
    await asyncio.to_thread(server.wait_for, server.ended, 2)


async def test_no_further_token_is_a_timeout(chat: LlamaChat, server: FakeServer) -> None:
    server.gates["stalls"] = threading.Event()
    with pytest.raises(EngineTimeout, match="no further token"):
        await drain(chat, "stalls")
    assert (await drain(chat, "hi"))[-1].finish_reason == "stop"


async def test_closing_an_answer_frees_its_thread(chat: LlamaChat, server: FakeServer) -> None:
    server.gates["stalls"] = threading.Event()
    answer = chat.stream(ask("stalls"))
    await anext(answer)
    await answer.aclose()
    await asyncio.to_thread(server.wait_for, server.ended, 1)


async def test_a_request_beyond_the_queue_is_refused(chat: LlamaChat, server: FakeServer) -> None:
    names = ["a", "b", "c"]
    for name in names:
        server.gates[name] = threading.Event()
    tasks = [asyncio.create_task(drain(chat, name)) for name in names]
    await asyncio.to_thread(server.wait_for, server.begun, 2)
    with pytest.raises(EngineBusy):
        await drain(chat, "d")
    for name in names:
        server.gates[name].set()
    assert all(deltas[-1].finish_reason for deltas in await asyncio.gather(*tasks))


async def test_an_answer_stops_a_prefill_and_waits_for_its_end(
    chat: LlamaChat, server: FakeServer
) -> None:
    server.gates["prefix"] = threading.Event()
    prefill = asyncio.create_task(chat.prefill(ask("prefix")))
    await asyncio.to_thread(server.wait_for, server.begun, 1)
    await drain(chat, "hi")
    assert server.begun == ["prefix", "hi"]
    await asyncio.to_thread(server.wait_for, server.ended, 2)  # it ends on its own thread
    assert server.ended == ["prefix", "hi"]
    await prefill


async def test_a_prefill_waits_until_answers_are_done(chat: LlamaChat, server: FakeServer) -> None:
    server.gates["answer"] = threading.Event()
    answer = asyncio.create_task(drain(chat, "answer"))
    await asyncio.to_thread(server.wait_for, server.begun, 1)
    prefill = asyncio.create_task(chat.prefill(ask("prefix")))
    server.gates["answer"].set()
    await asyncio.gather(answer, prefill)
    assert server.begun == ["answer", "prefix"]


async def test_a_failing_prefill_is_only_a_missed_hint(chat: LlamaChat) -> None:
    await chat.prefill(ask("broken"))


async def test_a_long_history_loses_its_oldest_messages(
    chat: LlamaChat, server: FakeServer
) -> None:
    server.context = 60
    history = [ChatMessage("system", "rules")] + [ChatMessage("user", "x" * 10) for _ in range(12)]
    deltas = [delta async for delta in chat.stream(history)]
    assert deltas[-1].prompt_tokens == 45
    with pytest.raises(EngineFailed, match="longer than the chat model's context"):
        await drain(chat, "y" * 100)


async def test_an_answer_that_is_not_in_its_format_is_a_failure(chat: LlamaChat) -> None:
    with pytest.raises(EngineFailed, match="not in its format"):
        _ = [d async for d in chat.stream(ask("hi"), answer_format=AnswerFormat())]


async def test_a_closed_engine_says_so(chat: LlamaChat) -> None:
    await chat.close()
    with pytest.raises(EngineFailed, match="shut down"):
        await drain(chat, "hi")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def real(models_dir: Path) -> AsyncIterator[LlamaChat]:
    path = models_dir / "qwen2.5-0.5b" / "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"
    chat = await LlamaChat.load("qwen2.5-0.5b", LlamaSettings(path))
    yield chat
    await chat.close()


@pytest.mark.engines
@pytest.mark.asyncio(loop_scope="module")
class TestRealModel:
    async def test_answers_a_question(self, real: LlamaChat) -> None:
        deltas = [d async for d in real.stream(QUESTION, max_tokens=40, temperature=0.0)]
        assert "Paris" in "".join(d.text for d in deltas)
        assert deltas[-1].finish_reason == "stop"
        assert deltas[-1].prompt_tokens > 10
        assert deltas[-1].completion_tokens >= len(deltas) - 1

    async def test_two_answers_at_once_do_not_mix(self, real: LlamaChat) -> None:
        async def text(country: str) -> str:
            ask = (ChatMessage("user", f"What is the capital of {country}? Answer in one word."),)
            return "".join([d.text async for d in real.stream(ask, max_tokens=8, temperature=0.0)])

        paris, rome = await asyncio.gather(text("France"), text("Italy"))
        assert "Paris" in paris
        assert "Rome" in rome

    async def test_it_uses_a_tool_and_speaks_about_its_output(self, real: LlamaChat) -> None:
        schema = '{"type": "object", "properties": {"city": {"type": "string"}}}'
        offer = ToolOffer((ToolDefinition("get_weather", "Current weather of a city", schema),))
        system = ChatMessage("system", "You are a helpful assistant on a call.")
        asked = [system, ChatMessage("user", "What is the weather in Paris?")]
        deltas = [d async for d in real.stream(asked, max_tokens=60, temperature=0.0, offer=offer)]
        (call,) = [piece for delta in deltas for piece in delta.calls]
        assert "".join(delta.text for delta in deltas).strip() == ""
        assert (call.name, json.loads(call.arguments)) == ("get_weather", {"city": "Paris"})
        assert deltas[-1].finish_reason == "tool_calls"
        made = ChatToolCall("call_1", call.name, call.arguments)
        answered = [
            *asked,
            ChatMessage("assistant", "", (made,)),
            ChatMessage("tool", '{"sky": "rain", "celsius": 9}', call_id="call_1"),
        ]
        deltas = [
            d async for d in real.stream(answered, max_tokens=60, temperature=0.0, offer=offer)
        ]
        spoken = "".join(delta.text for delta in deltas)
        assert not any(delta.calls for delta in deltas)
        assert "rain" in spoken
        assert "{" not in spoken

    @pytest.mark.parametrize("choice", ["required", "get_weather"])
    async def test_a_forced_tool_use_fits(self, real: LlamaChat, choice: str) -> None:
        schema = (
            '{"type": "object", "properties": {"city": {"type": "string", "maxLength": 20},'
            ' "unit": {"enum": ["celsius", "kelvin"]}}, "required": ["city", "unit"]}'
        )
        offer = ToolOffer((ToolDefinition("get_weather", "Weather", schema),), choice, False)
        ask = (ChatMessage("user", "Hello!"),)
        deltas = [d async for d in real.stream(ask, max_tokens=100, offer=offer)]
        [call] = [piece for delta in deltas for piece in delta.calls]
        assert call.name == "get_weather"
        assert fits(json.loads(call.arguments), arguments_schema(schema))
        assert "".join(delta.text for delta in deltas) == ""
        assert deltas[-1].finish_reason == "tool_calls"

    async def test_an_answer_in_a_format(self, real: LlamaChat) -> None:
        properties = {"city": {"type": "string", "maxLength": 20}, "n": {"const": 7}}
        schema = json.dumps({"type": "object", "properties": properties, "required": ["city", "n"]})
        deltas = [
            d
            async for d in real.stream(QUESTION, max_tokens=60, answer_format=AnswerFormat(schema))
        ]
        made = json.loads("".join(delta.text for delta in deltas))
        assert set(made) == {"city", "n"}
        assert (made["n"], deltas[-1].finish_reason) == (7, "stop")

    async def test_no_schema_breaks_it(self, real: LlamaChat) -> None:
        node = {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]}
        hostile: list[dict[str, Any]] = [
            node,
            {"type": "object", "properties": {"a": {"pattern": "((a*)*)*$", "type": "string"}}},
            {"type": "object", "properties": {"a": {"enum": [str(n) for n in range(9999)]}}},
            {"type": "object", "properties": {"a": {"type": "array", "minItems": 10**9}}},
            {"allOf": [{"type": "string"}, {"type": "object"}]},
            {"type": "object", "minProperties": 10**9, "propertyNames": {"pattern": "^$"}},
        ]
        for schema in hostile:
            offer = ToolOffer((ToolDefinition("go", "", json.dumps(schema)),), "required", False)
            ask = (ChatMessage("user", "Go."),)
            deltas = [d async for d in real.stream(ask, max_tokens=40, offer=offer)]
            assert deltas[-1].finish_reason in ("tool_calls", "length")
            assert "".join(delta.text for delta in deltas) == ""

    async def test_it_opens_no_port(self, real: LlamaChat) -> None:
        assert not _open_sockets() & _listening_sockets()

    async def test_a_prefilled_prompt_is_answered_sooner(self, real: LlamaChat) -> None:
        async def first_token(tag: str, *, prefilled: bool) -> float:
            system = ChatMessage("system", f"{tag}. " + "You are a helpful voice assistant. " * 12)
            messages = (system, ChatMessage("user", "What time is it?"))
            if prefilled:
                await real.prefill(messages)
            begun = time.perf_counter()
            async with aclosing(real.stream(messages, max_tokens=4)) as answer:
                await anext(answer)
                return time.perf_counter() - begun

        assert await first_token("One", prefilled=True) < await first_token("Two", prefilled=False)

    async def test_the_next_turn_and_the_next_call_read_only_what_is_new(
        self, real: LlamaChat
    ) -> None:
        agent = ChatMessage("system", "You answer the telephone of a hotel by the sea. " * 8)
        first = (agent, ChatMessage("user", "Do you have a pool?"))
        answer = [delta async for delta in real.stream(first, max_tokens=8)]
        said = ChatMessage("assistant", "".join(delta.text for delta in answer))
        second = (*first, said, ChatMessage("user", "And a sauna?"))
        other_call = (agent, ChatMessage("user", "When is breakfast?"))
        for prompt in (second, other_call):
            answer = [delta async for delta in real.stream(prompt, max_tokens=8)]
            last = answer[-1]
            assert last.prompt_tokens - last.cached_tokens < 30
            assert last.cached_tokens > 80

    async def test_closing_an_answer_returns_at_once(self, real: LlamaChat) -> None:
        answer = real.stream((ChatMessage("user", "Tell me a long story."),), max_tokens=200)
        await anext(answer)
        begun = time.perf_counter()
        await answer.aclose()
        assert time.perf_counter() - begun < 0.5  # the whole story takes seconds


def _open_sockets() -> set[str]:
    """Inodes of this process's sockets."""
    found = set()
    for fd in Path("/proc/self/fd").iterdir():
        try:
            target = os.readlink(fd)
        except FileNotFoundError:
            continue  # the descriptor of the listing itself
        if target.startswith("socket:["):
            found.add(target[len("socket:[") : -1])
    return found


def _listening_sockets() -> set[str]:
    """Inodes of listening TCP sockets."""
    found = set()
    for table in ("tcp", "tcp6"):
        for line in (Path("/proc/self/net") / table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                found.add(fields[9])
    return found
