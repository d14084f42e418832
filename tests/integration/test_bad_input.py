"""Bad input over real sockets, against the real application: it is answered or ended with a
reason, is logged at most once and without content, and the call beside it notices nothing."""

import asyncio
import base64
import json
import logging
import socket
import struct
import time
from contextlib import suppress
from typing import Any

import aiohttp
import pytest
from aiortc.rtcsctptransport import WEBRTC_STRING
from websockets.exceptions import ConnectionClosed

from gateway.channels.websocket import MAX_MESSAGE_BYTES
from pipelines.engines.scripted.live import tone
from rest.accounts.keys import EphemeralKeys, Grant
from store.tenants.accounts import LOCAL_WORKSPACE
from store.tenants.agents import Agents
from tests.support.gateway.realtime_client import RealtimeClient
from tests.support.gateway.scripted_server import (
    HEARD,
    RATE,
    ScriptedServer,
    ask,
    assert_discreet,
    neighbour,
    refused,
    server,
    speak,
)
from tests.support.gateway.webrtc_client import Caller

__all__ = ["server"]

pytestmark = pytest.mark.alone


@pytest.fixture(autouse=True)
def _all_logs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def event(kind: str, **fields: Any) -> str:
    return json.dumps({"type": kind, "event_id": "mine", **fields})


def update(**session: Any) -> str:
    return event("session.update", session={"type": "realtime", **session})


def append(audio: Any) -> str:
    return event("input_audio_buffer.append", audio=audio)


def item(**fields: Any) -> str:
    return event("conversation.item.create", item=fields)


MALFORMED: list[tuple[str | bytes, str]] = [
    ("{not json", "invalid_json"),
    ("", "invalid_json"),
    ("nothing", "invalid_json"),
    ("[" * 100_000, "invalid_json"),
    ('{"type": "session.update", "session": {"instructions": "\\ud800"}}', "invalid_json"),
    ('{"\\udfff": 1}', "invalid_json"),
    (b'{"type": "session.update", "session": {"instructions": "\xff\xfe"}}', "invalid_json"),
    (b"\xce\xba\xe1\xbd\xb9\xed\xa0\x80edited", "invalid_json"),
    (b'{"\xc3": 1}', "invalid_json"),
    ("[]", "invalid_event"),
    ('"session.update"', "invalid_event"),
    ("7", "invalid_event"),
    ("null", "invalid_event"),
]
"""Not an event at all: nothing to refer to."""

