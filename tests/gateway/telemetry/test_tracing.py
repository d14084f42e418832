"""A call becomes a trace of turns, stages and tool uses, without a word of what was said."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator

import pytest

from gateway.settings import Settings, SettingsError
from gateway.telemetry.tracing import Tracing
from sessions.core.commands import (
    CancelTool,
    Publish,
    RecordTurn,
    RunTool,
    StartReply,
    StartTranscription,
)
from sessions.core.config import SessionConfig, Tool
from sessions.core.events import ClauseStarted, HangUp, ToolReturned, ToolUseRequested
from sessions.core.items import ReplyStatus
from sessions.core.notices import Fault, Latency
from sessions.host import CallObserver, CallRequest

if os.environ.get("CI") != "true":
    pytest.importorskip("opentelemetry.sdk", reason="./blab test --check installs blab[otel]")

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

SECRET = "SECRET WORDS"
REQUEST = CallRequest("call_1", "ws_1", "agent_1", SessionConfig(instructions=SECRET))
LATENCY = Latency(1, "resp_1", 300, 20, 120, 30, 10, 480, first_token_ms=80, heard_ms=60)
TICK = HangUp(SECRET)
"""Any event that means nothing to a trace."""


class Traced:
    """Observers whose spans stay in memory."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracing = Tracing(provider)

    def call(self) -> CallObserver:
        return self.tracing.observer(REQUEST, "webrtc")

    def spans(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.name == name]


@pytest.fixture
async def traced() -> AsyncIterator[Traced]:
    made = Traced()
    yield made
    for span in made.exporter.get_finished_spans():
        assert SECRET not in str(span.to_json())


def start_reply(turn: int, reply: int, *, side: bool = False) -> StartReply:
    return StartReply(turn, reply, f"resp_{reply}", "item_1", (), SessionConfig(), SECRET, side)


def record(turn: int) -> RecordTurn:
    done = ReplyStatus.COMPLETED
    return RecordTurn(turn, SECRET, SECRET, SECRET, False, done, LATENCY, (100, 7))


def seconds(span: ReadableSpan) -> float:
    assert span.start_time is not None
    assert span.end_time is not None
    return (span.end_time - span.start_time) / 1e9


async def test_a_turn_has_the_stages_of_its_waiting_time(traced: Traced) -> None:
    call, now = traced.call(), asyncio.get_running_loop().time()
    call.stepped(TICK, now, [StartTranscription(1, 0)])
    call.stepped(TICK, now + 1.5, [start_reply(1, 1), start_reply(1, 2, side=True)])
    call.stepped(ClauseStarted(1, 0), now + 2.0, [])
    call.stepped(ClauseStarted(1, 1), now + 2.05, [])
    call.stepped(TICK, now + 2.06, [Publish(LATENCY)])
    call.stepped(TICK, now + 4.0, [record(1)])
    call.ended("peer_gone")
    (turn,), (root,) = traced.spans("turn"), traced.spans("call")
    assert seconds(turn) == pytest.approx(4.0)
    assert turn.parent == root.context
    assert turn.attributes == {
        "blab.turn": 1,
        "blab.status": "completed",
        "blab.interrupted": False,
        "blab.waited_ms": 480,
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 7,
    }
    assert root.attributes == {
        "blab.call.id": "call_1",
        "blab.workspace.id": "ws_1",
        "blab.agent.id": "agent_1",
        "blab.channel": "webrtc",
        "blab.end_reason": "peer_gone",
    }
    names = ("endpointing", "transcript", "first_token", "first_clause", "first_audio", "sent")
    stages = [span for name in names for span in traced.spans(name)]
    assert [round(seconds(span) * 1000) for span in stages] == [300, 20, 80, 40, 30, 10]
    assert all(span.parent == turn.context for span in stages)
    assert turn.start_time is not None
    assert stages[-1].end_time is not None
    assert (stages[-1].end_time - turn.start_time) / 1e9 == pytest.approx(2.0)


async def test_tool_uses_and_faults_are_traced(traced: Traced) -> None:
    call, now = traced.call(), asyncio.get_running_loop().time()
    tool = Tool("weather", SECRET)
    call.stepped(TICK, now, [start_reply(1, 1)])
    call.stepped(ToolUseRequested(1, "weather", SECRET), now + 0.1, [])
    call.stepped(
        TICK, now + 0.2, [RunTool(use, SECRET, tool, None) for use in ("t_1", "t_2", "t_3")]
    )
    call.stepped(ToolReturned("t_1", SECRET), now + 0.7, [])
    call.stepped(ToolReturned("t_2", SECRET, failed=True), now + 0.9, [CancelTool("t_3")])
    call.stepped(TICK, now + 1, [Publish(Fault("engine_failed", SECRET, server=True))])
    call.ended("ended")
    tools = traced.spans("tool")
    assert [span.attributes and span.attributes["blab.status"] for span in tools] == [
        "completed",
        "failed",
        "cancelled",
    ]
    assert [round(seconds(span), 1) for span in tools] == [0.5, 0.7, 0.7]
    (turn,), (root,) = traced.spans("turn"), traced.spans("call")
    assert all(span.parent == turn.context for span in tools)
    assert [event.name for event in turn.events] == ["tool_use"]
    assert [(event.name, event.attributes) for event in root.events] == [
        ("fault", {"blab.code": "engine_failed"})
    ]


async def test_an_end_ends_what_is_open(traced: Traced) -> None:
    call, now = traced.call(), asyncio.get_running_loop().time()
    tool = Tool("weather", "")
    call.stepped(TICK, now, [StartTranscription(1, 0), RunTool("t_1", "{}", tool, None)])
    call.stepped(TICK, now, [record(9), Publish(LATENCY)])
    call.ended("server_shutdown")
    names = [span.name for span in traced.exporter.get_finished_spans()]
    assert {"call", "turn", "tool"} <= set(names)


async def test_traces_are_made_only_where_the_environment_asks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert Tracing.configured(Settings()) == []
    none = Settings(otel_traces="none", otel_endpoint="http://127.0.0.1:1")
    assert Tracing.configured(none) == []
    monkeypatch.setenv("OTEL_SERVICE_NAME", "ours")
    (made,) = Tracing.configured(Settings(otel_traces="console"))
    assert made._provider.resource.attributes["service.name"] == "ours"
    context = made.context(None)
    await anext(context)
    assert [step async for step in context] == []
    (otlp,) = Tracing.configured(Settings(otel_endpoint="http://127.0.0.1:1"))
    otlp._provider.shutdown()


def test_traces_without_the_extra_are_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    with pytest.raises(SettingsError, match=r"blab\[otel\]"):
        Tracing.configured(Settings(otel_traces="console"))
