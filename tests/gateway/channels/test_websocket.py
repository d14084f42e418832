"""The WebSocket channel against real sockets: audio both ways, bad input, slow and lost peers."""

import asyncio
import base64
import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, cast

import pytest
from websockets.exceptions import ConnectionClosed

from gateway.channels import message_socket, websocket
from gateway.channels.websocket import LIMITS, WebSocketChannel
from media import g711
from media.formats import AudioFormat, Encoding
from sessions.channel import ClientFault
from sessions.speech.call_input import CallInput
from tests.support.gateway.http_support import EchoCall, TestServer
from tests.support.gateway.memory_websocket import until
from tests.support.gateway.realtime_client import RealtimeClient

TONE = struct.pack("<2400h", *([0, 8000, 0, -8000] * 600))


@pytest.fixture
async def server() -> AsyncIterator[TestServer]:
    async with TestServer().running() as running:
        yield running


def client(server: TestServer, **options: Any) -> RealtimeClient:
    return RealtimeClient(server.ws_url, server.keys.add(), **options)


async def only_call(server: TestServer) -> EchoCall:
    (call,) = server.host.calls.values()
    return call


@pytest.mark.parametrize("binary", [False, True])
async def test_audio_goes_both_ways(server: TestServer, binary: bool) -> None:
    async with client(server, binary=binary) as caller:
        await caller.wait_for("session.created")
        await caller.send_audio(TONE)
        await caller.send({"type": "response.create"})
        await caller.wait_for("response.done")
        assert caller.pcm == TONE
        assert caller.connection.subprotocol == ("blab.binary.v1" if binary else "realtime")
        deltas = caller.of("response.output_audio.delta")
        assert bool(deltas) is not binary
        assert all(
            delta.keys() >= {"event_id", "response_id", "item_id", "output_index", "content_index"}
            for delta in deltas
        )
    assert await caller.wait_closed() == (1000, "")


@pytest.mark.parametrize(
    ("kind", "encode"), [("audio/pcmu", g711.encode_ulaw), ("audio/pcma", g711.encode_alaw)]
)
async def test_g711_is_pcm_inside(server: TestServer, kind: str, encode: Any) -> None:
    async with client(server) as caller:
        form = {"format": {"type": kind}}
        session = {"type": "realtime", "audio": {"input": form, "output": form}}
        await caller.send({"type": "session.update", "session": session})
        await caller.wait_for("session.updated")
        sent = encode(TONE)
        await caller.send_audio(sent)
        await caller.send({"type": "response.create"})
        await caller.wait_for("response.done")
        assert caller.pcm == sent
        call = await only_call(server)
        assert len(call.heard) == 2 * len(sent)
        assert call.channel.input_rate == call.channel.output_rate == 8000


def append(audio: Any) -> dict[str, Any]:
    return {"type": "input_audio_buffer.append", "event_id": "mine", "audio": audio}


@pytest.mark.parametrize(
    ("message", "code", "event_id"),
    [
        ("{not json", "invalid_json", None),
        ("[" * 50_000, "invalid_json", None),
        ("[]", "invalid_event", None),
        (
            '{"type": "session.update", "session": {"instructions": "\\ud800"}}',
            "invalid_json",
            None,
        ),
        (json.dumps({"type": "dance", "event_id": "mine"}), "unknown_event", "mine"),
        (json.dumps(append("%%%")), "invalid_base64", "mine"),
        (json.dumps(append("AAA")), "invalid_base64", "mine"),
        (json.dumps(append("AA==")), "invalid_audio", "mine"),
        (json.dumps(append(7)), "invalid_type", "mine"),
        (json.dumps(append(None)), "missing_required_parameter", "mine"),
        (b"\0\0", "unexpected_binary", None),
    ],
)
async def test_bad_input_is_answered_and_the_call_goes_on(
    server: TestServer, message: str | bytes, code: str, event_id: str | None
) -> None:
    async with client(server) as neighbour, client(server) as caller:
        await caller.connection.send(message)
        error = (await caller.wait_for("error"))["error"]
        assert (error["type"], error["code"]) == ("invalid_request_error", code)
        assert error["event_id"] == event_id
        await caller.send({"type": "response.create"})
        await caller.wait_for("response.done")
        assert not neighbour.of("error")


async def test_an_odd_binary_frame_is_an_error(server: TestServer) -> None:
    async with client(server, binary=True) as caller:
        await caller.connection.send(b"\0\0\0")
        assert (await caller.wait_for("error"))["error"]["code"] == "invalid_audio"


async def test_a_file_sent_at_once_is_heard_completely(server: TestServer) -> None:
    pcm = bytes(range(256)) * 40_000  # 10 MB, 213 s
    async with client(server) as caller, client(server) as neighbour:
        await caller.send_audio(pcm)
        await neighbour.send({"type": "response.create"})
        await neighbour.wait_for("response.done", seconds=2)
        await caller.send({"type": "input_audio_buffer.commit"})
        await caller.wait_for("input_audio_buffer.committed")
        call = next(c for c in server.host.calls.values() if c.heard)
        assert call.heard == pcm


@pytest.mark.slow
async def test_a_flood_of_faults_is_slowed_and_delays_no_other_call(
    server: TestServer,
) -> None:
    async with client(server) as flood, client(server) as neighbour:
        for _ in range(2000):
            await flood.connection.send("{")
        await neighbour.send({"type": "response.create"})
        await neighbour.wait_for("response.done", seconds=2)
        await flood.until(lambda: len(flood.of("error")) >= 200)
        assert len(flood.of("error")) < 1000


