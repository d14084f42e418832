"""The WebRTC stack: everything that depends on aiortc's internals is here.

``Peer`` is an aiortc connection in which four parts are replaced, on the objects of this one call
only (nothing global is patched):

- the receiver of the audio transceiver (``_Receiver``, see ``voice.py``), which gets its packets
  where they arrive, and not through aiortc's queue and task,
- the part of the sender that sends RTP (``_send_voice``); it reports as before, and what the peer
  reports is read by ``reach``, too,
- the ICE connection below the transports (``IceConnection``, see ``ice.py``),
- the parameters of Opus in the answer (in-band FEC, mono).

aiortc is pinned; ``TESTED_AIORTC`` is the version whose internals were read, and test_peer.py fails
when they change.
"""

import asyncio
import logging
import struct
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import aiortc
import pylibsrtp
from aiortc import (
    RTCConfiguration,
    RTCIceCandidate,
    RTCIceServer,
    RTCPeerConnection,
    RTCSessionDescription,
    clock,
)
from aiortc.exceptions import InternalError, InvalidStateError, OperationError
from aiortc.rtcconfiguration import RTCBundlePolicy
from aiortc.rtcdtlstransport import State
from aiortc.rtcicetransport import candidate_to_aioice, connection_kwargs
from aiortc.rtcsctptransport import WEBRTC_STRING
from aiortc.rtp import HeaderExtensions, RtcpRrPacket, RtcpSrPacket
from aiortc.stats import RTCRemoteInboundRtpStreamStats

from media.opus import TICK_RATE

from .ice import IceConnection, IceSettings, turn_login
from .offer import PARSER_FAULTS, Offer, OfferError
from .reach import Reach
from .voice import VoicePacket, VoiceReceiver, VoiceSender, VoiceTrack, report_pause

if TYPE_CHECKING:
    from .channel import WebRTCChannel

logger = logging.getLogger(__name__)

TESTED_AIORTC = "1.16.0"
CLOSE_TIMEOUT = 3.0
OPUS_PARAMETERS = {"minptime": "10", "useinbandfec": "1", "stereo": "0", "sprop-stereo": "0"}
"""What we ask the caller's encoder for (RFC 7587)."""


@dataclass(frozen=True, slots=True)
class Network:
    """How the network carries a call. ``jitter`` and ``round_trip`` in seconds, None while they are
    not known; what concerns the agent's voice (``sent_…``) is what the peer reports."""

    received: int = 0
    lost: int = 0
    jitter: float | None = None
    sent_received: int = 0
    sent_lost: int = 0
    sent_jitter: float | None = None
    round_trip: float | None = None

    def since(self, before: "Network") -> "Network":
        """The same, with packets counted from ``before`` on. A count may fall: streams change."""
        return replace(
            self,
            received=max(0, self.received - before.received),
            lost=max(0, self.lost - before.lost),
            sent_received=max(0, self.sent_received - before.sent_received),
            sent_lost=max(0, self.sent_lost - before.sent_lost),
        )


