"""The stages of a start, with real files for weights and no network."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pipelines.engines.base import ModelUnavailable
from pipelines.engines.catalogue import Catalogue
from pipelines.engines.discovery import BUILT_IN
from pipelines.engines.engine import Engine, EngineSettings, Role
from pipelines.engines.startup import Stop, weights_for_calls, weights_for_jobs
from pipelines.weights.manifest import FetchStopped, Model, WeightsError


async def test_the_stages_come_in_order_with_their_progress(tmp_path: Path) -> None:
    seen: list[tuple[str, str | None]] = []

    def fetch(models: Sequence[Model], stop: Stop) -> None:
        seen.append(("in fetch", engines.waiting_for()))

    engines = Catalogue(
        EngineSettings(tmp_path),
        engines=(),
        fetch=fetch,
        on_stage=lambda stage: seen.append((stage, engines.waiting_for())),
    )
    assert engines.waiting_for() == "The server is starting."
    with pytest.raises(ModelUnavailable):
        await engines.chat("default")
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


async def test_a_failed_download_does_not_end_the_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fetch(models: Sequence[Model], stop: Stop) -> None:
        raise WeightsError("no source gave silero-vad")

    stages: list[str] = []
    engines = Catalogue(EngineSettings(tmp_path), engines=(), fetch=fetch, on_stage=stages.append)
    await engines.start()
    assert stages == ["fetching", "loading", "incomplete"]
    assert "no source gave silero-vad" in caplog.text
    await engines.close()


async def test_a_cancelled_start_stops_the_fetch(tmp_path: Path) -> None:
    fetching, stopped = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def fetch(models: Sequence[Model], stop: Stop) -> None:
        loop.call_soon_threadsafe(fetching.set)
        while not stop():
            pass
        loop.call_soon_threadsafe(stopped.set)
        raise FetchStopped("stopped")

    engines = Catalogue(EngineSettings(tmp_path), engines=(), fetch=fetch)
    start = asyncio.create_task(engines.start())
    await asyncio.wait_for(fetching.wait(), 5)
    start.cancel()
    await asyncio.gather(start, return_exceptions=True)
    await asyncio.wait_for(stopped.wait(), 5)
    await engines.close()


def test_only_the_weights_in_use_are_fetched() -> None:
    def wanted(**options: Any) -> tuple[list[str], list[str]]:
        settings = EngineSettings(Path("/nowhere"), **options)
        found = weights_for_calls(settings, BUILT_IN), weights_for_jobs(settings, BUILT_IN)
        return [model.name for model in found[0]], [model.name for model in found[1]]

    hearing = ["silero-vad", "smart-turn-v3.2", "vosk-small-en", "moonshine-tiny-en"]
    jobs = ["whisper-base", "kokoro", "speaker-encoder"]
    assert wanted() == ([*hearing, "qwen2.5-0.5b"], jobs)
    assert wanted(profile="standard") == wanted()
    full = [*hearing, "qwen2.5-1.5b", "qwen2.5-0.5b"]
    assert wanted(profile="full") == (full, jobs)
    assert wanted(chat_model="gpt-4o") == (hearing, jobs)
    assert wanted(chat_model="qwen2.5-1.5b") == ([*hearing, "qwen2.5-1.5b"], jobs)
    spoken = [*hearing, "qwen2.5-0.5b", "kokoro"]
    assert wanted(speech_model="kokoro") == (spoken, ["whisper-base", "speaker-encoder"])


async def test_what_is_loaded_later_waits_until_nobody_calls(tmp_path: Path) -> None:
    loaded = asyncio.Event()
    quiet = asyncio.Event()
    waiting = asyncio.Event()

    async def load(_settings: EngineSettings) -> object:
        loaded.set()
        return object()

    async def when_quiet() -> None:
        waiting.set()
        await quiet.wait()

    later = Engine(role=Role.CLONING, id="later", languages=(), load=load, background=True)
    engines = Catalogue(EngineSettings(tmp_path), engines=(later,))
    await engines.start(when_quiet)
    await asyncio.wait_for(waiting.wait(), 5)
    assert not loaded.is_set()
    quiet.set()
    await asyncio.wait_for(engines.complete(), 5)
    assert loaded.is_set()
    await engines.close()
