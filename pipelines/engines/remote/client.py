"""EngineConnection: a gateway process's half of the connection to the engine process.

Rules
- It is made again whenever it is lost. What was under way then fails; a request that has given
  nothing yet is made once more when the engines are back, within ``BACK_SECONDS``, except where its
  caller would rather do without (``wait`` false: such a request fails at once while they are away).
- Cancelling a request, or closing its stream, stops the work in the engine process at once.
- ``deadline`` bounds the wait for each answer or item beyond the engine's own deadlines: it passes
  only where the engine process hangs.
- A stream holds ``WINDOW`` items at most.
"""

import asyncio
import itertools
import logging
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import msgspec

from pipelines.engines.base import EngineFailed, EngineTimeout
from pipelines.engines.fair_queue import FLOW

from .messages import (
    MOST_BYTES,
    WINDOW,
    Audio,
    Calls,
    Cancel,
    Failed,
    FromEngines,
    Grant,
    Item,
    Loads,
    Message,
    Request,
    Result,
    State,
    encode,
    read_answer,
)

log = logging.getLogger(__name__)

T = TypeVar("T")

URL = "http://engines/engines"
BACK_SECONDS = 20.0
"""How long a request waits for an engine process that died: it was back, with the engines of calls
loaded, after 5 s on two cores, and after 13 s while those were busy otherwise."""
RETRY_SECONDS = 0.05
HEARTBEAT_SECONDS = 30.0
"""After so long without a word, and half of that without an answer to a ping, an engine process is
taken for dead. Loading an engine stops its event loop for seconds."""
GONE = "the engine process ended; it is being started again"

Make = Callable[[int, str, float], Request]
"""Makes a request of its id, flow and patience."""


class _Lost(Exception):
    """The connection ended before the answer."""


class _Pending:
    """A request under way: its items as they come, then its result."""

    def __init__(self) -> None:
        self._items: deque[msgspec.Raw] = deque()
        self._result: msgspec.Raw | None = None
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.audio = asyncio.Semaphore(WINDOW)
        """How much of its recording may be sent."""

    @property
    def over(self) -> bool:
        """Whether the engine process has nothing more to say."""
        return self._result is not None or self._error is not None

    def put(self, message: Item | Result | Failed) -> None:
        """Take what came for it."""
        if isinstance(message, Item):
            self._items.append(message.value)
        elif isinstance(message, Result):
            self._result = message.value
        else:
            self._error = message.error
        self._wake()

    def fail(self, error: Exception) -> None:
        """Nothing more comes."""
        if not self.over:
            self._error = error
            self._wake()

    async def item(self, expires: float) -> msgspec.Raw | None:
        """The next item; None after the last one. Raises what the request failed with, after the
        items before it, and TimeoutError at ``expires``."""
        while not self._items:
            if self._error is not None:
                raise self._error
            if self._result is not None:
                return None
            self._waiter = asyncio.get_running_loop().create_future()
            async with asyncio.timeout_at(expires):
                await self._waiter
        return self._items.popleft()

    async def result(self, expires: float) -> msgspec.Raw:
        """The result; raises as ``item``."""
        await self.item(expires)
        if self._result is None:
            raise EngineFailed("the engine process gave no answer")
        return self._result

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class _Link:
    """One WebSocket, from its opening to its loss."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self._ws = ws
        self._pending: dict[int, _Pending] = {}
        self._sending: set[asyncio.Task[None]] = set()

    async def begin(self, request: Request) -> _Pending:
        """Send a request."""
        pending = self._pending[request.id] = _Pending()
        try:
            await self.send(request)
        except BaseException:
            self.end(request.id)
            raise
        return pending

    def end(self, number: int) -> None:
        """Nobody waits for that request any more: stop it where it is under way."""
        pending = self._pending.pop(number)
        if not pending.over:
            self.post(Cancel(number))

    async def send(self, message: Message) -> None:
        """Send, waiting while the other side does not read; raises _Lost."""
        try:
            await self._ws.send_bytes(encode(message))
        except ConnectionError as error:
            raise _Lost from error

    def post(self, message: Message) -> None:
        """Send without waiting; nothing where the connection is lost."""
        task = asyncio.create_task(self._posted(message))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _posted(self, message: Message) -> None:
        try:
            await self.send(message)
        except _Lost:
            log.debug("a message came too late for the engine process")

    def receive(self, message: Item | Result | Failed | Grant) -> None:
        """Give an answer to the request that waits for it, if it still does."""
        pending = self._pending.get(message.id)
        if pending is None:
            return
        if isinstance(message, Grant):
            for _ in range(message.items):
                pending.audio.release()
        else:
            pending.put(message)

    def lose(self) -> None:
        """The connection has ended."""
        for pending in self._pending.values():
            pending.fail(_Lost())


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is open in the engine process: the connection, and what it is known by."""

    link: _Link
    number: int


