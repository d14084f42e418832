"""One reply being made: chat model → clauses → TTS → playout.

Two tasks per reply, joined by a queue of at most four clauses: one reads the chat model, one
speaks. The queue and the playout's buffer hold the chat model back; a speculative reply goes no
further than a few seconds of audio before it is released.

Rules: every outcome is an event for the core (``ReplyPiece`` … then exactly one of
``ReplyGenerated`` and ``ReplyFailed``, or neither when cancelled). Cancelling ``run`` stops the
engines; the generators are closed before it returns.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing

from media.formats import SAMPLE_BYTES
from media.resample import Resampler
from pipelines.engines.base import (
    ChatDelta,
    ChatMessage,
    ChatToolCall,
    EngineError,
    ToolDefinition,
    ToolOffer,
)

from .clauses import ClauseSplitter, speakable
from .core.commands import StartReply
from .core.events import (
    ClauseReady,
    Event,
    ReplyFailed,
    ReplyGenerated,
    ReplyPiece,
    ToolCalled,
)
from .core.items import Message
from .core.tools import AUTO, REQUIRED, Tool
from .engines import LiveEngines
from .playout import Playout

log = logging.getLogger(__name__)

_CLAUSES = 4
_CALLS = 32
_ARGUMENTS = 65_536
"""Characters of one call's arguments."""


class ReplyTask:
    """Generates one reply."""

    def __init__(
        self,
        order: StartReply,
        engines: LiveEngines,
        playout: Playout,
        rate: int,
        dispatch: Callable[[Event], None],
        advance: Callable[[], None],
    ) -> None:
        self._order = order
        self._engines = engines
        self._playout = playout
        self._rate = rate
        self._dispatch = dispatch
        self._advance = advance
        self._clauses: asyncio.Queue[str | None] = asyncio.Queue(_CLAUSES)
        self._usage = (0, 0)
        self._truncated = False
        self._calls: dict[int, list[str]] = {}
        """Name and arguments of each call, as far as they have come."""

    async def run(self) -> None:
        """Make the reply; returns when all of it has been handed to the playout."""
        reply = self._order.reply
        try:
            if self._order.config.output_audio:
                await self._speak_as_written()
            else:
                await self._write_text()
        except* EngineError as group:
            error = _first(group)
            log.warning("a reply failed: %s", type(error).__name__)
            self._playout.complete(reply)
            self._dispatch(ReplyFailed(reply, error.code, str(error)))
        else:
            self._playout.complete(reply)
            for _, (name, arguments) in sorted(self._calls.items()):
                self._dispatch(ToolCalled(reply, name, arguments or "{}"))
            self._dispatch(ReplyGenerated(reply, *self._usage, truncated=self._truncated))
        self._advance()

    async def _speak_as_written(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._write_clauses())
            tasks.create_task(self._speak_clauses())

    async def _write_text(self) -> None:
        async for text in self._texts():
            self._dispatch(ReplyPiece(self._order.reply, text, 0, self._rate))

    async def _write_clauses(self) -> None:
        splitter = ClauseSplitter()
        async for text in self._texts():
            for clause in splitter.feed(text):
                await self._hand_over(clause)
        for clause in splitter.flush():
            await self._hand_over(clause)
        await self._clauses.put(None)

    async def _hand_over(self, clause: str) -> None:
        self._dispatch(ClauseReady(self._order.reply))
        await self._clauses.put(clause)

    async def _texts(self) -> AsyncIterator[str]:
        order = self._order
        if order.script is not None:
            yield order.script
            return
        model = self._engines.chat(order.config.model)
        messages = [chat_message(message) for message in order.history]
        stream = model.stream(
            messages,
            max_tokens=order.config.max_output_tokens,
            temperature=order.config.temperature,
            offer=offer_of(order.tools, order.config.tool_choice),
        )
        async with aclosing(stream):
            async for delta in stream:
                self._account(delta)
                if delta.text:
                    yield delta.text

    def _account(self, delta: ChatDelta) -> None:
        if delta.prompt_tokens or delta.completion_tokens:
            self._usage = (delta.prompt_tokens, delta.completion_tokens)
        for piece in delta.calls:
            call = self._calls.setdefault(piece.index, ["", ""])
            call[0] = call[0] or piece.name
            call[1] += piece.arguments
            if len(self._calls) > _CALLS or len(call[1]) > _ARGUMENTS:
                raise EngineError("The chat model's tool calls have no end.")
        self._truncated = self._truncated or delta.finish_reason == "length"

    async def _speak_clauses(self) -> None:
        while (clause := await self._clauses.get()) is not None:
            await self._speak(clause)

    async def _speak(self, clause: str) -> None:
        order, config = self._order, self._order.config
        speech = speakable(clause)
        if not speech:
            self._put(clause, b"")
            return
        speaker = self._engines.speaker(config.speech_model, config.language)
        resampler = Resampler(speaker.sample_rate, self._rate)
        audio = speaker.speak(
            speech, voice=config.voice, speed=config.speed, language=config.language
        )
        text = clause
        async with aclosing(audio):
            async for pcm in audio:
                await self._playout.room(order.reply)
                self._put(text, resampler.push(pcm))
                text = ""
        self._put(text, resampler.flush())

    def _put(self, text: str, pcm: bytes) -> None:
        if not text and not pcm:
            return
        order = self._order
        self._playout.append(order.reply, pcm)
        self._dispatch(ReplyPiece(order.reply, text, len(pcm) // SAMPLE_BYTES, self._rate))
        self._advance()


def chat_message(message: Message) -> ChatMessage:
    """A line of the history, as the engines take it."""
    calls = tuple(ChatToolCall(c.call_id, c.name, c.arguments) for c in message.calls)
    return ChatMessage(message.role, message.content, calls, message.call_id)


def offer_of(tools: Sequence[Tool], choice: str) -> ToolOffer | None:
    """The tools as the engines take them; None where there are none."""
    if not tools:
        return None
    known = {tool.name for tool in tools}
    chosen = choice if choice in known | {AUTO, REQUIRED} else AUTO
    offered = (ToolDefinition(t.name, t.description, t.parameters) for t in tools)
    return ToolOffer(tuple(offered), chosen)


def _first(group: BaseExceptionGroup[EngineError]) -> EngineError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if not isinstance(error, EngineError):
        raise TypeError(f"{type(error).__name__} is no EngineError") from error
    return error
