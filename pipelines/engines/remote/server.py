"""EngineServer: lets the gateway processes of this machine use the engines of this one.

It listens on a Unix socket, one WebSocket for each gateway process (``messages``).

Rules
- Every request is a task of its connection, and ends with it: a gateway process that dies stops
  all that was done for it. At most ``MOST_REQUESTS`` are under way for one; a further one is
  refused with EngineBusy.
- Each call of each gateway process waits in a line of its own (``fair_queue.FLOW``).
- A stream goes no further than its receiver has granted.
- The engines' own bounds, deadlines and errors hold as they do in one process.
- A gateway process that does not read holds up nobody else.
"""

import asyncio
import logging
import socket
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec
from aiohttp import WSMsgType, web

from pipelines.engines.base import (
    EngineBusy,
    EngineError,
    EngineFailed,
    EngineTimeout,
    TranscriptionStream,
)
from pipelines.engines.engine import Role
from pipelines.engines.fair_queue import FLOW
from pipelines.engines.source import EngineSource

from .messages import (
    MOST_BYTES,
    WINDOW,
    Accept,
    Audio,
    Calls,
    Cancel,
    Chat,
    Detect,
    Failed,
    Finish,
    Grant,
    Item,
    Load,
    Loads,
    Message,
    OpenUtterance,
    Prefill,
    Request,
    Result,
    Score,
    Speak,
    State,
    ToEngines,
    Traits,
    Transcribe,
    TranscribeFile,
    Translate,
    encode,
    packed,
    read_request,
)

log = logging.getLogger(__name__)

PATH, HEALTH = "/engines", "/healthz"
PERIOD = 0.1
"""Seconds between two looks at what the gateway processes are kept informed of."""
MOST_REQUESTS = 1024
_SHUTDOWN_SECONDS = 2.0


