"""Anything sent over a carrier's stream of the running application ends in a live call or in a
close with a documented code and reason; nothing is left of it, and the next call is answered."""

import asyncio
import base64
import json
import logging
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from gateway.app import HOST
from gateway.calls.telephony import CARRIERS
from gateway.channels.telephony.channel import MAX_MESSAGE_BYTES
from gateway.channels.telephony.media_stream import MediaStream
from tests.integration.test_telephony_calls import answered, call, new_agent
from tests.support.gateway.scripted_server import OURS, ScriptedServer, server

__all__ = ["server"]

STREAMS = [carrier for carrier in CARRIERS if issubclass(carrier, MediaStream)]
Frame = str | bytes | dict[str, Any]
"""A message as it is, or members of one in the words of no carrier (see ``spelt``)."""
ENDS = {
    1000: {"", "peer_gone"},
    1002: {""},
    1007: {""},
    1008: {"malformed", "unsupported_media_format"},
    1009: {""},
}
"""What a stream may be closed with here, and the reasons; 1002, 1007 and 1009 are the protocol's
own (RFC 6455, 7.4.1) and explain themselves."""

PAYLOAD = base64.b64encode(bytes(320)).decode()
DEEP = "[" * 20_000 + "]" * 20_000
NUMBERS = [True, -1, 0, 2**53, 10**15, -(10**300), 1e308, 0.5]
TEXTS = ["", "0", "-1", "9" * 400, "١٢", "\0", "\ufffd", "x" * 5000]
CONTAINERS = [[], [[]], {}, {"": None}, ["x"] * 300, {"event": "start"}]
VALUES: list[Any] = [None, *NUMBERS, *TEXTS, *CONTAINERS]
ODD_BASE64 = ["A", "AA", "AAA", "AAAA=", "====", "AA==AA==", "!!!!", "A A A A", "AAAA\n", "-_-_"]
ODD_LENGTHS = [base64.b64encode(bytes(size)).decode() for size in (1, 3, 321, 40_000)]
PAYLOADS: list[Any] = [*VALUES, *ODD_BASE64, *ODD_LENGTHS]
NO_OBJECTS = ["", " ", "null", "7", "NaN", '"start"', "[]", "{", "[" * 20_000, DEEP, "\ufeff{}"]
NO_MESSAGES = [
    "{}",
    '{"event": NaN}',
    '{"event": 1e999}',
    '{"event": ' + "9" * 5000 + "}",
    '{"event": "media", "media": {"payload": NaN}}',
    '{"event": "media", "media": {"chunk": Infinity, "payload": "AAAA"}}',
    '{"event": "media", "media": {"timestamp": 1e999, "payload": "AAAA"}}',
    '{"event": "start", "start": ' + DEEP + "}",
    '{"event": "start", "event": "stop", "start": {}}',
    '{"event": "\\ud800"}',
    '{"event": "start", "start": {"streamSid": "\\udfff"}}',
    "x" * (MAX_MESSAGE_BYTES - 1),
]
BINARY = [b"", b"\0\1\2", bytes(30_000), b'{"event": "stop"}']
RAW: list[Frame] = [*NO_OBJECTS, *NO_MESSAGES, *BINARY]
EVENTS = ["connected", "start", "media", "dtmf", "mark", "stop", "error", "clear", "Media", 7, None]


def start(**members: Any) -> dict[str, Any]:
    return {"event": "start", "start": {"stream_id": "s", **members}, "stream_id": "s"}


def media(payload: Any = PAYLOAD, **members: Any) -> dict[str, Any]:
    return {"event": "media", "media": {"payload": payload, **members}, "stream_id": "s"}


STOP: dict[str, Any] = {"event": "stop", "stop": {}, "stream_id": "s"}
HAND_PICKED: list[Sequence[Frame]] = [
    RAW,
    [media(), *RAW, start(), *RAW, media()],
    [start(), start(), media(), start(), STOP],
    [STOP, STOP, start(), STOP, STOP, media()],
    [media(), media(), {"event": "mark", "mark": {"name": "1"}}],
    [start(), *(media(payload) for payload in PAYLOADS), media()],
    [start(), *(media(chunk=value, timestamp=value) for value in VALUES), media()],
    [start(), *(media(track=value) for value in VALUES), media()],
    [start(), *({"event": "dtmf", "dtmf": {"digit": value}} for value in VALUES)],
    [start(), *({"event": "mark", "mark": {"name": value}} for value in VALUES)],
    [start(), *({"event": kind, str(kind): v} for kind in EVENTS for v in ([], None, 7)), media()],
    [start(), *(dict(media(), stream_id=value) for value in VALUES), media()],
    [start(stream_id=value) for value in VALUES],
    [dict(start(), start=value) for value in VALUES],
    [dict(start(call_id=v, account_id=v, parameters=v), stream_id="s") for v in VALUES],
    [start(parameters={"blab_keys": v, "order": v, "blab_key": v}) for v in VALUES],
    [start(parameters=[{"name": v, "value": v} for v in VALUES])],
    *([start(media_format={"encoding": v})] for v in ("opus", "audio/mp3", "", 7, [], None)),
    *([start(media_format={"sampleRate": v})] for v in (0, -1, "8000", "8k", 44_100, 10**30, {})),
    [start(media_format=value) for value in VALUES],
    [{"event": kind} for kind in EVENTS] * 10,
    ["x" * MAX_MESSAGE_BYTES],
    [start(), bytes(MAX_MESSAGE_BYTES + 1)],
    [start(), media("A" * 8 * MAX_MESSAGE_BYTES)],
]

