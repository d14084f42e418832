"""Voice over RTP: the agent's track (``VoiceTrack``) and the caller's stream (``VoiceReceiver``).

Sending: PCM16 in, one Opus packet every 20 ms out, on the clock. The track encodes mono voice
itself, one frame at the moment it is due, and nothing that ``flush`` should take back has been
encoded before. ``VoiceSender`` puts it on the wire. While nobody speaks, silence goes out, so that
the caller's jitter buffer stays warm.
- Packet ``n`` is due at ``start + n * 20 ms``; lateness is made up, never accumulated. After a
  stall longer than ``MAX_CATCH_UP`` the lost time is skipped in the timestamps too: the caller
  hears a gap, not a permanent delay.
- ``played`` counts samples of ``play`` whose packet has been handed to the network.
- The queue is bounded by ``MAX_QUEUED_MS``; ``play`` says whether there was room.

Receiving: RTP packets in, PCM16 out, in the same call of the event loop. This replaces aiortc's
receiver (80 ms of buffering, a thread per call, a stall of 320 ms per lost packet). Packets go
through ``media.jitter`` and are decoded where they arrive: about 30 µs for 20 ms, cheaper than a
hand-off to a thread or to a task.
- The output is gapless in time: what was lost is concealed, what was not sent is silence. When the
  network froze and then brought everything, pauses are shortened until the count is right again.
- Audio more than ``MAX_AHEAD`` seconds ahead of real time is a flood and dropped (a token bucket).
- Reports (RTCP RR, RFC 3550) are sent so that the caller's encoder learns of loss and adds
  redundancy.
"""

import asyncio
import math
import random
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from aiortc.rtcrtpreceiver import StreamStatistics
from aiortc.rtp import (
    RtcpByePacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpSrPacket,
)

from media.formats import SAMPLE_BYTES, samples_of
from media.jitter import Bridge, Frame, JitterBuffer, Lost, Received
from media.opus import TICK_RATE, OpusDecoder, OpusEncoder, OpusError, packet_ticks

FRAME_MS = 20
FRAME_TICKS = TICK_RATE * FRAME_MS // 1000
MAX_CATCH_UP = 0.1
"""Seconds of lateness that are made up by sending faster."""
MAX_QUEUED_MS = 30_000
TAIL_PATIENCE = 2
"""Frames that an incomplete last frame of a reply waits for more samples."""
SETTLE_FRAMES = 10
"""Frames of silence that are really encoded after speech, so that it can decay."""
QUIET_PACKET = bytes.fromhex("f8fffe")
"""Sent after those: 20 ms of digital silence (CELT, full band, mono), always the same."""

KEPT_FRAMES = 1024
"""Frames of which it is known when they left: 20 s of speech, longer than ICE needs to notice that
a peer is gone."""

_TIME_BASE = Fraction(1, TICK_RATE)


