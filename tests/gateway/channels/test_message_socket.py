"""The socket under the channels: its queue, its pings, its pace, and how it ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any, cast

import pytest
from aiohttp import WSMessage, WSMsgType
from hypothesis import given
from hypothesis import strategies as st

from gateway.channels.message_socket import Limits, MessageSocket, Pace
from gateway.channels.outbox import framed
from tests.support.gateway.memory_websocket import Socket, until

LIMITS = Limits(max_message_bytes=1000, messages_a_second=1e6, messages_at_once=1000)


@asynccontextmanager
async def opened(
    socket: Socket, limits: Limits = LIMITS, **options: Any
) -> AsyncIterator[MessageSocket]:
    made = MessageSocket(cast(Any, socket), cast(Any, socket), limits, name="test", **options)
    async with made:
        yield made


async def test_queued_messages_leave_in_order_before_the_close() -> None:
    socket, left = Socket(), []
    async with opened(socket, sent_all=lambda: left.append(len(socket.sent))) as messages:
        messages.send(b'{"event": "one"}')
        messages.send(b"two", binary=True)
        messages.send(b"3", written=lambda payload: b'{"event": "%b"}' % payload)
        await messages.wait_sent()
        assert socket.kinds() == ["one", "binary", "3"]
        await messages.close("server_shutdown", "words" * 40)
        await messages.close("ended")
    assert left == [3]
    assert socket.close_code == 1001


async def test_audio_can_be_taken_back_until_it_leaves() -> None:
    socket = Socket()
    async with opened(socket) as messages:
        messages.send(b'{"event": "audio"}', audio=True)
        messages.send(b'{"event": "text"}')
        messages.drop_audio()
        await messages.wait_sent()
    assert socket.kinds() == ["text"]


async def test_a_quiet_peer_that_answers_pings_stays() -> None:
    socket = Socket()

    def pinged(times: int) -> bool:
        return socket.pings == times

    async with opened(socket, replace(LIMITS, quiet_seconds=0.005)) as messages:
        reading = asyncio.create_task(messages.receive())
        for pings in range(1, 5):
            await until(partial(pinged, pings))
            socket.say(b"", WSMsgType.PONG)
        socket.say(b"hello", WSMsgType.BINARY)
        assert await reading == (True, b"hello")
        assert not messages.given_up


async def test_a_quiet_peer_that_answers_nothing_is_cut_off() -> None:
    socket, limits = Socket(), replace(LIMITS, quiet_seconds=0.005, pong_seconds=0.005)
    async with opened(socket, limits) as messages:
        assert await messages.receive() is None
        assert socket.aborted.is_set()
    assert socket.pings == 1


async def test_receive_times_out_so_that_a_channel_can_check_its_clocks() -> None:
    socket = Socket()
    async with opened(socket, replace(LIMITS, look_seconds=0.005)) as messages:
        with pytest.raises(TimeoutError):
            await messages.receive()
        socket.say("hello")
        assert await messages.receive() == (False, b'"hello"')
    assert socket.pings == 0


async def test_a_peer_that_reads_too_slowly_is_closed_and_cut_off() -> None:
    socket, limits = Socket(), replace(LIMITS, grace_seconds=0.01, max_queued=2)
    socket.open.clear()
    async with opened(socket, limits, slow_words="too slow") as messages:
        messages.send(b'{"event": "1"}')
        await until(lambda: socket.held_up)
        for _ in range(3):
            messages.send(b'{"event": "2"}')
        assert messages.given_up
        await asyncio.wait_for(socket.aborted.wait(), 5)
        assert await messages.receive() is None


async def test_a_peer_that_is_closed_gets_the_reason() -> None:
    socket = Socket()
    async with opened(socket, close_codes={"malformed": 1008}) as messages:
        messages.send(b'{"event": "1"}')
        messages.give_up("malformed")
        await until(lambda: socket.closed)
    assert (socket.close_code, socket.sent) == (1008, [])


async def test_a_closed_connection_is_the_end() -> None:
    socket = Socket()
    async with opened(socket) as messages:
        socket.inbox.put_nowait(WSMessage(WSMsgType.CLOSE, 1000, None))
        assert await messages.receive() is None


def test_a_burst_passes_and_then_the_rate_holds() -> None:
    pace = Pace(10, 5)
    assert [pace.delay(100.0) for _ in range(5)] == [0.0] * 5
    assert pace.delay(100.0) == 0.1
    assert pace.delay(200.0) == 0.0


def test_what_is_left_of_a_burst() -> None:
    pace = Pace(10, 5)
    assert pace.left(100.0) == (5, 5, 0.0)
    for _ in range(6):
        pace.delay(100.0)
    assert pace.left(100.0) == (5, 0, 0.6)
    assert pace.left(200.0) == (5, 5, 0.0)


@given(pauses=st.lists(st.floats(0, 2), max_size=60))
def test_a_sender_that_waits_the_given_time_never_exceeds_the_rate(pauses: list[float]) -> None:
    pace, now = Pace(10, 5), 0.0
    for taken, pause in enumerate(pauses, start=1):
        now += pause
        assert taken <= 5 + now * 10 + 1.001
        now += pace.delay(now)


class Transport(Socket):
    """The transport under a WebSocket that takes whole frames, too."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.unsent = 0

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def write(self, data: bytes) -> None:
        self.written.append(data)


async def test_frames_are_written_through_while_nothing_waits_and_the_peer_keeps_up() -> None:
    socket = Transport()
    async with opened(socket) as messages:
        assert messages.write_through(framed([b"one", b"two"]))
        socket.open.clear()
        messages.send(b'{"event": "queued"}')
        assert not messages.write_through(b"not before what waits")
        socket.open.set()
        await messages.wait_sent()
        socket.unsent = 40_000
        assert not messages.write_through(b"not to a slow peer")
        socket.unsent = 100
        assert messages.write_through(framed([b"x"], binary=True))
        await messages.close("ended")
        assert not messages.write_through(b"not behind the close")
    assert socket.written == [b"\x81\x03one\x81\x03two", b"\x82\x01x"]


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65_535, 65_536])
def test_a_frame_has_the_head_that_its_length_needs(length: int) -> None:
    frame = framed([b"x" * length])
    size = 2 if length < 126 else 4 if length < 65_536 else 10
    assert len(frame) == size + length
    short = frame[1]
    assert short < 128, "a server's frames are not masked"
    written = {126: frame[2:4], 127: frame[2:10]}.get(short)
    assert (short if written is None else int.from_bytes(written, "big")) == length
