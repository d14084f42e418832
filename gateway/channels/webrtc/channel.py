"""A call over WebRTC: the Channel that sessions see, on one ``Peer``.

Life: made → ``answer`` (SDP) → connected within ``HANDSHAKE_TIMEOUT`` → closed, by ``close`` or
because the peer is gone; ``incoming`` ends in both cases.

Bounds, and what happens beyond them
- caller's audio not yet read: ``MAX_AUDIO_SECONDS``; the oldest is dropped.
- client messages not yet read: ``MAX_MESSAGES``; the call is closed.
- events before the data channel is open: ``MAX_EARLY_EVENTS``; the oldest is dropped (a client
  that never opens the channel has no use for them).
- events that the client does not read, or audio queued more than 30 s ahead: the call is closed.
"""

import asyncio
import json
import logging
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from aiortc import RTCIceCandidate

from gateway.channels.wire.client_events import read_message
from gateway.channels.wire.render import fault_body
from media.formats import SAMPLE_BYTES
from sessions.channel import ClientFault, Incoming, Piece, ServerEvent
from sessions.core.config import SessionConfig
from sessions.core.notices import Fault

from .ice import DEFAULT_ICE, IceSettings
from .offer import Offer
from .peer import Network, Peer
from .voice import VoiceTrack

logger = logging.getLogger(__name__)

DATA_CHANNEL = "oai-events"
HANDSHAKE_TIMEOUT = 10.0
DRAIN_TIMEOUT = 0.5
MAX_AUDIO_SECONDS = 5
MAX_MESSAGES = 256
MAX_EARLY_EVENTS = 256
MAX_MESSAGE_BYTES = 256 * 1024
_DROPPED = ("connection failed", "handshake timed out", "call could not be started")
"""Why a connection ends that its peer has not closed."""


