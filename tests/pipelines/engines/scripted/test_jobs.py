"""The scripted engines of jobs behave as the tests that use them expect."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from media.formats import HEARING_RATE
from pipelines.engines.base import ChatMessage, EngineFailed, ModelUnavailable
from pipelines.engines.catalogue import Catalogue
from pipelines.engines.engine import Role
from pipelines.engines.jobs import SpeechChoice, Transcribed
from pipelines.engines.scripted.jobs import (
    CLONE_PITCH,
    ScriptedFileTranscriber,
    ScriptedJobEngines,
    scripted_job_engines,
    spoken,
)
from pipelines.engines.scripted.live import Fault, tone_of


async def silence(seconds: int) -> AsyncIterator[bytes]:
    for _ in range(seconds):
        yield bytes(2 * HEARING_RATE)


async def hear(ears: ScriptedFileTranscriber, seconds: int) -> list[Transcribed]:
    return [hearing async for hearing in ears.transcribe_file(silence(seconds))]


async def test_recordings_are_transcribed_as_scripted() -> None:
    ears = ScriptedFileTranscriber([spoken("one two"), spoken("three four five", 1500)])
    hearings = await hear(ears, 4)
    assert [h.segment.text for h in hearings if h.segment] == ["one two", "three four five"]
    second = hearings[2].segment
    assert second is not None
    assert (second.start, second.end) == (24_000, 36_000)
    assert [word.start for word in second.words] == [24_000, 28_000, 32_000]
    assert hearings[1] == Transcribed(2 * HEARING_RATE, None, "en")
    assert ears.heard == [4 * HEARING_RATE]
    assert ears.running == 0


async def test_the_end_of_a_recording_cuts_what_is_said() -> None:
    ears = ScriptedFileTranscriber([spoken("one two three", 500), spoken("never", 2000)])
    (_, last) = await hear(ears, 1)
    assert last.segment is not None
    assert last.segment.end == HEARING_RATE
    assert [word.text for word in last.segment.words] == ["one", "two"]


async def test_every_engine_fails_on_demand() -> None:
    engines = scripted_job_engines()
    for engine in (engines.ears, engines.words, engines.copyist, engines.voice):
        engine.fault = Fault(EngineFailed("now"))
    with pytest.raises(EngineFailed):
        await hear(engines.ears, 1)
    with pytest.raises(EngineFailed):
        await engines.words.translate("a", "en", "pt")
    with pytest.raises(EngineFailed):
        await engines.copyist.match(b"")
    speaker = await engines.speech(SpeechChoice("blab-stable"))
    with pytest.raises(EngineFailed):
        await anext(speaker.speak("a"))
    assert await engines.words.translate("a", "en", "pt") == "A"


async def test_an_engine_hangs_on_demand() -> None:
    released = asyncio.Event()

    async def hang(seconds: float) -> None:
        await released.wait()

    engines = scripted_job_engines(delay=hang)
    work = asyncio.create_task(engines.words.translate("a", "en", "pt"))
    while not engines.words.asked:
        await asyncio.sleep(0)
    assert not work.done()
    released.set()
    assert await work == "A"


async def test_voices_are_distinguished_by_pitch() -> None:
    engines = scripted_job_engines()
    pitches = []
    match = await (await engines.cloner()).match(bytes(64))
    for choice in (
        SpeechChoice("blab-stable"),
        SpeechChoice("blab-stable", voice="scripted-low"),
        SpeechChoice("blab-stable", recipe=match.recipe),
    ):
        speaker = await engines.speech(choice)
        pcm = b"".join([piece async for piece in speaker.speak("one two")])
        pitches.append(round(tone_of(pcm, speaker.sample_rate)))
    assert pitches == [440, 220, CLONE_PITCH]
    assert engines.voice.spoken == ["one two"] * 3
    assert len(engines.choices) == 3
    assert match.similarity > match.base_similarity


async def test_absent_models_are_refused() -> None:
    engines: Catalogue = ScriptedJobEngines(absent=frozenset({"ja", "en-ja", "cloner", "gone"}))
    with pytest.raises(ModelUnavailable):
        engines.check_speech(SpeechChoice("blab-stable", "ja"))
    with pytest.raises(ModelUnavailable):
        engines.check_speech(SpeechChoice("blab-stable", voice="voi_x"))
    with pytest.raises(ModelUnavailable):
        await engines.file_transcriber("default", "ja")
    with pytest.raises(ModelUnavailable):
        engines.translation_engine("default", "en", "ja")
    with pytest.raises(ModelUnavailable):
        await engines.translator("gone", "en", "pt")
    with pytest.raises(ModelUnavailable):
        await engines.cloner()
    with pytest.raises(ModelUnavailable):
        engines.check_cloning()
    with pytest.raises(ModelUnavailable):
        await engines.chat("gone")
    assert engines.voices("gone") == ()
    assert [voice.id for voice in engines.voices("blab-stable")] == [
        "scripted-high",
        "scripted-low",
    ]


async def test_every_scripted_engine_is_reported_as_live() -> None:
    engines = scripted_job_engines(
        translate={"hello": "olá"}, answer=lambda messages: messages[-1].content[::-1]
    )
    assert {status.role for status in engines.statuses() if status.live} >= {
        Role.CHAT, Role.SPEECH, Role.FILE_TRANSCRIPTION, Role.TRANSLATION, Role.CLONING,
    }  # fmt: skip
    translator = await engines.translator("default", "en", "pt")
    assert await translator.translate("hello", "en", "pt") == "olá"
    answer = (await engines.chat("default")).stream([ChatMessage("user", "abc")])
    assert "".join([delta.text async for delta in answer]) == "cba"
