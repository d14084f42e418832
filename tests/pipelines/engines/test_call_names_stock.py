"""OpenAI's model ids mean the default model if nobody serves them."""

from typing import Any

import pytest
from openai.types.realtime import AudioTranscription, RealtimeSessionCreateRequest

from pipelines.engines.base import ModelUnavailable
from pipelines.engines.call_names import CallNames, is_stock
from pipelines.engines.engine import Role
from pipelines.engines.openai_compatible import UpstreamChat
from tests.pipelines.engines.test_catalogue import House, Make, house, make, upstream
from tests.support.pipelines.upstream_server import KEY, Upstream

__all__ = ["house", "make", "upstream"]


def literals(model: type[Any], field: str) -> list[str]:
    """The ids that the openai package itself offers."""
    schema = model.model_json_schema()["properties"][field]
    return [name for part in schema["anyOf"] for name in part.get("enum", [])]


def test_the_names_of_openais_own_package_are_known() -> None:
    realtime = literals(RealtimeSessionCreateRequest, "model")
    assert [name for name in realtime if not is_stock(Role.CHAT, name)] == []
    transcription = literals(AudioTranscription, "model")
    unknown = [name for name in transcription if not is_stock(Role.TRANSCRIPTION, name)]
    assert all("diarize" in name for name in unknown), "speakers are not told apart here"


async def test_a_stock_name_means_the_default(make: Make, house: House) -> None:
    engines = await make()
    for name in ("gpt-realtime", "gpt-4o", "gpt-4o-mini", "gpt-4.1-nano", "o3-mini"):
        assert await engines.chat(name) is house.chat
    assert engines.transcriber("whisper-1") is house.scribe
    assert engines.streaming_transcriber("gpt-4o-transcribe") is house.ears
    assert engines.speaker("tts-1-hd", "en") is house.hibari
    assert engines.speaker("tts-1", "en", "en-GB") is house.pico


async def test_stock_names_are_no_fault(make: Make) -> None:
    engines = await make()
    assert engines.name_faults(CallNames("gpt-4o-mini", "whisper-1", "tts-1")) == ()
    wrong = CallNames("nope-1", "nope-stt", "gpt-4o-mini-tts")
    fields = [fault.field for fault in engines.name_faults(wrong)]
    assert fields == ["model", "transcription_model"]
    (fault,) = engines.name_faults(CallNames(transcription_model="gpt-4o-transcribe-diarize"))
    assert fault.field == "transcription_model"


async def test_an_engine_that_serves_the_id_goes_first(make: Make, upstream: Upstream) -> None:
    engines = await make(
        upstream_url=upstream.url, upstream_key=KEY, chat_names={"verinova-stable": "gpt-4o"}
    )
    model = await engines.chat("gpt-4o")
    assert isinstance(model, UpstreamChat)
    assert model.model_id == "gpt-4o"


@pytest.mark.parametrize("name", ["no-such-model", "xgpt-realtime", "gpt-4o-miny", "tts-1"])
async def test_any_other_id_stays_an_error(make: Make, name: str) -> None:
    engines = await make()
    with pytest.raises(ModelUnavailable):
        await engines.chat(name)
    for look_up in (engines.transcriber, engines.streaming_transcriber):
        with pytest.raises(ModelUnavailable):
            look_up(name)
    with pytest.raises(ModelUnavailable):
        engines.speaker("gpt-realtime", "en")