class WebRTCChannel:
    """One WebRTC caller. Make it inside a running event loop."""

    name = "webrtc"

    def __init__(
        self,
        ice: IceSettings = DEFAULT_ICE,
        *,
        handshake_timeout: float = HANDSHAKE_TIMEOUT,
        on_closed: Callable[[str], None] | None = None,
    ) -> None:
        self.input_rate = 16_000
        self.output_rate = 24_000
        self.lead_ms = 80
        self.closed_reason: str | None = None
        """Why the call ended; None while it lasts."""
        self._loop = asyncio.get_running_loop()
        self._on_closed = on_closed
        self._track = VoiceTrack(self.output_rate)
        self._peer = Peer(
            self, self._track, input_rate=self.input_rate, ice=ice, channel_label=DATA_CHANNEL
        )
        self._network = Network()
        self._incoming: deque[bytes | Mapping[str, Any]] = deque()
        self._arrived = asyncio.Event()
        self._listened_to = True
        self._audio_bytes = 0
        self._messages = 0
        self._early: deque[str] | None = deque(maxlen=MAX_EARLY_EVENTS)
        self._handshake_timeout = handshake_timeout
        self._handshake: asyncio.TimerHandle | None = None
        self._closing: asyncio.Task[None] | None = None

    async def answer(self, offer: Offer) -> str:
        """The SDP answer to a checked offer; the handshake's deadline starts now.

        Raises OfferError; the channel must then be closed."""
        self._handshake = self._loop.call_later(
            self._handshake_timeout, self.on_gone, "handshake timed out"
        )
        answer = await self._peer.answer(offer)
        self._listened_to = self._peer.sends
        return answer

    def take_network(self) -> Network:
        """How the network carries the call, with packets counted since this was last called."""
        before, self._network = self._network, self._peer.network()
        return self._network.since(before)

    async def add_candidate(self, candidate: RTCIceCandidate) -> None:
        """Add another address that the caller found (trickle ICE)."""
        if self.closed_reason is None:
            await self._peer.add_candidate(candidate)

    # ------------------------------------------------------------------ Channel

    @property
    def dropped(self) -> bool:
        """Whether the connection failed; a peer that leaves closes it."""
        return self.closed_reason in _DROPPED

    async def incoming(self) -> AsyncIterator[Incoming]:
        """Audio (PCM16 mono, ``input_rate``) and client messages, until the peer is gone."""
        while True:
            while self._incoming:
                item = self._incoming.popleft()
                if isinstance(item, bytes):
                    self._audio_bytes -= len(item)
                else:
                    self._messages -= 1
                yield item
            if self.closed_reason is not None:
                return
            self._arrived.clear()
            await self._arrived.wait()

    def configure(self, config: SessionConfig) -> None:
        """WebRTC's formats are negotiated by SDP; a configuration does not change them."""

    def play(self, piece: Piece) -> None:
        """Queue reply audio (``output_rate``), unless the caller only sends."""
        if self._listened_to and not self._track.play(piece.pcm):
            self.on_gone("playout queue is full")

    def flush(self) -> None:
        """Drop all audio that has not left; takes effect with the next packet."""
        self._track.flush()

    def played(self) -> int | None:
        """Samples whose packets have left; None if the caller only sends."""
        return self._track.played() if self._listened_to else None

    @property
    def missed(self) -> int:
        """The samples that have left since the peer was last known to receive (``reach``), once it
        may be out of reach."""
        reach = self._peer.reach
        if self.dropped or (self.closed_reason is None and reach.doubted(self._loop.time())):
            return self._track.played() - self._track.played_before(reach.until())
        return 0

    def send(self, event: ServerEvent) -> None:
        """Send a server event over the data channel, or keep it until the channel is open."""
        if self.closed_reason is not None:
            return
        text = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
        if self._early is not None:
            self._early.append(text)
        elif not self._peer.say(text):
            self.on_gone("client does not read its events")

    async def close(self, reason: str) -> None:
        """Let the last events leave, then release everything; returns when nothing is left."""
        self.on_gone(reason)
        if self._closing is not None:
            await asyncio.shield(self._closing)

    # ------------------------------------------------------------------ what the peer reports

    def on_connected(self) -> None:
        """The handshake is complete."""
        if self._handshake is not None:
            self._handshake.cancel()
            self._handshake = None

    def on_audio(self, pcm: bytes) -> None:
        """Queue the caller's voice."""
        if self.closed_reason is not None:
            return
        self._incoming.append(pcm)
        self._audio_bytes += len(pcm)
        if self._audio_bytes > MAX_AUDIO_SECONDS * self.input_rate * SAMPLE_BYTES:
            self._drop_oldest_audio()
        self._arrived.set()

    def on_open(self) -> None:
        """Send what was kept for the data channel."""
        early, self._early = self._early, None
        for text in early or ():
            self._peer.say(text)

    def on_message(self, message: str | bytes) -> None:
        """Queue a client message; refuse one that is not a JSON object."""
        if self.closed_reason is not None:
            return
        try:
            if len(message) > MAX_MESSAGE_BYTES:
                raise ClientFault(
                    "invalid_event", f"A message has at most {MAX_MESSAGE_BYTES} bytes."
                )
            parsed = read_message(message)
        except ClientFault as fault:
            self._refuse(fault)
            return
        if self._messages >= MAX_MESSAGES:
            self.on_gone("client sends faster than it can be served")
            return
        self._messages += 1
        self._incoming.append(parsed)
        self._arrived.set()

    def on_gone(self, reason: str) -> None:
        """End the call; the first reason counts."""
        if self.closed_reason is not None:
            return
        self.closed_reason = reason
        self.on_connected()
        self._track.flush()
        self._arrived.set()
        self._closing = self._loop.create_task(self._free(), name="webrtc-close")
        if self._on_closed is not None:
            self._on_closed(reason)

    # ------------------------------------------------------------------ private

    async def _free(self) -> None:
        try:
            async with asyncio.timeout(DRAIN_TIMEOUT):
                await self._peer.drain()
        except TimeoutError:
            logger.info("a WebRTC client did not read its last events")
        await self._peer.close()

    def _drop_oldest_audio(self) -> None:
        for index, item in enumerate(self._incoming):
            if isinstance(item, bytes):
                del self._incoming[index]
                self._audio_bytes -= len(item)
                return

    def _refuse(self, fault: ClientFault) -> None:
        event_id = f"event_{secrets.token_hex(10)}"
        self.send({"event_id": event_id, **fault_body(Fault(fault.code, fault.message))})
