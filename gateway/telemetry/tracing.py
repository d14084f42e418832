"""Traces of calls with OpenTelemetry: the extra ``blab[otel]``.

A trace is one call: the span ``call``, below it one ``turn`` from the caller's first word to the
end of the reply, and below a turn the stages of the caller's waiting time (``endpointing``,
``transcript``, ``first_token``, ``first_clause``, ``first_audio``, ``sent``) and the server's tool
uses (``tool``).

Rules
- No attribute holds anything that was said, heard or typed, or a tool's arguments or output.
- Nothing of OpenTelemetry is imported unless traces are configured.
- Spans are exported by a thread of the SDK; its queue is bounded, and what does not fit is dropped.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from aiohttp import web

from gateway.settings import Settings, SettingsError
from sessions.core.commands import (
    CancelTool,
    Command,
    Publish,
    RecordTurn,
    RunTool,
    StartReply,
    StartTranscription,
    TranscribeClip,
)
from sessions.core.events import ClauseStarted, Event, ToolReturned, ToolUseRequested
from sessions.core.notices import Fault, Latency
from sessions.host import CallObserver, CallRequest

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

log = logging.getLogger(__name__)

_FLUSH_SECONDS = 3.0
_NANO = 1_000_000_000


class Tracing:
    """Makes the observers that trace calls."""

    def __init__(self, provider: "TracerProvider") -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("blab")

    @classmethod
    def configured(cls, settings: Settings) -> "list[Tracing]":
        """One, as the OTEL_* variables say; none without them. Raises SettingsError where the extra
        is not installed."""
        exporter = settings.otel_traces or ("otlp" if settings.otel_endpoint else "none")
        if exporter == "none":
            return []
        try:
            return [cls(_provider(exporter))]
        except ImportError as error:
            raise SettingsError(
                [f"OTEL_TRACES_EXPORTER: traces need the extra: pip install 'blab[otel]' ({error})"]
            ) from error

    def observer(self, request: CallRequest, channel: str) -> CallObserver:
        """Follows one call, for the session host."""
        return CallTracer(self._tracer, request, channel)

    async def context(self, _app: web.Application) -> AsyncIterator[None]:
        """For ``cleanup_ctx``: at the end, export what is left."""
        yield
        try:
            async with asyncio.timeout(_FLUSH_SECONDS):
                await asyncio.to_thread(self._provider.shutdown)
        except TimeoutError:
            log.warning("the last traces were not exported within %g s", _FLUSH_SECONDS)


def _provider(exporter: str) -> "TracerProvider":
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter

    made: SpanExporter
    if exporter == "console":
        made = ConsoleSpanExporter()
    else:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        made = OTLPSpanExporter()
    resource = Resource({"service.name": "blab"}).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(made))
    return provider


class CallTracer:
    """Traces one call; see CallObserver."""

    def __init__(self, tracer: "Tracer", request: CallRequest, channel: str) -> None:
        self._tracer = tracer
        self._epoch = time.time() - asyncio.get_running_loop().time()
        """Unix time at the loop's zero."""
        attributes = {
            "blab.call.id": request.call_id,
            "blab.workspace.id": request.workspace_id,
            "blab.channel": channel,
        }
        if request.agent_id is not None:
            attributes["blab.agent.id"] = request.agent_id
        self._call = tracer.start_span("call", attributes=attributes)
        self._turns: dict[int, Span] = {}
        self._replies: dict[int, int] = {}
        """Reply -> turn."""
        self._sent: dict[int, float] = {}
        """Turn -> when the first sample of its reply was sent."""
        self._tools: dict[str, Span] = {}

    def stepped(self, event: Event, now: float, commands: list[Command]) -> None:
        """Begin and end spans."""
        match event:
            case ClauseStarted(reply, 0) if reply in self._replies:
                self._sent.setdefault(self._replies[reply], now)
            case ToolReturned(tool_use_id, _, failed):
                self._end_tool(tool_use_id, now, "failed" if failed else "completed")
            case ToolUseRequested(reply, name) if reply in self._replies:
                turn = self._turns.get(self._replies[reply], self._call)
                turn.add_event("tool_use", {"blab.tool.name": name}, self._at(now))
        for command in commands:
            self._step(command, now)

    def ended(self, reason: str) -> None:
        """The call is over, and whatever is still open with it."""
        for span in (*self._tools.values(), *self._turns.values()):
            span.end()
        self._call.set_attribute("blab.end_reason", reason)
        self._call.end()

    def _step(self, command: Command, now: float) -> None:
        match command:
            case StartTranscription(turn) | TranscribeClip(turn):
                self._begin_turn(turn, now)
            case StartReply(turn, reply) if not command.side:
                self._begin_turn(turn, now)
                self._replies[reply] = turn
            case RunTool(tool_use_id):
                attributes = {"blab.tool.name": command.tool.name}
                self._tools[tool_use_id] = self._below(
                    next(reversed(self._turns.values()), self._call), "tool", now, attributes
                )
            case CancelTool(tool_use_id):
                self._end_tool(tool_use_id, now, "cancelled")
            case Publish(Latency() as latency):
                self._note_stages(latency, now)
            case Publish(Fault(code)):
                self._call.add_event("fault", {"blab.code": code}, self._at(now))
            case RecordTurn():
                self._end_turn(command, now)

    def _begin_turn(self, turn: int, now: float) -> None:
        if turn not in self._turns:
            self._turns[turn] = self._below(self._call, "turn", now, {"blab.turn": turn})

    def _end_turn(self, record: RecordTurn, now: float) -> None:
        span = self._turns.pop(record.turn, None)
        self._sent.pop(record.turn, None)
        self._replies = {
            reply: turn for reply, turn in self._replies.items() if turn != record.turn
        }
        if span is None:
            return
        prompt, completion = record.usage
        span.set_attributes(
            {
                "blab.status": str(record.status),
                "blab.interrupted": record.interrupted,
                "gen_ai.usage.input_tokens": prompt,
                "gen_ai.usage.output_tokens": completion,
            }
        )
        span.end(self._at(now))

    def _note_stages(self, latency: Latency, now: float) -> None:
        """The stages lie end to end before the moment when the first sample was sent."""
        span = self._turns.get(latency.turn)
        if span is None:
            return
        span.set_attribute("blab.waited_ms", latency.total_ms)
        begun = self._sent.get(latency.turn, now) - latency.total_ms / 1000
        stages = {
            "endpointing": latency.endpointing_ms,
            "transcript": latency.stt_ms,
            "first_token": latency.first_token_ms,
            "first_clause": latency.llm_ms - latency.first_token_ms,
            "first_audio": latency.tts_ms,
            "sent": latency.gateway_ms,
        }
        for stage, milliseconds in stages.items():
            ended = begun + milliseconds / 1000
            self._below(span, stage, begun).end(self._at(ended))
            begun = ended

    def _end_tool(self, tool_use_id: str, now: float, status: str) -> None:
        if (span := self._tools.pop(tool_use_id, None)) is not None:
            span.set_attribute("blab.status", status)
            span.end(self._at(now))

    def _below(
        self, parent: "Span", name: str, now: float, attributes: dict[str, Any] | None = None
    ) -> "Span":
        from opentelemetry.trace import set_span_in_context

        return self._tracer.start_span(
            name, set_span_in_context(parent), attributes=attributes, start_time=self._at(now)
        )

    def _at(self, now: float) -> int:
        return int((self._epoch + now) * _NANO)
