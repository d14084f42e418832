"""A cached survey of what the engines can do."""

import asyncio
from pathlib import Path

from pipelines.engines.catalogue import Catalogue as RealEngines
from pipelines.engines.engine import EngineSettings
from pipelines.speech.language import LANGUAGES
from rest.resources.survey import SpokenLanguage, Survey
from tests.support.rest.catalogue_app import Engines, get, served


async def test_a_survey_serves_everybody_for_some_seconds() -> None:
    engines, now = Engines(), [100.0]
    async with served(engines, clock=lambda: now[0]) as client:
        await get(client, "/api/models")
        once = engines.asked
        await get(client, "/api/capabilities")
        assert engines.asked == once > 0
        now[0] += 5.0
        engines.absent = frozenset({"de"})
        shown = await get(client, "/api/capabilities")
    assert engines.asked == 2 * once
    assert shown["tts"]["languages"]["de"]["quality"] == "none"


async def test_the_loop_runs_between_questions_and_concurrent_ones_ask_once() -> None:
    engines = Engines()
    survey = Survey(engines)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(count())
    first, second = await asyncio.gather(survey.taken(), survey.taken())
    counting.cancel()
    assert first is second
    assert turns > 3 * len(LANGUAGES)
    assert engines.asked == 3 * len(LANGUAGES)


async def test_the_real_engines_without_any_weights(tmp_path: Path) -> None:
    engines = RealEngines(EngineSettings(tmp_path))
    surveyed = await Survey(engines).taken()
    await engines.close()
    stable = surveyed.spoken["blab-stable"]
    assert stable["en"] == SpokenLanguage("good", "hibari")
    assert stable["de"] == SpokenLanguage("good", "pico")
    assert surveyed.engines("blab-stable") == ["hibari", "pico"]
    expressive = surveyed.spoken["blab-expressive"]["en"]
    assert (expressive.quality, expressive.engine) == ("none", None)
    assert expressive.reason is not None
    assert "weights missing" in expressive.reason
    assert (surveyed.cloned, surveyed.live("blab-expressive")) == ([], [])
    assert (surveyed.translated["en"], surveyed.translated["de"]) == (["pt"], [])
    assert surveyed.drafts["de"] == []
