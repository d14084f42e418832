"""UpstreamChat: a chat model behind ``POST /v1/chat/completions``, streamed.

https://platform.openai.com/docs/api-reference/chat-streaming
"""

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from pipelines.engines.base import (
    AnswerFormat,
    ChatDelta,
    ChatMessage,
    EngineFailed,
    ToolOffer,
)
from pipelines.engines.chat.messages import (
    call_deltas,
    format_body,
    message_bodies,
    paired,
    tools_body,
)
from pipelines.engines.chat.tool_uses import checked_answer

from .client import EventReader, EventTooLong, UpstreamClient, refusal

DONE = "[DONE]"


class UpstreamChat:
    """A ChatModel; ``upstream_model`` is its name there, ``model_id`` its name here."""

    def __init__(self, model_id: str, client: UpstreamClient, upstream_model: str = "") -> None:
        self.model_id = model_id
        self._client = client
        self._model = upstream_model or model_id

    async def stream(
        self,
        messages: Sequence[ChatMessage],
        *,
        max_tokens: int = 256,
        temperature: float = 0.4,
        offer: ToolOffer | None = None,
        answer_format: AnswerFormat | None = None,
    ) -> AsyncGenerator[ChatDelta, None]:
        """Generate an answer; the last delta carries the finish reason and the token counts
        (0 if the upstream sends none). Closing the generator closes the connection."""
        options = {
            "max_tokens": max_tokens,
            "temperature": temperature,
            **format_body(answer_format),
        }

        def ask(
            history: Sequence[ChatMessage], offered: ToolOffer | None
        ) -> AsyncGenerator[ChatDelta, None]:
            body = {"messages": message_bodies(history), **options, **tools_body(offered)}
            return self._ask(body)

        formatted = answer_format is not None
        async with aclosing(checked_answer(ask, messages, offer, formatted=formatted)) as deltas:
            async for delta in deltas:
                yield delta

    async def _ask(self, options: dict[str, Any]) -> AsyncGenerator[ChatDelta, None]:
        request = {
            "model": self._model,
            "stream": True,
            "stream_options": {"include_usage": True},
            **options,
        }
        answer = _Answer(self._client.settings.key, self._model)
        reader = EventReader()
        opened = self._client.open("POST", "/chat/completions", model=self._model, json=request)
        async with opened as response, aclosing(self._client.pieces(response)) as pieces:
            async for piece in pieces:
                for delta in answer.read(_events(reader, piece)):
                    yield delta
                if answer.done:
                    break
        yield answer.end()

    async def prefill(
        self, messages: Sequence[ChatMessage], *, offer: ToolOffer | None = None
    ) -> None:
        """Do nothing: HTTP upstreams cache prompts on their own."""


def _events(reader: EventReader, piece: bytes) -> list[str]:
    try:
        return reader.feed(piece)
    except EventTooLong as error:
        raise EngineFailed(f"the upstream's stream is not usable: {error}") from None


class _Answer:
    """One answer, as far as it has arrived."""

    def __init__(self, key: str, model: str) -> None:
        self.done = False
        self._key = key
        self._model = model
        self._finish: str | None = None
        self._usage: dict[str, Any] = {}
        self._half = ""

    def read(self, events: list[str]) -> list[ChatDelta]:
        """The texts and partial tool uses in ``events``, in order."""
        deltas: list[ChatDelta] = []
        for event in events:
            if event.strip() == DONE:
                self.done = True
                break
            try:
                chunk = json.loads(event)
                self._check(chunk)
                deltas += self._deltas(chunk)
            except (ValueError, AttributeError, TypeError, RecursionError):
                raise EngineFailed("the upstream's stream violates the contract") from None
        return deltas

    def end(self) -> ChatDelta:
        """The last delta. Raises EngineFailed if the answer was cut short."""
        if self._finish is None:
            raise EngineFailed("the upstream's answer ended early")
        details = self._usage.get("prompt_tokens_details") or {}
        return ChatDelta(
            "",
            self._finish,
            int(self._usage.get("prompt_tokens") or 0),
            int(self._usage.get("completion_tokens") or 0),
            cached_tokens=int(details.get("cached_tokens") or 0),
        )

    def _check(self, chunk: dict[str, Any]) -> None:
        if chunk.get("error"):
            code = chunk["error"].get("code") if isinstance(chunk["error"], dict) else None
            status = code if isinstance(code, int) else 500
            raise refusal(status, json.dumps(chunk).encode(), model=self._model, key=self._key)

    def _deltas(self, chunk: dict[str, Any]) -> list[ChatDelta]:
        deltas = []
        for choice in chunk.get("choices") or ():
            delta = choice.get("delta") or {}
            text, calls = self._text(delta.get("content") or ""), call_deltas(delta)
            thought = delta.get("reasoning_content") or delta.get("reasoning") or ""
            if text or calls or thought:
                deltas.append(ChatDelta(text, calls=calls, thought=paired(str(thought))))
            self._finish = choice.get("finish_reason") or self._finish
        self._usage = chunk.get("usage") or self._usage
        return deltas

    def _text(self, content: str) -> str:
        """Text that can be encoded as UTF-8. Some upstreams split an emoji, a surrogate pair in
        JSON, between two deltas: its first half waits for the second."""
        content, self._half = self._half + content, ""
        if content[-1:] and "\ud800" <= content[-1] <= "\udbff":
            content, self._half = content[:-1], content[-1]
        return paired(content)
