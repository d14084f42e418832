"""The track keeps the clock, counts sent audio and drops unsent audio."""

import asyncio

import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamError
from aiortc.rtp import RtpPacket

from gateway.channels.webrtc.voice import (
    FRAME_TICKS,
    MAX_QUEUED_MS,
    SETTLE_FRAMES,
    TAIL_PATIENCE,
    VoiceSender,
    VoiceTrack,
)
from media.opus import OpusDecoder
from tests.support.sessions.virtual_clock import run

RATE = 24_000
FRAME = RATE // 50 * 2


class Clock:
    """Stands for the loop's time and for sleeping in the track."""

    def __init__(self, track: VoiceTrack, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 50.0
        self.wakes_late = 0.0
        track._now = lambda: self.now
        monkeypatch.setattr("gateway.channels.webrtc.voice.asyncio.sleep", self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.now += seconds + self.wakes_late


@pytest.fixture
async def track():
    made = VoiceTrack(RATE)
    yield made
    made.stop()


@pytest.fixture
async def clock(track, monkeypatch):
    return Clock(track, monkeypatch)


def tone(samples: int) -> bytes:
    return (9000 * np.sin(np.arange(samples) / 12)).astype("<i2").tobytes()


async def test_packets_keep_the_clock_however_late_the_loop_wakes(track, clock):
    clock.wakes_late = 0.007
    packets = [await track.recv() for _ in range(101)]
    assert [packet.pts for packet in packets] == [n * FRAME_TICKS for n in range(101)]
    assert clock.now == pytest.approx(50 + 100 * 0.02 + 0.007)


async def test_a_short_stall_is_caught_up_and_a_long_one_skipped(track, clock):
    await track.recv()
    clock.now += 0.09
    times = []
    for _ in range(6):
        await track.recv()
        times.append(clock.now)
    assert times[-1] == pytest.approx(50 + 6 * 0.02)
    clock.now += 1.0
    packet = await track.recv()
    assert packet.pts / 48_000 == pytest.approx(clock.now - 50, abs=0.03)


async def test_played_counts_sent_samples(track, clock):
    assert track.play(tone(1_000))
    assert track.played() == 0
    await track.recv()
    await track.recv()
    assert track.played() == 960
    for _ in range(TAIL_PATIENCE + 1):
        await track.recv()
    assert track.played() == 1_000


async def test_the_end_of_a_piece_waits_a_moment_for_the_next(track, clock):
    track.play(tone(500))
    await track.recv()
    await track.recv()
    assert track.played() == 480
    track.play(memoryview(tone(460)))
    await track.recv()
    assert track.played() == 960


async def test_flush_takes_effect_with_the_next_packet(track, clock):
    decoder = OpusDecoder(RATE)
    track.play(tone(48_000))
    for _ in range(5):
        decoder.decode(bytes(await track.recv()))
    track.flush()
    assert track.played() == 5 * 480
    heard = [decoder.decode(bytes(await track.recv())) for _ in range(4)]
    assert np.abs(np.frombuffer(heard[0], "<i2")[200:]).max() < 3_000
    assert np.abs(np.frombuffer(heard[-1], "<i2")).max() < 100
    assert track.played() == 5 * 480


async def test_audio_is_heard_in_order(track, clock):
    decoder = OpusDecoder(RATE)
    pcm = tone(4_800)
    for at in range(0, len(pcm), 700):
        track.play(pcm[at : at + 700])
    heard = b"".join([decoder.decode(bytes(await track.recv())) for _ in range(10)])
    a, b = (np.frombuffer(x, "<i2").astype(float)[960:4000] for x in (pcm, heard))
    assert max(np.corrcoef(a[:2_800], b[k : k + 2_800])[0, 1] for k in range(240)) > 0.95


async def test_silence_becomes_one_small_packet(track, clock):
    packets = [bytes(await track.recv()) for _ in range(5)]
    assert len(set(packets)) == 1
    track.play(bytes(FRAME))
    after = [bytes(await track.recv()) for _ in range(SETTLE_FRAMES + 3)]
    assert after[-1] == after[-2] == packets[0]
    decoder = OpusDecoder(RATE)
    assert not np.frombuffer(decoder.decode(packets[0]), "<i2").any()


async def test_the_queue_is_bounded(track):
    room = RATE * MAX_QUEUED_MS // 1000 * 2
    assert track.play(bytes(room))
    assert not track.play(b"ab")
    track.flush()
    assert track.play(b"ab")


async def test_a_stopped_track_sends_nothing(track):
    track.stop()
    with pytest.raises(MediaStreamError):
        await asyncio.wait_for(track.recv(), 1)


def test_the_sender_puts_a_packet_on_the_wire_every_20_ms_until_it_is_stopped():
    async def send() -> list[tuple[float, RtpPacket, int, int]]:
        loop, sent = asyncio.get_running_loop(), []

        def take(packet: bytes, timestamp: int, size: int) -> None:
            sent.append((loop.time(), RtpPacket.parse(packet), timestamp, size))

        began = loop.time()
        sender = VoiceSender(VoiceTrack(RATE), take, 111, 77, b"\xbe\xde\x00\x01\x10\x30\x00\x00")
        sender.start()
        await asyncio.sleep(0.19)
        sender.stop()
        await asyncio.sleep(0.1)
        return [(at - began, packet, timestamp, size) for at, packet, timestamp, size in sent]

    sent = run(send())
    assert [at for at, *_ in sent] == pytest.approx([n * 0.02 for n in range(10)])
    first = sent[0][1]
    for number, (_, packet, timestamp, size) in enumerate(sent):
        assert (packet.payload_type, packet.ssrc, packet.marker) == (111, 77, 1)
        assert packet.sequence_number == (first.sequence_number + number) % 2**16
        assert packet.timestamp == timestamp == (first.timestamp + number * FRAME_TICKS) % 2**32
        assert len(packet.payload) == size > 0
