"""A WebRTC caller for tests: a real offer over HTTP, a wav spoken in real time, what is heard.

aiortc carries it; its microphone and its ear are test parts: the microphone sends ready Opus
packets on the clock and can lose them by a pattern, the ear notes when each packet came.
"""

import asyncio
import json
import wave
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.rtcconfiguration import RTCBundlePolicy

from gateway.channels.webrtc.ice import IceConnection, IceSettings
from gateway.channels.webrtc.voice import VoiceTrack
from media.opus import OpusDecoder
from tests.support.gateway.protocol_validator import check_stream
from tests.support.paths import AUDIO

LOOPBACK = IceSettings(bind_addresses=("127.0.0.1",))
EAR_RATE = 16_000


def speech(name: str) -> bytes:
    """PCM16 of a recording of tests/audio, 16 kHz mono."""
    with wave.open(str(AUDIO / f"{name}.wav")) as file:
        return file.readframes(file.getnframes())


def use_ice(dtls: Any, settings: IceSettings) -> IceConnection:
    """Put an ICE connection with these settings below an aiortc transport."""
    transport, connection = dtls.transport, IceConnection(settings)
    transport.iceGatherer._connection = transport._connection = connection
    transport._recv, transport._send = connection.recv, connection.send
    return connection


@dataclass(frozen=True)
class Heard:
    """A packet that reached the caller's ear."""

    at: float
    sequence: int
    timestamp: int
    pcm: bytes


class Ear:
    """aiortc's receiver interface; decodes every packet as it comes and notes the moment."""

    def __init__(self, transport: Any) -> None:
        self.transport = transport
        self.heard: list[Heard] = []
        self.arrived = asyncio.Event()
        self._decoder = OpusDecoder(EAR_RATE)
        self._track: Any = None
        self._enabled = True
        self._registered = False

    @property
    def track(self) -> Any:
        return self._track

    def setTransport(self, transport: Any) -> None:  # noqa: N802 - aiortc's name
        self.transport = transport

    async def receive(self, parameters: Any) -> None:
        self.transport._register_rtp_receiver(self, parameters)
        self._registered = True

    async def stop(self) -> None:
        if self._registered:
            self.transport._unregister_rtp_receiver(self)

    def _set_rtcp_ssrc(self, ssrc: int) -> None:
        pass

    def _handle_disconnect(self) -> None:
        pass

    async def _handle_rtcp_packet(self, packet: Any) -> None:
        pass

    async def _handle_rtp_packet(self, packet: Any, arrival_time_ms: int) -> None:
        now = asyncio.get_running_loop().time()
        pcm = self._decoder.decode(packet.payload)
        self.arrived.set()
        self.heard.append(Heard(now, packet.sequence_number, packet.timestamp, pcm))


class Microphone(VoiceTrack):
    """Speaks what it is given; ``idle`` is set while there is nothing more."""

    def __init__(self) -> None:
        super().__init__(EAR_RATE)
        self.idle = asyncio.Event()

    async def recv(self) -> Any:
        packet = await super().recv()
        if not self._queued:
            self.idle.set()
        return packet


