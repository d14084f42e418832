"""Speech through the stock client: every format, both streams, voices, and every kind of end."""

import asyncio
import base64
import io
import json
import logging
from pathlib import Path
from typing import Any, cast

import av
import httpx2
import openai
import pytest
from av.container import InputContainer

from media.files.encode import PLAIN_RATE
from media.formats import HEARING_RATE
from pipelines.engines.base import EngineBusy, EngineFailed
from pipelines.engines.scripted.jobs import CLONE_PITCH, PITCHES
from pipelines.engines.scripted.live import Fault, tone_of
from tests.support.rest.compat_app import KEY, CompatNode

TEXT = "One two three four."
WORDS = 4
SECONDS = 1.0
"""A quarter for each word."""


async def spoken(client: openai.AsyncOpenAI, **asked: Any) -> tuple[bytes, str]:
    asked = {"model": "tts-1", "voice": "alloy", "input": TEXT} | asked
    async with client.audio.speech.with_streaming_response.create(**asked) as answer:
        data = b"".join([piece async for piece in answer.iter_bytes()])
        return data, answer.headers["Content-Type"]


def heard(data: bytes) -> bytes:
    """A file's samples at HEARING_RATE."""
    resampler = av.AudioResampler("s16", "mono", HEARING_RATE)
    with cast(InputContainer, av.open(io.BytesIO(data))) as file:
        frames = [one for frame in file.decode(audio=0) for one in resampler.resample(frame)]
    return b"".join(bytes(frame.planes[0])[: 2 * frame.samples] for frame in frames)


@pytest.mark.parametrize(
    ("format", "media"),
    [
        ("mp3", "audio/mpeg"),
        ("opus", "audio/ogg"),
        ("aac", "audio/aac"),
        ("flac", "audio/flac"),
        ("wav", "audio/wav"),
        ("pcm", "audio/pcm"),
    ],
)
async def test_every_format(tmp_path: Path, format: str, media: str) -> None:
    async with CompatNode(tmp_path).running() as node, node.client() as client:
        data, content_type = await spoken(client, response_format=format, instructions="Gently.")
        assert content_type == media
        pcm, rate = (data, PLAIN_RATE) if format == "pcm" else (heard(data), HEARING_RATE)
        assert len(pcm) / 2 / rate == pytest.approx(SECONDS, abs=0.15)
        assert tone_of(pcm, rate) == pytest.approx(PITCHES["default"], abs=3)
        [unit] = await node.units(1)
        assert (unit.name, unit.type, unit.model) == ("speech", "tts", "blab-stable")
        assert (unit.tokens, unit.audio_ms) == (len(TEXT), 1000 * SECONDS)


async def test_plain_samples_are_at_24_khz_whatever_the_engine_has(tmp_path: Path) -> None:
    node = CompatNode(tmp_path)
    node.engines.voice.sample_rate = 16_000
    async with node.running(), node.client() as client:
        data, _ = await spoken(client, response_format="pcm")
        assert len(data) == 2 * PLAIN_RATE * SECONDS
        assert tone_of(data, PLAIN_RATE) == pytest.approx(PITCHES["default"], abs=3)


async def test_the_speed_is_the_speakers(tmp_path: Path) -> None:
    async with CompatNode(tmp_path).running() as node, node.client() as client:
        data, _ = await spoken(client, response_format="pcm", speed=2.0)
        assert len(data) == PLAIN_RATE * SECONDS


@pytest.mark.parametrize(
    ("voice", "pitch"),
    [
        ("onyx", PITCHES["default"]),
        ("scripted-low", PITCHES["scripted-low"]),
        ("voi_ours", CLONE_PITCH),
        ({"id": "voi_ours"}, CLONE_PITCH),
    ],
)
async def test_voices(tmp_path: Path, voice: Any, pitch: float) -> None:
    async with CompatNode(tmp_path).running() as node, node.client() as client:
        data, _ = await spoken(client, response_format="pcm", voice=voice)
        assert tone_of(data, PLAIN_RATE) == pytest.approx(pitch, abs=3)


async def test_another_workspaces_voice_is_not_found(tmp_path: Path) -> None:
    async with CompatNode(tmp_path).running() as node, node.client("blab_sk_other") as client:
        for voice in ("voi_ours", "voi_nobodys"):
            with pytest.raises(openai.NotFoundError) as refused:
                await spoken(client, voice=voice)
            assert refused.value.param == "voice"
        assert not node.booked


async def test_audio_streams_while_it_is_generated(tmp_path: Path) -> None:
    node = CompatNode(tmp_path)
    more = asyncio.Semaphore(1)

    async def wait(_: float) -> None:
        await more.acquire()

    node.engines.voice.delay = wait
    async with node.running(), node.client() as client:
        asked: Any = {"model": "tts-1", "voice": "alloy", "input": TEXT, "response_format": "pcm"}
        async with client.audio.speech.with_streaming_response.create(**asked) as answer:
            pieces = answer.iter_bytes(2)
            assert len(await anext(pieces)) == 2  # the first word; the second is not begun
            assert not node.booked
            for _ in range(WORDS):
                more.release()
            assert [len(piece) async for piece in pieces][-1] == 2
        await node.units(1)


