"""LazyChat: a chat model that is loaded by its first question."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing

from pipelines.engines.base import AnswerFormat, ChatDelta, ChatMessage, ChatModel, ToolOffer


class LazyChat:
    """A ChatModel in front of one that ``fetch`` loads, once for all who ask."""

    def __init__(self, model_id: str, fetch: Callable[[], Awaitable[ChatModel]]) -> None:
        self.model_id = model_id
        self._fetch = fetch

    async def stream(
        self,
        messages: Sequence[ChatMessage],
        *,
        max_tokens: int = 256,
        temperature: float = 0.4,
        offer: ToolOffer | None = None,
        answer_format: AnswerFormat | None = None,
    ) -> AsyncGenerator[ChatDelta, None]:
        """As the model's own; raises ModelUnavailable too, where it cannot be loaded."""
        model = await self._fetch()
        answer = model.stream(
            messages,
            max_tokens=max_tokens,
            temperature=temperature,
            offer=offer,
            answer_format=answer_format,
        )
        async with aclosing(answer):
            async for delta in answer:
                yield delta

    async def prefill(
        self, messages: Sequence[ChatMessage], *, offer: ToolOffer | None = None
    ) -> None:
        """As the model's own."""
        await (await self._fetch()).prefill(messages, offer=offer)
