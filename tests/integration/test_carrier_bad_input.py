"""Anything sent to any carrier's door of the running application, message by message and byte by
byte, ends in a call or a close with a documented code; nothing is left of it."""

import asyncio
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.app import HOST
from gateway.channels.telephony.audiosocket import AudioSocket
from gateway.channels.telephony.carrier import Carrier
from gateway.channels.telephony.channel import MAX_MESSAGE_BYTES
from tests.integration.test_audiosocket import server
from tests.integration.test_telephony_bad_input import (
    ENDS,
    RAW,
    VALUES,
    assert_nothing_unhandled,
)
from tests.integration.test_telephony_calls import new_agent
from tests.support.gateway.carrier_lines import EVERY, Frame, Line, Spoken, altered, spoken
from tests.support.gateway.scripted_server import ScriptedServer

__all__ = ["server"]


@dataclass(frozen=True)
class Half:
    """The first half of a message's bytes."""

    frame: Frame


@dataclass(frozen=True)
class Bytes:
    """Bytes as they are. ``torn``: what follows is no longer whole messages."""

    data: bytes
    torn: bool = True


@dataclass(frozen=True)
class Abort:
    """The connection is cut."""


@dataclass(frozen=True)
class Talk:
    """Wait until the call is there."""


Step = Frame | Half | Bytes | Abort | Talk
MESS: list[Frame] = [frame for frame in RAW if isinstance(frame, str | bytes)]
LONG = "x" * (MAX_MESSAGE_BYTES + 1)
ENDLESS = b"\x82\xff" + b"\x7f" * 8 + bytes(4)
"""The head of a masked WebSocket frame of nine quintillion bytes."""
LONE_CONTINUATION = b"\x80\x84" + bytes(8)
NEVER_FINISHED = b"\x01\x84" + bytes(8)
"""The first frame of a text message in several."""
NO_UTF8 = b"\x81\x82" + bytes(4) + b"\xff\xfe"
"""A text frame."""
RESERVED = b"\xf3\x84" + bytes(8)


def swapped(frame: Frame) -> Frame:
    """A text message as a binary one, and the reverse."""
    return frame.encode() if isinstance(frame, str) else frame.decode("latin-1")


def mess_of(words: Spoken) -> list[Step]:
    """Messages that no carrier sends; as the transport has messages where it is no WebSocket."""
    if words.first is None:
        return [*MESS]
    return [words.wrapped(frame.encode() if isinstance(frame, str) else frame) for frame in MESS]


def scenarios(words: Spoken) -> dict[str, list[Step]]:
    """Streams by what is wrong with them."""
    first = [] if words.first is None else [words.first]
    start: list[Step] = [*first, *words.opening]
    call: list[Step] = [*start, words.audio, Talk()]
    end = [] if words.end is None else [words.end]
    own: list[Frame] = [*words.opening, words.audio, words.key, *end]
    dice = random.Random(7)
    noise = [dice.randbytes(size) for size in (1, 2, 7, 64, 1_000, 70_000)]
    named: dict[str, list[Step]] = {
        "nothing": [],
        "malformed": [*MESS],
        "malformed before the start": [*first, *mess_of(words)],
        "malformed in the call": [*call, *mess_of(words), words.audio],
        "text for binary and the reverse": [*map(swapped, own), *start, *map(swapped, own)],
        "audio before the start": [*[words.audio] * 3, *start, words.audio],
        "backwards": [*reversed(own), *start],
        "started twice": [*start, *start, words.audio, *start],
        "after the end": [*call, *end, words.audio, words.key, *end, *start],
        "only ends": [*first, *end * 3],
        "empty": [*start, "", b"", words.audio],
        "too long": [*start, LONG],
        "too long in binary": [*start, LONG.encode()],
        "too long before the start": [LONG],
        "a flood": [*call, *[words.audio] * 400, *[words.key] * 400],
        "half a first message": [Half(start_frame(start))],
        "half audio": [*call, Half(words.audio)],
        "half audio and the rest of another": [*call, Half(words.audio), words.key, words.audio],
        "an endless message": [*start, Bytes(ENDLESS), Bytes(bytes(10_000))],
        "a continuation of nothing": [*start, Bytes(LONE_CONTINUATION)],
        "a message never finished": [*start, Bytes(NEVER_FINISHED), words.audio],
        "text that is no UTF-8": [*start, Bytes(NO_UTF8, torn=False), words.audio],
        "reserved bits": [*start, Bytes(RESERVED)],
        "cut at once": [Abort()],
        "cut after the start": [*start, Abort()],
        "cut in the call": [*call, *[words.audio] * 5, Abort()],
        "cut within a message": [*call, Half(words.audio), Abort()],
    }
    for data in noise:
        named[f"noise of {len(data)} bytes"] = [Bytes(data)]
        named[f"noise of {len(data)} bytes in the call"] = [*call, Bytes(data)]
    return named