async def test_events(tmp_path: Path) -> None:
    async with CompatNode(tmp_path).running() as node, node.client() as client:
        asked: Any = {"model": "gpt-4o-mini-tts", "voice": "nova", "input": TEXT}
        asked |= {"response_format": "pcm", "stream_format": "sse"}
        asked |= {"instructions": "Gently."}
        async with client.audio.speech.with_streaming_response.create(**asked) as answer:
            assert answer.headers["Content-Type"] == "text/event-stream"
            assert answer.headers["Warning"] == (
                '299 - "instructions is not a field of this request and was ignored."'
            )
            lines = [line async for line in answer.iter_lines() if line]
        events = [json.loads(line.removeprefix("data: ")) for line in lines]
        assert [event["type"] for event in events] == [
            *["speech.audio.delta"] * WORDS,
            "speech.audio.done",
        ]
        pcm = b"".join(base64.b64decode(event["audio"]) for event in events[:-1])
        assert len(pcm) == 2 * PLAIN_RATE * SECONDS
        assert events[-1]["usage"] == {
            "input_tokens": len(TEXT),
            "output_tokens": 20,
            "total_tokens": len(TEXT) + 20,
        }
        await node.units(1)


async def test_a_leaving_client_stops_speech_and_is_billed_for_the_spoken_part(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    node = CompatNode(tmp_path)
    second = asyncio.Event()

    async def wait(seconds: float) -> None:
        if seconds:
            second.set()
            await asyncio.Event().wait()

    node.engines.voice.delay, node.engines.voice.word_delay = wait, 1.0
    async with node.running(), node.client() as client:
        asked: Any = {"model": "tts-1", "voice": "alloy", "input": TEXT, "response_format": "pcm"}
        async with client.audio.speech.with_streaming_response.create(**asked) as answer:
            await anext(answer.iter_bytes(2))
            await second.wait()
        [unit] = await node.units(1)
        assert unit.audio_ms == 250
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_an_engine_that_fails_at_once_is_an_error(tmp_path: Path) -> None:
    node = CompatNode(tmp_path)
    node.engines.voice.fault = Fault(EngineBusy("scripted-voice: the queue is full"))
    async with node.running(), node.client() as client:
        with pytest.raises(openai.InternalServerError) as refused:
            await spoken(client)
        assert refused.value.status_code == 503
        assert refused.value.response.headers["Retry-After"] == "1"
        assert not node.booked


async def test_an_engine_that_fails_later_leaves_no_whole_file(tmp_path: Path) -> None:
    node = CompatNode(tmp_path)
    node.engines.voice.fault = Fault(EngineFailed("it broke"), at=2, times=9)
    async with node.running(), node.client() as client:
        with pytest.raises(httpx2.RemoteProtocolError):
            await spoken(client, response_format="pcm")
        data, _ = await spoken(client, response_format="pcm", stream_format="sse")
        last = json.loads(data.decode().strip().rpartition("data: ")[2])
        assert last["error"]["message"] == "it broke"
        assert last["error"]["code"] == "provider_error"
        assert [unit.audio_ms for unit in await node.units(2)] == [500, 500]


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"input": "x" * 4097}, "input"),
        ({"input": "..."}, "input"),
        ({"speed": 4.5}, "speed"),
        ({"response_format": "ogg"}, "response_format"),
        ({"voice": {"id": 1}}, "voice.id"),
        ({"stream_format": "ws"}, "stream_format"),
        ({"input": None}, "input"),
    ],
)
async def test_bad_fields_are_named(tmp_path: Path, asked: dict[str, Any], param: str) -> None:
    async with CompatNode(tmp_path).running() as node, node.client() as client:
        with pytest.raises(openai.BadRequestError) as refused:
            await spoken(client, **asked)
        assert (refused.value.param, refused.value.type) == (param, "invalid_request_error")
        assert not node.booked


async def test_the_language_is_guessed_unless_it_is_sent(tmp_path: Path) -> None:
    node = CompatNode(tmp_path)
    node.engines.absent |= {"ja"}
    async with node.running(), node.client() as client:
        await spoken(client, input="Guten Morgen, wie geht es Ihnen?")
        await spoken(client, input="Hotel Restaurant Taxi")
        await spoken(client, input="Hotel Restaurant Taxi", extra_body={"language": "fr"})
        assert [choice.language for choice in node.engines.choices] == ["de", "en", "fr"]
        with pytest.raises(openai.NotFoundError) as refused:
            await spoken(client, input="こんにちは世界、元気ですか")
        assert refused.value.param == "language"
        assert "guessed" in refused.value.message
        with pytest.raises(openai.NotFoundError) as refused:
            await spoken(client, model="no-such-model")
        assert "guessed" not in refused.value.message


async def test_an_unknown_or_unsuitable_model_is_not_found(tmp_path: Path) -> None:
    async with CompatNode(tmp_path).running() as node, node.client() as client:
        for asked in ({"model": "no-such-model"}, {"model": "blab-expressive"}):
            with pytest.raises(openai.NotFoundError) as refused:
                await spoken(client, response_format="pcm", **asked)
            assert refused.value.code == "model_not_found"
        await spoken(client, model="blab-expressive")
        assert node.booked[0][0] == KEY


async def test_text_without_sounds_is_reported(tmp_path: Path) -> None:
    async with CompatNode(tmp_path).running() as node, node.client() as client:
        create = client.audio.speech.with_streaming_response.create
        text = "They say こんにちは to you."
        async with create(model="tts-1", voice="alloy", input=text) as answer:
            await answer.read()
            assert "has no sounds for this and leaves it out" in answer.headers["Warning"]
        with pytest.raises(openai.BadRequestError, match="Nothing is left to say") as refused:
            await client.audio.speech.create(
                model="tts-1", voice="alloy", input="こんにちは", extra_body={"language": "en"}
            )
        assert refused.value.param == "input"
