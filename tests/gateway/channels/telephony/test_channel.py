"""The telephony channel on an in-memory socket: frames, marks, clear, peers that stall."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, cast

import pytest
from aiohttp import WSMsgType

from gateway.channels.telephony.carrier import (
    Answer,
    Carrier,
    Heard,
    Message,
    Started,
    Stopped,
    StreamEvent,
    StreamFormat,
    WireFault,
)
from gateway.channels.telephony.channel import (
    LIMITS,
    MOST_KEYS,
    KeyGather,
    NeverStarted,
    Patience,
    TelephonyChannel,
)
from gateway.channels.telephony.exotel import Exotel
from gateway.channels.telephony.facts import ANSWER, KEYS
from gateway.channels.telephony.media_stream import MediaStream
from gateway.channels.telephony.twilio import Twilio
from pipelines.engines.scripted.live import tone
from sessions.channel import Piece
from sessions.core.config import SessionConfig
from sessions.core.events import AddItem, ClearOutput, KeyPressed, RequestReply
from tests.support.gateway.memory_websocket import Socket, until

RATE = 8_000
STREAM = "MZ1"
FAST = replace(LIMITS, look_seconds=0.005, quiet_seconds=0.02, pong_seconds=0.005)


def clock() -> float:
    return 1_700_000_000.5


class Plain(Carrier):
    """A carrier of binary audio that returns no marks, answers pings and says goodbye."""

    name = "plain"

    def __init__(self) -> None:
        super().__init__(StreamFormat("l16", RATE))

    def parse(self, message: Message) -> list[StreamEvent]:
        match message:
            case bytes():
                return [Heard(message)]
            case '"start"':
                return [Started("s", "c", "", StreamFormat("l16", RATE))]
            case '"start and audio"':
                return [Started("s", "c", "", StreamFormat("l16", RATE)), Heard(b"\1\2")]
            case '"stop"':
                return [Stopped()]
            case '"ping"':
                return [Answer('{"event": "answer"}')]
        raise WireFault("unknown")

    def media(self, pcm: bytes) -> Message:
        return pcm

    def clear(self) -> Message:
        return '{"event": "clear"}'

    def hang_up(self, reason: str) -> Message:
        return json.dumps({"event": "hang_up", "reason": reason})


@asynccontextmanager
async def channel_on(
    socket: Socket,
    carrier: type[MediaStream] = Twilio,
    parameters: dict[str, str] | None = None,
    **bounds: Any,
) -> AsyncIterator[TelephonyChannel]:
    made = TelephonyChannel(cast(Any, socket), cast(Any, socket), carrier(), clock, **bounds)
    async with made as channel:
        names = carrier.names
        start: dict[str, Any] = {names.stream_id: STREAM, names.call_id: "CA1"}
        start[names.parameters] = parameters or {}
        socket.say({"event": "start", "start": start, names.stream_id: STREAM})
        assert (await channel.started()).call_id == "CA1"
        yield channel


class Taker:
    """Stands for a session's input."""

    def __init__(self) -> None:
        self.ready = True
        self.heard = b""

    def take(self, pcm: bytes) -> None:
        self.heard += pcm


def said(text: str, **members: Any) -> bytes:
    return json.dumps({"event": text, "streamSid": STREAM, **members}).encode()


MEDIA = said("media", media={"payload": base64.b64encode(bytes(range(160))).decode()})


async def test_only_messages_that_are_nothing_but_audio_are_pushed() -> None:
    async with channel_on(Socket()) as channel:
        taker = Taker()
        assert not channel._pushed(False, MEDIA)
        channel.push_to(cast(Any, taker))
        assert channel._pushed(False, MEDIA)
        assert len(taker.heard) == 320
        assert channel._pushed(False, said("media", media={"payload": "", "track": "outbound"}))
        assert not channel._pushed(False, said("mark", mark={"name": "blab-1"}))
        assert not channel._pushed(False, said("media", media={"payload": "%"}))
        assert not channel._pushed(True, MEDIA)
        taker.ready = False
        assert not channel._pushed(False, MEDIA)
        assert len(taker.heard) == 320


