"""Requests to calls: any node sends them, the call's own node executes them.

Rules
- The requests for a call wait in one queue of ``WAITING``. If it is full, ``send`` returns False,
  so that a flood reaches neither the call nor its neighbours.
- A request that is not taken within ``REQUEST_SECONDS`` is dropped: its node is dead.
- One task per node waits for signals, one per call executes its requests in their order. After an
  outage the queues of all calls are checked, because signals may have been lost.
- A client event is injected as if the caller had sent it. Its effects are published as usual; a
  refusal goes to the sender alone: as an event of its own, or as the answer, if it waits (``ask``).
- A request to a call of this node that waits for its answer does not go through Redis.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from store.bus import Bus
from store.errors import BusUnavailable
from store.ids import new_id

from .audio_taps import AudioTaps
from .client_messages import Answer
from .fanout import PAUSES, Fanout
from .host import SessionHost

log = logging.getLogger(__name__)

WAITING = 32
"""How many requests for one call may wait."""
REQUEST_SECONDS = 20.0
ANSWER_SECONDS = 5.0
"""How long ``ask`` waits."""
HANG_UP_REASON = "client_hangup"
_TAKEN_AT_ONCE = 16
_ANSWERS_WAITING = 1024


# ---------------------------------------------------------------------- what is requested


class ClientEvent(msgspec.Struct, frozen=True, tag="event"):
    """Carry out a client event, as if the caller had sent it."""

    message: dict[str, Any]


class Describe(msgspec.Struct, frozen=True, tag="describe"):
    """Send the current session to the sender, as at the beginning of a call."""


class EndCall(msgspec.Struct, frozen=True, tag="end"):
    """End the call."""


class Release(msgspec.Struct, frozen=True, tag="release"):
    """Suspend the call: its caller resumes it at another node."""


class Confirm(msgspec.Struct, frozen=True, tag="confirm"):
    """Say whether the call is carried here, or is about to be."""


class Transfer(msgspec.Struct, frozen=True, tag="transfer"):
    """Let another agent of the workspace go on with the call."""

    workspace_id: str
    agent_id: str


class Listen(msgspec.Struct, frozen=True, tag="listen"):
    """Send the call's audio for a while (``audio_taps``)."""


Order = ClientEvent | Describe | EndCall | Release | Confirm | Transfer | Listen


class RemoteRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """An order for a call, from ``sender``. ``reply_to``: the node where it waits for the answer;
    empty: nobody waits."""

    sender: str
    order: Order
    reply_to: str = ""


