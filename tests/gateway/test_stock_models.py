"""Ids of OpenAI's own models mean the default where nobody serves them."""

from typing import Any

import pytest
from openai.types.realtime import AudioTranscription, RealtimeSessionCreateRequest

from gateway.stock_models import StockModels
from pipelines.engines.base import ModelUnavailable
from pipelines.engines.chat.call_names import CallNames, NameFault, NameField


class Engines:
    """Serves "default" and what it is told to; an engine is its id."""

    turn_detector: Any = "turn"
    vad_model: Any = "vad"

    def __init__(self, *served: str) -> None:
        self._served = ("default", *served)

    def _find(self, model_id: str, *_: str) -> Any:
        if model_id not in self._served:
            raise ModelUnavailable(model_id)
        return model_id

    hearing = transcriber = chat = speaker = _find

    def name_faults(self, names: CallNames) -> tuple[NameFault, ...]:
        fields: tuple[NameField, ...] = ("model", "transcription_model", "speech_model")
        given = [(field, getattr(names, field)) for field in fields]
        return tuple(NameFault(f, n, "none") for f, n in given if n not in self._served)


def literals(model: type[Any], field: str) -> list[str]:
    """The ids that the openai package itself offers."""
    schema = model.model_json_schema()["properties"][field]
    return [name for part in schema["anyOf"] for name in part.get("enum", [])]


@pytest.mark.parametrize("name", literals(RealtimeSessionCreateRequest, "model"))
def test_a_realtime_model_means_the_default_chat_model(name: str) -> None:
    assert StockModels(Engines()).chat(name) == "default"


@pytest.mark.parametrize("name", ["gpt-4o", "gpt-4o-mini", "gpt-4.1-nano", "o3-mini"])
def test_a_chat_model_means_the_default_too(name: str) -> None:
    assert StockModels(Engines()).chat(name) == "default"
    assert StockModels(Engines(name)).chat(name) == name


def test_stock_names_are_no_fault_whoever_serves_them() -> None:
    named = CallNames("gpt-4o-mini", "whisper-1", "tts-1")
    assert StockModels(Engines()).name_faults(named) == ()
    assert StockModels(Engines("whisper-1")).name_faults(named) == ()
    wrong = CallNames("nope-1", "nope-stt", "gpt-4o-mini-tts")
    fields = [fault.field for fault in StockModels(Engines()).name_faults(wrong)]
    assert fields == ["model", "transcription_model"]


@pytest.mark.parametrize("name", literals(AudioTranscription, "model"))
def test_a_stock_transcription_model_means_the_default(name: str) -> None:
    engines = StockModels(Engines())
    if "diarize" in name:  # nobody here tells speakers apart
        (fault,) = engines.name_faults(CallNames(transcription_model=name))
        assert fault.field == "transcription_model"
        return
    assert engines.transcriber(name) == engines.hearing(name) == "default"


def test_an_engine_that_serves_the_id_goes_first() -> None:
    engines = StockModels(Engines("whisper-1"))
    assert engines.transcriber("whisper-1") == "whisper-1"


@pytest.mark.parametrize("name", ["no-such-model", "xgpt-realtime", "gpt-4o-miny", ""])
def test_any_other_id_stays_an_error(name: str) -> None:
    engines = StockModels(Engines())
    for look_up in (engines.chat, engines.transcriber, engines.hearing):
        with pytest.raises(ModelUnavailable):
            look_up(name)
    with pytest.raises(ModelUnavailable):
        engines.speaker("gpt-realtime", "en")
    assert engines.speaker("tts-1-hd", "en") == "default"
    assert (engines.turn_detector, engines.vad_model) == ("turn", "vad")
