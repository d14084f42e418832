"""A chat request as OpenAI's HTTP contract writes it: messages, tools, and pieces of calls.

llama.cpp's server takes the same bodies. https://platform.openai.com/docs/guides/function-calling
"""

import json
from typing import Any

from .base import ChatMessage, ToolCallDelta, ToolOffer

CHOICES = ("auto", "none", "required")


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
    """``tools`` and ``tool_choice``; nothing where no tool is offered."""
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
            },
        }
        for tool in offer.tools
    ]
    return {"tools": tools, "tool_choice": choice}


def call_deltas(delta: dict[str, Any]) -> tuple[ToolCallDelta, ...]:
    """The pieces of calls in one streamed delta; they belong together by index."""
    pieces = []
    for piece in delta.get("tool_calls") or ():
        function = piece.get("function") or {}
        pieces.append(
            ToolCallDelta(
                int(piece.get("index") or 0),
                piece.get("id") or "",
                function.get("name") or "",
                function.get("arguments") or "",
            )
        )
    return tuple(pieces)
