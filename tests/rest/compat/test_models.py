"""OpenAI's list of models, read by the stock client."""

from pathlib import Path

import openai
import pytest

from pipelines.engines import call_names
from pipelines.engines.scripted.jobs import ScriptedJobEngines
from tests.support.rest.compat_app import NOW, STOCK, CompatNode


async def test_live_models_and_their_stock_names_are_listed(tmp_path: Path) -> None:
    async with CompatNode(tmp_path).running() as node, node.client() as client:
        models = {model.id: model async for model in client.models.list()}
        assert {"blab-stable", "blab-expressive", "verinova-stable"} <= set(models)
        assert {"scripted-chat", "scripted-voice", "scripted-file-ears"} <= set(models)
        assert {"tts-1", "gpt-4o-mini-tts", "whisper-1", "gpt-4o-mini", "gpt-realtime"} <= set(
            models
        )
        assert "scripted-translator" not in models
        for name, model in models.items():
            assert (model.object, model.created, model.owned_by) == ("model", int(NOW), "blab")
            assert (await client.models.retrieve(name)) == model


async def test_a_dated_name_is_found_and_an_unknown_one_is_not(tmp_path: Path) -> None:
    async with CompatNode(tmp_path).running() as node, node.client() as client:
        dated = await client.models.retrieve("gpt-4o-mini-tts-2025-12-15")
        assert dated.id == "gpt-4o-mini-tts-2025-12-15"
        for name in ("no-such-model", "org/no such model", "gpt-4o-mini-tts-"):
            with pytest.raises(openai.NotFoundError) as refused:
                await client.models.retrieve(name)
            assert refused.value.code == "model_not_found"
            assert refused.value.param == "model"


async def test_only_live_models_are_listed(tmp_path: Path) -> None:
    engines = ScriptedJobEngines(absent=STOCK | {"default", "verinova-stable"})
    async with CompatNode(tmp_path, engines).running() as node, node.client() as client:
        names = {model.id async for model in client.models.list()}
        assert not names & {"verinova-stable", "whisper-1", "gpt-4o-mini", "gpt-realtime"}
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("whisper-1")


@pytest.mark.parametrize(
    ("pattern", "listed"),
    [
        (call_names.REALTIME, call_names.LISTED_REALTIME),
        (call_names.TRANSCRIPTION, call_names.LISTED_TRANSCRIPTION),
        (call_names.SPEECH, call_names.LISTED_SPEECH),
        (call_names.CHAT, call_names.LISTED_CHAT),
    ],
)
def test_each_stock_name_is_of_one_kind(pattern: object, listed: tuple[str, ...]) -> None:
    kinds = (
        call_names.REALTIME,
        call_names.TRANSCRIPTION,
        call_names.SPEECH,
        call_names.CHAT,
    )
    for name in listed:
        assert [kind for kind in kinds if kind.fullmatch(name)] == [pattern]
