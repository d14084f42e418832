"""ChatReply: one answer of a chat model on its way, and what it took.

An answer that was cut short has no counts of its engine: then a delta counts as a token, and four
characters of the prompt as one. What a model thought goes into ``thought``, never into the text.
"""

import contextlib
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace

from pipelines.engines.base import AnswerFormat, ChatDelta, ChatMessage, ChatModel, ToolOffer
from pipelines.engines.chat.thoughts import answers

from .chat_request import DEFAULT_TEMPERATURE, ChatCreate
from .stop_sequences import StopSequences

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
        """Texts and calls, none of them empty; raises EngineError."""
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
        """Tokens of the prompt and of the answer; none before anything was answered."""
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
