"""Listeners: WebSockets that get the audio of a running call on any node, the caller's and the
agent's.

``/v1/realtime?call_id=…&listen=true`` opens one. What the binary messages hold is documented in
``sessions.audio_tap`` and docs/realtime.md.

Rules
- All listeners of a call on this node share one reader and the same frames. Without listeners
  nothing is read, and the call is not tapped.
- A listener whose connection has more than a third of a second unsent misses messages until it
  catches up; one that takes nothing for ``STALLED_SECONDS`` is closed with 1013.
- It ends with the call, or when the call's node is gone. Whatever a listener sends is ignored.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from gateway.channels.message_socket import CLOSE_CODES, Limits, MessageSocket
from gateway.channels.outbox import framed
from sessions.audio_tap import flagged
from sessions.fanout import END
from sessions.following import Following
from sessions.remote import Listen, RemoteRequest, RemoteRequests
from store.errors import BusUnavailable

log = logging.getLogger(__name__)

LIMITS = Limits(max_message_bytes=4096, messages_a_second=5.0, messages_at_once=10)
MOST_CALLS = 32
"""Calls that are listened to from one node at once: each takes a connection to Redis."""
STALLED_SECONDS = 10.0
RENEW_SECONDS = 5.0
CLOSING = {**CLOSE_CODES, "call_lost": 1012}


class _Listener:
    def __init__(self, socket: MessageSocket, now: float) -> None:
        self.socket = socket
        self.taken = now
        """When it last took something."""
        self.behind = False
        self.over: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def end(self, reason: str) -> None:
        if not self.over.done():
            self.over.set_result(reason)


class _Relay:
    """The listeners of one call, and the tasks that serve them."""

    def __init__(self) -> None:
        self.listeners: set[_Listener] = set()
        self.tasks: list[asyncio.Task[None]] = []

    def end(self, reason: str) -> None:
        for listener in self.listeners:
            listener.end(reason)


class Listeners:
    """The listeners that came to this node, wherever their calls are."""

    def __init__(self, following: Following, requests: RemoteRequests) -> None:
        self._following = following
        self._requests = requests
        self._relays: dict[str, _Relay] = {}

    def has_room(self, call_id: str) -> bool:
        """Whether one more call can be listened to."""
        return call_id in self._relays or len(self._relays) < MOST_CALLS

    async def listen(
        self, call_id: str, look: Callable[[], Awaitable[str | None]], socket: MessageSocket
    ) -> str:
        """Relay the call's audio until either side ends; returns the reason.

        ``look``: the node that carries the call, None where it is gone."""
        loop = asyncio.get_running_loop()
        listener = _Listener(socket, loop.time())
        relay = self._relays.get(call_id)
        if relay is None:
            relay = self._relays[call_id] = _Relay()
            relay.tasks = [
                loop.create_task(self._relay(call_id, relay), name=f"listening {call_id}"),
                loop.create_task(self._order(call_id, look, relay), name=f"listening {call_id}"),
            ]
        relay.listeners.add(listener)
        receiving = loop.create_task(_ignore(listener), name="listener")
        try:
            return await listener.over
        finally:
            receiving.cancel()
            relay.listeners.discard(listener)
            leaving = [receiving]
            if not relay.listeners:
                del self._relays[call_id]
                for task in relay.tasks:
                    task.cancel()
                leaving += relay.tasks
            await asyncio.gather(*leaving, return_exceptions=True)

    async def _order(
        self, call_id: str, look: Callable[[], Awaitable[str | None]], relay: _Relay
    ) -> None:
        """Have the call tapped, again and again; ends the listeners of a call without a node."""
        missing = 0
        while missing < 2:
            with contextlib.suppress(BusUnavailable):
                node_id = await look()
                missing = missing + 1 if node_id is None else 0
                if node_id is not None:
                    await self._requests.send(node_id, call_id, RemoteRequest("", Listen()))
            await asyncio.sleep(RENEW_SECONDS)
        relay.end("call_lost")

    async def _relay(self, call_id: str, relay: _Relay) -> None:
        loop = asyncio.get_running_loop()
        async for messages in self._following.audio(call_id):
            ended = END in messages
            if sound := [message for message in messages if message != END]:
                frames = framed(sound, binary=True)
                resumed = framed([flagged(sound[0]), *sound[1:]], binary=True)
                now = loop.time()
                for listener in tuple(relay.listeners):
                    if listener.socket.write_through(resumed if listener.behind else frames):
                        listener.taken, listener.behind = now, False
                        continue
                    listener.behind = True
                    if now - listener.taken > STALLED_SECONDS:
                        listener.socket.give_up("slow_reader")
                        listener.end("slow_reader")
            if ended:
                relay.end("call_ended")
                return


async def _ignore(listener: _Listener) -> None:
    """Read what the peer sends, to notice when it is gone."""
    while await listener.socket.receive() is not None:
        await listener.socket.hold_back()
    listener.end("peer_gone")