WRONG: list[tuple[str, str]] = [
    (event("dance"), "unknown_event"),
    (event("response.done"), "unknown_event"),
    ('{"event_id": "mine"}', "missing_required_parameter"),
    ('{"event_id": "mine", "type": 7}', "invalid_type"),
    (event("session.update"), "missing_required_parameter"),
    (event("session.update", session=[]), "invalid_type"),
    (update(instructions=7), "invalid_type"),
    (update(surprise=1), "unknown_parameter"),
    (update(audio={"input": {"format": {"type": "audio/mp3"}}}), "invalid_value"),
    (update(audio={"output": {"format": {"type": "audio/pcm", "rate": 44100}}}), "invalid_value"),
    (update(audio={"output": {"speed": 99}}), "invalid_value"),
    (update(audio={"input": {"turn_detection": {"type": "telepathy"}}}), "invalid_value"),
    (append(7), "invalid_type"),
    (append(None), "missing_required_parameter"),
    (append("%%%"), "invalid_base64"),
    (append("AAA"), "invalid_base64"),
    (append("AA=="), "invalid_audio"),
    (append(base64.b64encode(bytes(9601)).decode()), "invalid_audio"),
    (event("input_audio_buffer.commit"), "input_audio_buffer_commit_empty"),
    (item(), "missing_required_parameter"),
    (item(type="message", role="wizard", content=[]), "invalid_value"),
    (event("conversation.item.delete", item_id="absent"), "item_not_found"),
    (event("conversation.item.retrieve", item_id=["x"]), "invalid_type"),
    (event("conversation.item.truncate", item_id="absent", audio_end_ms=0), "item_not_found"),
    (event("response.create", response={"max_output_tokens": -1}), "invalid_value"),
    (event("response.cancel"), "response_cancel_not_active"),
    (event("response.cancel", response_id=7), "invalid_type"),
    (event("response.cancel", response_id="absent"), "response_cancel_not_active"),
    (update(type="translation"), "invalid_value"),
    (update(type="transcription", voice="alloy"), "unknown_parameter"),
    (event("input_audio_buffer.commit", more=1), "unknown_parameter"),
    (event("input_audio_buffer.clear", item_id="x"), "unknown_parameter"),
    (event("output_audio_buffer.clear", response_id="x"), "unknown_parameter"),
    (item(type="message", role="user", content="x"), "invalid_type"),
    (item(type="message", role="user", content=[{"type": "input_image"}]), "unsupported_content"),
    (
        item(type="message", role="user", content=[{"type": "input_audio", "audio": 7}]),
        "invalid_type",
    ),
    (event("conversation.item.delete"), "missing_required_parameter"),
    (event("conversation.item.delete", item_id=7), "invalid_type"),
    (event("conversation.item.retrieve", item_id="absent"), "item_not_found"),
    (event("conversation.item.truncate", item_id="x"), "missing_required_parameter"),
    (
        event("conversation.item.truncate", item_id="x", content_index=1, audio_end_ms=0),
        "invalid_value",
    ),
    (event("response.create", response=[]), "invalid_type"),
    (event("response.create", response={"conversation": "some"}), "invalid_value"),
    (
        event("response.create", response={"input": [{"type": "item_reference", "id": "absent"}]}),
        "item_not_found",
    ),
]


@pytest.mark.parametrize("binary", [False, True])
async def test_faulty_messages_are_answered_one_by_one(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture, binary: bool
) -> None:
    raw = (bytes(3), "invalid_audio") if binary else (bytes(4), "unexpected_binary")
    async with neighbour(server), server.client(binary=binary) as caller:
        for count, (message, code) in enumerate([*MALFORMED, raw, *WRONG], 1):
            await caller.connection.send(message, text=(message, code) in MALFORMED or None)
            error = (await caller.wait_for("error", count=count))["error"]
            assert (error["code"], error["type"]) == (code, "invalid_request_error"), message[:99]
            assert error["message"]
            assert error["event_id"] == ("mine" if (message, code) in WRONG else None)
        await ask(caller)
        await speak(caller)
        await caller.wait_for("response.done", count=2)
        await caller.wait_for("conversation.item.input_audio_transcription.completed")
    await server.empty()
    assert_discreet(caplog, server.key, "telepathy", "surprise")