class Caller:
    """One call. ``async with Caller(url) as caller`` connects and hangs up."""

    def __init__(
        self,
        url: str,
        *,
        session: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        drop: Callable[[int], bool] = lambda n: False,
        ice: IceSettings = LOOPBACK,
        on_answer: Callable[[str], None] = lambda sdp: None,
        checked: bool = True,
    ) -> None:
        """``checked``: all events must keep to the protocol; that is checked at the end."""
        self.url = url
        self.checked = checked
        self.on_answer = on_answer
        self.session = session
        self.headers = headers or {}
        self.drop = drop
        self.events: list[dict[str, Any]] = []
        self.call_id = ""
        self.answered: Mapping[str, str] = {}
        self.sent_packets = 0
        self.dropped_packets = 0
        self.spoken_at = 0.0
        self._news = asyncio.Event()
        self.connection = RTCPeerConnection(
            RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        )
        self.microphone = Microphone()
        transceiver = self.connection.addTransceiver(self.microphone)
        self.transport = transceiver.receiver.transport
        self.ear = Ear(self.transport)
        setattr(transceiver, "_RTCRtpTransceiver__receiver", self.ear)  # noqa: B010 - private
        self._use_ice(ice)
        self._send = self.transport._send_rtp
        self.transport._send_rtp = self._lossy_send
        self.channel = self.connection.createDataChannel("oai-events")
        self.channel.on("message", self._on_message)
        self.opened = asyncio.Event()
        self.channel.on("open", self.opened.set)
        self.closed = asyncio.Event()
        self.channel.on("close", self.closed.set)
        self.connection.on("connectionstatechange", self._on_state)

    async def __aenter__(self) -> "Caller":
        await self.dial()
        await asyncio.wait_for(self.opened.wait(), 10)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        await self.hang_up()
        if kind is None and self.checked and self.events and "event_id" in self.events[0]:
            check_stream(self.events)

    async def offer(self) -> str:
        await self.connection.setLocalDescription()
        return str(self.connection.localDescription.sdp)

    async def dial(self) -> None:
        """Offer, answer; raises AssertionError with the server's body if it refuses."""
        offer = await self.offer()
        async with aiohttp.ClientSession() as http:
            if self.session is None:
                headers = {"Content-Type": "application/sdp", **self.headers}
                request = http.post(self.url, data=offer, headers=headers)
            else:
                form = aiohttp.FormData()
                form.add_field("sdp", offer, content_type="application/sdp")
                form.add_field("session", json.dumps(self.session), content_type="application/json")
                request = http.post(self.url, data=form, headers=self.headers)
            async with request as response:
                answer = await response.text()
                assert response.status == 201, answer
                self.answered = response.headers
                self.call_id = response.headers["Location"].rsplit("/", 1)[1]
        self.on_answer(answer)
        await self.connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    async def hang_up(self) -> None:
        await asyncio.wait_for(self.connection.close(), 5)

    def vanish(self) -> None:
        """Say nothing more, not even goodbye, as if the network were gone."""

        async def nothing(data: bytes) -> None:
            return

        self.transport.transport._send = nothing
        for protocol in self.ice._protocols:
            protocol.transport.sendto = lambda *_: None

    async def say(self, pcm: bytes, rate: int = EAR_RATE) -> None:
        """Speak in real time; returns when the last packet has left."""
        assert rate == EAR_RATE
        self.spoken_at = asyncio.get_running_loop().time()
        assert self.microphone.play(pcm)
        self.microphone.idle.clear()
        await self.microphone.idle.wait()

    def send(self, event: dict[str, Any] | str) -> None:
        self.channel.send(event if isinstance(event, str) else json.dumps(event))

    async def event(self, kind: str, timeout: float = 5) -> dict[str, Any]:
        """The first event of that type, waited for if necessary."""

        def found() -> list[dict[str, Any]]:
            return [event for event in self.events if event["type"] == kind]

        async with asyncio.timeout(timeout):
            while not found():
                self._news.clear()
                await self._news.wait()
        return found()[0]

    async def listen(self, seconds: float) -> None:
        """Wait until the ear has got that much more audio."""
        enough = len(self.ear.heard) + round(seconds * 50)
        async with asyncio.timeout(seconds + 5):
            while len(self.ear.heard) < enough:
                self.ear.arrived.clear()
                await self.ear.arrived.wait()

    def heard(self) -> bytes:
        """All that reached the ear, in the order of arrival."""
        return b"".join(packet.pcm for packet in self.ear.heard)

    async def _lossy_send(self, data: bytes) -> None:
        is_rtp = not 192 <= data[1] <= 223
        if is_rtp:
            self.sent_packets += 1
            if self.drop(self.sent_packets):
                self.dropped_packets += 1
                return
        await self._send(data)

    def _use_ice(self, settings: IceSettings) -> None:
        """Loopback candidates only: tests need no network."""
        self.ice = use_ice(self.transport, settings)

    def _on_message(self, message: str) -> None:
        self.events.append(json.loads(message))
        self._news.set()

    def _on_state(self) -> None:
        if self.connection.connectionState in ("failed", "closed"):
            self.closed.set()
