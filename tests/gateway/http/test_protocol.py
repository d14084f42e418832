"""One connection below the middleware: encodings, masks, deadlines, limits, and any bytes."""

import asyncio
import base64
import gzip
import json
import logging
import os
import re
import socket
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from unittest.mock import Mock

import numpy as np
import pytest
from aiohttp import WSMsgType, web
from aiohttp._websocket.reader import WebSocketDataQueue
from aiohttp.http_websocket import WebSocketReader
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec import Struct

from gateway.http.protocol import FrameFilter
from gateway.lifecycle import CONNECTION_GUARD, ConnectionGuard
from rest.http.decoding import read_json, read_query
from rest.http.ratelimit import ClientAddress
from tests.support.examples import examples
from tests.support.gateway.http_support import TestServer

pytestmark = pytest.mark.slow

ANY_BYTES = settings(
    max_examples=examples(40),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


class Body(Struct):
    """What the fuzzed operation reads."""

    name: str
    numbers: list[float] = []
    anything: dict[str, object] = {}


class Query(Struct):
    """What it reads of the query."""

    limit: int = 1
    cursor: str = ""


async def take(request: web.Request) -> web.Response:
    query = read_query(request, Query)
    body = await read_json(request, Body)
    return web.json_response({"name": body.name, "limit": query.limit})


async def large(_request: web.Request) -> web.Response:
    return web.Response(body=bytes(16_000_000))


class EveryPeer(ClientAddress):
    """Counts loopback, too."""

    def of_peer(self, peer: str) -> str | None:
        return peer


@pytest.fixture
async def server() -> AsyncIterator[TestServer]:
    made = TestServer()
    guard = made.guard = ConnectionGuard(5.0, write_seconds=0.6)
    made.app = web.Application(middlewares=list(made.app.middlewares))
    made.app[CONNECTION_GUARD] = guard
    made.app.middlewares.insert(0, guard.note)
    made.app.add_routes(made.calls.routes())
    made.app.add_routes([web.post("/api/take", take), web.get("/large", large)])
    async with made.running() as running:
        yield running


async def raw(server: TestServer, sent: bytes, patience: float = 5.0) -> tuple[int, bytes]:
    """Status and body of the answer; 0 where the connection was closed or waits for more."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    status, body = 0, b""
    with suppress(ConnectionError, asyncio.IncompleteReadError, TimeoutError):
        writer.write(sent)
        async with asyncio.timeout(patience):
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head[9:12])
            length = re.search(rb"(?i)content-length: (\d+)", head)
            body = await reader.readexactly(int(length[1]) if length else 0)
    writer.transport.abort()
    return status, body


def post(path: bytes, body: bytes, *headers: bytes, query: bytes = b"") -> bytes:
    lines = [
        b"POST " + path + query + b" HTTP/1.1",
        b"Host: x",
        b"Connection: close",
        b"Content-Length: %d" % len(body),
        *headers,
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


async def still_answers(server: TestServer) -> None:
    body = b'{"name": "x"}'
    assert await raw(server, post(b"/api/take", body, b"Content-Type: application/json")) == (
        200,
        b'{"name": "x", "limit": 1}',
    )


# ---------------------------------------------------------------------------- bodies


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "identity, GZip", "x"])
@pytest.mark.parametrize("path", [b"/nothing", b"/api/take", b"/v1/realtime", b"/large"])
async def test_compressed_bodies_are_refused_undecoded(
    server: TestServer, path: bytes, encoding: str
) -> None:
    for body in (gzip.compress(bytes(1_000_000)), b"\x1f\x8b corrupt"):
        status, answer = await raw(
            server, post(path, body, b"Content-Encoding: " + encoding.encode())
        )
        assert status == 415
        assert b"without Content-Encoding" in answer


@pytest.mark.parametrize("path", [b"/nothing", b"/api/take", b"/v1/realtime"])
async def test_an_unknown_expectation_is_refused_in_the_contracts_form(
    server: TestServer, path: bytes
) -> None:
    status, answer = await raw(server, post(path, b"{}", b"Expect: 999-<b>foo"))
    error = json.loads(answer)["error"]
    assert (status, "100-continue" in error["message"]) == (417, True)
    assert b"foo" not in answer
    code = "expectation_failed" if path.startswith(b"/v1") else "VALIDATION_ERROR"
    assert error["code"] == code
    await still_answers(server)


async def test_a_client_that_leaves_during_its_body_is_not_a_server_error(
    server: TestServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    head = post(b"/api/take", b"x" * 100, b"Content-Type: application/json")[:-50]
    writer.write(head)
    await writer.drain()
    writer.transport.abort()
    async with asyncio.timeout(5):
        while not any(record.name == "gateway.access" for record in caplog.records):
            await asyncio.sleep(0.005)
    assert [r for r in caplog.records if r.levelno >= logging.ERROR] == []
    assert " 499 " in caplog.records[-1].getMessage()


# ---------------------------------------------------------------------------- readers


async def test_a_peer_that_does_not_read_is_cut(server: TestServer) -> None:
    stalled = socket.socket()
    stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stalled.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(stalled, ("127.0.0.1", server.port))
    await loop.sock_sendall(stalled, b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
    async with asyncio.timeout(5):
        while not server.guard._open:
            await asyncio.sleep(0.005)
        while server.guard._open:
            await asyncio.sleep(0.01)
    stalled.close()


async def test_a_peer_that_reads_slowly_is_not_cut(server: TestServer) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=4096)
    writer.write(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    loop = asyncio.get_running_loop()
    began, got = loop.time(), 0
    while piece := await reader.read(65536):
        got += len(piece)
        if loop.time() - began < 1.5:
            await asyncio.sleep(0.02)
    assert got > 16_000_000
    writer.close()


async def test_the_connections_of_one_address_are_bounded(server: TestServer) -> None:
    server.guard._per_address, server.guard._addresses = 2, EveryPeer()
    held = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(2)]
    async with asyncio.timeout(5):
        while len(server.guard._open) < 2:
            await asyncio.sleep(0.005)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    answer = await asyncio.wait_for(reader.read(), 5)
    assert answer.startswith(b"HTTP/1.1 503 ")
    error = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    assert "Too many connections" in error["message"]
    writer.close()
    for _, each in held:
        each.close()
    async with asyncio.timeout(5):
        while server.guard._open:
            await asyncio.sleep(0.005)
    assert server.guard._counts == {}
    await still_answers(server)


# ---------------------------------------------------------------------------- frames


def frame(
    opcode: int, payload: bytes, *, masked: bool = True, fin: bool = True, mask: bytes = bytes(4)
) -> bytes:
    size = len(payload)
    head = bytes([fin << 7 | opcode])
    bit = 0x80 if masked else 0
    if size > 65535:
        head += bytes([bit | 127]) + struct.pack(">Q", size)
    elif size > 125:
        head += bytes([bit | 126]) + struct.pack(">H", size)
    else:
        head += bytes([bit | size])
    if not masked:
        return head + payload
    key = np.resize(np.frombuffer(mask, np.uint8), size)
    return head + mask + (np.frombuffer(payload, np.uint8) ^ key).tobytes()


def cut_up(sent: bytes, cuts: Sequence[int]) -> list[bytes]:
    """``sent`` in pieces of the lengths in ``cuts``, again and again."""
    pieces: list[bytes] = []
    at = 0
    while at < len(sent):
        cut = cuts[len(pieces) % len(cuts)]
        pieces.append(sent[at : at + cut])
        at += cut
    return pieces


def read_frames(pieces: Sequence[bytes]) -> tuple[list[bytes], int | None]:
    """The messages that are read, and the close code of what ends them."""
    queue = WebSocketDataQueue(Mock(_reading_paused=False), 2**20, loop=Mock())
    reader = FrameFilter(WebSocketReader(queue, 2**20, False, False))
    for piece in pieces:
        reader.feed_data(piece)
    fault = queue.exception()
    return [message.data for message, _ in queue._buffer], getattr(fault, "code", None)


SIZES = st.sampled_from([0, 1, 125, 126, 300, 65_535, 65_536, 65_537, 131_072, 200_001])


@given(
    st.lists(st.tuples(SIZES, st.booleans(), st.binary(min_size=4, max_size=4)), max_size=4),
    st.lists(st.integers(1, 40_000), min_size=1, max_size=20),
    st.sampled_from([None, 0, 7, 126, 65_536, 70_000]),
)
def test_masked_frames_pass_in_any_pieces(
    sizes: list[tuple[int, bool, bytes]], cuts: list[int], unmasked: int | None
) -> None:
    contents = [os.urandom(size) for size, _, _ in sizes]
    sent = b""
    for content, (_, halved, mask) in zip(contents, sizes, strict=True):
        half = len(content) // 2 if halved else 0
        if halved:
            sent += frame(2, content[:half], fin=False, mask=mask) + frame(9, b"between")
        sent += frame(0 if halved else 2, content[half:], mask=mask)
    if unmasked is not None:
        sent += frame(2, b"u" * unmasked, masked=False) + frame(2, b"late")
    messages, code = read_frames(cut_up(sent, cuts))
    assert [message for message in messages if message != b"between"] == contents
    assert code == (None if unmasked is None else 1002)


KINDS = st.sampled_from([0x81, 0x82, 0x82, 0x82, 0x02, 0x89])
"""First bytes of frames: text, binary, the beginning of a binary message, ping."""


@given(
    st.lists(
        st.tuples(
            KINDS,
            st.sampled_from([0, 1, 5, 125, 126, 960, 4_000, 5_000]),
            st.binary(min_size=4, max_size=4),
            st.booleans(),
            st.booleans(),
        ),
        max_size=12,
    )
)
def test_what_is_taken_as_it_arrives_is_in_order_with_what_is_received(
    frames: list[tuple[int, int, bytes, bool, bool]],
) -> None:
    queue = WebSocketDataQueue(Mock(_reading_paused=False), 2**20, loop=Mock())
    reader = FrameFilter(WebSocketReader(queue, 2**20, False, False))
    seen: list[tuple[bool, bytes]] = []
    takes = True

    def receive() -> None:
        """What a reading task does: it reads all there is, and waits."""
        while queue._buffer:
            message, _ = queue._buffer.popleft()
            if message.type is not WSMsgType.PING:
                seen.append((message.type is WSMsgType.BINARY, bytes(message.data)))
        reader.take = take_now

    def take_now(binary: bool, payload: bytes) -> bool:
        assert not queue._buffer, "something is still to be received"
        if takes:
            seen.append((binary, payload))
        return takes

    sent = []
    receive()
    for number, (first, size, mask, willing, waits) in enumerate(frames):
        takes = willing
        content = bytes([number]) * (size if first != 0x89 else size % 100)
        whole = frame(first & 15, content, fin=bool(first & 0x80), mask=mask)
        if not first & 0x80:
            whole += frame(0, b"end", mask=mask)
        reader.feed_data(whole)
        if first != 0x89:
            sent.append((first & 15 == 2, content + (b"" if first & 0x80 else b"end")))
        if waits:
            receive()
    receive()
    assert seen == sent


def test_only_short_whole_messages_are_taken_as_they_arrive() -> None:
    queue = WebSocketDataQueue(Mock(_reading_paused=False), 2**20, loop=Mock())
    reader, taken = FrameFilter(WebSocketReader(queue, 2**20, False, False)), []

    def take(binary: bool, payload: bytes) -> bool:
        taken.append((binary, payload))
        return True

    short = frame(2, b"audio", mask=b"mask")
    for pieces in ([short + short], [short[:3], short[3:]], [frame(2, bytes(4_096), mask=b"mask")]):
        reader.take = take
        for piece in pieces:
            reader.feed_data(piece)
        assert reader.take is None
    assert not taken
    assert len(queue._buffer) == 4
    reader.take = take
    reader.feed_data(short)
    reader.feed_data(frame(1, b"text", mask=b"mask"))
    assert taken == [(True, b"audio"), (False, b"text")]
    assert reader.take is take


def test_a_long_frame_is_unmasked_in_slices() -> None:
    """The framework does that at a frame's last byte: it gets fragments, each small."""
    passed = bytearray()
    reader = FrameFilter(Mock(feed_data=passed.extend))
    for piece in cut_up(frame(1, bytes(5_000_001)), [65_536]):
        reader.feed_data(piece)
    heads, at = [], 0
    while at < len(passed):
        size = int.from_bytes(passed[at + 2 : at + 10])
        heads.append((passed[at], size))
        at += 14 + size
    whole, rest = divmod(5_000_001, 65_536)
    fragments = [0x01] + [0x00] * (whole - 1)
    assert heads == [*((first, 65_536) for first in fragments), (0x80, rest)]


@pytest.mark.parametrize("size", [2**20, 2**24 + 1, 2**30, 2**63 + 5])
def test_an_oversized_frame_is_refused_by_its_header(size: int) -> None:
    _, code = read_frames([bytes([0x81, 0xFF]) + struct.pack(">Q", size) + bytes(2**20)])
    assert code == 1009


@example(1006, b"\x80\0\xffx", 7)
@given(st.integers(0, 5000), st.binary(min_size=4, max_size=4), st.integers(1, 9))
def test_a_close_frame_must_have_a_code_that_may_be_sent(code: int, mask: bytes, cut: int) -> None:
    """RFC 6455, 7.4: 1004 to 1006 and 1015 are never sent, below 3000 only what is registered."""
    closing = frame(8, struct.pack(">H", code) + b"bye", mask=mask)
    messages, refused = read_frames(cut_up(closing, [cut]))
    may_be_sent = code >= 3000 or code in {*range(1000, 1004), *range(1007, 1015)}
    assert (messages, refused) == (([code], None) if may_be_sent else ([], 1002))


async def open_socket(server: TestServer) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    key = base64.b64encode(bytes(16)).decode()
    writer.write(
        f"GET /v1/realtime HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.keys.add()}\r\n"
        f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
        "Sec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    return reader, writer


async def close_code(reader: asyncio.StreamReader) -> int | None:
    """The code of the server's close frame; None where the connection just ends."""
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            opcode, size = await reader.readexactly(2)
            if size > 125:
                size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8))
            payload = await reader.readexactly(size)
            if opcode & 15 == 8:
                return int.from_bytes(payload[:2])
    return None