class VoiceTrack(MediaStreamTrack):
    """A call's one audio track; aiortc's sender pulls packets from it."""

    kind = "audio"

    def __init__(self, rate: int) -> None:
        super().__init__()
        self._now = asyncio.get_running_loop().time
        self._encoder = OpusEncoder(rate)
        self._frame_bytes = samples_of(FRAME_MS, rate) * SAMPLE_BYTES
        self._silence = bytes(self._frame_bytes)
        self._room = samples_of(MAX_QUEUED_MS, rate) * SAMPLE_BYTES
        self._queue: deque[memoryview] = deque()
        self._queued = 0
        self._waited = 0
        self._quiet_frames = SETTLE_FRAMES
        self._due: float | None = None
        self._ticks = 0
        self._played = 0
        self._left: deque[tuple[float, int]] = deque(maxlen=KEPT_FRAMES)
        """When each of the last frames of speech left, and how many samples had left then."""

    def play(self, pcm: bytes | memoryview) -> bool:
        """Queue samples; False, with nothing queued, if there is no room."""
        if self._queued + len(pcm) > self._room:
            return False
        if len(pcm):
            self._queue.append(memoryview(pcm))
            self._queued += len(pcm)
        return True

    def flush(self) -> None:
        """Drop what has not been sent."""
        self._queue.clear()
        self._queued = 0
        self._waited = 0

    def played(self) -> int:
        """Samples sent of those that ``play`` took and ``flush`` did not drop."""
        return self._played

    def played_before(self, moment: float) -> int:
        """Of these, the samples that had left before ``moment`` (the loop's time)."""
        for left, played in reversed(self._left):
            if left < moment:
                return played
        return self._left[0][1] if len(self._left) == KEPT_FRAMES else 0

    async def recv(self) -> "av.Packet[Any]":
        """The next packet, when it is due; for senders of aiortc's."""
        if self.readyState != "live":
            raise MediaStreamError
        await self._wait()
        ticks, payload = self.next_packet()
        packet = av.Packet(payload)
        packet.pts = ticks
        packet.time_base = _TIME_BASE
        return packet

    async def _wait(self) -> None:
        early = self.next_due() - self._now()
        if early > 0:
            await asyncio.sleep(early)

    def next_due(self) -> float:
        """When the next packet is due (the loop's time); the past, if it is late."""
        now = self._now()
        if self._due is None:
            self._due = now
        late = now - self._due
        if late > MAX_CATCH_UP:
            skipped = int(late * 1000) // FRAME_MS
            self._ticks += skipped * FRAME_TICKS
            self._due += skipped * FRAME_MS / 1000
        return self._due

    def next_packet(self) -> tuple[int, bytes]:
        """The timestamp (ticks) and the payload of the packet that is due."""
        payload, ticks = self._next_payload(), self._ticks
        self._ticks += FRAME_TICKS
        self._due = self.next_due() + FRAME_MS / 1000
        return ticks, payload

    def _next_payload(self) -> bytes:
        frame = self._next_frame()
        if frame is not None:
            self._quiet_frames = 0
            return self._encoder.encode(frame)
        if self._quiet_frames < SETTLE_FRAMES:
            self._quiet_frames += 1
            return self._encoder.encode(self._silence)
        if self._quiet_frames == SETTLE_FRAMES:
            self._quiet_frames += 1
            self._encoder.reset()  # the change of coding mode resets the caller's decoder too
        return QUIET_PACKET

    def _next_frame(self) -> bytes | None:
        """The next frame of speech, or None if there is none (yet)."""
        if not self._queued:
            return None
        if self._queued < self._frame_bytes and self._waited < TAIL_PATIENCE:
            self._waited += 1
            return None
        self._waited = 0
        frame = bytearray()
        while self._queue and len(frame) < self._frame_bytes:
            piece = self._queue.popleft()
            room = self._frame_bytes - len(frame)
            frame += piece[:room]
            if len(piece) > room:
                self._queue.appendleft(piece[room:])
        self._queued -= len(frame)
        self._played += len(frame) // SAMPLE_BYTES
        self._left.append((self._now(), self._played))
        return bytes(frame) + self._silence[len(frame) :]