ANY_VALUE = st.sampled_from(VALUES) | st.recursive(
    st.none() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=6,
)
NAMES = ["payload", "chunk", "timestamp", "track", "name", "digit"]
SPELT = ["stream_id", "call_id", "account_id", "media_format", "parameters"]
"""Members that every carrier has under a name of its own, and Names under these."""
MEMBERS = st.dictionaries(st.sampled_from([*NAMES, *SPELT]), ANY_VALUE | st.sampled_from(PAYLOADS))
MESSAGES = st.one_of(
    st.sampled_from(RAW),
    st.text(max_size=40),
    st.binary(max_size=40),
    st.just(start()),
    st.just(media()),
    st.builds(
        lambda event, body, stream: {"event": event, str(event): body, "stream_id": stream},
        st.sampled_from(EVENTS),
        MEMBERS | ANY_VALUE,
        st.just("s") | ANY_VALUE,
    ),
)


def spelt(frame: Frame, carrier: type[MediaStream]) -> str | bytes:
    """A frame with its members named as the carrier names them."""
    names = {name: getattr(carrier.names, name) for name in SPELT}

    def renamed(members: Any) -> Any:
        if not isinstance(members, dict):
            return members
        return {names.get(name, name): renamed(value) for name, value in members.items()}

    return json.dumps(renamed(frame)) if isinstance(frame, dict) else frame


async def outcome(line: ClientConnection, frames: Sequence[str | bytes]) -> tuple[int, str] | None:
    """Send it all; code and reason of the close, None where the stream still stands at the end."""
    try:
        for frame in frames:
            await line.send(frame)
        await (await line.ping())
    except ConnectionClosed:
        return line.close_code or 1006, line.close_reason or ""
    return None


async def sent(
    server: ScriptedServer, carrier: type[MediaStream], agent: str, frames: Sequence[Frame]
) -> None:
    """One stream of ``frames``: it ends as it may, or can be a call and be hung up."""
    url = f"{server.ws_url}/api/agents/{agent}/{carrier.name}/{server.key}"
    async with asyncio.timeout(10):
        async with connect(url, max_queue=None, compression=None) as line:
            closed = await outcome(line, [spelt(frame, carrier) for frame in frames])
            if closed is None:
                closed = await outcome(line, [spelt(start(), carrier)])
            while closed is None and not server.app[HOST].active:
                await asyncio.sleep(0)
            if closed is None:
                closed = await outcome(line, [spelt(media(), carrier)])
        assert closed is None or closed[1] in ENDS.get(closed[0], ()), closed
        await server.empty()


def assert_nothing_unhandled(caplog: pytest.LogCaptureFixture) -> None:
    for record in caplog.records:
        if record.name.split(".")[0] in (*OURS, "aiohttp", "asyncio"):
            assert record.exc_info is None, record.getMessage()
            assert record.levelno < logging.ERROR, record.getMessage()


@pytest.mark.parametrize("carrier", STREAMS, ids=lambda carrier: carrier.name)
async def test_any_stream_becomes_a_call_or_ends_with_a_reason(
    server: ScriptedServer, carrier: type[MediaStream], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    agent = await new_agent(server)
    await sent(server, carrier, agent, [start()])
    tasks = len(asyncio.all_tasks())
    for frames in HAND_PICKED:
        await sent(server, carrier, agent, frames)

    async with asyncio.timeout(5):
        while len(asyncio.all_tasks()) > tasks:
            await asyncio.sleep(0.005)
    assert_nothing_unhandled(caplog)
    async with call(server) as caller:
        await answered(caller)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from(STREAMS), st.lists(MESSAGES, max_size=8))
async def test_any_messages_become_a_call_or_end_with_a_reason(
    server: ScriptedServer,
    caplog: pytest.LogCaptureFixture,
    carrier: type[MediaStream],
    frames: list[Frame],
) -> None:
    caplog.set_level(logging.INFO)
    await sent(server, carrier, await new_agent(server), frames)
    assert_nothing_unhandled(caplog)
