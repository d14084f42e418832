"""A telephone call with the real server and the real engines, over Twilio's media stream, as the
TwiML of docs/telephony.md starts it.

The caller is a recording that none of the engines made, at the telephone's 8 kHz µ-law; what the
telephone played is read by the speech-to-text engine and must be the text of the answer.
"""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import aiohttp
import numpy as np
import pytest

from media import g711
from media.formats import HEARING_RATE
from media.resample import resample
from pipelines.engines.transcription.moonshine import MoonshineTranscriber
from tests.support.gateway.twilio_client import TwilioClient
from tests.support.paths import ROOT

from .live_server import LiveServer
from .words import word_error_rate

pytestmark = [pytest.mark.engines, pytest.mark.timeout(240)]


RATE = 8_000


async def new_key(server: LiveServer) -> str:
    environment = os.environ | {"BLAB_DATA_DIR": str(server.data_dir), "PYTHONPATH": str(ROOT)}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway.cli", "key", "--name", "telephone"),
        env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    async with asyncio.timeout(30):
        output, _ = await process.communicate()
    return output.decode().strip()


def telephone(server: LiveServer, agent_id: str, key: str) -> TwilioClient:
    """What Twilio does with the document's TwiML."""
    document = (ROOT / "docs" / "telephony.md").read_text()
    found = re.search(r"```xml\n(.*?)```", document, re.DOTALL)
    assert found is not None
    twiml = found[1].replace("AGENT_ID", agent_id).replace('"KEY"', f'"{key}"')
    stream = ElementTree.fromstring(twiml.encode()).find("Connect/Stream")
    assert stream is not None
    url = stream.attrib["url"].replace("wss://voice.example.com", f"ws{server.url[4:]}")
    return TwilioClient(url, {one.attrib["name"]: one.attrib["value"] for one in stream})


def key_of(http: aiohttp.ClientSession) -> str:
    return http.headers["Authorization"].removeprefix("Bearer ")


async def finished_turn(http: aiohttp.ClientSession, agent_id: str) -> dict[str, Any]:
    """The agent's first turn, as soon as its answer has been heard."""
    async with asyncio.timeout(60):
        while True:
            async with http.get(f"/api/agents/{agent_id}/turns") as answer:
                turns = (await answer.json())["data"]
            if turns:
                turn: dict[str, Any] = turns[0]
                return turn
            await asyncio.sleep(0.2)


@pytest.fixture
async def agent(live_server: LiveServer) -> AsyncIterator[tuple[str, aiohttp.ClientSession]]:
    """A new agent's id, and a session with the key that may call it."""
    headers = {"Authorization": f"Bearer {await new_key(live_server)}"}
    async with aiohttp.ClientSession(live_server.url, headers=headers) as http:
        async with http.post("/api/agents", json={"name": "Telephone"}) as answer:
            agent_id = (await answer.json())["data"]["id"]
        yield agent_id, http


def ulaw(pcm: bytes) -> bytes:
    return g711.encode_ulaw(resample(pcm, HEARING_RATE, RATE))


def onset_of(pcm: bytes) -> float:
    """Seconds before a recording's first loud 10 ms."""
    samples = np.frombuffer(pcm, "<i2")[: len(pcm) // 320 * 160].astype(np.float64)
    loudness = np.sqrt((samples.reshape(-1, 160) ** 2).mean(axis=1))
    return float(np.argmax(loudness > 0.1 * loudness.max())) / 100


async def test_a_caller_is_understood_and_answered_in_speech(
    live_server: LiveServer,
    agent: tuple[str, aiohttp.ClientSession],
    audio: Callable[[str], bytes],
    manifest: list[dict[str, Any]],
    models_dir: Path,
) -> None:
    agent_id, http = agent
    said = next(str(one["text"]) for one in manifest if one["file"] == "joe_q_capital.wav")
    async with telephone(live_server, agent_id, key_of(http)) as caller:
        caller.say(ulaw(audio("joe_q_capital")))
        turn = await finished_turn(http, agent_id)
        assert caller.closed is None
    assert turn["status"] == "completed"
    assert word_error_rate(said, turn["userTranscript"]) <= 0.2
    reply = turn["assistantText"]
    assert "paris" in reply.lower()
    assert turn["heardText"] == reply
    ear = MoonshineTranscriber(models_dir / "moonshine-tiny-en", workers=1)
    try:
        heard = await ear.transcribe(resample(caller.pcm, RATE, HEARING_RATE))
    finally:
        await ear.close()
    assert word_error_rate(reply, heard.text) <= 0.35, (reply, heard.text)


async def test_an_interruption_clears_at_once_and_history_holds_what_was_played(
    live_server: LiveServer,
    agent: tuple[str, aiohttp.ClientSession],
    audio: Callable[[str], bytes],
) -> None:
    agent_id, http = agent
    stop = audio("joe_stop")
    async with telephone(live_server, agent_id, key_of(http)) as caller:
        caller.say(ulaw(audio("joe_q_weather")))  # a story: an answer of seconds
        await caller.until(lambda: bool(caller.of("media")), seconds=30, what="answer")
        begun = len(caller.heard)
        await caller.until(lambda: len(caller.heard) > begun + RATE, what="a second of it")
        before = len(caller.came)
        caller.say(ulaw(stop))
        await caller.until(lambda: bool(caller.of("clear")), what="clear")
        assert caller.said_at is not None
        cleared = next(at for at, m in caller.came[before:] if m["event"] == "clear")
        assert cleared - caller.said_at - onset_of(stop) <= 0.25
        turn = await finished_turn(http, agent_id)
    assert turn["interrupted"]
    assert turn["assistantText"].startswith(turn["heardText"])
    assert 1 <= len(turn["heardText"].split()) < len(turn["assistantText"].split())