async def test_a_close_code_that_is_never_sent_ends_the_call_with_1002(server: TestServer) -> None:
    reader, writer = await open_socket(server)
    writer.write(frame(8, struct.pack(">H", 1006)))
    assert await asyncio.wait_for(close_code(reader), 5) == 1002
    writer.close()
    await server.host.until_empty()


@pytest.mark.parametrize("opcode", [1, 2, 8, 9, 10])
async def test_an_unmasked_frame_ends_the_call_with_1002(server: TestServer, opcode: int) -> None:
    reader, writer = await open_socket(server)
    payload = b"\x03\xe8" if opcode == 8 else b"{}"
    writer.write(frame(opcode, payload, masked=False))
    assert await asyncio.wait_for(close_code(reader), 5) == 1002
    writer.close()
    await server.host.until_empty()


# ---------------------------------------------------------------------------- any bytes at all


@ANY_BYTES
@given(st.binary(max_size=300), st.sampled_from([b"", b"GET ", b"GET /large?", b"POST /api/take "]))
async def test_any_head_is_answered_or_closed(
    server: TestServer, head: bytes, start: bytes
) -> None:
    status, _ = await raw(server, start + head + b"\r\n\r\n")
    assert status < 500
    await still_answers(server)


@ANY_BYTES
@given(st.binary(max_size=200))
async def test_any_header_value_is_answered(server: TestServer, value: bytes) -> None:
    for name in (b"Content-Type", b"Authorization", b"Range", b"Cookie", b"Transfer-Encoding"):
        status, _ = await raw(server, post(b"/v1/realtime", b"{}", name + b": " + value), 0.1)
        assert status < 500
    await still_answers(server)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()), inner),
    max_leaves=8,
)


