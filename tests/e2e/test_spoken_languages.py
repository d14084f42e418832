"""Callers who speak Spanish, German or French, with the real server and the real engines: each is
heard and answered by voice in that language, which nobody has set."""

import asyncio
import time
from typing import Any

import aiohttp
import av
import numpy as np
import pytest

from gateway.caller import Caller, CallerWebRtc, CallerWebSocket, Recording, demo_key
from tests.support.gateway.protocol_validator import check_stream
from tests.support.paths import AUDIO

from .live_server import LiveServer, answer_briefly

pytestmark = [pytest.mark.engines, pytest.mark.timeout(240)]

RATE = 24_000
LOADED_SECONDS = 90.0
COMPLETED = "conversation.item.input_audio_transcription.completed"


async def update(caller: Caller, instructions: str = "", **blab: Any) -> bool:
    """Change ``session.blab`` and the instructions; False where it is refused."""
    since = caller.now()
    session = {"type": "realtime", "instructions": instructions, "blab": blab}
    await caller.send({"type": "session.update", "session": session})
    while not (
        answers := [
            e for e in caller.events if e.at >= since and e.type in ("session.updated", "error")
        ]
    ):
        await asyncio.sleep(0.02)
    return answers[0].type == "session.updated"


async def until_spoken(url: str, language: str) -> None:
    """The engines of other languages are loaded behind the start, while nobody calls."""
    deadline = time.monotonic() + LOADED_SECONDS
    async with aiohttp.ClientSession(url) as client:
        while True:
            async with client.post("/demo/session", json={}) as answer:
                if language in (await answer.json())["options"]["languages"]:
                    return
            assert time.monotonic() < deadline, "the language is not offered"
            await asyncio.sleep(1.0)


def heard_since(caller: Caller, since: float) -> bytes:
    """What the caller heard, PCM16 at 16 kHz."""
    heard = caller.player.heard()[int((since - caller.player.start) * RATE) :]
    frame = av.AudioFrame.from_ndarray(
        np.ascontiguousarray(heard).reshape(1, -1), format="s16", layout="mono"
    )
    frame.sample_rate = RATE
    resampler = av.AudioResampler(format="s16", layout="mono", rate=16_000)
    pieces = [p.to_ndarray()[0] for f in (frame, None) for p in resampler.resample(f)]
    return np.concatenate(pieces).astype("<i2").tobytes()


@pytest.mark.parametrize(
    ("name", "language", "words", "instructions", "over"),
    [
        ("lang_es5", "es", "número de teléfono", "Responde siempre en español.", CallerWebRtc),
        ("lang_de5", "de", "Können Sie", "Antworte immer auf Deutsch.", CallerWebSocket),
        ("lang_fr5", "fr", "plus lentement", "Réponds toujours en français.", CallerWebSocket),
    ],
)
async def test_a_caller_is_heard_and_answered_in_their_language(
    name: str,
    language: str,
    words: str,
    instructions: str,
    over: type[CallerWebRtc] | type[CallerWebSocket],
    live_server: LiveServer,
) -> None:
    """What the answer says is not judged: the smallest chat model answers in English now and then
    although its prompt names the language and the instructions are written in it."""
    await until_spoken(live_server.url, language)
    channel = await over.open(live_server.url, await demo_key(live_server.url))
    async with Caller(channel) as caller:
        await caller.wait_for("session.created", within=10)
        await answer_briefly(caller)
        assert await update(caller, language="en")
        assert await update(caller, instructions, language="auto", events=["language"])
        since = caller.now()
        utterance = caller.say(Recording.read(AUDIO / f"{name}.wav", RATE))
        await asyncio.wait_for(utterance.done.wait(), 20)
        await caller.wait_settled(within=60, since=utterance.end or since)
        changed = await caller.wait_for("blab.language", within=5, since=since)
        assert changed.event["language"] == language
        understood = await caller.wait_for(COMPLETED, within=5, since=since)
        assert words in understood.event["transcript"]
        loud = np.abs(np.frombuffer(heard_since(caller, since), "<i2").astype(int)) > 1_000
        check_stream(e.event for e in caller.events if "audio_bytes" not in e.event)
    assert loud.any()
