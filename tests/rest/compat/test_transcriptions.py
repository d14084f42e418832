"""Transcriptions through the stock client: every format, the stream, and what goes wrong."""

import asyncio
import logging
import math
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
from openai.types.audio import TranscriptionVerbose

from media.files.limits import MediaLimits
from pipelines.engines.base import EngineBusy, EngineFailed, Word
from pipelines.engines.jobs import Segment
from pipelines.engines.scripted.jobs import ScriptedFileTranscriber, spoken
from pipelines.engines.scripted.live import Fault
from tests.support.rest.agent_app import recording
from tests.support.rest.compat_app import CompatNode
from tests.support.services import eventually

SAID = (spoken("Hello there."), spoken("How are you?", 1000))
TEXT = "Hello there. How are you?"
FILE = ("hello.wav", recording(2.0), "audio/wav")


def node_of(folder: Path, *segments: Segment, **options: Any) -> CompatNode:
    node = CompatNode(folder, **options)
    node.engines.ears = ScriptedFileTranscriber(segments or SAID)
    return node


async def transcribed(client: openai.AsyncOpenAI, **asked: Any) -> Any:
    asked = {"model": "whisper-1", "file": FILE} | asked
    return await client.audio.transcriptions.create(**asked)


async def test_json(tmp_path: Path) -> None:
    async with node_of(tmp_path).running() as node, node.client() as client:
        hints = {"prompt": "p" * 5000, "temperature": 0.2, "language": "en"}
        heard = await transcribed(client, chunking_strategy={"type": "server_vad"}, **hints)
        assert heard.text == TEXT
        assert (heard.usage.type, heard.usage.seconds) == ("duration", 2)
        assert heard.logprobs is None
        [unit] = await node.units(1)
        assert (unit.name, unit.type, unit.model) == (
            "transcription",
            "stt",
            "scripted-file-ears",
        )
        assert unit.audio_ms == 2000


async def test_audio_tokens_are_counted_where_openai_counts_them(tmp_path: Path) -> None:
    async with node_of(tmp_path).running() as node, node.client() as client:
        heard = await transcribed(client, model="gpt-4o-transcribe")
        expected = {
            "type": "tokens",
            "input_tokens": 20,
            "output_tokens": 5,
            "total_tokens": 25,
            "input_token_details": {"audio_tokens": 20, "text_tokens": 0},
        }
        assert heard.usage.model_dump() == expected
        events = [
            one async for one in await transcribed(client, model="gpt-4o-transcribe", stream=True)
        ]
        assert events[-1].usage.model_dump() == expected


async def test_each_word_has_a_log_probability(tmp_path: Path) -> None:
    words = (
        Word(
            text="Hé",
            start=0,
            end=4000,
            confidence=0.5,
        ),
        Word(
            text="you",
            start=4000,
            end=8000,
            confidence=0.0,
        ),
    )
    node = node_of(
        tmp_path,
        Segment(
            start=0,
            end=8000,
            text="Hé you",
            words=words,
        ),
    )
    async with node.running(), node.client() as client:
        heard = await transcribed(client, include=["logprobs"])
        assert [one.token for one in heard.logprobs] == ["Hé", "you"]
        assert heard.logprobs[0].bytes == list("Hé".encode())
        assert heard.logprobs[0].logprob == pytest.approx(math.log(0.5))
        assert math.isfinite(heard.logprobs[1].logprob)


@pytest.mark.parametrize(
    ("format", "file"),
    [
        ("text", f"{TEXT}\n"),
        ("srt", f"1\n00:00:00,000 --> 00:00:01,750\n{TEXT}\n"),
        ("vtt", f"WEBVTT\n\n1\n00:00:00.000 --> 00:00:01.750\n{TEXT}\n"),
    ],
)
async def test_files(tmp_path: Path, format: str, file: str) -> None:
    async with node_of(tmp_path).running() as node, node.client() as client:
        assert await transcribed(client, response_format=format) == file


async def test_verbose_json_has_segments(tmp_path: Path) -> None:
    async with node_of(tmp_path).running() as node, node.client() as client:
        heard = await transcribed(client, response_format="verbose_json")
        assert isinstance(heard, TranscriptionVerbose)
        TranscriptionVerbose.model_validate(heard.model_dump())
        assert (heard.text, heard.language, heard.duration) == (TEXT, "english", 2.0)
        assert heard.words is None
        assert heard.segments is not None
        assert [(one.id, one.start, one.end, one.text) for one in heard.segments] == [
            (0, 0.0, 0.5, "Hello there."),
            (1, 1.0, 1.75, "How are you?"),
        ]


