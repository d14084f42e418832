"""Calls whose caller speaks another language than English, with scripted engines."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from pipelines.engines.base import ModelUnavailable
from pipelines.engines.scripted.live import Fault, ScriptedEngines, scripted_engines
from sessions.core.commands import Command, StartReply
from sessions.core.config import Extension
from sessions.languages.packs import PACKS
from tests.support.pipelines.polyglot import listen_in
from tests.support.sessions.scripted_call import CONFIG, ScriptedCall

WORDS: Mapping[str, str] = {"en": "ola key tall a migo mio", "es": "hola qué tal amigo mío"}
EVENTS = replace(CONFIG, extensions=CONFIG.extensions | {Extension.LANGUAGE})
HEARD = "conversation.item.input_audio_transcription.completed"


def polyglot(spoken: str = "es") -> ScriptedEngines:
    engines = scripted_engines(answers=("Muy bien.",))
    listen_in(engines, spoken, WORDS)
    return engines


def replies(call: ScriptedCall) -> list[StartReply]:
    commands: list[Command] = [each for _, step in call.notes.steps for each in step]
    return [each for each in commands if isinstance(each, StartReply)]


async def test_a_spanish_caller_is_heard_and_answered_in_spanish() -> None:
    engines = polyglot()
    async with ScriptedCall(engines, EVENTS) as call:
        (created,) = call.of("session.created")
        assert created["session"]["blab"]["language"] == "auto"
        assert created["session"]["blab"]["language_in_use"] == "en"
        await call.say(8)
        response = await call.answered()
        assert response["status"] == "completed"
        assert (await call.event(HEARD))["transcript"] == WORDS["es"]
        changed = await call.event("blab.language")
        assert (changed["language"], changed["probability"]) == ("es", 0.995)
        assert "speaks Spanish" in engines.chat_model.asked[-1][1].content
        assert engines.chat_model.asked[-1][-1].content == WORDS["es"]
        assert replies(call)[-1].config.language == "es"
        await call.configure(instructions="Sé breve.")
        updated = await call.event("session.updated")
        assert updated["session"]["blab"]["language_in_use"] == "es", "it stays as it was found"
    assert [turn.user_text for turn in call.notes.turns] == [WORDS["es"]]


async def test_an_english_caller_stays_in_english_and_a_strict_client_sees_nothing_new() -> None:
    engines = polyglot("en")
    async with ScriptedCall(engines, extensions=frozenset()) as call:
        await call.say(8)
        await call.answered()
        assert (await call.event(HEARD))["transcript"] == WORDS["en"]
        assert "in the caller's language" in engines.chat_model.asked[-1][0].content
        assert not [e for e in call.channel.events if e["type"].startswith("blab.")]
    assert len(engines.linguist.heard) == 1


async def test_a_language_that_is_set_is_not_detected() -> None:
    engines = polyglot()
    async with ScriptedCall(engines) as call:
        await call.configure(audio={"input": {"transcription": {"language": "en"}}})
        await call.event("session.updated")
        await call.say(8)
        await call.answered()
    assert not engines.linguist.heard


@pytest.mark.parametrize("languages", [("en",), ()])
async def test_with_one_language_nothing_is_detected(languages: tuple[str, ...]) -> None:
    engines = polyglot()
    engines.languages = languages
    async with ScriptedCall(engines) as call:
        await call.say(8)
        await call.answered()
    assert not engines.linguist.heard


async def test_without_a_detector_the_call_goes_on() -> None:
    engines = polyglot()
    engines.linguist.fault = Fault(ModelUnavailable("gone"), times=9)
    async with ScriptedCall(engines) as call:
        await call.say(8)
        await call.answered()
        assert (await call.event(HEARD))["transcript"] == WORDS["en"]


async def test_a_caller_whose_language_has_no_voice_hears_that_it_cannot_be_spoken() -> None:
    words = {"en": "ola too dough bem", "pt": "olá tudo bem amigo"}
    engines = scripted_engines(answers=("Very well.",))
    listen_in(engines, "pt", words)
    engines.languages, engines.unspoken = ("en",), ("pt",)
    async with ScriptedCall(engines, EVENTS) as call:
        await call.say(8)
        await call.answered()
        assert (await call.event(HEARD))["transcript"] == words["pt"]
        found = await call.event("blab.language")
        assert (found["language"], found["spoken"]) == ("pt", False)
        assert replies(call)[-1].script == PACKS["en"].spoken.cannot_speak("Portuguese")
        assert not [asked for asked in engines.chat_model.asked if len(asked) > 1]
    assert [turn.user_text for turn in call.notes.turns] == [words["pt"]]


async def test_languages_that_are_still_loading_are_shown_and_then_detected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sessions.live.LOADED_EVERY_SECONDS", 0.01)
    engines = polyglot()
    engines.languages, engines.coming = ("en",), ("es",)
    async with ScriptedCall(engines, EVENTS) as call:
        (created,) = call.of("session.created")
        blab = created["session"]["blab"]
        assert (blab["languages"], blab["languages_loading"]) == (["en"], ["es"])
        engines.languages, engines.coming = ("en", "es"), ()
        found = await call.event("blab.languages")
        assert (list(found["languages"]), list(found["languages_loading"])) == (["en", "es"], [])
        await call.say(8)
        await call.answered()
        assert (await call.event(HEARD))["transcript"] == WORDS["es"]
