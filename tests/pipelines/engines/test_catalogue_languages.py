"""Who hears a call follows from its language; what is loaded late counts when it is there."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from pipelines.engines.base import HearingLoad, ModelUnavailable
from pipelines.engines.call_names import CallNames, NameFault
from pipelines.engines.catalogue import Catalogue
from pipelines.engines.engine import FETCHING, EngineSettings, Role
from pipelines.engines.engine import Engine as Declaration
from pipelines.engines.jobs import CallLanguage
from pipelines.engines.startup import Stop
from pipelines.weights.manifest import Model
from tests.pipelines.engines.test_catalogue import Engine, House, declared, upstream
from tests.support.pipelines.upstream_server import KEY, Upstream

__all__ = ["upstream"]

POLYGLOT = "polyglot"


class Polyglot(Engine):
    load_now = HearingLoad(running=1, waiting=2, places=1)


class Linguists(House):
    """A house with one more engine, which hears Spanish and German too, as soon as it may load."""

    def __init__(self) -> None:
        super().__init__()
        self.polyglot = Polyglot()
        self.may_load = asyncio.Event()

    def engines(self, settings: EngineSettings) -> list[Declaration]:
        async def load(_settings: EngineSettings, *parts: Any) -> Engine:
            await self.may_load.wait()
            return parts[0] if parts else self.polyglot

        languages = ("en", "es", "de", "fi")
        transcription = Role.TRANSCRIPTION, POLYGLOT
        late: dict[str, Any] = {"id": POLYGLOT, "load": load, "background": True}
        return [
            *super().engines(settings),
            Declaration(
                role=Role.TRANSCRIPTION,
                languages=languages,
                word_errors={"en": 0.1, "de": 0.1, "es": 0.1},
                **late,
            ),
            *(
                Declaration(role=role, languages=languages, needs=(transcription,), **late)
                for role in (Role.STREAMING_TRANSCRIPTION, Role.LANGUAGE)
            ),
        ]


@pytest.fixture
def house() -> Linguists:
    return Linguists()


@pytest_asyncio.fixture
async def engines(house: Linguists) -> AsyncIterator[Catalogue]:
    settings = EngineSettings(Path("/nowhere"))
    engines = Catalogue(settings, engines=house.engines(settings))
    await engines.start()
    yield engines
    await engines.close()


async def all_loaded(engines: Catalogue, house: Linguists) -> None:
    house.may_load.set()
    async with asyncio.timeout(5):
        await engines.complete()


def faults(engines: Catalogue, **names: Any) -> list[NameFault]:
    return list(engines.name_faults(CallNames(**names)))


async def test_calls_do_not_wait_for_what_is_loaded_late(
    engines: Catalogue, house: Linguists
) -> None:
    assert engines.ready()
    assert engines.waiting_for() is None
    assert engines.transcriber("default", "en") is house.scribe
    (fault,) = faults(engines, language="de")
    assert (fault.field, fault.known) == ("language", True)
    assert "not understood in calls here now (polyglot: loading). Accepted: 'en'." in fault.message
    assert engines.languages_for(CallNames()) == ("en",)
    assert engines.languages_coming(CallNames()) == ("de",)
    assert engines.languages_coming(CallNames(transcription_model="tiny")) == ()
    with pytest.raises(ModelUnavailable, match="loading"):
        engines.transcriber("default", "de")
    with pytest.raises(ModelUnavailable, match="loading"):
        _ = engines.language_detector
    (fault,) = faults(engines, transcription_model=POLYGLOT)
    assert (fault.field, fault.known) == ("transcription_model", True)
    await all_loaded(engines, house)
    assert engines.languages_coming(CallNames()) == ()
    assert faults(engines, language="de") == []
    assert faults(engines, transcription_model=POLYGLOT) == []


async def test_the_language_decides_who_hears(engines: Catalogue, house: Linguists) -> None:
    await all_loaded(engines, house)
    for name in ("default", "whisper-1", "verinova-stable"):
        assert engines.transcriber(name, "en-GB") is house.scribe
        assert engines.streaming_transcriber(name, "en") is house.ears
        assert engines.transcriber(name, "de-AT") is house.polyglot
        assert engines.streaming_transcriber(name, "de") is house.polyglot
    assert engines.language_detector is house.polyglot


async def test_a_model_that_is_named_is_taken_where_it_hears_the_language(
    engines: Catalogue, house: Linguists
) -> None:
    await all_loaded(engines, house)
    assert engines.transcriber(POLYGLOT, "en") is house.polyglot
    assert engines.streaming_transcriber(POLYGLOT, "en") is house.polyglot
    assert engines.transcriber("vosk", "de") is house.polyglot
    (fault,) = faults(engines, transcription_model="moonshine", language="de")
    assert fault.field == "language"
    assert "Accepted: 'en'." in fault.message
    with pytest.raises(ModelUnavailable, match="moonshine does not understand 'de'"):
        engines.transcriber("moonshine", "de")
    with pytest.raises(ModelUnavailable, match="moonshine does not understand 'de'"):
        engines.streaming_transcriber("moonshine", "de")


async def test_languages_are_those_that_are_heard_and_spoken(
    engines: Catalogue, house: Linguists
) -> None:
    await all_loaded(engines, house)
    assert engines.languages_for(CallNames()) == ("en", "de")
    assert engines.languages_for(CallNames(language="xx")) == ("en", "de")
    assert engines.languages_for(CallNames(speaks=False)) == ("en", "de", "es")
    assert engines.languages_for(CallNames(voice="heart")) == ("en",)
    assert engines.languages_for(CallNames(voice="alloy")) == ("en", "de")
    assert engines.languages_for(CallNames(voice="de-DE")) == ("de",)
    assert engines.languages_for(CallNames(speech_model="hibari")) == ("en",)
    assert engines.languages_for(CallNames(transcription_model="moonshine")) == ("en",)
    assert engines.call_options().languages == ("de", "en")
    for unspoken in ("fi", "fr"):
        (fault,) = faults(engines, language=unspoken)
        assert "Accepted: 'de', 'en'." in fault.message
        assert not fault.known
    assert faults(engines, language="fi", speaks=False) == []


async def test_how_calls_are_held_in_each_language(engines: Catalogue, house: Linguists) -> None:
    early = engines.call_languages()
    assert early["en"] == CallLanguage("moonshine", "hibari")
    assert (early["de"].hearing, early["de"].speech, early["de"].word_errors) == (None, "pico", 0.1)
    assert "loading" in str(early["de"].reason)
    await all_loaded(engines, house)
    now = engines.call_languages()
    assert list(now) == ["de", "en", "es"]
    assert now["de"] == CallLanguage(POLYGLOT, "pico", 0.1)
    assert (now["es"].hearing, now["es"].speech) == (POLYGLOT, None)
    assert "'es' is not spoken" in str(now["es"].reason)


async def test_how_crowded_hearing_is_can_be_asked(
    engines: Catalogue, house: Linguists, monkeypatch: pytest.MonkeyPatch
) -> None:
    await all_loaded(engines, house)
    assert engines.hearing_load("default", "de") == Polyglot.load_now
    assert engines.hearing_load("default", "de").crowded
    assert engines.hearing_load() == HearingLoad()
    assert engines.hearing_loads() == {POLYGLOT: Polyglot.load_now}
    assert not engines.hearing_overloaded()
    monkeypatch.setattr(Polyglot, "load_now", HearingLoad(running=2, waiting=8, places=2))
    assert engines.hearing_overloaded()


async def test_an_upstreams_model_hears_any_language(house: Linguists, upstream: Upstream) -> None:
    settings = EngineSettings(
        Path("/nowhere"), upstream_url=upstream.url, upstream_key=KEY, transcription_model="ears-1"
    )
    engines = Catalogue(settings, engines=house.engines(settings))
    await engines.start()
    try:
        assert engines.transcriber("default", "de").model_id == "ears-1"
        with pytest.raises(ModelUnavailable, match="loading"):
            engines.streaming_transcriber("default", "de")
        await all_loaded(engines, house)
        assert engines.transcriber("default", "de").model_id == "ears-1"
        assert engines.streaming_transcriber("default", "de") is house.polyglot
        assert engines.transcriber(POLYGLOT, "de") is house.polyglot
    finally:
        await engines.close()


async def test_a_configured_model_is_loaded_before_calls(house: Linguists) -> None:
    settings = EngineSettings(Path("/nowhere"), transcription_model=POLYGLOT)
    engines = Catalogue(settings, engines=house.engines(settings))
    house.may_load.set()
    await engines.start()
    try:
        assert engines.transcriber("default", "en") is house.polyglot
        assert engines.streaming_transcriber("default", "en") is house.ears
    finally:
        await engines.close()


async def test_weights_come_after_those_of_calls_and_are_looked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.engines.startup.AGAIN_SECONDS", 0.01)
    monkeypatch.setattr("pipelines.engines.loading.LOOK_SECONDS", 0.0)
    fetched: list[list[str]] = []
    weights = (Model(name="late-weights", files=()),)
    late = declared(POLYGLOT, Role.TRANSCRIPTION, Engine(), "de", weights=weights, background=True)
    absent = [True]
    under_way: list[str] = []

    def fetch(models: Sequence[Model], _stop: Stop) -> None:
        fetched.append([model.name for model in models])
        if models:
            under_way.append(late_one.status(Role.TRANSCRIPTION, POLYGLOT).reason)

    monkeypatch.setattr(Declaration, "missing", lambda *_: "no weights" * absent[0])
    late_one = Catalogue(EngineSettings(tmp_path), engines=[late], fetch=fetch)
    await late_one.start()
    async with asyncio.timeout(5):
        await late_one.complete()
        assert late_one.status(Role.TRANSCRIPTION, POLYGLOT).reason == "no weights"
        absent.clear()
        absent.append(False)
        while not late_one.status(Role.TRANSCRIPTION, POLYGLOT).loaded:
            await asyncio.sleep(0)
    assert fetched == [[], ["late-weights"]]
    assert under_way == [FETCHING]
    await late_one.close()
