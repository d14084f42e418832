"""What sessions see of a WebRTC call, and every bound of it."""

import asyncio
import json

import pytest

from gateway.channels.webrtc import WebRTCChannel
from gateway.channels.webrtc.channel import (
    MAX_AUDIO_SECONDS,
    MAX_EARLY_EVENTS,
    MAX_MESSAGE_BYTES,
    MAX_MESSAGES,
)
from gateway.channels.webrtc.offer import check_offer
from sessions.channel import Channel, Piece
from sessions.core.config import SessionConfig
from tests.support.gateway.webrtc_client import LOOPBACK
from tests.support.paths import CHROMIUM_OFFER

CHROMIUM = CHROMIUM_OFFER.read_bytes().decode()


class Line:
    """Stands for the peer: notes what is said, and can stop reading."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.reads = True

    def say(self, text: str) -> bool:
        self.said.append(text)
        return self.reads

    async def drain(self) -> None:
        if not self.reads:
            await asyncio.Event().wait()

    async def close(self) -> None:
        self.said.append("closed")


@pytest.fixture
async def channel():
    made = WebRTCChannel(LOOPBACK)
    yield made
    await made.close("test is over")


@pytest.fixture
async def line(channel):
    real, channel._peer = channel._peer, Line()
    yield channel._peer
    await real.close()


async def collect(channel: WebRTCChannel, count: int) -> list[object]:
    found: list[object] = []
    async with asyncio.timeout(2):
        async for item in channel.incoming():
            found.append(item)
            if len(found) == count:
                break
    return found


async def test_it_implements_the_channel_protocol(channel):
    as_protocol: Channel = channel
    assert (as_protocol.name, as_protocol.input_rate) == ("webrtc", 16_000)
    as_protocol.configure(SessionConfig())
    assert as_protocol.played() == 0


async def test_audio_and_messages_come_in_their_order(channel):
    channel.on_audio(b"aa")
    channel.on_message('{"type": "x"}')
    channel.on_audio(b"bb")
    assert await collect(channel, 3) == [b"aa", {"type": "x"}, b"bb"]


@pytest.mark.parametrize(
    "message", ["{", "[]", '"x"', b"\xff\xfe", "[" * 100_000, "x" * (MAX_MESSAGE_BYTES + 1)]
)
async def test_a_message_that_is_not_an_event_gets_an_error_and_the_call_continues(
    channel, line, message
):
    channel.on_open()
    channel.on_message(message)
    code = json.loads(line.said[0])["error"]["code"]
    assert code in ("invalid_json", "invalid_event")
    assert channel.closed_reason is None


async def test_events_wait_for_the_data_channel_within_a_bound(channel, line):
    for number in range(MAX_EARLY_EVENTS + 5):
        channel.send({"n": number})
    assert line.said == []
    channel.on_open()
    assert len(line.said) == MAX_EARLY_EVENTS
    assert line.said[-1] == f'{{"n":{MAX_EARLY_EVENTS + 4}}}'
    channel.send({"text": "ü"})
    assert line.said[-1] == '{"text":"ü"}'


async def test_a_client_that_does_not_read_is_closed(channel, line):
    channel.on_open()
    line.reads = False
    channel.send({"n": 1})
    await channel.close("later")
    assert channel.closed_reason == "client does not read its events"
    assert line.said[-1] == "closed"


async def test_a_client_that_floods_messages_is_closed(channel, line):
    for _ in range(MAX_MESSAGES + 1):
        channel.on_message("{}")
    assert channel.closed_reason == "client sends faster than it can be served"
    assert len(await collect(channel, MAX_MESSAGES + 1)) == MAX_MESSAGES


async def test_the_oldest_unread_audio_is_dropped_but_no_message(channel):
    channel.on_message('{"type": "kept"}')
    for number in range(MAX_AUDIO_SECONDS * 50 + 10):
        channel.on_audio(bytes([number % 251]) * 640)
    items = await collect(channel, MAX_AUDIO_SECONDS * 50 + 1)
    assert items[0] == {"type": "kept"}
    assert items[1] == bytes([10]) * 640


async def test_a_playout_that_nobody_paces_is_closed(channel, line):
    for _ in range(31):
        channel.play(Piece("r", "i", bytes(48_000)))
    assert channel.closed_reason == "playout queue is full"


async def test_incoming_ends_when_the_peer_is_gone(channel):
    reader = asyncio.create_task(collect(channel, 99))
    await asyncio.sleep(0)
    channel.on_gone("peer left")
    channel.on_gone("second reason")
    channel.on_audio(b"late")
    channel.on_message("{}")
    channel.send({"type": "late"})
    assert await reader == []
    assert channel.closed_reason == "peer left"


async def test_an_unfinished_handshake_is_closed():
    reasons: list[str] = []
    channel = WebRTCChannel(LOOPBACK, handshake_timeout=0.1, on_closed=reasons.append)
    await channel.answer(check_offer(CHROMIUM))
    assert await collect(channel, 1) == []
    assert reasons == ["handshake timed out"]
    await channel.close("again")
    assert reasons == ["handshake timed out"]