def start_frame(start: Sequence[Step]) -> Frame:
    (frame, *_) = start
    assert isinstance(frame, str | bytes)
    return frame


async def play(
    server: ScriptedServer, carrier: type[Carrier], agent_id: str, steps: Sequence[Step]
) -> None:
    """Do it all on one line: it ends as documented, and nothing of it stays."""
    line = await Line.open(server, carrier, agent_id)
    for step in steps:
        match step:
            case Half(frame):
                line.send_half(frame)
            case Bytes(data, torn):
                line.send_bytes(data, torn=torn)
            case Abort():
                line.abort()
            case Talk():
                async with asyncio.timeout(5):
                    while not server.app[HOST].active:
                        await asyncio.sleep(0)
            case _:
                line.send(step)
    closed = await line.ended()
    if carrier is AudioSocket or line.torn:
        assert closed is None or closed[0] in ENDS, closed
    else:
        assert closed is not None, "no close"
        assert closed[1] in ENDS.get(closed[0], ()), closed
    await server.empty()


def busy() -> int:
    """How many tasks there are, without those of calls that wait to be resumed."""
    return sum(not task.get_name().startswith("suspended ") for task in asyncio.all_tasks())


@pytest.mark.parametrize("carrier", EVERY, ids=lambda carrier: carrier.name)
async def test_every_carriers_door_stands_whatever_comes(
    server: ScriptedServer, carrier: type[Carrier], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    agent_id = await new_agent(server)
    words = spoken(carrier, agent_id)
    await play(server, carrier, agent_id, [*([words.first] if words.first else []), *words.opening])
    tasks = busy()
    for name, steps in scenarios(words).items():
        caplog.clear()
        try:
            await play(server, carrier, agent_id, steps)
            assert_nothing_unhandled(caplog)
        except (AssertionError, TimeoutError) as error:
            error.add_note(f"{carrier.name}: {name}")
            raise
    async with asyncio.timeout(5):
        while busy() > tasks:
            await asyncio.sleep(0.005)
    assert server.app[HOST].active == 0


@pytest.mark.parametrize("carrier", EVERY, ids=lambda carrier: carrier.name)
async def test_a_stream_that_brought_nonsense_can_still_become_a_call(
    server: ScriptedServer, carrier: type[Carrier], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    agent_id = await new_agent(server)
    words = spoken(carrier, agent_id)
    mess = [step for step in mess_of(words) if not isinstance(step, str) or len(step) < 1_000]
    first = [] if words.first is None else [words.first]
    await play(
        server, carrier, agent_id, [*first, *mess, *words.opening, *mess, words.audio, Talk()]
    )
    assert_nothing_unhandled(caplog)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from(EVERY), st.data())
async def test_any_messages_and_bytes_end_as_documented(
    server: ScriptedServer,
    caplog: pytest.LogCaptureFixture,
    carrier: type[Carrier],
    data: st.DataObject,
) -> None:
    caplog.set_level(logging.INFO)
    agent_id = await new_agent(server)
    words = spoken(carrier, agent_id)
    own = [*words.opening, words.audio, words.key]
    changed = [other for frame in own for other in altered(frame, VALUES)] or own
    step = st.one_of(
        st.sampled_from(own),
        st.sampled_from(changed),
        st.sampled_from(mess_of(words)),
        st.builds(Half, st.sampled_from(own)),
        st.builds(Bytes, st.binary(max_size=80)),
        st.binary(max_size=40),
        st.text(max_size=40),
    )
    first = [] if words.first is None else [words.first]
    drawn: list[Step] = data.draw(st.lists(step, max_size=8))
    caplog.clear()
    await play(server, carrier, agent_id, [*first, *drawn])
    assert_nothing_unhandled(caplog)
