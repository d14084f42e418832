"""One reply being made: chat model → answer → spoken form → clauses → TTS → playout.

Two tasks per reply, joined by a queue of at most four clauses: one reads the chat model, one
speaks. The queue and the playout's buffer hold the chat model back; a speculative reply goes no
further than a few seconds of audio before it is released.

Rules
- Every outcome is an event for the core (``ReplyClause`` … then exactly one of ``ReplyGenerated``
  and ``ReplyFailed``, or neither when cancelled). Cancelling ``run`` stops the engines; the
  generators are closed before it returns.
- Thoughts are no part of a reply; of a spoken one markup is neither (``spoken_form``).
- The first words are spoken before their clause ends, if hearing them covers the time until more
  is spoken (``pace``).
- Text does not wait for the end of its clause for long: the words so far are spoken after about a
  second, or when the audio is about to run dry.
- An answer without a word and without a tool call is requested once more; the second one fails.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from datetime import UTC, datetime

from media.formats import SAMPLE_BYTES
from media.resample import Resampler
from pipelines.engines.base import (
    ChatDelta,
    ChatMessage,
    ChatToolCall,
    EngineError,
    EngineFailed,
    ToolDefinition,
    ToolOffer,
)
from pipelines.engines.catalogue import Catalogue
from pipelines.engines.chat.sums import informed
from pipelines.engines.chat.thoughts import answers
from pipelines.engines.reading.clauses import NEXT_SECONDS, ClauseSplitter, speakable
from sessions.core.commands import StartReply
from sessions.core.config import AUTO, REQUIRED, Tool
from sessions.core.events import (
    ClauseReady,
    Event,
    FirstToken,
    ReplyClause,
    ReplyFailed,
    ReplyGenerated,
    ToolUseRequested,
)
from sessions.core.items import Message

from .pace import Pace
from .playout import Playout
from .spoken_form import SpokenForm

log = logging.getLogger(__name__)

_CLAUSES = 4
_ATTEMPTS = 2
"""Answers that are requested before the reply fails for lack of one."""
_CALLS = 32
_ARGUMENTS = 65_536
"""Characters of one call's arguments."""


class EmptyAnswer(EngineFailed):
    """The chat model had nothing to say, twice."""