class VoiceSender:
    """Sends a track's packets as RTP, each when it is due: one timer, no task."""

    def __init__(
        self,
        track: VoiceTrack,
        send: Callable[[bytes, int, int], None],
        payload_type: int,
        ssrc: int,
        extension: bytes = b"",
    ) -> None:
        """``send`` gets a packet, its timestamp and the bytes of its payload. ``extension``: the
        header extension of every packet, its head included."""
        self._track, self._send = track, send
        self._loop = asyncio.get_running_loop()
        self._first = 0x90 if extension else 0x80
        self._second = 0x80 | payload_type  # a frame a packet: each is its frame's last
        self._ssrc, self._extension = ssrc, extension
        self._sequence = random.getrandbits(15)
        self._origin = random.getrandbits(32)
        self._sent_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def left_at(self, sequence: int) -> float:
        """About when the packet with that number left (the loop's time)."""
        behind = (self._sequence - 1 - sequence) & 0xFFFF
        return self._sent_at - behind * FRAME_MS / 1000

    def start(self) -> None:
        """Send the first packet now."""
        self._timer = self._loop.call_at(self._track.next_due(), self._send_next)

    def stop(self) -> None:
        """Send nothing more; harmless when called twice."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _send_next(self) -> None:
        ticks, payload = self._track.next_packet()
        timestamp = (self._origin + ticks) & 0xFFFF_FFFF
        head = _RTP_HEAD.pack(self._first, self._second, self._sequence, timestamp, self._ssrc)
        self._sequence = (self._sequence + 1) & 0xFFFF
        self._timer = self._loop.call_at(self._track.next_due(), self._send_next)
        self._sent_at = self._loop.time()
        self._send(head + self._extension + payload, timestamp, len(payload))


# ------------------------------------------------------------------ receiving


@dataclass(slots=True)
class VoicePacket:
    """An RTP packet as far as it matters here (RFC 3550, 5.1)."""

    payload_type: int
    sequence_number: int
    timestamp: int
    ssrc: int
    payload: bytes

    @classmethod
    def read(cls, data: bytes) -> "VoicePacket | None":
        """The packet in a decrypted datagram; None if it is none."""
        if len(data) < _RTP_HEAD.size:
            return None
        first, second, sequence, timestamp, ssrc = _RTP_HEAD.unpack_from(data)
        start, end = _RTP_HEAD.size + 4 * (first & 0x0F), len(data)
        if first & 0x10:
            start += 4 + 4 * int.from_bytes(data[start + 2 : start + 4])
        if first & 0x20:
            end -= data[-1]
        if first >> 6 != 2 or start > end:
            return None
        return cls(second & 0x7F, sequence, timestamp, ssrc, data[start:end])


_RTP_HEAD = struct.Struct("!BBHII")
MAX_AHEAD = 2.0
"""Seconds of audio that may arrive ahead of real time; more is dropped."""
MAX_STREAMS = 16
"""SSRCs accepted in one call; a browser rarely changes its SSRC."""
REPORT_INTERVAL = 1.0
PAUSE_DEPTH = 0.1
"""A packet is part of a pause if it is so much (-20 dB) weaker than the voice."""
VOICE_DECAY = 0.998
"""Per packet, of the strength that counts as the voice's: half after 7 s."""