class EngineServer:
    """Serves the engines of ``source``. ``start`` once, ``close`` once."""

    def __init__(self, source: EngineSource) -> None:
        self.source = source
        self._clients: set[_Client] = set()
        self._numbers = 0
        self._empty = asyncio.Event()
        self._empty.set()
        self._complete = False
        self._news: tuple[State, Loads] = self._state(), Loads(source.hearing_loads())
        self._changed = asyncio.Event()
        """Set, and replaced, with the news."""
        self._runner: web.AppRunner | None = None
        self._listening: asyncio.Server | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, listening: socket.socket) -> None:
        """Take connections of a bound Unix socket."""
        app = web.Application()
        app.router.add_get(PATH, self._connected)
        app.router.add_get(HEALTH, self._alive)
        self._runner = web.AppRunner(
            app, access_log=None, handle_signals=False, shutdown_timeout=_SHUTDOWN_SECONDS
        )
        await self._runner.setup()
        if self._runner.server is None:
            raise RuntimeError("the application did not start")
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_unix_server(self._runner.server, sock=listening)
        self._tasks = [
            asyncio.create_task(self._look(), name="engine states"),
            asyncio.create_task(self._note_completion(), name="engines complete"),
        ]

    async def close(self) -> None:
        """End every connection and what is done for it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._listening is not None:
            self._listening.close()
        await asyncio.gather(*(client.close() for client in self._clients))
        if self._runner is not None:
            await self._runner.cleanup()

    async def quiet(self) -> None:
        """Wait until no gateway process carries a call."""
        await self._empty.wait()

    def count_calls(self) -> None:
        """A gateway process carries more or fewer calls."""
        if sum(client.calls for client in self._clients):
            self._empty.clear()
        else:
            self._empty.set()

    async def engine(self, role: Role, model_id: str, patience: float) -> Any:
        """An engine; one that is being loaded is waited for, ``patience`` seconds at most.

        Raises ModelUnavailable, EngineTimeout."""
        loaded = self.source.loader.loaded.get((role, model_id))
        if loaded is not None:
            return loaded
        try:
            async with asyncio.timeout(patience):
                return await self.source.loader.fetch((role, model_id))
        except TimeoutError:
            raise EngineTimeout(f"{model_id} was not loaded within {patience:g} s") from None

    # ------------------------------------------------------------------ within

    async def _connected(self, request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(max_msg_size=MOST_BYTES, compress=False)
        await ws.prepare(request)
        self._numbers += 1
        client = _Client(self, ws, self._numbers)
        self._clients.add(client)
        informing = asyncio.create_task(self._inform(client), name="engine states")
        try:
            await client.run()
        finally:
            informing.cancel()
            await asyncio.gather(informing, return_exceptions=True)
            self._clients.discard(client)
            self.count_calls()
        return ws

    async def _alive(self, _request: web.Request) -> web.Response:
        return web.Response()

    async def _look(self) -> None:
        """Keep what the gateway processes are informed of up to date."""
        while True:
            now = self._state(), Loads(self.source.hearing_loads())
            if now != self._news:
                self._news = now
                self._changed.set()
                self._changed = asyncio.Event()
            await asyncio.sleep(PERIOD)

    async def _inform(self, client: "_Client") -> None:
        """Send a gateway process every change, as fast as it reads."""
        sent: list[Message | None] = [None, None]
        while True:
            changed, news = self._changed, self._news
            for place, message in enumerate(news):
                if message != sent[place]:
                    await client.send(message)
                    sent[place] = message
            if news is self._news:
                await changed.wait()

    async def _note_completion(self) -> None:
        await self.source.complete()
        self._complete = True

    def _state(self) -> State:
        loader = self.source.loader
        statuses = [loader.status(key) for key in loader.engines]
        return State(
            statuses=tuple(status for status in statuses if status is not None),
            loaded=tuple(traits_of(*key, engine) for key, engine in loader.loaded.items()),
            waiting=self.source.waiting,
            choice=self.source.choice,
            complete=self._complete,
            calls=sum(client.calls for client in self._clients),
        )


def traits_of(role: Role, model_id: str, engine: Any) -> Traits:
    """What the proxies of an engine repeat."""
    return Traits(
        role,
        model_id,
        languages=tuple(getattr(engine, "languages", ())),
        sample_rate=getattr(engine, "sample_rate", 0),
        voices=tuple(getattr(engine, "voices", ())),
        translates=getattr(engine, "translates", False),
        draft=getattr(engine, "draft", False),
    )


class _Client:
    """One gateway process."""

    def __init__(self, server: EngineServer, ws: web.WebSocketResponse, number: int) -> None:
        self.calls = 0
        self._server = server
        self._ws = ws
        self._number = number
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._granted: dict[int, asyncio.Semaphore] = {}
        """Items that a streaming request may still send."""
        self._utterances: dict[int, TranscriptionStream] = {}
        self._recordings: dict[int, asyncio.Queue[bytes]] = {}

    async def run(self) -> None:
        """Serve until the connection ends."""
        try:
            async for message in self._ws:
                if message.type is WSMsgType.BINARY:
                    self._receive(read_request(message.data))
        except (msgspec.MsgspecError, asyncio.QueueFull) as error:
            log.error("a gateway process broke the protocol: %s", error)
        finally:
            tasks = list(self._tasks.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for utterance in self._utterances.values():
                utterance.close()
            self._utterances.clear()

    async def close(self) -> None:
        """End the connection."""
        await self._ws.close()

    async def send(self, message: Message) -> None:
        """Send, waiting while the other side does not read; nothing where it has gone."""
        try:
            await self._ws.send_bytes(encode(message))
        except ConnectionError:
            log.debug("gateway process %d has gone", self._number)

    # ------------------------------------------------------------------ within

    def _receive(self, message: ToEngines) -> None:
        match message:
            case Cancel():
                self._cancel(message.id)
            case Grant():
                if (granted := self._granted.get(message.id)) is not None:
                    for _ in range(message.items):
                        granted.release()
            case Audio():
                if (recording := self._recordings.get(message.id)) is not None:
                    recording.put_nowait(message.pcm)
            case Calls():
                self.calls = message.active
                self._server.count_calls()
            case _:
                self._begin(message)

    def _begin(self, request: Request) -> None:
        if isinstance(request, TranscribeFile):
            self._recordings[request.id] = asyncio.Queue(WINDOW + 1)
        task = asyncio.create_task(self._serve(request))
        self._tasks[request.id] = task
        task.add_done_callback(lambda _: self._forget(request.id))

    def _forget(self, number: int) -> None:
        del self._tasks[number]
        self._granted.pop(number, None)
        self._recordings.pop(number, None)

    def _cancel(self, number: int) -> None:
        if (task := self._tasks.get(number)) is not None:
            task.cancel()
        if (utterance := self._utterances.pop(number, None)) is not None:
            utterance.close()

    async def _serve(self, request: Request) -> None:
        FLOW.set(f"{self._number}/{request.flow}")
        try:
            if len(self._tasks) > MOST_REQUESTS:
                raise EngineBusy(f"{len(self._tasks)} requests are under way; try later")
            answer: Message = Result(request.id, packed(await self._answer(request)))
        except EngineError as error:
            answer = Failed.of(request.id, error)
        except Exception as error:  # the edge to code that may be a third party's
            log.exception("an engine failed")
            failed = EngineFailed(f"the engine failed ({type(error).__name__})")
            answer = Failed.of(request.id, failed)
        await self.send(answer)

    async def _answer(self, request: Request) -> Any:
        """What the engine says to a request; raises EngineError."""
        server, patience = self._server, request.patience
        match request:
            case Load():
                engine = await server.engine(request.role, request.model_id, patience)
                return traits_of(request.role, request.model_id, engine)
            case OpenUtterance() | Accept() | Finish():
                return await self._hear(request)
            case Transcribe():
                engine = await server.engine(Role.TRANSCRIPTION, request.model_id, patience)
                return await engine.transcribe(request.pcm, request.language)
            case Detect():
                engine = await server.engine(Role.LANGUAGE, request.model_id, patience)
                return await engine.detect(request.pcm, request.languages)
            case Score():
                engine = await server.engine(Role.TURN, request.model_id, patience)
                return await engine.score(request.pcm)
            case Chat() | Speak() | TranscribeFile():
                return await self._stream(request)
            case Prefill():
                engine = await server.engine(Role.CHAT, request.model_id, patience)
                return await engine.prefill(request.messages, offer=request.offer)
            case Translate():
                engine = await server.engine(Role.TRANSLATION, request.model_id, patience)
                return await engine.translate(
                    request.text, request.source, request.target, again=request.again
                )
        raise EngineFailed(f"{type(request).__name__} is no request")

    async def _hear(self, request: OpenUtterance | Accept | Finish) -> Any:
        if isinstance(request, OpenUtterance):
            role, model_id = Role.STREAMING_TRANSCRIPTION, request.model_id
            engine = await self._server.engine(role, model_id, request.patience)
            self._utterances[request.id] = await engine.open(request.language)
            return None
        utterance = self._utterances.get(request.utterance)
        if utterance is None:
            raise EngineFailed("the utterance is over: open a new one")
        if isinstance(request, Accept):
            return await utterance.accept(request.pcm)
        try:
            return await utterance.finish()
        finally:
            self._utterances.pop(request.utterance, None)
            utterance.close()

    async def _stream(self, request: Chat | Speak | TranscribeFile) -> None:
        granted = self._granted[request.id] = asyncio.Semaphore(WINDOW)
        async with aclosing(await self._items(request)) as items:
            async for item in items:
                await granted.acquire()
                await self.send(Item(request.id, packed(item)))

    async def _items(self, request: Chat | Speak | TranscribeFile) -> AsyncGenerator[Any, None]:
        server, patience = self._server, request.patience
        stream: AsyncGenerator[Any, None]
        if isinstance(request, Chat):
            engine = await server.engine(Role.CHAT, request.model_id, patience)
            stream = engine.stream(
                request.messages,
                max_tokens=request.max_tokens,
                temperature=request.temperature,
                offer=request.offer,
                answer_format=request.answer_format,
            )
        elif isinstance(request, Speak):
            engine = await server.engine(Role.SPEECH, request.model_id, patience)
            if (bound := request.binding) is not None:
                engine = engine.bound(
                    bound.voice,
                    recipe=bound.recipe,
                    emotion=bound.emotion,
                    language=bound.language,
                )
            stream = engine.speak(
                request.text, voice=request.voice, speed=request.speed, language=request.language
            )
        else:
            engine = await server.engine(Role.FILE_TRANSCRIPTION, request.model_id, patience)
            stream = engine.transcribe_file(
                self._recording(request.id), request.language, english=request.english
            )
        return stream

    async def _recording(self, number: int) -> AsyncGenerator[bytes, None]:
        """The audio of a request, until its end."""
        recording, taken = self._recordings[number], 0
        while pcm := await recording.get():
            yield pcm
            taken += 1
            if taken == WINDOW // 2:
                await self.send(Grant(number, taken))
                taken = 0
