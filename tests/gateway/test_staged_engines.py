"""The stages of a start, with real files for weights and no network."""

import asyncio
from pathlib import Path

import pytest

from gateway.settings import Settings
from gateway.staged_engines import StagedEngines, Stop, engine_settings, wanted_models
from pipelines.engines.base import ModelUnavailable
from pipelines.engines.engine_settings import EngineSettings
from pipelines.engines.registry import Engines
from pipelines.weights.errors import FetchStopped, WeightsError


def no_engines(tmp_path: Path) -> Engines:
    return Engines(EngineSettings(tmp_path), plans=lambda settings: [])


async def test_the_stages_come_in_order_and_say_what_is_waited_for(tmp_path: Path) -> None:
    seen: list[tuple[str, str | None]] = []

    def fetch(stop: Stop) -> None:
        seen.append(("in fetch", engines.waiting_for()))

    engines = StagedEngines(
        fetch, no_engines(tmp_path), lambda stage: seen.append((stage, engines.waiting_for()))
    )
    assert engines.waiting_for() == "The server is starting."
    with pytest.raises(ModelUnavailable):
        engines.chat("default")
    await engines.start()
    assert seen[:3] == [
        ("fetching", "The models are being fetched."),
        ("in fetch", "The models are being fetched."),
        ("loading", "The models are being loaded."),
    ]
    assert seen[3][0] == "incomplete"
    assert engines.waiting_for() is not None
    await engines.close()
    assert engines.waiting_for() == "The server is shutting down."


async def test_weights_that_cannot_be_had_do_not_end_the_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fetch(stop: Stop) -> None:
        raise WeightsError("no source gave silero-vad")

    stages: list[str] = []
    engines = StagedEngines(fetch, no_engines(tmp_path), stages.append)
    await engines.start()
    assert stages == ["fetching", "loading", "incomplete"]
    assert "no source gave silero-vad" in caplog.text
    await engines.close()


async def test_a_cancelled_start_stops_the_fetch(tmp_path: Path) -> None:
    fetching, stopped = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def fetch(stop: Stop) -> None:
        loop.call_soon_threadsafe(fetching.set)
        while not stop():
            pass
        loop.call_soon_threadsafe(stopped.set)
        raise FetchStopped("stopped")

    engines = StagedEngines(fetch, no_engines(tmp_path), lambda _: None)
    start = asyncio.create_task(engines.start())
    await asyncio.wait_for(fetching.wait(), 5)
    start.cancel()
    await asyncio.gather(start, return_exceptions=True)
    await asyncio.wait_for(stopped.wait(), 5)
    await engines.close()


def test_the_settings_reach_the_engines(tmp_path: Path) -> None:
    settings = Settings.read(
        {
            "BLAB_MODELS_DIR": str(tmp_path),
            "BLAB_PROFILE": "full",
            "BLAB_MAX_CALLS": "3",
            "BLAB_UPSTREAM_URL": "http://127.0.0.1:9/v1",
            "BLAB_UPSTREAM_KEY": "sk",
            "BLAB_SPEECH_MODEL": "tts",
        }
    )
    engines = engine_settings(settings)
    assert (engines.models_dir, engines.profile, engines.calls) == (tmp_path, "full", 3)
    assert (engines.upstream_url, engines.upstream_key) == ("http://127.0.0.1:9/v1", "sk")
    assert (engines.chat_model, engines.speech_model) == (None, "tts")


def test_only_the_weights_that_are_used_are_wanted() -> None:
    def wanted(**environ: str) -> list[str]:
        return wanted_models(Settings.read({"BLAB_PROFILE": "small", **environ}))

    assert "qwen2.5-0.5b" in wanted()
    assert not [name for name in wanted(BLAB_CHAT_MODEL="gpt-4o") if name.startswith("qwen")]
    larger = wanted(BLAB_CHAT_MODEL="qwen2.5-1.5b")
    assert [name for name in larger if name.startswith("qwen")] == ["qwen2.5-1.5b"]
