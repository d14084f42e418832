"""Ids of OpenAI's own models mean the default where nobody serves them."""

from typing import Any

import pytest
from openai.types.realtime import AudioTranscription, RealtimeSessionCreateRequest

from gateway.stock_models import StockModels
from pipelines.engines.base import ModelUnavailable


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


def literals(model: type[Any], field: str) -> list[str]:
    """The ids that the openai package itself offers."""
    schema = model.model_json_schema()["properties"][field]
    return [name for part in schema["anyOf"] for name in part.get("enum", [])]


@pytest.mark.parametrize("name", literals(RealtimeSessionCreateRequest, "model"))
def test_a_realtime_model_means_the_default_chat_model(name: str) -> None:
    assert StockModels(Engines()).chat(name) == "default"


@pytest.mark.parametrize("name", literals(AudioTranscription, "model"))
def test_a_stock_transcription_model_means_the_default(name: str) -> None:
    engines = StockModels(Engines())
    assert engines.transcriber(name) == engines.hearing(name) == "default"


def test_an_engine_that_serves_the_id_goes_first() -> None:
    engines = StockModels(Engines("whisper-1"))
    assert engines.transcriber("whisper-1") == "whisper-1"


@pytest.mark.parametrize("name", ["gpt-4o", "no-such-model", "xgpt-realtime", ""])
def test_any_other_id_stays_an_error(name: str) -> None:
    engines = StockModels(Engines())
    for look_up in (engines.chat, engines.transcriber, engines.hearing):
        with pytest.raises(ModelUnavailable):
            look_up(name)
    with pytest.raises(ModelUnavailable):
        engines.speaker("gpt-realtime", "en")
    assert (engines.turn_detector, engines.vad_model) == ("turn", "vad")
