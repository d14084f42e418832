"""A chat completion in OpenAI's two shapes: whole, and in chunks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.engines.base import ChatDelta, ToolCallDelta


@dataclass(frozen=True, slots=True)
class ChatView:
    """One completion; ``created`` in s since 1970, ``usage`` asked for in a stream."""

    id: str
    created: int
    model: str
    with_usage: bool = False

    def head(self) -> dict[str, Any]:
        """The first chunk: whose answer it is."""
        return self._chunk({"role": "assistant", "content": ""}, None)

    def chunk(self, delta: ChatDelta) -> dict[str, Any]:
        """A piece of the answer."""
        told: dict[str, Any] = {}
        if delta.text:
            told["content"] = delta.text
        if delta.thought:
            told["reasoning_content"] = delta.thought
        if delta.calls:
            told["tool_calls"] = [_call_piece(call) for call in delta.calls]
        return self._chunk(told, None)

    def last(self, finish_reason: str) -> dict[str, Any]:
        """The chunk that says how it ended."""
        return self._chunk({}, finish_reason)

    def usage(self, tokens: tuple[int, int]) -> dict[str, Any]:
        """The chunk behind all others, where it was asked for."""
        return {**self._frame("chat.completion.chunk"), "choices": [], "usage": _usage(tokens)}

    def whole(
        self, deltas: Sequence[ChatDelta], finish_reason: str, tokens: tuple[int, int]
    ) -> dict[str, Any]:
        """The answer at once."""
        text, thought = _answer(deltas)
        calls = _assembled(deltas)
        message: dict[str, Any] = {
            "role": "assistant",
            "content": None if calls and not text else text,
            "refusal": None,
        }
        if thought:
            message["reasoning_content"] = thought
        if calls:
            message["tool_calls"] = calls
        choice = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": finish_reason,
        }
        return {
            **self._frame("chat.completion"),
            "choices": [choice],
            "usage": _usage(tokens),
        }

    def _frame(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        made = {**self._frame("chat.completion.chunk"), "choices": [choice]}
        return {**made, "usage": None} if self.with_usage else made


def _answer(deltas: Sequence[ChatDelta]) -> tuple[str, str]:
    """The answer and the thoughts before it, each put together."""
    text = thought = ""
    for delta in deltas:
        if delta.retracts:
            text, thought = "", thought + text
        text, thought = text + delta.text, thought + delta.thought
    return text, thought


def _usage(tokens: tuple[int, int]) -> dict[str, int]:
    prompt, completion = tokens
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def _call_piece(call: ToolCallDelta) -> dict[str, Any]:
    told: dict[str, Any] = {"index": call.index, "function": {"arguments": call.arguments}}
    if call.call_id:
        told |= {"id": call.call_id, "type": "function"}
    if call.name:
        told["function"]["name"] = call.name
    return told


def _assembled(deltas: Sequence[ChatDelta]) -> list[dict[str, Any]]:
    """The calls, put together of their pieces, in their order."""
    calls: dict[int, dict[str, Any]] = {}
    for piece in (call for delta in deltas for call in delta.calls):
        empty = {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
        call = calls.setdefault(piece.index, empty)
        call["id"] = call["id"] or piece.call_id
        call["function"]["name"] = call["function"]["name"] or piece.name
        call["function"]["arguments"] += piece.arguments
    return [calls[index] for index in sorted(calls)]