class Peer:
    """One connection to a client. ``track`` is sent; what arrives is reported to ``channel``, whose
    ``on_…`` methods are called in the event loop and must not block."""

    MAX_BUFFERED = 4 * 1024 * 1024
    """Bytes of messages that the peer may leave unread."""

    def __init__(
        self,
        channel: "WebRTCChannel",
        track: VoiceTrack,
        *,
        input_rate: int,
        ice: IceSettings,
        channel_label: str,
    ) -> None:
        self._channel = channel
        self._label = channel_label
        self._track = track
        self._data_channel: Any = None
        servers = _ice_servers(ice)
        self._connection = RTCPeerConnection(
            RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        )
        self._transceiver = self._connection.addTransceiver(track, direction="sendrecv")
        self._voice = VoiceReceiver(channel.on_audio, input_rate)
        self.reach = Reach()
        """Until when the client received what was sent."""
        self._voice_sender: VoiceSender | None = None
        self._ice = IceConnection(ice, self.reach, **connection_kwargs(servers))
        self._replace_parts()
        self._connection.on("connectionstatechange", self._on_state)
        self._connection.on("datachannel", self._on_data_channel)

    async def answer(self, offer: Offer) -> str:
        """The SDP answer to a checked offer, with all our candidates. Raises OfferError."""
        try:
            await self._connection.setRemoteDescription(RTCSessionDescription(offer.sdp, "offer"))
            self._guard_messages()
            for candidate in offer.candidates:
                await self._ice.add_remote_candidate(candidate_to_aioice(candidate))
            for codec in self._transceiver._codecs:
                codec.parameters = dict(OPUS_PARAMETERS)
            await self._connection.setLocalDescription()
        except (*PARSER_FAULTS, InternalError, InvalidStateError, OperationError) as fault:
            raise OfferError(f"the offer cannot be answered: {fault}") from fault
        return offer.whole_answer(str(self._connection.localDescription.sdp))

    @property
    def sends(self) -> bool:
        """Whether the caller wants to receive audio; known after ``answer``."""
        return self._transceiver.currentDirection in ("sendrecv", "sendonly")

    async def add_candidate(self, candidate: RTCIceCandidate) -> None:
        """Add an address of the caller's; one too many or too late is ignored."""
        await self._ice.add_remote_candidate(candidate_to_aioice(candidate))

    def say(self, text: str) -> bool:
        """Send a message on the data channel; False if the peer reads too slowly or is gone."""
        channel = self._data_channel
        if channel is None or channel.readyState != "open":
            return False
        if channel.bufferedAmount > self.MAX_BUFFERED:
            return False
        try:
            channel.send(text)
        except (ValueError, InvalidStateError) as fault:
            logger.warning("a message was not sent on the data channel: %s", fault)
        return True

    def network(self) -> Network:
        """What is known of the call's packets so far."""
        voice = self._voice
        heard = Network(voice.received, voice.lost, voice.jitter)
        for report in vars(self._transceiver.sender)["_RTCRtpSender__stats"].values():
            if isinstance(report, RTCRemoteInboundRtpStreamStats):
                return replace(
                    heard,
                    sent_received=report.packetsReceived,
                    sent_lost=report.packetsLost,
                    sent_jitter=report.jitter / TICK_RATE,
                    round_trip=report.roundTripTime,
                )
        return heard

    async def drain(self) -> None:
        """Wait until all messages have left; the caller sets the deadline."""
        channel = self._data_channel
        if channel is not None and channel.readyState == "open" and channel.bufferedAmount:
            drained = asyncio.Event()
            channel.on("bufferedamountlow", drained.set)
            channel.on("close", drained.set)
            await drained.wait()

    async def close(self) -> None:
        """Release everything; harmless when called twice."""
        self._voice.stop()
        try:
            await asyncio.wait_for(self._connection.close(), CLOSE_TIMEOUT)
        except TimeoutError:
            logger.warning("a WebRTC connection did not close within %s s", CLOSE_TIMEOUT)
        await self._ice.close()

    def _replace_parts(self) -> None:
        """Replace aiortc's receiver and ICE connection by ours."""
        transceiver = self._transceiver
        opus = [c for c in transceiver.sender.getCapabilities("audio").codecs if c.name == "opus"]
        transceiver.setCodecPreferences(opus)
        dtls = transceiver.receiver.transport
        _replace(transceiver, "_RTCRtpTransceiver__receiver", _Receiver(self._voice, dtls))
        transceiver.receiver._set_rtcp_ssrc(transceiver.sender._ssrc)
        _replace(transceiver, "_bundled", True)
        transport = dtls.transport
        _replace(transport.iceGatherer, "_connection", self._ice)
        _replace(transport, "_connection", self._ice)
        _replace(transport, "_recv", self._ice.recv)
        _replace(transport, "_send", self._ice.send)
        _replace(transceiver.sender, "_run_rtp", self._send_voice)
        self._note_reports(transceiver.sender)

    def _note_reports(self, sender: Any) -> None:
        """Have ``reach`` know which packets of voice the peer says it has received."""
        handle = sender._handle_rtcp_packet

        async def noted(packet: Any) -> None:
            if isinstance(packet, RtcpRrPacket | RtcpSrPacket) and self._voice_sender is not None:
                for report in packet.reports:
                    if report.ssrc == sender._ssrc:
                        left = self._voice_sender.left_at(report.highest_sequence & 0xFFFF)
                        self.reach.reported(left, asyncio.get_running_loop().time())
            await handle(packet)

        _replace(sender, "_handle_rtcp_packet", noted)

    async def _send_voice(self, codec: Any) -> None:
        """Takes the place of the sender's own task: sends the track until it is cancelled."""
        sender, stopped = self._transceiver.sender, asyncio.Event()
        dtls, own = sender.transport, _Private(sender, "RTCRtpSender")
        profile, extension = own["rtp_header_extensions_map"].set(HeaderExtensions(mid=own["mid"]))
        if extension:
            extension = struct.pack("!HH", profile, len(extension) // 4) + extension

        def send(packet: bytes, timestamp: int, size: int) -> None:
            try:
                if dtls._state is not State.CONNECTED:
                    raise ConnectionError("the connection is closed")
                self._ice.send_media(dtls._tx_srtp.protect(packet))
            except (ConnectionError, pylibsrtp.Error) as fault:
                logger.debug("the voice of a WebRTC call ends: %s", fault)
                stopped.set()
                return
            own["ntp_timestamp"], own["rtp_timestamp"] = clock.current_ntp_time(), timestamp
            own["octet_count"] += size
            own["packet_count"] += 1

        voice = VoiceSender(self._track, send, codec.payloadType, sender._ssrc, extension)
        self._voice_sender = voice
        own["rtp_started"].set()
        try:
            voice.start()
            await stopped.wait()
        except asyncio.CancelledError:
            pass  # so the sender stops its task, and waits for the event
        finally:
            voice.stop()
            self._track.stop()
            own["rtp_exited"].set()

    def _take_media(self, data: bytes) -> None:
        """Decrypt a packet of media and pass it to the voice; one that is forged is dropped."""
        try:
            plain = self._transceiver.receiver.transport._rx_srtp.unprotect(data)
        except pylibsrtp.Error:
            return
        self.reach.sign(asyncio.get_running_loop().time())
        packet = VoicePacket.read(plain)
        if packet is not None:
            self._voice.take(packet)

    def _guard_messages(self) -> None:
        """In aiortc a text message that is not UTF-8, or a malformed request for a channel, raises
        and ends the whole connection. Here the message is passed on as bytes, to be refused, and
        the request is dropped."""
        transport = self._connection.sctp
        if transport is None:
            return
        receive = transport._data_channel_receive

        async def guarded(stream_id: int, pp_id: int, data: bytes) -> None:
            try:
                await receive(stream_id, pp_id, data)
            except (ValueError, AssertionError, struct.error) as fault:
                logger.info("a data channel sent something unreadable: %s", type(fault).__name__)
                if pp_id == WEBRTC_STRING:
                    self._channel.on_message(data)

        _replace(transport, "_data_channel_receive", guarded)

    def _on_state(self) -> None:
        state = self._connection.connectionState
        if state == "connected":
            self._ice.on_media = self._take_media
            self.reach.connected(asyncio.get_running_loop().time())
            self._channel.on_connected()
        elif state in ("failed", "closed"):
            self._on_end(f"connection {state}")

    def _on_data_channel(self, channel: Any) -> None:
        if channel.label != self._label or self._data_channel is not None:
            channel.close()
            return
        self._data_channel = channel
        channel.on("message", self._channel.on_message)
        channel.on("close", lambda: self._on_end("data channel closed"))
        self._channel.on_open()

    def _on_end(self, reason: str) -> None:
        # Without consent all transports close, in any order, as if the peer had left.
        self._channel.on_gone("connection failed" if self._ice.consent_expired else reason)


class _Private:
    """The private attributes of an object of aiortc's, which must exist."""

    def __init__(self, owner: object, kind: str) -> None:
        self._members, self._prefix = vars(owner), f"_{kind}__"

    def __getitem__(self, name: str) -> Any:
        return self._members[self._prefix + name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._members[self._prefix + name] = value


class _Receiver:
    """What aiortc's transports and peer connection expect of an RTCRtpReceiver."""

    def __init__(self, voice: VoiceReceiver, transport: Any) -> None:
        self.transport = transport
        self._voice = voice
        self._enabled = True
        self._track: Any = None
        self._rtcp_ssrc = 0
        self._reports: asyncio.Task[None] | None = None

    @property
    def track(self) -> Any:
        """aiortc's remote track; never fed."""
        return self._track

    def setTransport(self, transport: Any) -> None:  # noqa: N802 - aiortc's name
        """Use another transport."""
        self.transport = transport

    def _set_rtcp_ssrc(self, ssrc: int) -> None:
        self._rtcp_ssrc = ssrc

    async def receive(self, parameters: Any) -> None:
        """Start receiving."""
        if self._reports is None:
            self.transport._register_rtp_receiver(self, parameters)
            self._voice.start(frozenset(codec.payloadType for codec in parameters.codecs))
            self._reports = asyncio.create_task(self._send_reports())

    async def stop(self) -> None:
        """Stop for good."""
        self._voice.stop()
        if self._reports is not None:
            self.transport._unregister_rtp_receiver(self)
            self._reports.cancel()
            await asyncio.gather(self._reports, return_exceptions=True)

    def _handle_disconnect(self) -> None:
        self._voice.stop()

    async def _handle_rtp_packet(self, packet: Any, arrival_time_ms: int) -> None:  # noqa: ARG002
        if self._enabled:
            self._voice.take(packet)

    async def _handle_rtcp_packet(self, packet: Any) -> None:
        self._voice.take_report(packet)

    async def _send_reports(self) -> None:
        while True:
            await asyncio.sleep(report_pause())
            report = self._voice.report(self._rtcp_ssrc)
            if report is not None:
                try:
                    await self.transport._send_rtp(report)
                except ConnectionError:
                    return


def _replace(owner: object, name: str, value: object) -> None:
    """Set an attribute of aiortc's internals, which must exist already."""
    if not hasattr(owner, name):
        raise RuntimeError(
            f"aiortc {aiortc.__version__} has no {type(owner).__name__}.{name}: "
            f"this server is written for {TESTED_AIORTC}"
        )
    setattr(owner, name, value)


def _ice_servers(settings: IceSettings) -> list[RTCIceServer]:
    servers = []
    if settings.stun_server is not None:
        servers.append(RTCIceServer(settings.stun_server))
    if settings.turn_server is not None:
        turn = settings.turn_server
        servers.append(RTCIceServer(turn.url, *turn_login(turn, time.time())))
    return servers