async def test_where_keys_are_gathered_nothing_is_pushed() -> None:
    async with channel_on(Socket(), parameters={KEYS: ANSWER}) as channel:
        channel.push_to(cast(Any, Taker()))
        assert not channel._pushed(False, MEDIA)


async def test_a_flood_of_messages_is_not_pushed() -> None:
    limits = replace(LIMITS, messages_at_once=3, messages_a_second=0.001)
    async with channel_on(Socket(), limits=limits) as channel:
        channel.push_to(cast(Any, Taker()))
        assert [channel._pushed(False, MEDIA) for _ in range(4)] == [True, True, False, False]


def piece(milliseconds: float) -> Piece:
    return Piece("resp_1", "item_1", tone(440, int(milliseconds * 8), RATE))


async def hear(channel: TelephonyChannel, socket: Socket, *messages: Any) -> list[Any]:
    """What the channel makes of the messages, then ``stop``."""
    for message in (*messages, {"event": "stop"}):
        socket.say(message)
    return await _drain(channel)


async def _drain(channel: TelephonyChannel) -> list[Any]:
    return [item async for item in channel.incoming()]


@asynccontextmanager
async def read(channel: TelephonyChannel, socket: Socket) -> AsyncIterator[Callable[..., Any]]:
    """The session reads; what is given lets marks come back and waits until they were taken."""
    reading = asyncio.create_task(_drain(channel))

    async def returned(*names: str) -> None:
        for name in names:
            socket.say({"event": "mark", "mark": {"name": name}})
        pings = socket.kinds().count("pong")
        socket.say(b"", WSMsgType.PING)
        await until(lambda: socket.kinds().count("pong") > pings)

    yield returned
    socket.say({"event": "stop"})
    assert await reading == []


async def test_frames_of_20_ms_and_a_mark_every_100_and_at_the_end() -> None:
    socket = Socket()
    async with channel_on(socket) as channel, read(channel, socket) as returned:
        for _ in range(6):
            channel.play(piece(20))
        await until(lambda: socket.own_kinds() == ["media"] * 5 + ["mark", "media", "mark"])
        assert {len(audio) for audio in socket.audio()} == {160}
        assert all(message["streamSid"] == STREAM for message in socket.sent)
        assert channel.played() == 0
        await returned("blab-1")
        assert channel.played() == 800
        await returned("blab-2", "blab-7", "theirs")
        assert channel.played() == 960


async def test_less_than_a_frame_waits_for_more() -> None:
    socket = Socket()
    async with channel_on(socket) as channel:
        for _ in range(4):
            channel.play(piece(15))
        await until(lambda: socket.kinds().count("media") == 3)
        assert {len(audio) for audio in socket.audio()} == {160}


async def test_the_last_frame_is_padded_once_the_rest_was_played() -> None:
    socket = Socket()
    async with channel_on(socket) as channel, read(channel, socket) as returned:
        channel.play(piece(25))
        await until(lambda: socket.own_kinds() == ["media", "mark"])
        await returned("blab-1")
        await until(lambda: socket.own_kinds() == ["media", "mark"] * 2)
        assert socket.audio()[1][40:] == b"\xff" * 120
        await returned("blab-2")
        assert channel.played() == 200, "silence is not speech"


async def test_a_reply_shorter_than_a_frame_is_played() -> None:
    socket = Socket()
    async with channel_on(socket) as channel:
        channel.play(piece(5))
        await until(lambda: socket.kinds() == ["media", "mark"])
        assert socket.audio()[0][40:] == b"\xff" * 120


async def test_a_carrier_has_its_own_frames() -> None:
    socket = Socket()
    async with channel_on(socket, Exotel) as channel:
        channel.play(piece(200))
        await until(lambda: socket.kinds() == ["media", "mark"] * 2)
        assert socket.audio()[0] == piece(100).pcm