class Refusal(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a call did not do what was requested. ``param``: the field at fault; ``server``: true if
    the server is at fault, not the sender."""

    code: str
    message: str
    param: str | None = None
    server: bool = False


class _Answered(msgspec.Struct, frozen=True, omit_defaults=True):
    sender: str
    refusal: Refusal | None = None


class NoAnswer(Exception):
    """The call did not answer in time: it is not known whether the request was carried out."""


class TooManyRequests(Exception):
    """Too many requests wait for the call."""


CALL_GONE = Refusal("call_not_found", "The call is over.")
Transferred = Callable[[str, Transfer], Awaitable[Refusal | None]]
"""Carries out a transfer of the call with that id."""


def _queue(call_id: str) -> str:
    return f"call:{call_id}:commands"


def _answers(node_id: str) -> str:
    return f"node:{node_id}:answers"


def _signal(node_id: str) -> str:
    return f"node:{node_id}:bell"


# ---------------------------------------------------------------------- sent and executed


class RemoteRequests:
    """Sends requests to calls of any node, and executes those for this node's calls."""

    def __init__(
        self,
        bus: Bus,
        fanout: Fanout,
        host: SessionHost,
        transfer: Transferred,
    ) -> None:
        self._bus = bus
        self._fanout = fanout
        self._host = host
        self._node_id = host.node_id
        self._transfer = transfer
        self._taps = AudioTaps(bus, host)
        self._listener: asyncio.Task[None] | None = None
        self._serving: dict[str, asyncio.Task[None]] = {}
        """By call id: the task that executes its requests, while there are some."""
        self._again: set[str] = set()
        self._asked: dict[str, asyncio.Future[Refusal | None]] = {}

    def start(self) -> None:
        """Start listening; call it on the running loop."""
        self._taps.start()
        self._listener = asyncio.create_task(self._listen(), name="remote-requests")

    async def stop(self) -> None:
        """Stop listening."""
        tasks = list(self._serving.values())
        if self._listener is not None:
            tasks.append(self._listener)
            self._listener = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._taps.stop()

    async def send(self, node_id: str, call_id: str, request: RemoteRequest) -> bool:
        """Queue a request for a call of ``node_id``; False if too many are waiting. Raises
        BusUnavailable."""
        return await self._bus.post(
            _queue(call_id),
            msgspec.json.encode(request),
            bell=_signal(node_id),
            name=call_id,
            keep=WAITING,
            ttl=REQUEST_SECONDS,
        )

    async def ask(
        self, node_id: str, call_id: str, order: Order, *, within: float | None = None
    ) -> Refusal | None:
        """Have a call of ``node_id`` carry out an order; why it did not, None if it did.

        Raises BusUnavailable, TooManyRequests, and NoAnswer after ``within`` seconds
        (``ANSWER_SECONDS``)."""
        name = new_id("ask")
        try:
            async with asyncio.timeout(ANSWER_SECONDS if within is None else within):
                if node_id == self._node_id:
                    return await self._carry_out(call_id, RemoteRequest(name, order, node_id))
                future: asyncio.Future[Refusal | None] = asyncio.Future()
                self._asked[name] = future
                request = RemoteRequest(name, order, self._node_id)
                if not await self.send(node_id, call_id, request):
                    raise TooManyRequests
                return await future
        except TimeoutError as error:
            raise NoAnswer from error
        finally:
            self._asked.pop(name, None)

    # ------------------------------------------------------------------ within

    async def _listen(self) -> None:
        tries = 0
        while True:
            try:
                if tries:
                    await self._take_answers()
                    for call_id in self._host.call_ids():
                        self._serve(call_id)
                    log.info("requests from other nodes arrive again")
                    tries = 0
                signalled = await self._bus.rung(_signal(self._node_id))
                if signalled == self._node_id:
                    await self._take_answers()
                elif signalled is not None:
                    self._serve(signalled)
            except BusUnavailable as error:
                if not tries:
                    log.warning("requests from other nodes are delayed: %s", error)
                await asyncio.sleep(PAUSES[min(tries, len(PAUSES) - 1)])
                tries += 1

    async def _take_answers(self) -> None:
        while taken := await self._bus.collect(_answers(self._node_id), _ANSWERS_WAITING):
            for encoded in taken:
                answered = msgspec.json.decode(encoded, type=_Answered)
                future = self._asked.get(answered.sender)
                if future is not None and not future.done():
                    future.set_result(answered.refusal)

    def _serve(self, call_id: str) -> None:
        """There are requests for a call."""
        if call_id in self._serving:
            self._again.add(call_id)
            return
        task = asyncio.create_task(self._drain(call_id), name=f"requests {call_id}")
        self._serving[call_id] = task

    async def _drain(self, call_id: str) -> None:
        """Execute the requests in a call's queue, a few at a time."""
        tries = 0
        try:
            while True:
                self._again.discard(call_id)
                try:
                    taken = await self._bus.collect(_queue(call_id), _TAKEN_AT_ONCE)
                except BusUnavailable:
                    await asyncio.sleep(PAUSES[min(tries, len(PAUSES) - 1)])
                    tries += 1
                    continue
                for encoded in taken:
                    await self._execute(call_id, encoded)
                if not taken and call_id not in self._again:
                    return
        finally:
            del self._serving[call_id]

    async def _execute(self, call_id: str, encoded: bytes) -> None:
        try:
            request = msgspec.json.decode(encoded, type=RemoteRequest)
            refusal = await self._carry_out(call_id, request)
        except Exception:  # a request's edge: a fault fails this request only
            log.exception("a request to call %s failed", call_id)
            return
        if request.reply_to:
            await self._answer(request, refusal)

    async def _answer(self, request: RemoteRequest, refusal: Refusal | None) -> None:
        try:
            await self._bus.post(
                _answers(request.reply_to),
                msgspec.json.encode(_Answered(request.sender, refusal)),
                bell=_signal(request.reply_to),
                name=request.reply_to,
                keep=_ANSWERS_WAITING,
                ttl=REQUEST_SECONDS,
            )
        except BusUnavailable as error:
            log.warning("a request was carried out, and its sender is not informed: %s", error)

    async def _carry_out(self, call_id: str, request: RemoteRequest) -> Refusal | None:
        if isinstance(request.order, Confirm):
            return None if self._host.carries(call_id) else CALL_GONE
        call = self._host.find(call_id)
        if call is None:
            return CALL_GONE
        refused: list[dict[str, Any]] = []
        answer = refused.extend if request.reply_to else self._publisher(call_id, request.sender)
        match request.order:
            case ClientEvent(message):
                call.inject(message, answer)
            case Describe():
                call.describe(answer)
            case EndCall():
                call.hang_up(HANG_UP_REASON)
            case Release():
                self._host.release(call_id)
            case Listen():
                self._taps.listen(call_id)
            case Transfer() as order:
                refusal = await self._transfer(call_id, order)
                if refusal is not None and not request.reply_to:
                    self._fanout.publish(call_id, _as_event(refusal), to=request.sender)
                return refusal
        return next(map(_as_refusal, refused), None)

    def _publisher(self, call_id: str, sender: str) -> Answer:
        def publish(events: list[dict[str, Any]]) -> None:
            for event in events:
                self._fanout.publish(call_id, event, to=sender)

        return publish


def _as_refusal(event: dict[str, Any]) -> Refusal:
    error = event["error"]
    return Refusal(
        error["code"], error["message"], error["param"], server=error["type"] == "server_error"
    )


def _as_event(refusal: Refusal) -> dict[str, Any]:
    """The ``error`` event of the protocol."""
    return {
        "type": "error",
        "event_id": new_id("event"),
        "error": {
            "type": "server_error" if refusal.server else "invalid_request_error",
            "code": refusal.code,
            "message": refusal.message,
            "param": refusal.param,
            "event_id": None,
        },
    }
