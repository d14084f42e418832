"""Whole recordings sent to an upstream: cut, sent, and reassembled."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from media.formats import HEARING_RATE
from pipelines.engines.base import EngineFailed
from pipelines.engines.jobs import Transcribed
from pipelines.engines.openai_compatible import (
    UpstreamClient,
    UpstreamFileTranscriber,
    UpstreamSettings,
)
from pipelines.engines.scripted.live import LoudnessModel
from tests.pipelines.engines.transcription.test_speech_windows import loud, pieces, quiet
from tests.support.pipelines.upstream_server import KEY, Upstream

TIMED = {
    "text": "Good day. Bye.",
    "language": "german",
    "segments": [
        {"text": " Good day.", "start": 0.2, "end": 1.0},
        {"text": " Bye.", "start": 1.0, "end": 1.5},
    ],
    "words": [
        {"word": "Good", "start": 0.3, "end": 0.5},
        {"word": "day", "start": 0.5, "end": 0.9},
        {"word": "Bye", "start": 1.1, "end": 1.5},
    ],
}


class Recordings(Upstream):
    """Answers transcriptions with ``answer``; knows no times where ``plain``."""

    answer: dict[str, Any] = TIMED
    plain = False

    async def _transcription(self, request: web.Request) -> web.Response:
        form = await request.post()
        self.requests.append({k: v for k, v in form.items() if k != "file"})
        if self.plain and form["response_format"] != "json":
            message = "response_format 'verbose_json' is not compatible with this model"
            return web.json_response({"error": {"message": message}}, status=400)
        return web.json_response(self.answer)


@pytest_asyncio.fixture
async def upstream() -> AsyncIterator[Recordings]:
    server = Recordings()
    await server.start()
    yield server
    await server.stop()


@pytest_asyncio.fixture
async def ears(upstream: Recordings) -> AsyncIterator[UpstreamFileTranscriber]:
    client = UpstreamClient(UpstreamSettings(upstream.url, KEY))
    ears = UpstreamFileTranscriber("upstream-ears", client, Path("/nonexistent"))
    ears._vad = LoudnessModel()
    yield ears
    await client.close()


async def hear(
    ears: UpstreamFileTranscriber, pcm: bytes, language: str | None = None
) -> list[Transcribed]:
    return [hearing async for hearing in ears.transcribe_file(pieces(pcm), language)]


async def test_segments_and_words_are_placed_in_the_recording(
    ears: UpstreamFileTranscriber, upstream: Recordings
) -> None:
    hearings = await hear(ears, quiet(5) + loud(2) + quiet(4) + loud(2))
    segments = [hearing.segment for hearing in hearings if hearing.segment]
    assert [segment.text for segment in segments] == ["Good day.", "Bye."] * 2
    assert [len(segment.words) for segment in segments] == [2, 1, 2, 1]
    assert segments[0].words[0].start == pytest.approx(5.0 * HEARING_RATE, abs=400)
    assert segments[3].words[0].text == "Bye"
    assert {hearing.language for hearing in hearings if hearing.segment} == {"de"}
    assert [request.get("language") for request in upstream.requests] == [None, "de"]
    assert upstream.requests[0]["response_format"] == "verbose_json"


async def test_an_upstream_without_times_gives_a_text_for_each_window(
    ears: UpstreamFileTranscriber, upstream: Recordings
) -> None:
    upstream.plain = True
    upstream.answer = {"text": "Good day."}
    hearings = await hear(ears, (loud(2) + quiet(4)) * 2, "de-AT")
    segments = [hearing.segment for hearing in hearings if hearing.segment]
    assert [segment.text for segment in segments] == ["Good day."] * 2
    assert segments[0].words == ()
    assert segments[1].end / HEARING_RATE == pytest.approx(8.3, abs=0.1)
    forms = [request["response_format"] for request in upstream.requests]
    assert forms == ["verbose_json", "json", "json"]


@pytest.mark.parametrize("answer", [{}, {"text": "a", "segments": [{"text": "a"}]}])
async def test_an_answer_in_another_form_is_a_failure(
    ears: UpstreamFileTranscriber, upstream: Recordings, answer: dict[str, Any]
) -> None:
    upstream.answer = answer
    with pytest.raises(EngineFailed):
        await hear(ears, loud(1))


async def test_nothing_is_sent_of_silence(
    ears: UpstreamFileTranscriber, upstream: Recordings
) -> None:
    hearings = await hear(ears, quiet(3))
    assert [hearing.done for hearing in hearings] == [3 * HEARING_RATE]
    assert upstream.requests == []
