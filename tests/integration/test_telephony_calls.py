"""Calls over Twilio's media stream through the whole application, on scripted engines."""

import asyncio
import base64
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from websockets.asyncio.client import connect

from gateway.app import HOST
from gateway.calls.telephony import CARRIERS
from gateway.channels.telephony.media_stream import MediaStream
from gateway.services import ServiceUrls
from media import g711
from media.formats import samples_of
from pipelines.engines.scripted.live import tone, tone_of
from store.database import Database
from store.tenants.accounts import LOCAL_WORKSPACE
from store.tenants.agents import Agents, NewAgent
from tests.support.gateway.scripted_server import (
    ScriptedServer,
    assert_discreet,
    running_node,
    server,
)
from tests.support.gateway.twilio_client import FRAME, TwilioClient
from tests.support.pipelines.polyglot import listen_in

__all__ = ["server"]

RATE = 8_000
SPEECH = g711.encode_ulaw(tone(440, RATE // 2, RATE))
"""Half a second of what scripted ears take for speech."""
LONG_ANSWER = "Answer 500 " + "and so on " * 12
CALLS_AT_ONCE = 25


async def new_agent(server: ScriptedServer, prompt: str = "talk 500") -> str:
    agent = NewAgent(name="Tone", system_prompt=prompt)
    return (await Agents(server.database).create(LOCAL_WORKSPACE, agent)).id


@asynccontextmanager
async def call(
    server: ScriptedServer, prompt: str = "talk 500", **options: Any
) -> AsyncIterator[TwilioClient]:
    agent_id = await new_agent(server, prompt)
    url = f"{server.ws_url}/api/agents/{agent_id}/twilio"
    headers = {"Authorization": f"Bearer {server.key}"}
    async with TwilioClient(url, headers=headers, **options) as caller:
        yield caller


async def talking(caller: TwilioClient, within: float = 8.0) -> None:
    """Say something; return when the answer is heard."""
    caller.say(SPEECH)
    await caller.until(lambda: bool(caller.of("media")), seconds=within, what="answer")


async def answered(caller: TwilioClient, within: float = 8.0) -> None:
    """Say something and hear the answer to its end."""
    await talking(caller, within)
    await caller.until(lambda: caller.silent, seconds=within, what="end of the answer")


async def turn_of(server: ScriptedServer) -> Any:
    """The newest turn, as soon as it is written down."""
    async with asyncio.timeout(5):
        while True:
            rows = await server.database.fetch("SELECT * FROM turns ORDER BY created_at DESC")
            if rows:
                return rows[0]
            await asyncio.sleep(0.02)


async def test_a_call_is_answered_in_frames_followed_by_marks(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with call(server) as caller:
        await answered(caller)
        turn = await turn_of(server)
        sizes = {len(base64.b64decode(m["media"]["payload"])) for m in caller.of("media")}
        assert sizes == {FRAME}
        marks = caller.of("mark")
        assert len(caller.of("media")) / 6 <= len(marks) <= len(caller.of("media"))
        assert caller.came[-1][1]["event"] == "mark"
        assert len({m["mark"]["name"] for m in marks}) == len(marks)
        assert not caller.of("clear")
        assert abs(tone_of(caller.pcm, RATE) - 500) < 20
    assert (turn["reply_text"], turn["heard_text"]) == ("Answer 500.", "Answer 500.")
    assert turn["status"] == "completed"
    row = await server.database.fetchrow("SELECT * FROM calls")
    assert row is not None
    assert row["channel"] == "twilio"
    assert_discreet(caplog, at_most=1)


@pytest.mark.parametrize(("parameters", "heard"), [({}, "es"), ({"blab_language": "en"}, "en")])
async def test_a_caller_is_heard_in_their_language_or_in_the_one_that_is_set(
    server: ScriptedServer, parameters: dict[str, str], heard: str
) -> None:
    words = {"en": "ola key tall", "es": "hola qué tal"}
    listen_in(server.engines, "es", words)
    async with call(server, parameters=parameters) as caller:
        caller.say(SPEECH * 4)
        await caller.until(lambda: bool(caller.of("media")), seconds=8, what="answer")
        await caller.until(lambda: caller.silent, seconds=8, what="end of the answer")
        assert (await turn_of(server))["user_text"] == words[heard]


async def test_a_call_in_something_that_is_no_language_is_refused(server: ScriptedServer) -> None:
    async with call(server, parameters={"blab_language": "Klingon!"}) as caller:
        assert (await caller.wait_closed())[0] == 1008
    assert not await server.database.fetch("SELECT * FROM calls")


async def test_no_mark_is_sent_without_audio_before_it(
    server: ScriptedServer,
) -> None:
    async with call(server) as caller:
        await answered(caller)
        audio = 0
        for _, message in caller.came:
            if message["event"] == "media":
                audio += 1
            else:
                assert audio, "a mark without audio before it"
                audio = 0


@pytest.mark.alone
async def test_interrupting_clears_first_and_within_250_ms(server: ScriptedServer) -> None:
    server.engines.chat_model.answer = lambda _: LONG_ANSWER
    async with call(server) as caller:
        await talking(caller)
        heard_at = len(caller.heard)
        await caller.until(lambda: len(caller.heard) > heard_at + RATE, what="a second of it")
        server.engines.ears.texts = ("wait stop I meant something else",)
        caller.say(SPEECH)
        await caller.until(lambda: bool(caller.of("clear")), what="clear")
        onset = caller.said_at
        assert onset is not None
        cleared_at = next(at for at, m in caller.came if m["event"] == "clear")
        assert cleared_at - onset <= 0.25
        assert caller.marks_cleared
        after = [m["event"] for at, m in caller.came if cleared_at < at < cleared_at + 0.1]
        assert after == []
        turn = await turn_of(server)
    assert turn["status"] == "cancelled"
    assert turn["reply_text"].startswith(turn["heard_text"])
    words = len(turn["heard_text"].split())
    assert 1 <= words < len(LONG_ANSWER.split()) - 8, turn["heard_text"]


async def test_audio_before_a_cleared_mark_does_not_count_as_heard(server: ScriptedServer) -> None:
    """A telephone that plays nothing returns its marks on the clear only."""
    server.engines.chat_model.answer = lambda _: LONG_ANSWER
    async with call(server, deaf=True) as caller:
        await talking(caller)
        await caller.until(lambda: len(caller.of("media")) >= 50, what="all that may be ahead")
        agent_calls = list(server.app[HOST]._sessions.values())
        agent_calls[0].inject({"type": "response.cancel"})
        await caller.until(lambda: bool(caller.marks_cleared), what="cleared marks")
        turn = await turn_of(server)
        assert len(caller.of("media")) == 50, "at most a second ahead of the heard audio"
    assert (turn["status"], turn["heard_text"]) == ("cancelled", "")


async def test_many_calls_at_once_do_not_mix(server: ScriptedServer) -> None:
    async def one(number: int) -> tuple[float, float]:
        hertz = 300 + 40 * number
        async with call(server, f"talk {hertz}") as caller:
            await answered(caller, within=20)
            return hertz, tone_of(caller.pcm, RATE)

    heard = await asyncio.gather(*(one(number) for number in range(CALLS_AT_ONCE)))
    assert all(abs(wanted - got) < 20 for wanted, got in heard), heard


async def test_observers_see_keys_and_what_the_carrier_sent(server: ScriptedServer) -> None:
    parameters = {"order": "A-17", "blab_key": server.key, "bad name": "x"}
    async with call(server, parameters=parameters) as caller:
        await caller.until(lambda: bool(server.app[HOST]._sessions))
        (call_id,) = server.app[HOST]._sessions
        url = f"{server.ws_url}/v1/realtime?call_id={call_id}"
        headers = {"Authorization": f"Bearer {server.key}"}
        async with connect(url, additional_headers=headers) as observer, asyncio.timeout(10):
            asked = {"type": "realtime", "blab": {"events": ["call"]}}
            await observer.send(json.dumps({"type": "session.update", "session": asked}))
            await caller.press("5")
            await caller.press("#")
            seen: dict[str, list[Any]] = {}
            while len(seen.get("input_audio_buffer.dtmf_event_received", ())) < 2 or (
                "blab.call" not in seen
            ):
                event = json.loads(await observer.recv())
                seen.setdefault(event["type"], []).append(event)
    keys = seen["input_audio_buffer.dtmf_event_received"]
    assert [key["event"] for key in keys] == ["5", "#"]
    (event,) = seen["blab.call"]
    assert event["parameters"] == {"order": "A-17"}
    assert (event["carrier"], event["stream_id"]) == ("twilio", caller.stream)
    session = seen["session.created"][0]["session"]
    assert session["audio"]["output"]["format"] == {"type": "audio/pcmu"}
    assert "- order: A-17" in session["instructions"]
    assert server.key not in json.dumps(seen)


async def test_keys_interrupt_and_are_answered(server: ScriptedServer) -> None:
    server.engines.chat_model.answer = lambda messages: (
        "Answer 700." if "pressed 12#" in messages[-1].content else LONG_ANSWER
    )
    async with call(server, parameters={"blab_keys": "answer"}) as caller:
        await talking(caller)
        for digit in "12#":
            await caller.press(digit)
        await caller.until(lambda: bool(caller.of("clear")), what="clear")
        del caller.heard[:]
        await caller.until(lambda: bool(caller.heard.strip(b"\xff")), what="the answer to it")
        await caller.until(lambda: caller.silent, what="its end")
        assert abs(tone_of(caller.pcm, RATE) - 700) < 20


async def test_the_agent_hangs_up(server: ScriptedServer) -> None:
    async with call(server) as caller:
        await answered(caller)
        (call_id,) = server.app[HOST]._sessions
        headers = {"Authorization": f"Bearer {server.key}"}
        url = f"{server.url}/v1/realtime/calls/{call_id}/hangup"
        async with aiohttp.ClientSession(headers=headers) as http, http.post(url) as answer:
            assert answer.status == 200
        assert await caller.wait_closed() == (1000, "client_hangup")


async def test_a_carrier_that_vanishes_during_a_reply_leaves_nothing_after_the_window(
    database: Database,
    own_database_url: str,
    redis_url: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    urls = ServiceUrls(own_database_url, redis_url)
    async with running_node(database, urls, tmp_path, resume_seconds=1) as node:
        node.engines.chat_model.answer = lambda _: LONG_ANSWER
        async with call(node) as caller:
            await talking(caller)
            await caller.cut()
            await node.empty()
        turn = await turn_of(node)
        assert turn["status"] == "cancelled"
    assert_discreet(caplog, at_most=3)


async def test_malformed_messages_do_not_end_the_call(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with call(server) as caller:
        for bad in ("garbage", "[]", '{"event": "media", "media": {"payload": "!"}}', b"\0\1"):
            await caller.send(bad)
        await caller.start()
        await answered(caller)
        assert caller.closed is None
    assert_discreet(caplog, at_most=2)


async def test_a_stream_of_garbage_and_a_huge_frame_are_closed(server: ScriptedServer) -> None:
    async with call(server) as caller:
        for _ in range(100):
            await caller.send("garbage")
        assert await caller.wait_closed() == (1008, "malformed")
    async with call(server) as caller:
        await caller.send("x" * 70_000)
        assert (await caller.wait_closed())[0] == 1009


@pytest.mark.parametrize(
    ("carrier", "encoding", "rate", "sent_ms"),
    [
        ("telnyx", "PCMU", 8_000, 20),
        ("telnyx", "G722", 16_000, 20),
        ("telnyx", "OPUS", 48_000, 20),
        ("exotel", "audio/x-raw", 16_000, 100),
        ("signalwire", "audio/x-L16", 24_000, 20),
    ],
)
async def test_a_carrier_is_answered_in_its_format(
    server: ScriptedServer, carrier: str, encoding: str, rate: int, sent_ms: int
) -> None:
    """Telnyx's media arrive out of order; Exotel's in pieces of 100 ms."""
    (spoken,) = (known for known in CARRIERS if known.name == carrier)
    assert issubclass(spoken, MediaStream)
    names = spoken.names
    form = spoken.format_of(encoding, rate)
    assert form is not None
    mouth, ear = form.open(), form.open()
    agent_id = await new_agent(server)
    url = f"{server.ws_url}/api/agents/{agent_id}/{carrier}/{server.key}"
    size = 2 * samples_of(sent_ms, mouth.output_rate)
    said = tone(440, mouth.output_rate // 2, mouth.output_rate) + bytes(3 * mouth.output_rate)
    payloads = [mouth.encode(said[at : at + size]) for at in range(0, len(said), size)]
    order = range(len(payloads) - len(payloads) % 2)
    address = {names.stream_id: "s"}
    async with connect(url, max_queue=None) as line, asyncio.timeout(10):
        described = {"encoding": encoding, "sample_rate": str(rate), "sampleRate": rate}
        start = {names.call_id: "v2:x", names.media_format: described, **address}
        await line.send(json.dumps({"event": "start", "start": start, **address}))
        for number in order:
            chunk = number if spoken.ordered else number ^ 1
            media = {"chunk": str(chunk), "timestamp": str(chunk * sent_ms)}
            media["payload"] = base64.b64encode(payloads[chunk]).decode()
            await line.send(json.dumps({"event": "media", "media": media, **address}))
        heard, members = bytearray(), set()
        while len(heard) < 2 * ear.input_rate // 5:
            message = json.loads(await line.recv())
            members |= message.keys()
            if message["event"] == "media":
                heard += ear.decode(base64.b64decode(message["media"]["payload"]))
            elif message["event"] == "mark":
                await line.send(json.dumps({"event": "mark", "mark": message["mark"], **address}))
    assert members == {"event", "media", "mark", *(address if spoken.addressed else ())}
    pcm = bytes(heard)
    assert abs(tone_of(pcm, ear.input_rate) - 500) < 20
    assert np.abs(np.frombuffer(pcm, "<i2")).max() > 4000
