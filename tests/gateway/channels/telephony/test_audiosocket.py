"""AudioSocket: messages with a header, the call's UUID as an agent's id, and their stream."""

import asyncio
import logging
import struct
import uuid
from typing import Any, cast

import pytest
from aiohttp import WSMsgType
from hypothesis import given
from hypothesis import strategies as st

from gateway.channels.telephony.audiosocket import AudioSocket, TcpMessages, agent_id_of, uuid_of
from gateway.channels.telephony.carrier import (
    Heard,
    Pressed,
    Started,
    Stopped,
    UnsupportedFormat,
    WireFault,
)

AGENT = "agt_01m8akq3tz9dznyym70fdyzn4j"
"""Not a new one: every process of a divided run must collect the same tests."""


def message(kind: int, payload: bytes = b"") -> bytes:
    return struct.pack(">BH", kind, len(payload)) + payload


CALL = uuid_of(AGENT)
NAME = message(0x01, CALL.bytes)


def named() -> AudioSocket:
    carrier = AudioSocket()
    assert carrier.parse(NAME) == []
    return carrier


@given(st.uuids())
def test_agent_ids_survive_a_round_trip_through_uuids(call: uuid.UUID) -> None:
    assert uuid_of(agent_id_of(call)) == call


@pytest.mark.parametrize(
    "text", ["", "agt_1", "call_01jd0000000000000000000000", "agt_" + "z" * 26]
)
def test_only_agent_ids_have_a_uuid(text: str) -> None:
    with pytest.raises(ValueError, match=r"agent's id|out of range"):
        uuid_of(text)


@pytest.mark.parametrize(("kind", "rate"), [(0x10, 8_000), (0x12, 16_000), (0x13, 24_000)])
def test_the_first_audio_starts_the_call_at_its_rate(kind: int, rate: int) -> None:
    carrier = named()
    started, heard = carrier.parse(message(kind, b"\1\2\3\4"))
    assert isinstance(started, Started)
    assert started.stream_id == str(CALL)
    assert heard == Heard(b"\1\2\3\4")
    assert carrier.input_rate == carrier.output_rate == rate
    assert carrier.media(b"\5\6") == message(kind, b"\5\6")
    with pytest.raises(WireFault, match="format_changed"):
        carrier.parse(message(0x16, b"\1\2"))


def test_keys_and_the_end() -> None:
    carrier = named()
    assert carrier.parse(message(0x03, b"#")) == [Pressed("#")]
    assert carrier.parse(message(0x00)) == [Stopped()]
    with pytest.raises(WireFault, match="after_stop"):
        carrier.parse(message(0x03, b"#"))
    assert named().parse(message(0xFF, b"\1")) == [Stopped()]
    assert named().hang_up("ended") == b"\0\0\0"


def test_an_unsupported_rate_ends_the_call() -> None:
    with pytest.raises(UnsupportedFormat):
        named().parse(message(0x11, b"\1\2"))


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "no_message"),
        ("text", "no_message"),
        (b"\x10\0\5ab", "invalid_length"),
        (NAME, "out_of_order"),
        (message(0x42), "unknown_event"),
        (message(0x03, b"55"), "invalid_digit"),
        (message(0x03, b"\xff"), "invalid_digit"),
    ],
)
def test_faults_are_named(raw: bytes | str, code: str) -> None:
    with pytest.raises(WireFault) as fault:
        named().parse(raw)
    assert fault.value.code == code


def test_a_name_has_16_bytes_and_comes_first() -> None:
    with pytest.raises(WireFault, match="invalid_stream_id"):
        AudioSocket().parse(message(0x01, b"short"))
    with pytest.raises(WireFault, match="before_start"):
        AudioSocket().parse(message(0x10, b"\1\2"))


async def test_messages_are_reassembled_from_any_packets() -> None:
    """A wait that ends inside a message loses nothing."""
    server_side: asyncio.Queue[TcpMessages] = asyncio.Queue()
    server = await asyncio.start_server(
        lambda r, w: server_side.put_nowait(TcpMessages(r, w)), "127.0.0.1", 0
    )
    async with server, asyncio.timeout(5):
        port = server.sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        messages = await server_side.get()
        for part in (NAME[:2], NAME[2:9], NAME[9:] + message(0x00)):
            writer.write(part)
            await writer.drain()
            if not part.endswith(b"\0"):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(messages.receive(), 0.02)
        assert (await messages.receive()).data == NAME
        assert (await messages.receive()).data == message(0x00)
        writer.close()
        assert (await messages.receive()).type is WSMsgType.CLOSED
        await messages.close()
        assert messages.closed


@pytest.mark.parametrize("first", [b"GET / HTTP/1.1", message(0x10, bytes(320)), b"\x01\0\x0fx"])
async def test_a_connection_that_does_not_begin_with_a_uuid_is_over(
    first: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """A web page can have a browser send anything to a port of this machine, behind a header."""
    caplog.set_level(logging.INFO)
    reader = asyncio.StreamReader()
    reader.feed_data(first + NAME)
    messages = TcpMessages(reader, cast(Any, None))
    assert (await messages.receive()).type is WSMsgType.CLOSED
    assert "does not begin with a UUID" in caplog.text
