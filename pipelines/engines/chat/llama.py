"""LlamaChat: a chat model inside this process, on llama.cpp.

Rules
- At most ``slots`` answers are generated at once and ``queue_limit`` wait; then EngineBusy.
- An answer that is closed frees its thread at the next token, or at the next batch while its
  prompt is still being evaluated. The next answer waits for that (it often belongs to the same
  conversation, whose prompt is in that slot).
- A prefill runs only while no answer is being generated, one at a time. An answer stops it within
  a batch; what was evaluated by then stays useful. A prefill is a hint: if it cannot start within
  PREFILL_PATIENCE seconds, or too many are waiting, it does nothing.
- A history longer than the context loses its oldest messages, never the system messages.
"""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from threading import Event
from typing import TYPE_CHECKING, Any

from pipelines.engines.base import (
    AnswerFormat,
    ChatDelta,
    ChatMessage,
    EngineError,
    EngineFailed,
    EngineTimeout,
    ToolOffer,
)
from pipelines.engines.engine import Engine, EngineSettings, Role
from pipelines.engines.executor import EngineExecutor
from pipelines.weights.manifest import MODELS

from .choice import CHAT_MODELS, LARGER
from .llama_server import (
    ChunkReader,
    ContextExceeded,
    LlamaSettings,
    open_server,
    request_of,
    shortened,
)
from .tool_uses import checked_answer

if TYPE_CHECKING:
    import xllamacpp

log = logging.getLogger(__name__)

LOAD_DEADLINE = 180.0
PREFILL_PATIENCE = 10.0
PREFILL_LIMIT = 8
"""Prefills that may wait; one more is dropped."""
WAY_PATIENCE = 2.0
"""Seconds an answer waits for stopped work to leave the engine."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """How to answer, apart from the messages."""

    max_tokens: int
    temperature: float
    offer: ToolOffer | None
    answer_format: AnswerFormat | None
    steps: bool


class _Run:
    """One request in a thread: how to stop it, and whether it has ended."""

    __slots__ = ("_loop", "begun", "ended", "hint", "stop")

    def __init__(self, *, hint: bool) -> None:
        self._loop = asyncio.get_running_loop()
        self.hint = hint
        self.begun = False
        self.stop = Event()
        self.ended: asyncio.Future[None] = self._loop.create_future()

    def end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)

    def end_from_thread(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self.end)
        except RuntimeError:
            log.debug("an answer outlived its event loop")


class LlamaChat:
    """A ChatModel on an in-process llama.cpp server; see ``load``."""

    def __init__(self, model_id: str, server: "xllamacpp.Server", settings: LlamaSettings) -> None:
        self.model_id = model_id
        self._server: xllamacpp.Server | None = server
        self._settings = settings
        self._executor = EngineExecutor(
            model_id, settings.slots, settings.queue_limit, role=Role.CHAT
        )
        self._runs: set[_Run] = set()
        self._answers = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._prefills = 0
        self._prefill_turn = asyncio.Lock()

    @classmethod
    async def load(cls, model_id: str, settings: LlamaSettings) -> "LlamaChat":
        """Load the weights and answer once. Raises EngineFailed, EngineTimeout."""
        loader = EngineExecutor(f"{model_id} loader", 1, 0)
        try:
            server = await loader.run(open_server, settings, deadline=LOAD_DEADLINE)
        finally:
            await loader.close()
        chat = cls(model_id, server, settings)
        await chat.warm()
        return chat

    async def warm(self) -> None:
        """Answer once, so that the first call's answer is as fast as the tenth's."""
        async with aclosing(self.stream((ChatMessage("user", "Hello"),), max_tokens=4)) as answer:
            async for _ in answer:
                pass

    async def stream(
        self,
        messages: Sequence[ChatMessage],
        *,
        max_tokens: int = 256,
        temperature: float = 0.4,
        offer: ToolOffer | None = None,
        answer_format: AnswerFormat | None = None,
    ) -> AsyncGenerator[ChatDelta, None]:
        """Generate an answer; the last delta carries the finish reason and token counts.

        Raises EngineBusy, EngineTimeout (no first token, or none for too long), EngineFailed."""
        wanted = _Wanted(max_tokens, temperature, offer, answer_format, self._settings.steps)

        def ask(
            history: Sequence[ChatMessage], offered: ToolOffer | None
        ) -> AsyncGenerator[ChatDelta, None]:
            return self._ask(history, replace(wanted, offer=offered))

        formatted = answer_format is not None
        written = ""
        async with aclosing(checked_answer(ask, messages, offer, formatted=formatted)) as deltas:
            async for delta in deltas:
                if formatted:
                    written += delta.text
                    if delta.finish_reason == "stop" and not _is_json(written):
                        raise EngineFailed(f"{self.model_id}: the answer is not in its format")
                yield delta

    async def _ask(
        self, messages: Sequence[ChatMessage], wanted: "_Wanted"
    ) -> AsyncGenerator[ChatDelta, None]:
        self._answers += 1
        self._idle.clear()
        run = _Run(hint=False)
        try:
            await self._make_way()
            async with aclosing(self._generate(run, messages, wanted)) as deltas:
                async for delta in deltas:
                    yield delta
        finally:
            self._answers -= 1
            if not self._answers:
                self._idle.set()

    async def prefill(
        self, messages: Sequence[ChatMessage], *, offer: ToolOffer | None = None
    ) -> None:
        """Evaluate ``messages`` into the prompt cache while the engine is idle. Never raises
        an EngineError: the later answer would meet it itself."""
        if self._prefills >= PREFILL_LIMIT:
            return
        self._prefills += 1
        try:
            async with asyncio.timeout(PREFILL_PATIENCE) as patience, self._prefill_turn:
                await self._idle.wait()
                patience.reschedule(None)
                run = _Run(hint=True)
                wanted = _Wanted(1, 0.0, offer, None, self._settings.steps)
                async with aclosing(self._generate(run, messages, wanted)) as deltas:
                    async for _ in deltas:
                        pass
        except TimeoutError:
            log.debug("%s: no time for a prefill", self.model_id)
        except EngineError as error:
            log.warning("%s: prefill: %s", self.model_id, error)
        finally:
            self._prefills -= 1

    async def idle(self) -> None:
        """Wait until no answer is being generated."""
        await self._idle.wait()

    async def close(self) -> None:
        """Stop every answer and free the model."""
        for run in self._runs:
            run.stop.set()
        await self._executor.close()
        last = [self._server]
        self._server = None
        await asyncio.to_thread(last.clear)  # the vendor's destructor joins its threads

    async def _make_way(self) -> None:
        """Stop prefills, and wait until everything stopped has left the engine."""
        leaving = []
        for run in self._runs:
            if run.hint:
                run.stop.set()
            if run.stop.is_set():
                leaving.append(run.ended)
        if leaving:
            await asyncio.wait(leaving, timeout=WAY_PATIENCE)

    async def _generate(
        self,
        run: _Run,
        messages: Sequence[ChatMessage],
        wanted: "_Wanted",
    ) -> AsyncGenerator[ChatDelta, None]:
        server = self._server
        if server is None:
            raise EngineFailed(f"{self.model_id}: the engine is shut down")
        produce = _producer(server, run, messages, wanted)
        deltas = self._executor.stream(produce, deadline=self._settings.first_token)
        self._runs.add(run)
        run.ended.add_done_callback(lambda _: self._runs.discard(run))
        try:
            async with aclosing(deltas):
                wait: float | None = None  # the first one has the executor's deadline
                while (delta := await self._next(deltas, wait)) is not None:
                    wait = self._settings.next_token
                    yield delta
        except EngineTimeout:
            self._runs.discard(run)  # stuck: nothing waits for it
            raise
        finally:
            run.stop.set()
            if not run.begun:
                run.end()

    async def _next(
        self, deltas: AsyncGenerator[ChatDelta, None], wait: float | None
    ) -> ChatDelta | None:
        try:
            async with asyncio.timeout(wait):
                return await anext(deltas, None)
        except TimeoutError:
            raise EngineTimeout(f"{self.model_id}: no further token within {wait:g} s") from None


def _is_json(text: str) -> bool:
    """Whether the grammar held: llama.cpp silently ignores one that it cannot compile."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _producer(
    server: "xllamacpp.Server",
    run: _Run,
    messages: Sequence[ChatMessage],
    wanted: "_Wanted",
) -> Callable[[Callable[[ChatDelta], bool]], None]:
    """The blocking part of one answer, for a thread."""

    def produce(emit: Callable[[ChatDelta], bool]) -> None:
        run.begun = True
        try:
            blocks = 0
            history: Sequence[ChatMessage] | None = messages
            while history is not None:
                try:
                    return _answer(server, run, history, wanted, emit)
                except ContextExceeded:
                    blocks += 1
                    history = shortened(messages, blocks)
            raise EngineFailed("the instructions are longer than the chat model's context")
        finally:
            run.end_from_thread()

    return produce


