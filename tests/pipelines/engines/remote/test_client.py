"""Engines in another process: every protocol through the connection, its ends and its losses."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path

import pytest

from media.formats import HEARING_RATE
from pipelines.engines.base import (
    AnswerFormat,
    ChatMessage,
    ChatToolCall,
    EngineBusy,
    EngineFailed,
    EngineTimeout,
    HearingLoad,
    ModelUnavailable,
    ToolDefinition,
    ToolOffer,
)
from pipelines.engines.catalogue import Catalogue
from pipelines.engines.jobs import SpeechChoice
from pipelines.engines.remote import client, proxies
from pipelines.engines.remote.engines import RemoteEngines
from pipelines.engines.remote.messages import WINDOW
from pipelines.engines.scripted.jobs import spoken
from pipelines.engines.scripted.live import Fault
from tests.support.pipelines.engine_process import EngineProcess

SECOND = bytes(2 * HEARING_RATE)
QUESTION = (ChatMessage("user", "Hello?"),)


@pytest.fixture
async def process(tmp_path: Path) -> AsyncIterator[EngineProcess]:
    made = EngineProcess(tmp_path)
    await made.start()
    yield made
    await made.stop()
    made.close()


@pytest.fixture
async def gateway(process: EngineProcess) -> AsyncIterator[Catalogue]:
    async with process.gateway() as catalogue:
        yield catalogue


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


async def stuck_after_the_first(seconds: float) -> None:
    if seconds:
        await asyncio.Event().wait()


def remote(gateway: Catalogue) -> RemoteEngines:
    assert isinstance(gateway.source, RemoteEngines)
    return gateway.source


async def answer(gateway: Catalogue, **options: object) -> str:
    model = await gateway.chat("default")
    async with aclosing(model.stream(QUESTION, **options)) as deltas:
        return "".join([delta.text async for delta in deltas])


async def test_a_call_finds_its_engines_and_they_do_what_they_do_in_one_process(
    process: EngineProcess, gateway: Catalogue
) -> None:
    assert gateway.ready()
    assert gateway.waiting_for() is None
    assert await gateway.turn_detector.score(SECOND) == 1.0
    heard = await gateway.transcriber("default").transcribe(SECOND)
    assert heard.text == "hello there"
    assert heard.words[1].text == "there"
    stream = await gateway.streaming_transcriber("default").open("en")
    assert [await stream.accept(SECOND[:8_000]) for _ in range(2)] == ["hello", "hello there"]
    assert (await stream.finish()).text == "hello there"
    stream.close()
    assert await answer(gateway) == "Hello, how can I help you?"
    speaker = gateway.speaker("default", "en")
    assert speaker.sample_rate == 24_000
    assert len([pcm async for pcm in speaker.speak("one two three")]) == 3
    await until(lambda: process.engines.ears.opened == 0)
    await gateway.complete()
    assert (await gateway.language_detector.detect(SECOND, ("en", "de"))).language == "en"


async def test_a_chat_models_history_tools_and_format_arrive_whole(
    process: EngineProcess, gateway: Catalogue
) -> None:
    use = ChatToolCall("call_1", "look", '{"at": "it"}')
    history = (
        ChatMessage("system", "Be brief."),
        ChatMessage("assistant", "", calls=(use,)),
        ChatMessage("tool", "seen", call_id="call_1"),
    )
    offer = ToolOffer((ToolDefinition("look", "Looks.", '{"type": "object"}', True),), "required")
    wanted = AnswerFormat('{"type": "object"}', strict=True)
    chat = process.engines.chat
    chat.answers = ('CALL look {"at": 1}',)
    model = await gateway.chat("default")
    deltas = [d async for d in model.stream(history, offer=offer, answer_format=wanted)]
    assert "".join(part.arguments for d in deltas for part in d.calls) == '{"at": 1}'
    assert deltas[-1].finish_reason == "tool_calls"
    assert (chat.asked, chat.offered, chat.formats) == ([history], [offer], [wanted])
    await model.prefill(history, offer=offer)
    assert chat.prefilled == [history]


async def test_closing_an_answer_stops_its_generation_at_once(
    process: EngineProcess, gateway: Catalogue
) -> None:
    chat = process.engines.chat
    chat.delay, chat.token_delay = stuck_after_the_first, 1.0
    stream = (await gateway.chat("default")).stream(QUESTION)
    assert (await anext(stream)).text == "Hello,"
    assert chat.running == 1
    await stream.aclose()
    await until(lambda: chat.running == 0)
    assert chat.cancelled == 1


async def test_cancelling_whoever_waits_cancels_the_work(
    process: EngineProcess, gateway: Catalogue
) -> None:
    entered, ended = asyncio.Event(), asyncio.Event()

    async def hang(_seconds: float) -> None:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    process.engines.detector.delay = hang
    task = asyncio.create_task(gateway.turn_detector.score(SECOND))
    await asyncio.wait_for(entered.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(ended.wait(), 5)


@pytest.mark.parametrize("kind", [EngineBusy, EngineFailed, EngineTimeout, ModelUnavailable])
async def test_errors_arrive_as_they_were_raised(
    process: EngineProcess, gateway: Catalogue, kind: type[Exception]
) -> None:
    process.engines.voice.fault = Fault(kind("no voice today"), at=1)
    audio = gateway.speaker("default", "en").speak("one two three")
    assert await anext(audio)
    with pytest.raises(kind, match="no voice today") as caught:
        await anext(audio)
    assert type(caught.value) is kind


async def test_a_vendors_fault_shows_nothing_of_the_vendor(
    process: EngineProcess, gateway: Catalogue, caplog: pytest.LogCaptureFixture
) -> None:
    process.engines.detector.fault = Fault(KeyError("/opt/vendor"))
    with pytest.raises(EngineFailed) as caught:
        await gateway.turn_detector.score(SECOND)
    assert "/opt" not in str(caught.value)
    assert "KeyError: '/opt/vendor'" in caplog.text


async def test_a_speaker_goes_no_further_than_its_listener_takes(
    process: EngineProcess, gateway: Catalogue
) -> None:
    voice, said = process.engines.voice, "word " * (3 * WINDOW)
    made = 0

    async def count(_seconds: float) -> None:
        nonlocal made
        made += 1
        await asyncio.sleep(0)

    voice.delay = count
    audio = gateway.speaker("default", "en").speak(said)
    await anext(audio)
    await until(lambda: made >= WINDOW)
    await asyncio.sleep(0.05)
    assert made == WINDOW + 1, "one more is made, and waits"
    assert len([pcm async for pcm in audio]) == 3 * WINDOW - 1


async def test_an_engine_of_jobs_is_loaded_when_it_is_first_used(gateway: Catalogue) -> None:
    speaker = await gateway.speech(SpeechChoice("blab-expressive", voice="actor", emotion=80))
    assert [len(pcm) async for pcm in speaker.speak("one two")] == [12_000, 12_000]
    translator = await gateway.translator("default", "en", "pt")
    assert await translator.translate("good morning", "en", "pt")


async def test_a_recording_is_sent_as_fast_as_it_is_transcribed(
    process: EngineProcess, gateway: Catalogue
) -> None:
    process.engines.files.segments = (spoken("one two"), spoken("three four", 1000))
    sent = 0

    async def recording() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(4 * WINDOW):
            sent += 1
            yield SECOND[:3200]

    transcriber = await gateway.file_transcriber()
    found = [part async for part in transcriber.transcribe_file(recording(), "en")]
    assert [part.segment.text for part in found if part.segment] == ["one two", "three four"]
    assert process.engines.files.heard == [4 * WINDOW * 1600]
    assert sent == 4 * WINDOW


async def test_a_recording_that_cannot_be_read_fails_as_it_did(gateway: Catalogue) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield SECOND
        raise OSError("the disk is gone")

    transcriber = await gateway.file_transcriber()
    with pytest.raises(OSError, match="the disk is gone"):
        [part async for part in transcriber.transcribe_file(broken())]


# ------------------------------------------------------------------ the engine process dies


async def test_a_request_that_gave_nothing_is_made_again_when_the_engines_are_back(
    process: EngineProcess, gateway: Catalogue
) -> None:
    entered, forever = asyncio.Event(), asyncio.Event()

    async def hang(_seconds: float) -> None:
        entered.set()
        await forever.wait()

    process.engines.chat.delay = hang
    asking = asyncio.create_task(answer(gateway))
    await asyncio.wait_for(entered.wait(), 5)
    await process.stop()
    await until(lambda: gateway.waiting_for() is not None)
    assert "started again" in (gateway.waiting_for() or "")
    hearing = asyncio.create_task(gateway.transcriber("default").transcribe(SECOND))
    process.engines.chat.delay = asyncio.sleep
    await process.start()
    assert await asyncio.wait_for(asking, 5) == "Hello, how can I help you?"
    assert (await asyncio.wait_for(hearing, 5)).text == "hello there"
    await until(lambda: gateway.waiting_for() is None)


async def test_an_answer_that_had_begun_fails_and_the_next_one_is_given(
    process: EngineProcess, gateway: Catalogue
) -> None:
    chat = process.engines.chat
    chat.delay, chat.token_delay = stuck_after_the_first, 1.0
    stream = (await gateway.chat("default")).stream(QUESTION)
    await anext(stream)
    await process.stop()
    with pytest.raises(EngineFailed, match="started again"):
        await anext(stream)
    chat.token_delay = 0.0
    await process.start()
    assert await answer(gateway) == "Hello, how can I help you?"


async def test_an_opinion_is_not_waited_for_and_an_utterance_ends_with_its_process(
    process: EngineProcess, gateway: Catalogue
) -> None:
    stream = await gateway.streaming_transcriber("default").open("en")
    await process.stop()
    with pytest.raises(EngineFailed):
        await stream.accept(SECOND)
    with pytest.raises(EngineFailed):
        await asyncio.wait_for(gateway.turn_detector.score(SECOND), 1)
    await (await gateway.chat("default")).prefill(QUESTION)
    stream.close()
    await process.start()
    again = await gateway.streaming_transcriber("default").open("en")
    assert await again.accept(SECOND) == "hello there"
    again.close()


async def test_engines_that_stay_away_are_given_up(
    process: EngineProcess, gateway: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    await process.stop()
    monkeypatch.setattr(remote(gateway).connection, "_back_seconds", 0.05)
    with pytest.raises(EngineFailed, match="away"):
        await answer(gateway)


async def test_a_hanging_engine_process_costs_the_deadline(
    process: EngineProcess, gateway: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxies, "STEP_SECONDS", 0.05)
    process.engines.detector.delay, process.engines.detector.delay_seconds = (
        stuck_after_the_first,
        1,
    )
    with pytest.raises(EngineTimeout):
        await gateway.turn_detector.score(SECOND)


# ------------------------------------------------------------------ the gateway process dies


async def test_what_a_gateway_process_left_is_given_back_and_others_notice_nothing(
    process: EngineProcess, gateway: Catalogue
) -> None:
    async with process.gateway() as other:
        stream = await other.streaming_transcriber("default").open("en")
        mine = await gateway.streaming_transcriber("default").open("en")
        other.source.report_calls(3)
        await until(lambda: gateway.source.calls_elsewhere == 3)
        assert process.engines.ears.opened == 2
        assert await stream.accept(SECOND) == "hello there"
    await until(lambda: process.engines.ears.opened == 1)
    await until(lambda: gateway.source.calls_elsewhere == 0)
    assert await mine.accept(SECOND) == "hello there"
    mine.close()


async def test_how_busy_the_ears_are_is_known_to_every_gateway_process(
    process: EngineProcess, gateway: Catalogue
) -> None:
    process.engines.ears.load_now = HearingLoad(running=2, waiting=9, places=2)
    await until(gateway.hearing_overloaded)
    assert gateway.hearing_load().waiting == 9


async def test_a_gateway_process_waits_for_the_engines_and_says_so(process: EngineProcess) -> None:
    await process.stop()
    process.engines.gate = asyncio.Event()
    await process.start()
    async with process.gateway(start=False) as gateway:
        assert gateway.waiting_for() == "The server is starting."
        starting = asyncio.create_task(gateway.start())
        await until(lambda: gateway.waiting_for() == "The models are being loaded.")
        assert not gateway.ready()
        process.engines.gate.set()
        await asyncio.wait_for(starting, 5)
        assert gateway.waiting_for() is None
    assert client.BACK_SECONDS > 0
