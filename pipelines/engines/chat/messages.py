"""A chat request in OpenAI's HTTP contract: messages, tools, and the parts of streamed tool uses.

llama.cpp's server accepts the same bodies. https://platform.openai.com/docs/guides/function-calling
"""

import json
from collections.abc import Sequence
from typing import Any

from pipelines.engines.base import AnswerFormat, ChatMessage, ToolCallDelta, ToolOffer

CHOICES = ("auto", "none", "required")
STILL_RUNNING = "The tool is still running; its output is not there yet. Do not call it again."
"""Stands in for a missing output: the contract wants one for every tool use."""


def message_bodies(messages: Sequence[ChatMessage]) -> list[dict[str, Any]]:
    """``messages``, with an output after every tool use."""
    answered = {message.call_id for message in messages if message.role == "tool"}
    bodies = []
    waiting: list[str] = []
    for message in messages:
        if message.role != "tool":
            bodies += [_running(call_id) for call_id in waiting]
            waiting = [call.call_id for call in message.calls if call.call_id not in answered]
        bodies.append(message_body(message))
    return bodies + [_running(call_id) for call_id in waiting]


def _running(call_id: str) -> dict[str, Any]:
    return message_body(ChatMessage("tool", STILL_RUNNING, call_id=call_id))


def message_body(message: ChatMessage) -> dict[str, Any]:
    """One entry of ``messages``."""
    body: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.calls:
        body["tool_calls"] = [
            {
                "id": call.call_id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.calls
        ]
    if message.role == "tool":
        body["tool_call_id"] = message.call_id
    return body


def tools_body(offer: ToolOffer | None) -> dict[str, Any]:
    """``tools`` and ``tool_choice``; empty if no tool is offered."""
    if offer is None or not offer.tools:
        return {}
    choice: Any = offer.choice
    if choice not in CHOICES:
        choice = {"type": "function", "function": {"name": choice}}
    tools = [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": json.loads(tool.parameters),
                **({"strict": True} if tool.strict else {}),
            },
        }
        for tool in offer.tools
    ]
    parallel = {} if offer.parallel else {"parallel_tool_calls": False}
    return {"tools": tools, "tool_choice": choice, **parallel}


def format_body(answer_format: AnswerFormat | None) -> dict[str, Any]:
    """``response_format``; empty if the answer is free."""
    if answer_format is None:
        return {}
    if not answer_format.schema:
        return {"response_format": {"type": "json_object"}}
    schema: dict[str, Any] = {
        "name": answer_format.name,
        "schema": json.loads(answer_format.schema),
        "strict": answer_format.strict,
    }
    if answer_format.description:
        schema["description"] = answer_format.description
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


def call_deltas(delta: dict[str, Any]) -> tuple[ToolCallDelta, ...]:
    """The parts of tool uses in one streamed delta; they belong together by index."""
    pieces = []
    for piece in delta.get("tool_calls") or ():
        function = piece.get("function") or {}
        pieces.append(
            ToolCallDelta(
                int(piece.get("index") or 0),
                paired(piece.get("id") or ""),
                paired(function.get("name") or ""),
                paired(function.get("arguments") or ""),
            )
        )
    return tuple(pieces)


def paired(text: str) -> str:
    """Text with U+FFFD for unpaired surrogates, which JSON can express and UTF-8 cannot."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