def _answer(
    server: "xllamacpp.Server",
    run: _Run,
    messages: Sequence[ChatMessage],
    wanted: "_Wanted",
    emit: Callable[[ChatDelta], bool],
) -> None:
    """One request to the server. The vendor swallows exceptions from the callback, so they are kept
    and raised here."""
    reader = ChunkReader()
    raised: list[Exception] = []

    def on_chunk(chunk: dict[str, Any]) -> bool:
        if run.stop.is_set():
            return True
        try:
            delta = reader.read(chunk)
        except (ContextExceeded, EngineFailed) as error:
            raised.append(error)
            return True
        return delta is not None and not emit(delta)

    if run.stop.is_set():
        return
    body = request_of(
        messages,
        max_tokens=wanted.max_tokens,
        temperature=wanted.temperature,
        offer=wanted.offer,
        answer_format=wanted.answer_format,
        steps=wanted.steps,
    )
    server.handle_chat_completions(body, on_chunk)
    if raised:
        raise raised[0]
    if not reader.finished and not run.stop.is_set():
        raise EngineFailed("the chat model ended its answer without a reason")


STEPPING = (LARGER,)
"""Chat models that use tools step by step (see ``llama_prompt``)."""


def llama(settings: EngineSettings, model_id: str) -> LlamaSettings:
    """How an embedded chat model is run."""
    (file,) = MODELS[model_id].files
    return LlamaSettings(
        settings.models_dir / model_id / file.path,
        threads=settings.threads,
        slots=settings.chat_slots,
        queue_limit=max(4, settings.calls),
        steps=model_id in STEPPING,
    )


def _engine(model_id: str) -> Engine:
    async def load(settings: EngineSettings) -> LlamaChat:
        return await LlamaChat.load(model_id, llama(settings, model_id))

    return Engine(role=Role.CHAT, id=model_id, weights=(MODELS[model_id],), languages=(), load=load)


ENGINES = tuple(_engine(model_id) for model_id in CHAT_MODELS)
"""One of them is loaded: see ``choice``."""