@pytest.mark.parametrize("both", [False, True])
async def test_verbose_json_has_the_times_of_words(tmp_path: Path, both: bool) -> None:
    async with node_of(tmp_path).running() as node, node.client() as client:
        asked = ["word", "segment"] if both else ["word"]
        heard = await transcribed(
            client, response_format="verbose_json", timestamp_granularities=asked
        )
        assert [(one.word, one.start, one.end) for one in heard.words][:3] == [
            ("Hello", 0.0, 0.25),
            ("there.", 0.25, 0.5),
            ("How", 1.0, 1.25),
        ]
        assert (heard.segments is not None) is both


async def test_segments_can_be_requested_in_any_format(tmp_path: Path) -> None:
    async with node_of(tmp_path).running() as node, node.client() as client:
        for format in ("json", "verbose_json"):
            heard = await transcribed(
                client, response_format=format, timestamp_granularities=["segment"]
            )
            assert heard.text == TEXT


@pytest.mark.parametrize(
    ("asked", "warned"),
    [
        ({"response_format": "json"}, "no effect on response_format json"),
        ({"response_format": "json", "stream": "true"}, "no effect on response_format json"),
        ({"response_format": "verbose_json"}, None),
    ],
    ids=["json", "stream", "verbose_json"],
)
async def test_times_that_are_not_in_the_answer_are_reported(
    tmp_path: Path, asked: dict[str, str], warned: str | None
) -> None:
    async with node_of(tmp_path).running() as node:
        found = await warnings_of(node, asked | {"timestamp_granularities[]": "segment"})
        assert [warned in one for one in found] == [True] if warned else not found


@pytest.mark.parametrize(
    ("asked", "warned"),
    [
        (
            {"response_format": "verbose_json", "timestamp_granularities[]": "word"},
            "no times for the words of 1 of 2 segments: they are missing",
        ),
        ({"response_format": "srt"}, "place them by their letters"),
        ({"response_format": "text"}, None),
    ],
    ids=["word", "srt", "text"],
)
async def test_words_without_times_are_reported(
    tmp_path: Path, asked: dict[str, str], warned: str | None
) -> None:
    node = node_of(tmp_path, SAID[0], Segment(start=16_000, end=24_000, text="How are you?"))
    async with node.running() as node:
        found = await warnings_of(node, asked)
        assert [warned in one for one in found] == [True] if warned else not found


async def warnings_of(node: CompatNode, texts: dict[str, str]) -> list[str]:
    """The Warning headers of a transcription."""
    form = aiohttp.FormData({"model": "whisper-1", **texts})
    form.add_field("file", FILE[1], filename=FILE[0])
    headers = {"Authorization": "Bearer blab_sk_ours"}
    async with (
        aiohttp.ClientSession(headers=headers) as http,
        http.post(f"{node.url}/v1/audio/transcriptions", data=form) as answer,
    ):
        assert answer.status == 200
        return answer.headers.getall("Warning", [])


async def test_a_stream_sends_each_segment_when_it_is_understood(tmp_path: Path) -> None:
    node = node_of(tmp_path)
    more = asyncio.Semaphore(1)

    async def wait(_: float) -> None:
        await more.acquire()

    node.engines.ears.delay = wait
    async with node.running(), node.client() as client:
        stream = await transcribed(client, stream=True, include=["logprobs"])
        events = []
        async for event in stream:
            events.append(event)
            more.release()  # the second segment is understood when the first has been read
        assert [event.type for event in events] == [
            *["transcript.text.delta"] * 2,
            "transcript.text.done",
        ]
        assert "".join(event.delta for event in events[:-1]) == events[-1].text == TEXT
        assert [one.token for one in events[1].logprobs] == ["How", "are", "you?"]
        await node.units(1)


async def test_silence_has_an_empty_transcript(tmp_path: Path) -> None:
    node = node_of(tmp_path, spoken("never heard", 60_000))
    async with node.running(), node.client() as client:
        assert (await transcribed(client)).text == ""
        assert await transcribed(client, response_format="srt") == ""
        [event] = [event async for event in await transcribed(client, stream=True)]
        assert (event.type, event.text) == ("transcript.text.done", "")


async def test_an_engine_that_fails_at_once_is_an_error_even_of_a_stream(tmp_path: Path) -> None:
    node = node_of(tmp_path)
    node.engines.ears.fault = Fault(EngineBusy("the queue is full"), times=2)
    async with node.running(), node.client() as client:
        for stream in (False, True):
            with pytest.raises(openai.InternalServerError) as refused:
                await transcribed(client, stream=stream)
            assert refused.value.status_code == 503
            assert refused.value.response.headers["Retry-After"] == "1"