class VoiceReceiver:
    """Receives the one audio stream of a call; ``deliver`` gets PCM16 mono at ``rate``."""

    def __init__(self, deliver: Callable[[bytes], None], rate: int) -> None:
        self._deliver = deliver
        self._rate = rate
        self._loop = asyncio.get_running_loop()
        self._buffer = JitterBuffer(TICK_RATE)
        self._decoder = OpusDecoder(rate)
        self._payload_types: frozenset[int] = frozenset()
        self._ssrc: int | None = None
        self._streams: dict[int, StreamStatistics] = {}
        self._senders: dict[int, tuple[int, float]] = {}
        self._allowance = MAX_AHEAD
        self._allowed_at = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._voice_strength = 0.0
        self._left_out = False
        self.dropped = 0
        """Packets refused: garbage, floods, foreign streams."""

    @property
    def lost(self) -> int:
        """Packets of the present stream that had to be concealed."""
        return self._buffer.lost

    @property
    def received(self) -> int:
        """Packets that arrived, of all streams."""
        return sum(stream.packets_received for stream in self._streams.values())

    @property
    def jitter(self) -> float | None:
        """Of the last stream's arrival (RFC 3550), in seconds; None before its first packet."""
        stream = next(reversed(self._streams.values()), None)
        return None if stream is None else stream.jitter / TICK_RATE

    def start(self, payload_types: frozenset[int]) -> None:
        """Accept packets with these payload types (Opus) from now on."""
        self._payload_types = payload_types

    def stop(self) -> None:
        """Deliver nothing more; harmless when called twice."""
        self._payload_types = frozenset()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def take(self, packet: VoicePacket) -> None:
        """Handle one RTP packet."""
        if packet.payload_type not in self._payload_types or not packet.payload:
            return
        now = self._loop.time()
        try:
            ticks = packet_ticks(packet.payload)
        except OpusError:
            self.dropped += 1
            return
        if not self._accept(packet.ssrc, ticks, now):
            self.dropped += 1
            return
        self._streams[packet.ssrc].add(packet)  # type: ignore[arg-type]  # of its numbers only
        self._release(
            self._buffer.push(packet.sequence_number, packet.timestamp, packet.payload, ticks, now)
        )

    def take_report(self, packet: Any) -> None:
        """Handle one RTCP packet that concerns the received stream."""
        if isinstance(packet, RtcpSrPacket) and packet.ssrc in self._streams:
            middle = (packet.sender_info.ntp_timestamp >> 16) & 0xFFFF_FFFF
            self._senders[packet.ssrc] = (middle, self._loop.time())
        elif isinstance(packet, RtcpByePacket) and self._ssrc in packet.sources:
            self._ssrc = None

    def report(self, own_ssrc: int) -> bytes | None:
        """The next receiver report, or None if there is nothing to report."""
        if self._ssrc is None or self._ssrc not in self._streams:
            return None
        statistics = self._streams[self._ssrc]
        middle, arrived = self._senders.get(self._ssrc, (0, 0.0))
        delay = int((self._loop.time() - arrived) * 65_536) if middle else 0
        information = RtcpReceiverInfo(
            ssrc=self._ssrc,
            fraction_lost=statistics.fraction_lost,
            packets_lost=statistics.packets_lost,
            highest_sequence=(statistics.cycles + (statistics.max_seq or 0)) & 0xFFFF_FFFF,
            jitter=statistics.jitter,
            lsr=middle,
            dlsr=min(delay, 0xFFFF_FFFF),
        )
        return bytes(RtcpRrPacket(ssrc=own_ssrc, reports=[information]))

    def _accept(self, ssrc: int, ticks: int, now: float) -> bool:
        """Whether the packet belongs to a stream we follow and is not part of a flood."""
        if ssrc not in self._streams:
            if len(self._streams) >= MAX_STREAMS:
                return False
            self._streams[ssrc] = StreamStatistics(TICK_RATE)
        if ssrc != self._ssrc:
            self._ssrc = ssrc
            self._buffer = JitterBuffer(TICK_RATE)
            self._decoder = OpusDecoder(self._rate)
        self._allowance = min(MAX_AHEAD, self._allowance + now - self._allowed_at)
        self._allowed_at = now
        if ticks > self._allowance * TICK_RATE:
            return False
        self._allowance -= ticks / TICK_RATE
        return True

    def _release(self, frames: list[Frame]) -> None:
        for frame in frames:
            pcm = self._pcm_of(frame)
            self._left_out = isinstance(frame, Received) and self._shortens_pause(frame, pcm)
            if self._left_out:
                self._buffer.repay(frame.ticks)
            elif pcm:
                self._deliver(pcm)
        self._arm()

    def _shortens_pause(self, frame: Received, pcm: bytes) -> bool:
        """Whether to leave the packet out: the stream has become too long, and this is a pause,
        of which at most every second packet is left out so that no gap arises."""
        samples = np.frombuffer(pcm, "<i2").astype(np.float32)
        strength = math.sqrt(float(samples @ samples) / max(1, len(samples)))
        self._voice_strength = max(strength, self._voice_strength * VOICE_DECAY)
        is_pause = strength < PAUSE_DEPTH * self._voice_strength
        return is_pause and not self._left_out and self._buffer.surplus >= frame.ticks

    def _pcm_of(self, frame: Frame) -> bytes:
        if isinstance(frame, Received):
            try:
                return self._decoder.decode(frame.payload)
            except OpusError:
                self.dropped += 1
                return self._decoder.conceal(self._samples(frame.ticks))
        if isinstance(frame, Lost | Bridge):
            samples = self._samples(frame.ticks)
            if isinstance(frame, Bridge) or frame.following is None:
                return self._decoder.conceal(samples)
            return self._decoder.recover(frame.following, samples)
        return bytes(2 * self._samples(frame.ticks))

    def _samples(self, ticks: int) -> int:
        return ticks * self._rate // TICK_RATE

    def _arm(self) -> None:
        """Set a timer for when the buffer next releases something without a packet arriving.

        A timer that is too early stays: packets push the deadline back all the time, and re-arming
        it for each of them would cost more than checking again."""
        deadline = self._buffer.deadline() if self._payload_types else None
        if deadline is None:
            return
        if self._timer is not None:
            if self._timer_at <= deadline:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._on_timer)
        self._timer_at = deadline  # uvloop's handle for a moment that is past does not know it

    def _on_timer(self) -> None:
        self._timer = None
        self._release(self._buffer.poll(self._loop.time()))


def report_pause() -> float:
    """Seconds until the next report, varied as RFC 3550 asks."""
    return REPORT_INTERVAL * random.uniform(0.5, 1.5)