@ANY_BYTES
@given(
    st.binary(max_size=100)
    | st.fixed_dictionaries({"name": JSON, "anything": JSON}).map(lambda v: json.dumps(v).encode())
)
async def test_any_json_body_is_answered(server: TestServer, body: bytes) -> None:
    status, _ = await raw(server, post(b"/api/take", body, b"Content-Type: application/json"))
    assert status in (200, 400)
    await still_answers(server)


@ANY_BYTES
@given(st.binary(max_size=60), st.sampled_from([b"limit=", b"cursor=", b"%", b""]))
async def test_any_query_is_answered(server: TestServer, text: bytes, name: bytes) -> None:
    percent = b"".join(b"%%%02x" % byte for byte in text)
    for query in (percent, text.replace(b" ", b"+")):
        head = post(
            b"/api/take",
            b'{"name": "x"}',
            b"Content-Type: application/json",
            query=b"?" + name + query,
        )
        status, _ = await raw(server, head, 0.1)
        assert status < 500
    await still_answers(server)


@ANY_BYTES
@given(st.integers(0, 255), st.binary(max_size=200))
async def test_any_frame_is_answered_or_ends_the_call(
    server: TestServer, first: int, payload: bytes
) -> None:
    reader, writer = await open_socket(server)
    writer.write(bytes([first]) + frame(0, payload)[1:])
    writer.write(frame(8, b"\x03\xe8"))
    assert await asyncio.wait_for(close_code(reader), 5) in (1000, 1002, 1007)
    writer.close()
    await server.host.until_empty()
