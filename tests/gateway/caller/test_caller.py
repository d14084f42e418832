"""The caller against a small server of the protocol: pacing, hearing, waiting, hanging up."""

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest

from gateway.caller import (
    CallEnded,
    Caller,
    CallerWebSocket,
    CallReport,
    Narrator,
    NoAnswer,
    Recording,
    TimedEvent,
    demo_key,
)
from tests.support.gateway.realtime_server import RATE, RealtimeServer, running

pytestmark = pytest.mark.slow


def speech(milliseconds: int = 300) -> Recording:
    samples = np.full(RATE * milliseconds // 1000, 3000, np.int16)
    return Recording.of(np.concatenate([samples, np.zeros(RATE // 5, np.int16)]), RATE)


@pytest.fixture
async def server() -> AsyncIterator[RealtimeServer]:
    async with running(RealtimeServer()) as server:
        yield server


@pytest.mark.parametrize("binary", [True, False])
async def test_a_spoken_word_is_answered_and_heard(server: RealtimeServer, binary: bool) -> None:
    channel = await CallerWebSocket.open(server.url, await demo_key(server.url), binary=binary)
    assert channel.binary is binary
    async with Caller(channel) as caller:
        said = caller.say(speech())
        await said.done.wait()
        assert said.end is not None
        await caller.wait_for("response.done", within=5, since=said.end)
        await caller.wait_settled(within=5, since=said.end)
    report = CallReport.of(caller, said)
    assert server.keys == ["Bearer ek_test"]
    assert (report.transcripts, report.replies) == (["hello"], ["Beep."])
    assert report.statuses == ["completed"]
    assert report.heard_ms == pytest.approx(server.beep_ms, abs=2)
    assert report.first_audio_ms is not None
    assert 180 <= report.first_audio_ms <= 600
    assert report.answered
    assert report.errors == []


async def test_audio_leaves_in_real_time_without_a_gap(server: RealtimeServer) -> None:
    channel = await CallerWebSocket.open(server.url, None)
    async with Caller(channel) as caller:
        said = caller.say(speech(400))
        await said.done.wait()
        elapsed = caller.now() - caller.start
    assert said.onset is not None
    assert said.end is not None
    assert said.end - said.onset == pytest.approx(0.4, abs=0.001)
    assert elapsed == pytest.approx(0.6, abs=0.1)
    heard = np.concatenate([np.frombuffer(frame, "<i2") for frame in server.frames[:30]])
    assert np.count_nonzero(heard) == RATE * 4 // 10


async def test_the_room_is_heard_beside_the_voice(server: RealtimeServer) -> None:
    server.answers = False
    channel = await CallerWebSocket.open(server.url, None)
    room = np.repeat(np.array([100, -100, 32_000], np.int16), 480)
    async with Caller(channel, background=room) as caller:
        said = caller.say(speech(100))
        await said.done.wait()
        await caller.hang_up()
    heard = [int(np.frombuffer(frame, "<i2")[0]) for frame in server.frames[:14]]
    loud = [sample for sample in heard if abs(sample) > 1000 and sample != 32_000]
    assert (len(loud), set(loud)) == (5, {3100, 2900, 32_767})
    assert heard[-3:] == heard[-6:-3], "the room goes on, repeated"


async def test_speech_over_the_reply_stops_it(server: RealtimeServer) -> None:
    server.beep_ms = 3000
    channel = await CallerWebSocket.open(server.url, None)
    lines: list[str] = []
    narrator = Narrator(asyncio.get_running_loop().time(), lines.append)
    async with Caller(channel, on_event=narrator.event, on_audio=narrator.audio) as caller:
        first = caller.say(speech())
        narrator.spoken(first)
        await first.done.wait()
        audible = await caller.wait_audible(within=5, since=first.end or 0)
        await asyncio.sleep(audible + 0.3 - caller.now())
        server.beep_ms = 100
        second = caller.say(speech())
        narrator.spoken(second)
        await second.done.wait()
        await caller.wait_settled(within=5, since=second.end or 0)
    report = CallReport.of(caller, first, second)
    assert report.stopped_ms is not None
    assert report.stopped_ms < 150
    assert report.flushed_ms > 2000
    assert report.replies == ["Beep.", "Beep."]
    printed = "\n".join(lines)
    assert printed.count("-- end of speech") == 2
    assert "caller: hello" in printed
    assert "agent: Beep." in printed


async def test_a_missing_answer_is_reported_in_time(server: RealtimeServer) -> None:
    server.answers = False
    channel = await CallerWebSocket.open(server.url, None)
    async with Caller(channel) as caller:
        said = caller.say(speech())
        await said.done.wait()
        with pytest.raises(NoAnswer, match=r"response\.done within 0.1 s"):
            await caller.wait_for("response.done", within=0.1)
        with pytest.raises(NoAnswer, match="finished reply"):
            await caller.wait_settled(within=0.1, since=0)
        with pytest.raises(NoAnswer, match="audible reply"):
            await caller.wait_audible(within=0.1, since=caller.start)
    assert not CallReport.of(caller, said).answered


async def test_a_server_that_goes_away_ends_every_wait(server: RealtimeServer) -> None:
    channel = await CallerWebSocket.open(server.url, None)
    async with Caller(channel) as caller:
        await caller.wait_for("session.created", within=5)
        await channel.close()
        with pytest.raises(CallEnded):
            await caller.wait_for("response.done", within=5)
        with pytest.raises(CallEnded):
            await caller.wait_settled(within=5, since=0)
    assert caller.closed_because is not None


async def test_nothing_is_left_running_after_hanging_up(server: RealtimeServer) -> None:
    channel = await CallerWebSocket.open(server.url, None)
    async with Caller(channel):
        pass
    names = {task.get_name() for task in asyncio.all_tasks()}
    assert not {name for name in names if name.startswith("caller-")}


async def test_an_unreachable_server_is_reported_plainly() -> None:
    async with running(RealtimeServer()) as gone:
        url = gone.url
    with pytest.raises(CallEnded, match="no server answers"):
        await demo_key(url)
    with pytest.raises(CallEnded, match="no connection"):
        await CallerWebSocket.open(url, None)


async def test_a_refusal_carries_the_servers_words(server: RealtimeServer) -> None:
    with pytest.raises(CallEnded, match="HTTP 404"):
        await CallerWebSocket.open(server.url + "/elsewhere", None)
    with pytest.raises(CallEnded, match="gave no key"):
        await demo_key(server.url + "/elsewhere")


async def test_a_recording_of_another_rate_is_refused(server: RealtimeServer) -> None:
    channel = await CallerWebSocket.open(server.url, None)
    async with Caller(channel) as caller:
        with pytest.raises(ValueError, match="16000 Hz"):
            caller.say(Recording.of(np.zeros(1600, np.int16), 16_000))


def test_languages_that_still_load_are_reported() -> None:
    lines: list[str] = []
    narrator = Narrator(0.0, lines.append)
    loading = {"languages": ["en"], "languages_loading": ["de", "es"]}
    loaded = {"languages": ["en", "de", "es"], "languages_loading": []}
    for event in (
        {"type": "session.updated", "session": {"blab": loading}},
        {"type": "session.updated", "session": {"blab": loaded}},
        {"type": "session.updated", "session": {}},
        {"type": "blab.languages", **loaded},
    ):
        narrator.event(TimedEvent(0.0, event))
    assert [line.split(maxsplit=2)[2] for line in lines] == [
        "heard now: en; still loading: de, es",
        "heard now: en, de, es",
    ]
