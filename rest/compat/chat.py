"""OpenAI's ``POST /v1/chat/completions``, passed on to the chat model; streamed where asked."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Sequence

from aiohttp import web

from pipelines.engines.base import ChatDelta, EngineError
from pipelines.engines.catalogue import Catalogue
from pipelines.jobs.job import Unit
from pipelines.jobs.usage import AGENT
from rest.http.errors import ApiError, engine_refusal
from rest.http.operation import EVENT_STREAM, AnyOperation, AnyRequest, Operation, Request
from rest.http.waiting import ClientGone, ClientStream, Slots, in_time, slot, unless_gone
from rest.jobs.tts import Book

from .chat_reply import ChatReply, ChatView
from .chat_request import ChatCreate, format_of, history, offer_of, refuse_unknown
from .model_names import ModelNames
from .models import TAG, json_answer

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
        slots: Slots,
        *,
        seconds: float = CHAT_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._names = ModelNames(engines)
        self._book = book
        self._slots = slots
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
        with slot(self._slots):
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