async def test_faulty_messages_over_webrtc_are_answered_one_by_one(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {"Authorization": f"Bearer {server.key}"}
    async with neighbour(server), Caller(server.calls_url, headers=headers) as caller:
        await caller.event("session.created")
        cases: list[tuple[str | bytes, str]] = [
            ("{not json", "invalid_json"),
            ("[]", "invalid_event"),
            (b"\xff\xfe", "invalid_json"),
            ('{"type": "\\ud800"}', "invalid_json"),
            (event("dance"), "unknown_event"),
            (update(instructions=7), "invalid_type"),
            (event("response.cancel"), "response_cancel_not_active"),
            (append("AAAA"), "unknown_event"),
        ]
        for count, (message, code) in enumerate(cases, 1):
            caller.channel.send(message)
            async with asyncio.timeout(5):
                while len(errors := [e for e in caller.events if e["type"] == "error"]) < count:
                    await asyncio.sleep(0.01)
            error = errors[-1]["error"]
            assert error["code"] == code
            assert error["event_id"] == ("mine" if "mine" in str(message) else None)
        wire = caller.channel.transport
        wire._data_channel_queue.append((caller.channel, WEBRTC_STRING, b"\xff\xfe"))
        await wire._data_channel_flush()
        async with asyncio.timeout(5):
            while len(errors := [e for e in caller.events if e["type"] == "error"]) <= len(cases):
                await asyncio.sleep(0.01)
        assert errors[-1]["error"]["code"] == "invalid_json"
        caller.channel.send(event("response.create"))
        await caller.event("response.done")
    await server.empty()
    assert_discreet(caplog, server.key)


# ---------------------------------------------------------------------------- too much


@pytest.mark.parametrize("binary", [False, True])
async def test_a_flood_at_100_times_real_time_delays_no_other_call(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture, binary: bool
) -> None:
    async with neighbour(server) as beside, server.client(binary=binary) as flood:
        await flood.wait_for("session.created")
        pcm = tone(440, RATE // 5, RATE)

        async def pour() -> None:
            with suppress(ConnectionClosed):
                for _ in range(300):
                    await flood.send_audio(pcm)
                    await asyncio.sleep(0.002)

        pouring = asyncio.create_task(pour())
        await flood.wait_for("input_audio_buffer.speech_started")
        for _ in range(3):
            await ask(beside, within=1.5)
        await speak(beside)
        await beside.wait_for("response.done", count=4, seconds=3)
        assert flood.closed is None
        pouring.cancel()
        await asyncio.gather(pouring, return_exceptions=True)
        reset(flood)
        await server_lets_go(server, but=1)
    assert_discreet(caplog, server.key)


def reset(caller: RealtimeClient) -> None:
    """Vanish, and with it all that the kernel has not sent yet."""
    connection: socket.socket = caller.connection.transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    caller.connection.transport.abort()


async def server_lets_go(server: ScriptedServer, *, but: int, within: float = 4.0) -> None:
    """Wait until no more than ``but`` slots are taken."""
    async with asyncio.timeout(within):
        while server.slots_taken > but:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("binary", [False, True])
async def test_a_10_mb_frame_is_heard_and_its_sender_may_hang_up(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture, binary: bool
) -> None:
    async with neighbour(server) as beside, server.client(binary=binary) as caller:
        await caller.wait_for("session.created")
        sending = asyncio.create_task(caller.send_audio(bytes(10_000_000)))
        await ask(beside, within=2)
        await sending
        assert caller.closed is None
        assert not caller.of("error")
        caller.connection.transport.abort()
        await server_lets_go(server, but=1)
    assert_discreet(caplog, server.key)


@pytest.mark.parametrize("binary", [False, True])
async def test_a_message_of_16_mb_ends_the_call_with_1009(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture, binary: bool
) -> None:
    async with neighbour(server), server.client(binary=binary) as caller:
        await caller.wait_for("session.created")
        size = MAX_MESSAGE_BYTES + 2
        with suppress(ConnectionClosed):
            await caller.connection.send(bytes(size) if binary else " " * size)
        code, _ = await caller.wait_closed()
        assert code in (1009, 1006)
        await server_lets_go(server, but=1)
    assert_discreet(caplog, server.key)


def push(port: int, sent: bytes, until: bytes) -> bytes:
    """Send everything at once, in a thread; what comes back as far as ``until``."""
    got = b""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        line.sendall(sent)
        while until not in got and (piece := line.recv(65_536)):
            got += piece
    return got


async def longest_turn(work: asyncio.Task[list[bytes]]) -> float:
    """CPU seconds of the event loop's longest turn while ``work`` is done in threads: what the
    machine does besides does not count."""
    longest, began = 0.0, time.thread_time()
    while not work.done():
        await asyncio.sleep(0)
        now = time.thread_time()
        longest, began = max(longest, now - began), now
    return longest


def message_of_14_mb(content: bytes) -> bytes:
    return b"\x81\xff" + struct.pack(">Q", len(content)) + bytes(4) + content


OBJECTS = b"[" + b"{}," * 4_600_000 + b"1]"
HUGE: dict[str, tuple[bytes, bytes, bytes]] = {
    "call: audio": (
        b"GET /v1/realtime",
        message_of_14_mb(append("A" * 14_000_000 + "%").encode()),
        b"invalid_base64",
    ),
    "call: objects": (b"GET /v1/realtime", message_of_14_mb(OBJECTS), b"too_many_values"),
    "body: text": (
        b"POST /api/agents",
        b'{"nmae": "%b"}' % (b"A" * 8_000_000),
        b"name is required",
    ),
    "body: objects": (b"POST /api/agents", OBJECTS[:8_000_000], b"more than 20000 values"),
}
"""Request line, what follows the head, and what is answered."""


@pytest.mark.parametrize("request_", HUGE)
async def test_huge_messages_at_once_delay_no_other_call(
    server: ScriptedServer, request_: str
) -> None:
    line, content, answer = HUGE[request_]
    head = line + b" HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + server.key.encode()
    if line.startswith(b"GET"):
        head += b"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13"
        head += b"\r\nSec-WebSocket-Key: " + base64.b64encode(bytes(16))
    else:
        head += b"\r\nContent-Type: application/json\r\nContent-Length: %d" % len(content)
    port = int(server.url.rpartition(":")[2])
    sent = head + b"\r\n\r\n" + content
    pushes = [asyncio.to_thread(push, port, sent, answer) for _ in range(5)]
    work = asyncio.ensure_future(asyncio.gather(*pushes))
    assert await longest_turn(work) < 0.05
    assert all(answer in got for got in await work)


async def test_a_flood_of_faults_is_held_back(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with neighbour(server) as beside, server.client() as flood:
        for _ in range(1000):
            await flood.connection.send("{")
        await ask(beside, within=1.5)
        await flood.until(lambda: len(flood.of("error")) >= 200)
        assert len(flood.of("error")) < 800
        reset(flood)
        await server_lets_go(server, but=1)
    assert_discreet(caplog, server.key)


# ---------------------------------------------------------------------------- peers that go


@pytest.mark.parametrize("binary", [False, True])
async def test_a_peer_that_vanishes_during_a_reply_frees_its_slot(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture, binary: bool
) -> None:
    server.engines.chat_model.answer = lambda _: "word " * 40
    async with server.client(binary=binary) as caller:
        await speak(caller)
        await caller.wait_for("response.output_audio_transcript.delta")
        caller.connection.transport.abort()
        await server_lets_go(server, but=0)
    assert_discreet(caplog, server.key)


async def test_a_peer_that_never_reads_is_closed(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with neighbour(server) as beside, server.client() as deaf:
        await deaf.wait_for("session.created")
        deaf.connection.transport.pause_reading()
        for _ in range(150):
            await deaf.connection.send(update(instructions="x" * 50_000))
        await ask(beside, within=2)
        await server_lets_go(server, but=1)
        deaf.connection.transport.abort()
    assert_discreet(caplog, server.key, "x" * 50)
    assert any("reads too slowly" in record.getMessage() for record in caplog.records)


# ---------------------------------------------------------------------------- before a call


async def test_bad_keys_and_agents_open_no_call(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    local_agent = (await Agents(server.database).ensure_default_agent(LOCAL_WORKSPACE)).id
    foreign_workspace = await server.foreign_workspace()
    foreign_agent = (await Agents(server.database).ensure_default_agent(foreign_workspace)).id
    foreign_key = await server.new_key(foreign_workspace)
    expired = (await _Expired(server).mint(Grant(LOCAL_WORKSPACE), 10)).value

    def bearer(key: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {key}"}

    async with neighbour(server):
        for headers in (
            bearer(expired),
            bearer("ek_" + "0" * 48),
            bearer("nonsense"),
            bearer(server.key[:-1]),
            bearer(server.key[:-1] + "!"),
            {"Authorization": "Basic eDp5"},
            {"Authorization": "Bearer " + "x" * 4000},
            {},
        ):
            status, code = await refused(server, headers=headers)
            assert (status, code.split("_")[-2:]) == (401, ["api", "key"])
        own = bearer(server.key)
        for query, key in (
            (f"agent_id={foreign_agent}", server.key),
            ("agent_id=x", server.key),
            (f"agent_id={local_agent}", foreign_key),
        ):
            assert await refused(server, query=query, headers=bearer(key)) == (
                404,
                "agent_not_found",
            )
        assert (await refused(server, query="model=" + "m" * 300, headers=own))[0] == 400
        other = own | {"Sec-WebSocket-Protocol": "chat, superchat"}
        assert await refused(server, headers=other) == (400, "unknown_subprotocol")
        page = own | {"Origin": "https://evil.example"}
        async with server.client(headers=page, key=None, checked=False) as readable:
            error = (await readable.wait_for("error"))["error"]
            assert error["code"] == "foreign_origin"
            assert (await readable.wait_closed())[0] == 1008
        async with aiohttp.ClientSession() as http, http.get(f"{server.url}/v1/realtime") as plain:
            assert plain.status == 426
        assert server.slots_taken == 1
    assert_discreet(caplog, server.key, foreign_key, expired, at_most=0)


class _Expired(EphemeralKeys):
    """Mints keys that are over as soon as they are made."""

    def __init__(self, server: ScriptedServer) -> None:
        super().__init__(self)
        self._real = server.bus

    async def put(self, key: str, value: bytes, ttl: float) -> None:
        await self._real.put(key, value, 0.001)
        async with asyncio.timeout(2):
            while await self._real.get(key) is not None:
                await asyncio.sleep(0.001)

    async def get(self, key: str) -> bytes | None:
        return await self._real.get(key)


GARBAGE: list[tuple[bytes, str, int]] = [
    (b"", "application/sdp", 400),
    (b"hello", "application/sdp", 400),
    (b"\xff\xfe\x00", "application/sdp", 400),
    (b"v=0\r\n" + b"a=" * 500, "application/sdp", 400),
    (b"v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nm=audio 9 X 111\r\n", "application/sdp", 400),
    (b"v=0\r\n" * 60_000, "application/sdp", 413),
    (b"{}", "application/json", 415),
    (b"--x\r\nbroken", "multipart/form-data; boundary=x", 400),
    (b"broken", "multipart/form-data", 400),
]


async def test_sdp_garbage_is_refused_and_takes_no_slot(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {"Authorization": f"Bearer {server.key}"}
    async with neighbour(server), aiohttp.ClientSession() as http:
        for body, kind, status in GARBAGE:
            sent = headers | {"Content-Type": kind}
            async with http.post(server.calls_url, data=body, headers=sent) as answer:
                assert answer.status == status, (body[:40], await answer.text())
                error = (await answer.json())["error"]
                assert error["type"] == "invalid_request_error"
                assert error["code"]
        assert server.slots_taken == 1
    assert_discreet(caplog, server.key, at_most=0)


async def test_slow_headers_are_cut_off(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.set_head_seconds(0.3)
    async with neighbour(server):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.server.port)
        began = time.monotonic()
        writer.write(b"GET /v1/realtime?model=default HTTP/1.1\r\nHost: x\r\n")
        with suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), 3) == b""
        assert time.monotonic() - began < 2
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
    assert_discreet(caplog, server.key)


@pytest.mark.parametrize(
    "head",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\0" * 100 + b"\r\n\r\n",
        b"GET /v1/realtime HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
    ],
)
async def test_bytes_that_are_not_http_end_the_connection(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture, head: bytes
) -> None:
    async with neighbour(server):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.server.port)
        writer.write(head)
        with suppress(ConnectionError):
            answer = await asyncio.wait_for(reader.read(), 5)
            assert answer.startswith(b"HTTP/1.") or not answer
            assert b"Traceback" not in answer
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
    assert_discreet(caplog, server.key)


async def test_broken_websocket_frames_end_the_call(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    for frame in (b"\xff" * 40, b"\x89\xff" + b"\xff" * 60):
        async with neighbour(server), server.client() as caller:
            await caller.wait_for("session.created")
            caller.connection.transport.write(frame)
            await server_lets_go(server, but=1)
    assert_discreet(caplog, server.key, HEARD, at_most=2)