async def test_flush_drops_queued_audio_and_sends_clear_first() -> None:
    socket = Socket()
    async with channel_on(socket) as channel, read(channel, socket) as returned:
        channel.play(piece(100))
        await until(lambda: socket.own_kinds() == ["media"] * 5 + ["mark"])
        await returned("blab-1")
        channel.play(piece(130))
        channel.flush()
        channel.play(piece(20))
        await until(lambda: socket.own_kinds()[-1] == "mark" and "clear" in socket.own_kinds())
        assert socket.own_kinds()[6:] == ["clear", "media", "mark"]
        assert channel.played() == 800
        await returned("blab-2")
        assert channel.played() == 800, "a cleared mark"
        await returned("blab-3")
        assert channel.played() == 960


async def test_nothing_is_cleared_if_everything_was_heard() -> None:
    socket = Socket()
    async with channel_on(socket) as channel, read(channel, socket) as returned:
        channel.flush()
        channel.play(piece(20))
        await until(lambda: socket.own_kinds() == ["media", "mark"])
        await returned("blab-1")
        channel.flush()
        channel.configure(SessionConfig())
        channel.send({"type": "session.updated"})
        channel.play(piece(20))
        await until(lambda: socket.own_kinds() == ["media", "mark"] * 2)


async def test_keys_come_with_their_time_and_in_order_with_the_voice() -> None:
    socket = Socket()
    payload = base64.b64encode(b"\x80" * 160).decode()
    media = {"event": "media", "media": {"payload": payload}}
    async with channel_on(socket) as channel:
        heard = await hear(channel, socket, media, {"event": "dtmf", "dtmf": {"digit": "#"}}, media)
    assert [len(one) if isinstance(one, bytes) else one for one in heard] == [
        320,
        KeyPressed("#", 1_700_000_000),
        320,
    ]


async def test_keys_can_count_as_the_callers_words() -> None:
    socket, patience = Socket(), Patience(key=0.0)
    options = {"parameters": {"blab_keys": "answer"}, "patience": patience}
    async with channel_on(socket, **options) as channel:
        heard = await hear(channel, socket, {"event": "dtmf", "dtmf": {"digit": "4"}}, [])
    assert heard == [
        KeyPressed("4", 1_700_000_000),
        ClearOutput(),
        AddItem("user", "(I pressed 4 on my telephone.)"),
        RequestReply(),
    ]


async def test_what_came_with_the_start_is_heard() -> None:
    socket = Socket()
    async with TelephonyChannel(socket, socket, Plain()) as channel:
        socket.say("start and audio")
        await channel.started()
        socket.say(b"\3\4", WSMsgType.BINARY)
        socket.say("stop")
        assert await _drain(channel) == [b"\1\2", b"\3\4"]


async def test_a_stream_that_stops_before_it_starts_is_over_at_once() -> None:
    socket = Socket()
    async with TelephonyChannel(socket, socket, Plain()) as channel, asyncio.timeout(2):
        socket.say("stop")
        with pytest.raises(NeverStarted, match="peer_gone"):
            await channel.started()


async def test_a_carrier_without_marks_and_json() -> None:
    socket = Socket()
    made = TelephonyChannel(socket, socket, Plain())
    async with made as channel:
        channel.play(piece(20))  # before the start: nothing can be written yet
        socket.say("start")
        assert (await channel.started()).call_id == "c"
        reading = asyncio.create_task(_drain(channel))
        socket.say(b"\1\2" * 160, WSMsgType.BINARY)
        socket.say("ping")
        await until(lambda: socket.kinds() == ["answer"])
        for _ in range(3):
            channel.play(piece(15))
        await until(lambda: socket.kinds() == ["answer"] + ["binary"] * 2)
        assert channel.played() is None
        await until(lambda: len(socket.sent) == 4)  # the last 5 ms, once the rest was played
        assert socket.sent[3]["payload"][80:] == bytes(240)
        channel.play(piece(20))
        channel.flush()
        await until(lambda: socket.kinds()[4:] == ["clear"])
        channel.flush()
        socket.say(b"", WSMsgType.CLOSE)
        assert await reading == [b"\1\2" * 160]
        await channel.close("ended")
    assert socket.sent[5:] == [{"event": "hang_up", "reason": "ended"}]


