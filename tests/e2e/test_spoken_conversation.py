"""A spoken conversation with the real server and the real engines, over both channels.

The callers are recordings that none of the engines made; what comes back is read by the
speech-to-text engine and must be the text the server says it spoke.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from gateway.caller import Caller, CallerChannel, CallerWebRtc, CallerWebSocket, Recording, demo_key
from pipelines.engines.transcription.moonshine import MoonshineTranscriber
from sessions.event_log import event_log_path, replay
from tests.support.gateway.protocol_validator import check_stream
from tests.support.paths import AUDIO

from .live_server import LiveServer, answer_briefly
from .words import word_error_rate

pytestmark = [pytest.mark.engines, pytest.mark.timeout(240)]


RATE = 24_000
LONG_ANSWER = "joe_q_weather"
"""Asks for a story: an answer of seconds, so that one can speak into it."""
COMPLETED = "conversation.item.input_audio_transcription.completed"


def recording(name: str) -> Recording:
    return Recording.read(AUDIO / f"{name}.wav", RATE)


def text_of(manifest: list[dict[str, Any]], name: str) -> str:
    return next(str(entry["text"]) for entry in manifest if entry["file"] == f"{name}.wav")


@asynccontextmanager
async def call(server: LiveServer, over: str) -> AsyncIterator[Caller]:
    key = await demo_key(server.url)
    channel: CallerChannel = (
        await CallerWebRtc.open(server.url, key)
        if over == "webrtc"
        else await CallerWebSocket.open(server.url, key, binary=over == "binary")
    )
    async with Caller(channel) as caller:
        await caller.wait_for("session.created", within=10)
        await answer_briefly(caller)
        yield caller
        check_stream(e.event for e in caller.events if "audio_bytes" not in e.event)


async def ask(caller: Caller, name: str) -> tuple[str, str]:
    """Say a recording, hear the answer to its end: (what was understood, what was answered)."""
    since = caller.now()
    said = caller.say(recording(name))
    await asyncio.wait_for(said.done.wait(), 20)
    await caller.wait_settled(within=60, since=said.end or since)
    understood = await caller.wait_for(COMPLETED, within=5, since=since)
    reply = "".join(
        e.event["delta"]
        for e in caller.events
        if e.at > since and e.type == "response.output_audio_transcript.delta"
    )
    return str(understood.event["transcript"]), reply


async def read_aloud(models_dir: Path, caller: Caller, since: float) -> str:
    """What the speech-to-text engine understands of what the caller heard."""
    heard = caller.player.heard()[int((since - caller.player.start) * RATE) :]
    frame = av.AudioFrame.from_ndarray(
        np.ascontiguousarray(heard).reshape(1, -1), format="s16", layout="mono"
    )
    frame.sample_rate = RATE
    resampler = av.AudioResampler(format="s16", layout="mono", rate=16_000)
    pieces = [p.to_ndarray()[0] for f in (frame, None) for p in resampler.resample(f)]
    ear = MoonshineTranscriber(models_dir / "moonshine-tiny-en", workers=1)
    try:
        return (await ear.transcribe(np.concatenate(pieces).astype("<i2").tobytes())).text
    finally:
        await ear.close()


@pytest.mark.parametrize("over", ["binary", "json", "webrtc"])
async def test_a_spoken_question_is_understood_and_answered_in_speech(
    over: str, live_server: LiveServer, manifest: list[dict[str, Any]], models_dir: Path
) -> None:
    async with call(live_server, over) as caller:
        begun = caller.now()
        understood, reply = await ask(caller, "joe_q_capital")
        assert word_error_rate(text_of(manifest, "joe_q_capital"), understood) <= 0.2
        assert "paris" in reply.lower()
        spoken = await read_aloud(models_dir, caller, begun)
        created = await caller.wait_for("session.created", within=1)
    assert word_error_rate(reply, spoken) <= 0.35, (reply, spoken)
    await can_be_replayed(live_server, str(created.event["session"]["id"]))


async def can_be_replayed(server: LiveServer, call_id: str) -> None:
    """From the call's event log, once its end is written there."""
    log = event_log_path(server.data_dir / "calls", call_id)
    async with asyncio.timeout(10):
        while not (log.exists() and '"end":' in log.read_text()[-40:]):
            await asyncio.sleep(0.05)
    assert json.loads(log.read_text().splitlines()[0])["call_id"] == call_id
    result = replay(log)
    assert not result.mismatches
    assert len(result.commands) > 10


@pytest.mark.parametrize("name", ["joe_pause_flight", "joe_pause_order", "joe_pause_spell"])
async def test_the_agent_does_not_answer_into_a_pause(
    name: str, live_server: LiveServer, manifest: list[dict[str, Any]]
) -> None:
    async with call(live_server, "binary") as caller:
        since = caller.now()
        understood, _ = await ask(caller, name)
        answers = [e for e in caller.events if e.at > since and e.type == "response.created"]
    assert len(answers) == 1
    assert word_error_rate(text_of(manifest, name), understood) <= 0.45, understood


@pytest.mark.parametrize("over", ["binary", "webrtc"])
async def test_an_interruption_leaves_only_the_heard_text_in_history(
    over: str, live_server: LiveServer
) -> None:
    async with call(live_server, over) as caller:
        asked = caller.say(recording(LONG_ANSWER))
        await asyncio.wait_for(asked.done.wait(), 10)
        begun = await caller.wait_audible(within=20, since=asked.end or caller.now())
        await asyncio.sleep(max(0.0, begun + 1.0 - caller.now()))
        since = caller.now()
        caller.say(recording("joe_stop"))
        done = await caller.wait_for("response.done", within=10, since=since)
        assert done.event["response"]["status"] == "cancelled"
        assert done.event["response"]["status_details"]["reason"] == "turn_detected"
        cut = await caller.wait_for("conversation.item.truncated", within=5, since=since)
        assert 300 <= cut.event["audio_end_ms"] <= 3000
        again = await caller.wait_for(COMPLETED, within=20, since=since)
        assert (
            word_error_rate("Wait, stop, I meant something else.", again.event["transcript"]) < 0.4
        )
        await caller.wait_for("response.created", within=15, since=again.at)


@pytest.mark.parametrize("name", ["joe_mhm", "joe_okay"])
async def test_a_backchannel_does_not_take_the_floor(name: str, live_server: LiveServer) -> None:
    async with call(live_server, "binary") as caller:
        asked = caller.say(recording("joe_q_help"))
        await asyncio.wait_for(asked.done.wait(), 10)
        begun = await caller.wait_audible(within=20, since=asked.end or caller.now())
        await asyncio.sleep(max(0.0, begun + 0.8 - caller.now()))
        caller.say(recording(name))
        done = await caller.wait_for("response.done", within=60, since=begun)
    assert done.event["response"]["status"] != "cancelled"


async def test_two_calls_at_once_do_not_mix(
    live_server: LiveServer, manifest: list[dict[str, Any]]
) -> None:
    async with call(live_server, "binary") as one, call(live_server, "binary") as two:
        (first, answer), (second, _) = await asyncio.gather(
            ask(one, "joe_q_capital"), ask(two, "joe_q_hours")
        )
    assert word_error_rate(text_of(manifest, "joe_q_capital"), first) <= 0.2
    assert word_error_rate(text_of(manifest, "joe_q_hours"), second) <= 0.2
    assert "paris" in answer.lower()