async def test_a_message_beyond_the_limit_ends_the_call_with_1009(server: TestServer) -> None:
    async with client(server, binary=True) as caller:
        with suppress(ConnectionClosed):
            await caller.connection.send(bytes(LIMITS.max_message_bytes + 2))
        code, _ = await caller.wait_closed()
        assert code in (1009, 1006)
    await server.host.until_empty()


async def test_a_reader_too_slow_is_closed() -> None:
    limits = replace(LIMITS, grace_seconds=0.2)
    async with TestServer(limits=limits).running() as server, client(server, binary=True) as caller:
        await caller.wait_for("session.created")
        call = await only_call(server)
        caller.connection.transport.pause_reading()
        for _ in range(700):
            call.tell_audio(bytes(19_200))
        await server.host.until_empty()
        assert server.host.ended[-1][1] == "peer_gone"
        caller.connection.transport.resume_reading()


async def test_a_peer_that_vanishes_is_disconnected() -> None:
    limits = replace(LIMITS, quiet_seconds=0.1, pong_seconds=0.1)
    async with TestServer(limits=limits).running() as server, client(server) as caller:
        await caller.wait_for("session.created")
        caller.connection.transport.pause_reading()
        await server.host.until_empty(3)
        caller.connection.transport.resume_reading()


async def test_a_clients_ping_is_answered(server: TestServer) -> None:
    async with client(server) as caller:
        await asyncio.wait_for(await caller.connection.ping(b"hello"), 5)


async def test_the_server_closes_with_a_reason(server: TestServer) -> None:
    async with client(server) as caller:
        await caller.wait_for("session.created")
        (await only_call(server)).hang_up("server_shutdown")
        assert await caller.wait_closed() == (1001, "server_shutdown")


async def test_a_reset_connection_ends_the_call(server: TestServer) -> None:
    async with client(server) as caller:
        await caller.wait_for("session.created")
        sock: socket.socket = caller.connection.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        caller.connection.transport.abort()
        await server.host.until_empty()


UPDATE = {"type": "session.update", "session": {"type": "realtime"}}


class Taker:
    """Stands for a session's input."""

    def __init__(self, heard: bytearray) -> None:
        self.heard = heard
        self.ready = True
        self.taken = 0

    def take(self, pcm: bytes) -> None:
        self.heard += pcm
        self.taken += 1


def holds(call: EchoCall, size: int) -> bool:
    return len(call.heard) == size


@pytest.mark.parametrize("binary", [False, True])
async def test_audio_in_real_time_is_pushed_in_order(server: TestServer, binary: bool) -> None:
    async with client(server, binary=binary) as caller:
        await caller.wait_for("session.created")
        call = await only_call(server)
        assert isinstance(call.channel, WebSocketChannel)
        taker, sent = Taker(call.heard), b""
        call.channel.push_to(cast(CallInput, taker))
        for number in range(12):
            taker.ready = number % 3 != 2
            pcm = bytes([number]) * 960
            sent += pcm
            await caller.send_audio(pcm)
            if number % 2:
                await until(partial(holds, call, len(sent)))
            await caller.send(UPDATE)
            await caller.wait_for("session.updated", count=number + 1)
        await caller.send({"type": "response.create"})
        await caller.wait_for("response.done")
        assert caller.pcm == sent
        assert 4 <= taker.taken <= 8


@pytest.mark.parametrize("audio", ["%%%", "AAA", "AA==", 7, None, ""])
async def test_audio_that_cannot_be_taken_is_not_pushed(server: TestServer, audio: Any) -> None:
    async with client(server) as caller:
        await caller.wait_for("session.created")
        call = await only_call(server)
        assert isinstance(call.channel, WebSocketChannel)
        taker = Taker(call.heard)
        call.channel.push_to(cast(CallInput, taker))
        for message in (append(audio), UPDATE, append("AAAA")):
            await caller.send(message)
            await caller.send(UPDATE)
        await caller.wait_for("session.updated", count=4)
        assert len(caller.of("error")) == (2 if audio != "" else 1)
        assert taker.taken == 0


async def test_flush_drops_unsent_audio(
    server: TestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(message_socket, "_WRITE_THROUGH_BYTES", -1)  # nothing is taken at once
    async with client(server) as caller:
        await caller.wait_for("session.created")
        call = await only_call(server)
        call.tell_audio(TONE)
        call.tell_audio(TONE)
        call.channel.flush()
        call.channel.send({"type": "blab.test", "event_id": "e"})
        await caller.wait_for("blab.test")
        assert caller.pcm == b""


async def test_long_base64_is_decoded_in_slices() -> None:
    pcm = bytes(range(250)) * 4000
    text = base64.b64encode(pcm).decode()
    assert await websocket._decode(text) == pcm
    with pytest.raises(ClientFault):
        await websocket._decode(text[:262_140] + "AA==" + text)


async def test_long_g711_becomes_pcm_in_slices() -> None:
    sent = bytes(range(256)) * 4000 + b"\x00"
    form = AudioFormat(Encoding.PCMU, 8000)
    assert await websocket._as_pcm(sent, form) == g711.decode_ulaw(sent)
    with pytest.raises(ClientFault):
        await websocket._as_pcm(bytes(1_000_001), AudioFormat())


async def test_a_message_of_too_many_values_is_not_decoded(server: TestServer) -> None:
    async with RealtimeClient(server.ws_url, server.keys.add()) as caller:
        many = '{"type": "input_audio_buffer.append", "audio": "", "x": [' + "{}," * 4_000_000
        await caller.connection.send(many + "1]}")
        error = (await caller.wait_for("error"))["error"]
        assert error["code"] == "too_many_values"
        await caller.send({"type": "session.update", "session": {"type": "realtime"}})
        await caller.wait_for("session.updated")