class EngineConnection:
    """Requests to the engine process. ``start`` once, ``close`` once."""

    def __init__(
        self,
        path: Path,
        on_state: Callable[[State], None] = lambda _: None,
        on_loads: Callable[[Loads], None] = lambda _: None,
        *,
        back_seconds: float = BACK_SECONDS,
    ) -> None:
        """``path``: the engine process's socket. ``on_state`` and ``on_loads`` receive what it says
        about itself."""
        self._path = path
        self._on_state = on_state
        self._on_loads = on_loads
        self._back_seconds = back_seconds
        self._numbers = itertools.count(1)
        self._link: _Link | None = None
        self._linked = asyncio.Event()
        self._calls = 0
        self._keeper: asyncio.Task[None] | None = None

    @property
    def linked(self) -> bool:
        """Whether the engine process is there."""
        return self._link is not None

    def start(self) -> None:
        """Connect, and stay connected."""
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep(), name="engine connection")

    async def close(self) -> None:
        """End the connection; what is under way fails."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)

    def report_calls(self, active: int) -> None:
        """Say how many calls this process carries, now and after every new connection."""
        if active != self._calls:
            self._calls = active
            if self._link is not None:
                self._link.post(Calls(active))

    async def ask(self, make: Make, kind: type[T], *, deadline: float, wait: bool = True) -> T:
        """The answer to a request. Raises the engine's EngineError; EngineFailed where the engine
        process is away."""
        answer, _ = await self._asked(make, kind, deadline, wait=wait)
        return answer

    async def open(self, make: Make, *, deadline: float) -> Place:
        """Have something opened in the engine process; errors as ``ask``."""
        _, place = await self._asked(make, type(None), deadline, wait=True)
        return place

    async def ask_at(self, place: Place, make: Make, kind: type[T], *, deadline: float) -> T:
        """As ``ask``, about what was opened there. EngineFailed where it has gone since."""
        number = next(self._numbers)
        try:
            return await _answered(place.link, make(number, FLOW.get(), 0.0), kind, deadline)
        except _Lost:
            raise EngineFailed(GONE) from None

    def leave(self, place: Place) -> None:
        """Give back what was opened."""
        if place.link is self._link:
            place.link.post(Cancel(place.number))

    async def stream(
        self,
        make: Make,
        kind: type[T],
        *,
        deadline: float,
        audio: AsyncIterator[bytes] | None = None,
    ) -> AsyncGenerator[T, None]:
        """The items of a request; ``audio`` is sent along with it. Errors as ``ask``."""
        tried = False
        while True:
            link, number, request = await self._request(make, wait=True)
            patience, begun = request.patience, False
            try:
                pending = await link.begin(request)
                sending = None
                if audio is not None:
                    sending = asyncio.create_task(_send_audio(link, number, pending, audio))
                try:
                    taken, now = 0, asyncio.get_running_loop().time
                    while (raw := await pending.item(now() + deadline + patience)) is not None:
                        begun, patience = True, 0.0
                        yield msgspec.msgpack.decode(raw, type=kind)
                        if (taken := taken + 1) == WINDOW // 2:
                            taken = 0
                            link.post(Grant(number, WINDOW // 2))
                    return
                finally:
                    link.end(number)
                    if sending is not None:
                        await _ended(sending)
            except _Lost:
                if tried or begun or audio is not None:
                    raise EngineFailed(GONE) from None
                tried = True
            except TimeoutError:
                raise EngineTimeout(f"nothing from the engines for {deadline:g} s") from None

    # ------------------------------------------------------------------ within

    async def _asked(
        self, make: Make, kind: type[T], deadline: float, *, wait: bool
    ) -> tuple[T, Place]:
        tried = not wait
        while True:
            link, number, request = await self._request(make, wait=wait)
            try:
                answer = await _answered(link, request, kind, deadline + request.patience)
                return answer, Place(link, number)
            except _Lost:
                if tried:
                    raise EngineFailed(GONE) from None
                tried = True

    async def _request(self, make: Make, *, wait: bool) -> tuple[_Link, int, Request]:
        """The connection, and a request for it; waits for an engine process that is away."""
        loop = asyncio.get_running_loop()
        expires = loop.time() + (self._back_seconds if wait else 0.0)
        while (link := self._link) is None:
            if not wait:
                raise EngineFailed(GONE)
            try:
                async with asyncio.timeout_at(expires):
                    await self._linked.wait()
            except TimeoutError:
                away = self._back_seconds
                raise EngineFailed(f"the engine process was away for {away:g} s") from None
        number = next(self._numbers)
        return link, number, make(number, FLOW.get(), max(0.0, expires - loop.time()))

    async def _keep(self) -> None:
        connector = aiohttp.UnixConnector(path=str(self._path))
        async with aiohttp.ClientSession(connector=connector) as session:
            while True:
                try:
                    async with session.ws_connect(
                        URL, max_msg_size=MOST_BYTES, heartbeat=HEARTBEAT_SECONDS
                    ) as ws:
                        await self._use(ws)
                    log.warning("the connection to the engine process is lost")
                except (aiohttp.ClientError, OSError) as error:
                    log.debug("no engine process: %s", error)
                except msgspec.MsgspecError as error:
                    log.error("the engine process broke the protocol: %s", error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _use(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        """Receive until the connection ends. It is usable when the engines' state has come."""
        link = _Link(ws)
        try:
            await link.send(Calls(self._calls))
            async for message in ws:
                if message.type is aiohttp.WSMsgType.BINARY:
                    self._receive(link, read_answer(message.data))
        except _Lost:
            return
        finally:
            self._link = None
            self._linked.clear()
            link.lose()

    def _receive(self, link: _Link, message: FromEngines) -> None:
        if isinstance(message, State):
            self._link = link
            self._linked.set()
            self._on_state(message)
        elif isinstance(message, Loads):
            self._on_loads(message)
        else:
            link.receive(message)


async def _answered(link: _Link, request: Request, kind: type[T], deadline: float) -> T:
    """The answer; raises _Lost, or what the request failed with."""
    pending = await link.begin(request)
    try:
        raw = await pending.result(asyncio.get_running_loop().time() + deadline)
    except TimeoutError:
        raise EngineTimeout(f"no answer from the engines within {deadline:g} s") from None
    finally:
        link.end(request.id)
    return msgspec.msgpack.decode(raw, type=kind)


async def _send_audio(
    link: _Link, number: int, pending: _Pending, audio: AsyncIterator[bytes]
) -> None:
    """Send a recording as fast as it is taken, then its end."""
    try:
        async for pcm in audio:
            if pcm:
                await pending.audio.acquire()
                await link.send(Audio(number, pcm))
        await pending.audio.acquire()
        await link.send(Audio(number, b""))
    except _Lost:
        return
    except Exception as error:  # noqa: BLE001 - whatever reading the recording raised
        pending.fail(error)


async def _ended(task: "asyncio.Task[Any]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
