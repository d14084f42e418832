"""OpenAI's ``POST /v1/chat/completions``, passed on to the chat model; streamed where requested.

Rules
- An answer goes out in OpenAI's two shapes: whole, and in chunks.
- An answer that was cut short has no counts from its engine: then a delta counts as a token, and
  four characters of the prompt as one.
- What a model thought goes into ``thought``, never into the text.
- The text is cut where a stop sequence begins; what might be the beginning of one is held back
  until it is known, and nothing else is.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from aiohttp import web

from pipelines.engines.base import (
    AnswerFormat,
    ChatDelta,
    ChatMessage,
    ChatModel,
    EngineError,
    ToolCallDelta,
    ToolOffer,
)
from pipelines.engines.catalogue import Catalogue
from pipelines.engines.chat.thoughts import answers
from pipelines.jobs.job import Unit
from pipelines.jobs.usage import AGENT
from rest.http.errors import ApiError, engine_refusal
from rest.http.operation import EVENT_STREAM, AnyOperation, AnyRequest, Operation, Request
from rest.http.waiting import ClientGone, ClientStream, in_time, slot, unless_gone
from rest.jobs.tts import Book
from sessions.host import SessionHost

from .chat_request import (
    DEFAULT_TEMPERATURE,
    ChatCreate,
    format_of,
    history,
    offer_of,
    refuse_unknown,
)
from .models import TAG, ModelNames, json_answer


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
        """The chunk after all others, if it was requested."""
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


# ---------------------------------------------------------------------- the operation


WRITE = "agents:write"
CHAT_SECONDS = 300.0
"""For the whole answer."""
DONE = b"data: [DONE]\n\n"


class CompatChat:
    """One operation."""

    def __init__(
        self,
        engines: Catalogue,
        book: Book,
        host: SessionHost,
        *,
        seconds: float = CHAT_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._names = ModelNames(engines)
        self._book = book
        self._host = host
        self._seconds = seconds
        self._clock = clock

    def operations(self) -> Sequence[AnyOperation]:
        """See Resource."""
        return [
            Operation(
                method="POST",
                path="/v1/chat/completions",
                tag=TAG,
                summary="Create chat completion",
                handler=self._create,
                body=ChatCreate,
                scope=WRITE,
                deadline=None,
            )
        ]

    async def _create(self, request: Request[ChatCreate, None]) -> web.StreamResponse:
        return await unless_gone(request.http, self._answer(request))

    async def _answer(self, request: Request[ChatCreate, None]) -> web.StreamResponse:
        asked = request.body
        refuse_unknown(asked)
        messages, offer, answer_format = history(asked), offer_of(asked), format_of(asked)
        try:
            billed, model = await self._names.chat(asked.model)
        except EngineError as error:
            raise engine_refusal(error) from error
        reply = ChatReply(model, messages, offer, asked, answer_format)
        options = asked.stream_options
        view = ChatView(
            f"chatcmpl-{request.id.removeprefix('req_')}",
            int(self._clock()),
            reply.model_id,
            with_usage=options is not None and options.include_usage,
        )
        with slot(self._host, request.workspace_id):
            try:
                if asked.stream:
                    return await self._stream(request, reply, view)
                return await self._whole(reply, view)
            finally:
                await self._booked(request, billed, reply)

    async def _whole(self, reply: ChatReply, view: ChatView) -> web.Response:
        async with in_time(self._seconds), contextlib.aclosing(_deltas_of(reply)) as deltas:
            made = [delta async for delta in deltas]
        return json_answer(view.whole(made, reply.finish_reason, reply.usage))

    async def _stream(
        self, request: AnyRequest, reply: ChatReply, view: ChatView
    ) -> web.StreamResponse:
        stream = ClientStream(request.http, EVENT_STREAM)
        deltas = _deltas_of(reply)
        try:
            async with in_time(self._seconds), contextlib.aclosing(deltas):
                delta = await anext(deltas, None)  # refused before the stream begins, if at all
                await stream.begin()
                await stream.event(view.head())
                while delta is not None:
                    await stream.event(view.chunk(delta))
                    delta = await anext(deltas, None)
            await stream.event(view.last(reply.finish_reason))
            if view.with_usage:
                await stream.event(view.usage(reply.usage))
            await stream.write(DONE)
            await stream.end()
        except ApiError as error:
            if not stream.begun:
                raise
            await stream.fail(error)
        except ClientGone:
            pass  # nobody is reading
        return stream.response

    async def _booked(self, request: AnyRequest, model: str, reply: ChatReply) -> None:
        if tokens := sum(reply.usage):
            unit = Unit(
                name=f"{request.id}:chat",
                type=AGENT,
                model=model,
                tokens=tokens,
            )
            await asyncio.shield(self._book(request.workspace_id, [unit]))


async def _deltas_of(reply: ChatReply) -> AsyncGenerator[ChatDelta, None]:
    """The reply's deltas; raises ApiError."""
    try:
        async with contextlib.aclosing(reply.deltas()) as deltas:
            async for delta in deltas:
                yield delta
    except EngineError as error:
        raise engine_refusal(error) from error