async def test_pings_are_answered_and_binary_is_a_fault() -> None:
    socket = Socket()
    async with channel_on(socket) as channel:
        socket.say(b"x", WSMsgType.PING)
        socket.say(b"x", WSMsgType.PONG)
        socket.say(b"x", WSMsgType.BINARY)
        assert await hear(channel, socket, []) == []
        await until(lambda: socket.kinds() == ["pong"])


async def test_a_silent_peer_is_pinged_and_then_closed() -> None:
    socket = Socket()
    async with channel_on(socket, limits=FAST) as channel:
        assert [item async for item in channel.incoming()] == []
        assert socket.pings == 1
        assert socket.aborted.is_set()


async def test_a_peer_that_plays_nothing_is_closed() -> None:
    socket = Socket()
    limits = replace(LIMITS, look_seconds=0.005)
    async with channel_on(socket, limits=limits, patience=Patience(stall=0.02)) as channel:
        channel.play(piece(100))
        async with asyncio.timeout(2):
            assert [item async for item in channel.incoming()] == []
    assert socket.close_code == 1013


async def test_a_peer_that_reads_nothing_is_cut_off() -> None:
    socket = Socket()
    socket.open.clear()
    async with channel_on(socket, limits=replace(LIMITS, grace_seconds=0.02)) as channel:
        channel.play(piece(20))
        await until(lambda: socket.held_up)
        for _ in range(600):
            channel.play(piece(20))
        assert [item async for item in channel.incoming()] == []
    assert socket.aborted.is_set()


async def test_a_stream_of_faults_is_closed() -> None:
    few = Patience(faults=3)
    socket = Socket()
    async with channel_on(socket, patience=few) as channel:
        assert await hear(channel, socket, 1, 2, 3) == []
    assert socket.close_code == 1008
    socket = Socket()
    made = TelephonyChannel(cast(Any, socket), cast(Any, socket), Twilio(), patience=few)
    async with made as channel:
        for _ in range(3):
            socket.say([])
        with pytest.raises(NeverStarted) as caught:
            await channel.started()
        assert caught.value.reason == "malformed"


async def test_a_peer_that_leaves_before_start() -> None:
    socket = Socket()
    made = TelephonyChannel(socket, None, Twilio())
    async with made as channel:
        channel.play(piece(20))
        socket.say(b"", WSMsgType.CLOSE)
        with pytest.raises(NeverStarted) as caught:
            await channel.started()
        assert caught.value.reason == "peer_gone"
    assert socket.sent == []


async def test_closing_says_why_once() -> None:
    socket = Socket()
    async with channel_on(socket) as channel:
        await channel.close("server_shutdown")
        await channel.close("ended")
    assert socket.close_code == 1001


def test_a_hash_ends_gathered_keys() -> None:
    keys = KeyGather()
    assert [keys.press(digit, 0.0) for digit in "17#2#"] == [None, None, "17#", None, "2#"]


def test_a_pause_ends_gathered_keys() -> None:
    keys = KeyGather()
    assert keys.due(100.0) is None
    keys.press("1", 10.0)
    keys.press("2", 10.0 + 2.0 / 2)
    assert keys.due(10.0 + 2.0) is None
    assert keys.due(10.0 + 2.0 * 1.5) == "12"
    assert keys.due(100.0) is None


def test_the_number_of_gathered_keys_is_bounded() -> None:
    keys = KeyGather()
    answers = [keys.press("1", 0.0) for _ in range(MOST_KEYS + 1)]
    assert answers == [None] * (MOST_KEYS - 1) + ["1" * MOST_KEYS, None]
