"""Checks of a request for speech."""

from typing import Any

import pytest

from pipelines.engines.scripted.jobs import ScriptedJobEngines
from rest.http.decoding import convert
from rest.http.errors import NoSuchModel, NotFound, ValidationFailed
from rest.jobs.speech_requests import SpeechChecks, TtsCreate


class NoVoices:
    async def get(self, workspace_id: str, voice_id: str, /) -> None:
        return None


CHECKS = SpeechChecks(ScriptedJobEngines(absent=frozenset({"ja"})), NoVoices())


def asked(**more: Any) -> TtsCreate:
    return convert({"model": "blab-stable", "input": "Hello there.", **more}, TtsCreate, "body")


@pytest.mark.parametrize("name", ["language", "emotion", "voice", "speed", "delivery", "polish"])
def test_null_cannot_be_asked_for(name: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        asked(**{name: None})
    assert refused.value.param == name


async def test_missing_fields_are_guessed_or_defaulted() -> None:
    order = await CHECKS.order("wsp_x", asked(input="Guten Morgen, wie geht es Ihnen heute?"))
    assert (order.language, order.voice, order.emotion) == ("de", "default", None)
    order = await CHECKS.order(
        "wsp_x", asked(model="blab-expressive", language="fr", emotion=0, response_format="wav")
    )
    assert (order.language, order.emotion, order.format) == ("fr", 0, "wav")


async def test_a_refusal_says_that_the_language_was_guessed() -> None:
    with pytest.raises(NoSuchModel) as refused:
        await CHECKS.order("wsp_x", asked(input="こんにちは世界"), "items[3].")
    assert refused.value.param == "items[3].language"
    assert "'ja' was guessed from the text" in refused.value.message
    with pytest.raises(NoSuchModel) as refused:
        await CHECKS.order("wsp_x", asked(language="ja"))
    assert "guessed" not in refused.value.message
    order = await CHECKS.order("wsp_x", asked(input="The Japanese say こんにちは to you."))
    assert order.language == "en"


async def test_unspeakable_text_is_refused() -> None:
    cases: list[tuple[type[Exception], str, dict[str, Any]]] = [
        (ValidationFailed, "input", {"input": " ... "}),
        (NotFound, "voice", {"voice": "nobody"}),
        (NoSuchModel, "model", {"language": "ja"}),
        (NoSuchModel, "emotion", {"emotion": 50}),
        (ValidationFailed, "input", {"language": "en", "input": "こんにちは"}),
        (ValidationFailed, "input", {"input": '<speak><break time="1s"/></speak>'}),
        (NoSuchModel, "response_format", {"model": "blab-expressive", "response_format": "opus"}),
    ]
    for kind, param, more in cases:
        with pytest.raises(kind) as refused:
            await CHECKS.order("wsp_x", asked(**more), "items[3].")
        assert getattr(refused.value, "param", "").removeprefix("items[3].") == param
        if param == "voice":
            assert "There is no such voice: send one of default, " in str(refused.value)