class ReplyTask:
    """Generates one reply.

    ``thinkers``: ids of the chat models that begin an answer within a thought; a model that is
    found to do so is added. ``pace``: of the call's replies before."""

    def __init__(
        self,
        order: StartReply,
        engines: Catalogue,
        playout: Playout,
        rate: int,
        dispatch: Callable[[Event], None],
        advance: Callable[[], None],
        thinkers: set[str] | None = None,
        pace: Pace | None = None,
    ) -> None:
        self._order = order
        self._engines = engines
        self._playout = playout
        self._rate = rate
        self._dispatch = dispatch
        self._advance = advance
        self._thinkers = set() if thinkers is None else thinkers
        self._pace = Pace() if pace is None else pace
        self._splitter = ClauseSplitter(order.config.language)
        self._clauses: asyncio.Queue[str | None] = asyncio.Queue(_CLAUSES)
        self._news = asyncio.Event()
        """There is more text, a clause, or a filler."""
        self._filler: str | None = None
        self._form = SpokenForm()
        self._begun = False
        """A clause of the answer has been taken to be spoken."""
        self._said = False
        """The answer has a word."""
        self._usage = (0, 0, 0)
        """Prompt, completion and cached tokens."""
        self._empty = 0
        """Answers without a word that were thrown away."""
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
                await self._answered(self._write_text)
        except* EngineError as group:
            error = _first(group)
            log.warning("a reply failed: %s", type(error).__name__)
            self._playout.complete(reply)
            self._dispatch(ReplyFailed(reply, error.code, str(error), self._empty))
        else:
            self._playout.complete(reply)
            for _, (name, arguments) in sorted(self._calls.items()):
                self._dispatch(ToolUseRequested(reply, name, arguments or "{}"))
            prompt, completion, cached = self._usage
            self._dispatch(
                ReplyGenerated(reply, prompt, completion, self._truncated, self._empty, cached)
            )
        self._advance()

    def speak_filler(self, text: str) -> None:
        """Say ``text`` first, unless the answer has begun meanwhile."""
        self._filler = text
        self._news.set()

    # ------------------------------------------------------------------ writing

    async def _speak_as_written(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._write_to_the_end())
            tasks.create_task(self._speak_clauses())

    async def _write_to_the_end(self) -> None:
        await self._answered(self._write_clauses)
        await self._clauses.put(None)
        self._news.set()

    async def _answered(self, write: Callable[[], Awaitable[None]]) -> None:
        """Have an answer written, once more where it says nothing; raises EmptyAnswer."""
        for _ in range(_ATTEMPTS):
            self._truncated = False
            await write()
            if self._said or self._calls or self._order.script is not None:
                return
            self._empty += 1
        raise EmptyAnswer("The chat model had nothing to say.")

    async def _write_text(self) -> None:
        """A written reply is passed on as it comes, markup and all, from its first sign on."""
        blanks = ""
        async for text in self._texts():
            blanks += text
            if self._said or blanks.strip():
                text = blanks if self._said else blanks.lstrip()
                self._said, blanks = True, ""
                self._dispatch(ReplyClause(self._order.reply, text, 0, self._rate))

    async def _write_clauses(self) -> None:
        self._form = SpokenForm()
        self._pace.begin()
        async for text in self._texts():
            await self._split(self._form.feed(text) if self._order.script is None else text)
        await self._split(self._form.flush())
        rest = self._splitter.flush()
        if self._said or any(map(speakable, rest)):
            for clause in rest:
                await self._hand_over(clause)

    async def _split(self, text: str) -> None:
        now = self._now
        self._pace.wrote(len(text), now)
        for clause in self._splitter.feed(text, now):
            await self._hand_over(clause)
        if self._order.script is None and self._pace.covers(len(self._splitter.phrase())):
            await self._hand_over(self._splitter.take_phrase(now))
        self._news.set()

    async def _hand_over(self, clause: str) -> None:
        self._said = True
        self._dispatch(ClauseReady(self._order.reply))
        await self._clauses.put(clause)
        self._news.set()

    async def _texts(self) -> AsyncIterator[str]:
        """The answer's text, without thoughts."""
        order = self._order
        if order.script is not None:
            yield order.script
            return
        model = await self._engines.chat(order.config.model)
        messages = [chat_message(message) for message in order.history]
        if not (order.tools or order.side):
            messages = informed(messages, datetime.now(UTC).astimezone())
        stream = model.stream(
            messages,
            max_tokens=order.config.max_output_tokens,
            temperature=order.config.temperature,
            offer=offer_of(order.tools, order.config.tool_choice),
        )
        before, begun = self._usage, False
        async with aclosing(answers(stream, thinking=model.model_id in self._thinkers)) as deltas:
            async for delta in deltas:
                if not begun:
                    begun = True
                    self._dispatch(FirstToken(order.reply))
                self._account(delta, before)
                if delta.retracts:
                    self._thinkers.add(model.model_id)
                    self._retract()
                if delta.text:
                    yield delta.text

    def _retract(self) -> None:
        """What has been written so far was a thought: drop what has not been spoken of it."""
        self._form, self._said = SpokenForm(), self._begun
        self._splitter.flush()
        while not self._clauses.empty():
            self._clauses.get_nowait()

    def _account(self, delta: ChatDelta, before: tuple[int, int, int]) -> None:
        if delta.prompt_tokens or delta.completion_tokens:
            prompt, completion, cached = before
            self._usage = (
                prompt + delta.prompt_tokens,
                completion + delta.completion_tokens,
                cached + delta.cached_tokens,
            )
        for part in delta.calls:
            call = self._calls.setdefault(part.index, ["", ""])
            call[0] = call[0] or part.name
            call[1] += part.arguments
            if len(self._calls) > _CALLS or len(call[1]) > _ARGUMENTS:
                raise EngineError("The chat model's tool calls have no end.")
        self._truncated = self._truncated or delta.finish_reason == "length"

    # ------------------------------------------------------------------ speaking

    async def _speak_clauses(self) -> None:
        while (clause := await self._next_clause()) is not None:
            await self._speak(clause)

    async def _next_clause(self) -> str | None:
        """The next clause; the filler, or words whose clause has not ended, where they are due."""
        while self._clauses.empty():
            if self._filler is not None and not self._begun:
                filler, self._filler = self._filler, None
                await self._speak(filler, filler=True)
                continue
            self._news.clear()
            try:
                async with asyncio.timeout_at(self._due()):
                    await self._news.wait()
            except TimeoutError:
                if not self._clauses.empty():
                    continue  # a clause came at that very moment, and goes before what is held
                due, now = self._due(), self._now
                if due is not None and due > now:
                    continue  # what is to be heard stands still
                if words := self._splitter.take(now, self._patience):
                    self._begun = self._said = True
                    self._dispatch(ClauseReady(self._order.reply))
                    return words
        self._begun = True
        return self._clauses.get_nowait()

    def _due(self) -> float | None:
        """When to speak what is held, although its clause has not ended."""
        due = self._splitter.due(self._patience)
        if due is None:
            return None
        unheard = self._playout.unheard_seconds(self._order.reply, self._now)
        return max(due, self._now + unheard - self._pace.lead)

    @property
    def _patience(self) -> float:
        """Seconds that later words wait for the end of their clause, if nothing else is heard."""
        return 0.0 if self._pace.keeps_up else NEXT_SECONDS

    @property
    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    async def _speak(self, clause: str, *, filler: bool = False) -> None:
        order, config = self._order, self._order.config
        speech = speakable(clause)
        if not speech:
            self._put(clause, b"")
            return
        speaker = self._engines.speaker(config.speech_model, config.language, config.voice)
        resampler = Resampler(speaker.sample_rate, self._rate)
        audio = speaker.speak(
            speech, voice=config.voice, speed=config.speed, language=config.language
        )
        text = clause
        began, wait, samples = self._now, None, 0
        async with aclosing(audio):
            async for pcm in audio:
                wait = self._now - began if wait is None else wait
                samples += len(pcm) // SAMPLE_BYTES
                await self._playout.room(order.reply)
                self._put(text, resampler.push(pcm), filler=filler)
                text = ""
        self._put(text, resampler.flush(), filler=filler)
        if wait is not None:
            self._pace.spoke(len(speech), samples / speaker.sample_rate, wait)

    def _put(self, text: str, pcm: bytes, *, filler: bool = False) -> None:
        if not text and not pcm:
            return
        order = self._order
        self._playout.append(order.reply, pcm)
        samples = len(pcm) // SAMPLE_BYTES
        self._dispatch(ReplyClause(order.reply, text, samples, self._rate, filler))
        self._advance()


def chat_message(message: Message) -> ChatMessage:
    """A line of the history, as the engines take it."""
    calls = tuple(ChatToolCall(u.tool_use_id, u.name, u.arguments) for u in message.tool_uses)
    return ChatMessage(message.role, message.content, calls, message.tool_use_id)


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
