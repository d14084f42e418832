"""RTP in, a gapless count of samples out; loss concealed, floods and garbage dropped."""

import asyncio

import numpy as np
import pytest
import uvloop
from aiortc.rtp import RtcpByePacket, RtcpPacket, RtcpSenderInfo, RtcpSrPacket, RtpPacket
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.channels.webrtc.voice import MAX_AHEAD, MAX_STREAMS, VoicePacket, VoiceReceiver
from media.opus import OpusEncoder
from tests.support.examples import examples

RATE = 16_000
OPUS = 111


class Line:
    """A receiver with what it delivered, fed by a sender of a tone."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.arrived = asyncio.Event()
        self.receiver = VoiceReceiver(self.deliver, RATE)
        self.receiver.start(frozenset({OPUS}))
        encoder = OpusEncoder(RATE)
        wave = (8000 * np.sin(np.arange(RATE * 3) / 8)).astype("<i2").tobytes()
        self.packets = [encoder.encode(wave[i : i + 640]) for i in range(0, len(wave), 640)]

    def deliver(self, pcm: bytes) -> None:
        self.pieces.append(pcm)
        self.arrived.set()

    def send(self, number: int, ssrc: int = 1, payload: bytes | None = None, kind: int = OPUS):
        packet = RtpPacket(payload_type=kind, sequence_number=number, timestamp=number * 960)
        packet.ssrc = ssrc
        packet.payload = self.packets[number % 150] if payload is None else payload
        self.receiver.take(packet)

    async def wait_for(self, samples: int) -> None:
        """Return when so many samples have been delivered."""
        async with asyncio.timeout(2):
            while self.samples < samples:
                self.arrived.clear()
                await self.arrived.wait()

    @property
    def samples(self) -> int:
        return sum(map(len, self.pieces)) // 2


@pytest.fixture
async def line():
    made = Line()
    yield made
    made.receiver.stop()


async def test_a_packet_is_heard_in_the_call_that_brings_it(line):
    for number in range(50):
        line.send(number)
        assert line.samples == (number + 1) * 320


async def test_loss_keeps_the_count_and_the_voice(line):
    for number in range(50):
        if number not in (20, 31, 32):
            line.send(number)
    await line.wait_for(50 * 320)
    assert line.samples == 50 * 320
    assert line.receiver.lost == 3
    heard = np.frombuffer(b"".join(line.pieces), "<i2").astype(float)
    assert heard[20 * 320 : 21 * 320].std() > 3_000
    assert heard[31 * 320 : 32 * 320].std() > 3_000


async def test_garbage_and_foreign_payloads_are_dropped(line):
    line.send(0)
    line.send(1, payload=b"\x03\xff\xff\xff")
    line.send(2, payload=b"")
    line.send(3, kind=0)
    assert line.samples == 320
    assert line.receiver.dropped == 1


async def test_a_flood_is_cut_to_real_time(line):
    for number in range(5_000):
        line.send(number)
    assert line.samples / RATE <= MAX_AHEAD + 0.5
    assert line.receiver.dropped > 4_000


async def test_a_new_source_begins_anew_and_sources_are_bounded(line):
    line.send(10, ssrc=1)
    line.send(9_000, ssrc=2)
    assert line.samples == 640
    for ssrc in range(3, 100):
        line.send(1, ssrc=ssrc)
    assert line.samples == 320 * MAX_STREAMS


async def test_silence_fills_the_time_without_packets(line):
    line.send(0)
    await line.wait_for(320 + 3_200)
    assert not any(line.pieces[-1])


async def test_a_frozen_network_makes_the_stream_longer_only_until_the_next_pause(line):
    quiet = OpusEncoder(RATE).encode(bytes(640))
    line.send(0)
    await line.wait_for(320 + 4_000)
    for number in range(1, 60):
        line.send(number, payload=None if number < 10 else quiet)
    assert line.samples == 60 * 320


async def test_a_stopped_receiver_is_silent(line):
    line.send(0)
    line.receiver.stop()
    line.send(1)
    line.receiver.stop()
    assert line.samples == 320


async def test_reports_tell_the_caller_of_loss(line):
    assert line.receiver.report(7) is None
    for number in range(0, 40, 2):
        line.send(number)
    sender = RtcpSenderInfo(
        ntp_timestamp=0x1234_5678_9ABC_DEF0, rtp_timestamp=0, packet_count=20, octet_count=900
    )
    line.receiver.take_report(RtcpSrPacket(ssrc=1, sender_info=sender))
    (packet,) = RtcpPacket.parse(line.receiver.report(7))
    (report,) = packet.reports
    assert (packet.ssrc, report.ssrc, report.lsr) == (7, 1, 0x5678_9ABC)
    assert report.packets_lost == 19
    assert report.fraction_lost == pytest.approx(256 * 19 / 39, abs=1)
    line.receiver.take_report(RtcpByePacket(sources=[1]))
    assert line.receiver.report(7) is None


def test_a_packet_that_is_overdue_does_not_stop_the_ones_behind_it(monkeypatch):
    """uvloop's handle for a moment that is past does not know the moment."""

    async def arm_twice() -> None:
        line, past = Line(), asyncio.get_running_loop().time() - 1
        monkeypatch.setattr(line.receiver._buffer, "deadline", lambda: past)
        line.receiver._arm()
        assert not hasattr(line.receiver._timer, "when")
        line.receiver._arm()
        line.receiver.stop()

    uvloop.run(arm_twice())


@settings(max_examples=examples(200))
@given(st.binary(max_size=80))
def test_any_datagram_is_read_as_aiortc_reads_it(data):
    try:
        true = RtpPacket.parse(data)
    except ValueError:
        true = None
    read = VoicePacket.read(data)
    if true is None:
        return  # what aiortc refuses may pass here as a packet without a payload of use
    assert read is not None
    names = ("payload_type", "sequence_number", "timestamp", "ssrc", "payload")
    assert [getattr(read, name) for name in names] == [getattr(true, name) for name in names]


@pytest.mark.parametrize("data", [b"", bytes(11), b"\x8f" + bytes(20), b"\x40" + bytes(20)])
def test_what_is_cut_short_or_of_another_version_is_no_packet(data):
    assert VoicePacket.read(data) is None
