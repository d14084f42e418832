"""A chat model's answer on its way, and OpenAI's two shapes of it: whole, and in chunks.

An answer that was cut short has no counts from its engine: then a delta counts as a token, and four
characters of the prompt as one. What a model thought goes into ``thought``, never into the text.
The text is cut where a stop sequence begins; what might be the beginning of one is held back until
it is known, and nothing else is.
"""

import contextlib
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipelines.engines.base import (
    AnswerFormat,
    ChatDelta,
    ChatMessage,
    ChatModel,
    ToolCallDelta,
    ToolOffer,
)
from pipelines.engines.chat.thoughts import answers

from .chat_request import DEFAULT_TEMPERATURE, ChatCreate


class StopSequences:
    """For one answer."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.found = False
        """Whether a stop sequence has ended the answer."""

    def push(self, text: str) -> str:
        """What may be shown now."""
        if self.found:
            return ""
        text = self._held + text
        places = [place for stop in self._stops if (place := text.find(stop)) >= 0]
        if places:
            self.found = True
            self._held = ""
            return text[: min(places)]
        keep = max((_beginning(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def finish(self) -> str:
        """What was held back and turned out not to be a stop sequence."""
        held, self._held = self._held, ""
        return held


def _beginning(text: str, stop: str) -> int:
    """How many characters at the end of ``text`` could begin ``stop``."""
    longest = min(len(stop) - 1, len(text))
    return next((size for size in range(longest, 0, -1) if text.endswith(stop[:size])), 0)


TOKEN_CHARACTERS = 4
STOP, TOOL_CALLS = "stop", "tool_calls"


class ChatReply:
    """Use once."""

    def __init__(
        self,
        model: ChatModel,
        messages: Sequence[ChatMessage],
        offer: ToolOffer | None,
        asked: ChatCreate,
        answer_format: AnswerFormat | None = None,
    ) -> None:
        self.model_id = model.model_id
        self.finish_reason = STOP
        self._model = model
        self._messages = messages
        self._offer = offer
        self._asked = asked
        self._format = answer_format
        self._deltas = 0
        self._counted: tuple[int, int] | None = None

    async def deltas(self) -> AsyncGenerator[ChatDelta, None]:
        """Texts and tool uses, none of them empty; raises EngineError."""
        stops = StopSequences(self._asked.stops)
        temperature = self._asked.temperature
        stream = answers(
            self._model.stream(
                self._messages,
                max_tokens=self._asked.limit,
                temperature=DEFAULT_TEMPERATURE if temperature is None else temperature,
                offer=self._offer,
                answer_format=self._format,
            )
        )
        async with contextlib.aclosing(stream):
            async for delta in stream:
                self._note(delta)
                shown = replace(delta, text=stops.push(delta.text))
                if shown.text or shown.calls or shown.thought or shown.retracts:
                    yield shown
                if stops.found:
                    self.finish_reason = STOP
                    return
        if rest := stops.finish():
            yield ChatDelta(rest)

    @property
    def usage(self) -> tuple[int, int]:
        """Tokens of the prompt and of the answer; 0 before anything was answered."""
        if self._counted is not None or not self._deltas:
            return self._counted or (0, 0)
        characters = sum(len(message.content) for message in self._messages)
        return -(-characters // TOKEN_CHARACTERS), self._deltas

    def _note(self, delta: ChatDelta) -> None:
        self._deltas += bool(delta.text or delta.calls or delta.thought)
        if delta.finish_reason is not None:
            self.finish_reason = delta.finish_reason
        elif delta.calls:
            self.finish_reason = TOOL_CALLS
        if delta.prompt_tokens or delta.completion_tokens:
            self._counted = delta.prompt_tokens, delta.completion_tokens


@dataclass(frozen=True, slots=True)
class ChatView:
    """One completion; ``created`` in Unix seconds; ``with_usage``: a stream reports its usage."""

    id: str
    created: int
    model: str
    with_usage: bool = False

    def head(self) -> dict[str, Any]:
        """The first chunk: whose answer it is."""
        return self._chunk({"role": "assistant", "content": ""}, None)

    def chunk(self, delta: ChatDelta) -> dict[str, Any]:
        """A part of the answer."""
        shown: dict[str, Any] = {}
        if delta.text:
            shown["content"] = delta.text
        if delta.thought:
            shown["reasoning_content"] = delta.thought
        if delta.calls:
            shown["tool_calls"] = [_call_piece(call) for call in delta.calls]
        return self._chunk(shown, None)

    def last(self, finish_reason: str) -> dict[str, Any]:
        """The chunk that says how it ended."""
        return self._chunk({}, finish_reason)

    def usage(self, tokens: tuple[int, int]) -> dict[str, Any]:
        """The chunk after all others, where it was asked for."""
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
    """The whole answer and the whole thought before it."""
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
    shown: dict[str, Any] = {"index": call.index, "function": {"arguments": call.arguments}}
    if call.call_id:
        shown |= {"id": call.call_id, "type": "function"}
    if call.name:
        shown["function"]["name"] = call.name
    return shown


def _assembled(deltas: Sequence[ChatDelta]) -> list[dict[str, Any]]:
    """The tool uses, assembled from their parts, in order."""
    calls: dict[int, dict[str, Any]] = {}
    for piece in (call for delta in deltas for call in delta.calls):
        empty = {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
        call = calls.setdefault(piece.index, empty)
        call["id"] = call["id"] or piece.call_id
        call["function"]["name"] = call["function"]["name"] or piece.name
        call["function"]["arguments"] += piece.arguments
    return [calls[index] for index in sorted(calls)]