async def test_an_engine_that_fails_later_ends_the_stream_with_an_error(tmp_path: Path) -> None:
    node = node_of(tmp_path)
    node.engines.ears.fault = Fault(EngineFailed("it broke"), at=1)
    async with node.running(), node.client() as client:
        events = await transcribed(client, stream=True)
        assert (await anext(events)).delta == "Hello there."
        with pytest.raises(openai.APIError, match="it broke"):
            await anext(events)
        await node.units(1)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_ends_it(
    tmp_path: Path, stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    node = node_of(tmp_path)
    begun = asyncio.Event()

    async def wait(_: float) -> None:
        begun.set()
        await asyncio.Event().wait()

    node.engines.ears.delay = wait
    async with node.running(), node.client() as client:
        asking = asyncio.create_task(transcribed(client, stream=stream))
        await begun.wait()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await eventually(lambda: node.engines.ears.running == 0)
        await node.units(1)  # what was decoded until then
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_transcription_that_takes_too_long_is_aborted(tmp_path: Path) -> None:
    node = node_of(tmp_path, seconds=0.05)
    node.engines.ears.segment_delay = 30.0
    async with node.running(), node.client() as client:
        with pytest.raises(openai.InternalServerError) as refused:
            await transcribed(client)
        assert (refused.value.status_code, refused.value.code) == (503, "timeout")


async def test_the_number_of_simultaneous_transcriptions_is_bounded(tmp_path: Path) -> None:
    node = node_of(tmp_path, at_once=1)
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def wait(_: float) -> None:
        begun.set()
        await go_on.wait()

    node.engines.ears.delay = wait
    async with node.running(), node.client() as client:
        first = asyncio.create_task(transcribed(client))
        await begun.wait()
        with pytest.raises(openai.InternalServerError) as refused:
            await transcribed(client)
        assert refused.value.response.headers["Retry-After"] == "10"
        go_on.set()
        assert (await first).text == TEXT
        assert (await transcribed(client)).text == TEXT


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"response_format": "diarized_json"}, "response_format"),
        ({"response_format": "srt", "stream": True}, "stream"),
        ({"timestamp_granularities": ["word"]}, "timestamp_granularities"),
        (
            {"timestamp_granularities": ["letter"], "response_format": "verbose_json"},
            "timestamp_granularities",
        ),
        ({"include": ["everything"]}, "include"),
        ({"language": "!"}, "language"),
        ({"include": ["logprobs"], "response_format": "verbose_json"}, "include"),
        ({"include": ["logprobs"], "response_format": "text", "stream": True}, "include"),
        ({"known_speaker_names": ["Ann", "Bob"]}, "known_speaker_names"),
        ({"known_speaker_references": ["data:audio/wav;base64,"]}, "known_speaker_references"),
        ({"model": ""}, "model"),
        ({"file": ("a.wav", b"no sound", "audio/wav")}, "file"),
        ({"file": ("a.wav", b"", "audio/wav")}, "file"),
    ],
)
async def test_bad_fields_are_named(tmp_path: Path, asked: dict[str, Any], param: str) -> None:
    async with node_of(tmp_path).running() as node, node.client() as client:
        with pytest.raises(openai.BadRequestError) as refused:
            await transcribed(client, **asked)
        assert (refused.value.param, refused.value.type) == (param, "invalid_request_error")
        assert not node.booked


async def test_a_recording_that_is_too_long_is_for_a_job(tmp_path: Path) -> None:
    limits = MediaLimits(max_seconds=1.0)
    async with node_of(tmp_path, limits=limits).running() as node, node.client() as client:
        with pytest.raises(openai.BadRequestError) as refused:
            await transcribed(client)
        assert refused.value.param == "file"
        assert not node.booked


async def test_speakers_are_not_distinguished(tmp_path: Path) -> None:
    model = "gpt-4o-transcribe-diarize"
    node = node_of(tmp_path)
    node.engines.absent |= {model}
    async with node.running(), node.client() as client:
        with pytest.raises(openai.NotFoundError, match="speakers are not told apart"):
            await transcribed(client, model=model)


@pytest.mark.parametrize("model", ["no-such-model", "gpt-5"])
async def test_a_client_that_does_not_listen(tmp_path: Path, model: str) -> None:
    node = node_of(tmp_path)
    node.engines.absent |= {"gpt-5"}
    async with node.running(), node.client() as client:
        with pytest.raises(openai.NotFoundError) as refused:
            await transcribed(client, model=model)
        assert (refused.value.code, refused.value.param) == ("model_not_found", "model")


async def test_a_field_given_twice_is_refused(tmp_path: Path) -> None:
    async with node_of(tmp_path).running() as node, aiohttp.ClientSession() as http:
        form = aiohttp.FormData()
        form.add_field("file", FILE[1], filename=FILE[0])
        form.add_field("model", "whisper-1")
        for format in ("json", "text"):
            form.add_field("response_format", format)
        headers = {"Authorization": "Bearer blab_sk_ours"}
        url = f"{node.url}/v1/audio/transcriptions"
        async with http.post(url, data=form, headers=headers) as answer:
            assert answer.status == 400
            assert (await answer.json())["error"]["param"] == "response_format"
