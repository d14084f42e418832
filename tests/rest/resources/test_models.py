"""The contract's tag Models: the available models, and what the contract's names mean."""

from typing import Any

from pipelines.engines.engine import EngineStatus, Role
from pipelines.engines.scripted.jobs import ScriptedJobEngines
from tests.support.rest.catalogue_app import Engines, get, served


async def models(engines: ScriptedJobEngines) -> dict[str, Any]:
    async with served(engines) as client:
        listed = await get(client, "/api/models")
    found = {model["id"]: model for model in listed}
    assert len(found) == len(listed)
    return found


async def test_any_credential_is_enough_but_one_is_required() -> None:
    async with served(ScriptedJobEngines()) as client:
        for path in ("/api/models", "/api/capabilities"):
            assert await get(client, path)
            async with client.get(path) as answer:
                assert answer.status == 401


async def test_the_contracts_names_show_their_models() -> None:
    found = await models(Engines())
    assert {name: found[name]["mapsTo"] for name in ("blab-stable", "blab-expressive")} == {
        "blab-stable": ["scripted-voice"],
        "blab-expressive": ["scripted-voice"],
    }
    stable, expressive = found["blab-stable"], found["blab-expressive"]
    assert (stable["modality"], stable["provider"], stable["available"]) == ("tts", "alias", True)
    assert len(stable["languages"]) == 30
    assert (stable["streaming"], expressive["streaming"]) == (True, False)
    assert stable["formats"] == ["mp3", "wav", "opus", "aac", "flac"]
    assert expressive["formats"] == ["mp3", "wav"]
    assert stable["voices"] == 2
    assert stable["limits"] == {"maxCharacters": 100_000, "minSpeed": 0.25, "maxSpeed": 4}
    chat = found["verinova-stable"]
    assert (chat["modality"], chat["mapsTo"]) == ("llm", [found_chat(found)])


def found_chat(found: dict[str, Any]) -> str:
    (name,) = (name for name, one in found.items() if one["uses"] == ["chat"] and not one["mapsTo"])
    return name


async def test_every_engine_is_listed_with_the_reason_it_is_missing() -> None:
    weights = "weights missing (a.onnx): run `blab models fetch`"
    engines = Engines(
        more=(
            EngineStatus("tiny-ears", Role.STREAMING_TRANSCRIPTION, live=True),
            EngineStatus("tiny-ears", Role.TRANSCRIPTION, live=False, reason=weights),
            EngineStatus("silero-vad", Role.VAD, live=False, reason=weights, languages=()),
            EngineStatus("gpt-9", Role.CHAT, live=True, languages=(), upstream=True),
            EngineStatus("whisper-large", Role.CHAT, live=True, languages=(), upstream=True),
            EngineStatus("tts-1-hd", Role.CHAT, live=True, languages=(), upstream=True),
            EngineStatus("text-embedding-3", Role.CHAT, live=True, languages=(), upstream=True),
        )
    )
    found = await models(engines)
    ears, vad = found["tiny-ears"], found["silero-vad"]
    assert (ears["modality"], ears["available"], ears["streaming"]) == ("stt", True, True)
    assert ears["uses"] == ["streaming_transcription", "transcription"]
    assert ears["limits"] == {"maxBytes": 1000, "maxSeconds": 60}
    assert (vad["modality"], vad["available"], vad["reason"]) == ("vad", False, weights)
    upstream = ("gpt-9", "whisper-large", "tts-1-hd", "text-embedding-3")
    assert [found[name]["modality"] for name in upstream] == ["llm", "stt", "tts", "embedding"]
    assert {found[name]["provider"] for name in upstream} == {"upstream"}
    assert [found[name]["uses"] for name in upstream] == [["chat"], [], [], []]
    assert found["scripted-translator"]["modality"] == "translation"
    assert found["scripted-cloner"]["modality"] == "voice_cloning"


async def test_a_model_without_an_engine_is_unavailable() -> None:
    everything = frozenset({"blab-stable", "blab-expressive"})
    found = await models(Engines(absent=everything))
    stable = found["blab-stable"]
    assert (stable["available"], stable["languages"], stable["mapsTo"]) == (False, [], [])
    assert stable["reason"] == "No engine that is live speaks for it."
