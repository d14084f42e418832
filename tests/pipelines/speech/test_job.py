"""Speech jobs: text to a stored take, polished on request."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyloudnorm
import pytest

from media.files.encode import HEADER_BYTES
from pipelines.engines.jobs import SpeechChoice, SpeechEngine
from pipelines.engines.scripted.live import ScriptedEngines, ScriptedSpeaker
from pipelines.jobs.job import JobStatus, JobType
from pipelines.jobs.queue import BatchKind, submit_batch
from pipelines.speech.job import TtsKind, polish
from rest.jobs.kinds import OUTPUTS
from store.database import Database
from store.tenants.jobs import Jobs
from tests.support.media_files import tone
from tests.support.pipelines.job_support import new_workspace, submit, until, working


class Engines(ScriptedEngines):
    async def speech(self, choice: SpeechChoice) -> ScriptedSpeaker:
        return self.voice

    def speech_engine(self, choice: SpeechChoice) -> SpeechEngine:
        return SpeechEngine("scripted-voice", "good")

    def check_speech(self, choice: SpeechChoice) -> None:
        pass

    def voices(self, model_id: str) -> tuple[Any, ...]:
        return ()


class NoVoices:
    async def get(self, workspace_id: str, voice_id: str, /) -> None:
        return None


class MemoryArtifacts:
    def __init__(self) -> None:
        self.stored: dict[str, bytes] = {}

    async def store(
        self, workspace_id: str, job_id: str, name: str, path_or_bytes: Path | bytes,
        content_type: str, *, duration_ms: int | None = None,
    ) -> str:  # fmt: skip
        assert isinstance(path_or_bytes, Path)
        key = f"{workspace_id}/{job_id}/{name}"
        self.stored[key] = await asyncio.to_thread(path_or_bytes.read_bytes)
        return key


def order(text: str, **more: Any) -> Mapping[str, Any]:
    return {"model": "blab-stable", "input": text, "language": "en", **more}


async def test_a_batch_reports_each_item(database: Database) -> None:
    ours = await new_workspace(database)
    artifacts = MemoryArtifacts()
    kind: Any = TtsKind(Engines(), NoVoices(), artifacts)
    batch_kind: Any = BatchKind(database, look_seconds=0.05)
    items = [dict(order("one two", format="wav")), dict(order("three", voice="voi_gone"))]
    async with working(database, kind, batch_kind):
        batch = await submit_batch(database, ours, {}, items)
        done = await until(database, batch, JobStatus.COMPLETED)
    assert done.output == {
        "total": 2,
        "completed": 1,
        "failed": 1,
        "cancelled": 0,
        "refused": 0,
    }
    good, bad = await Jobs(database).children(ours, batch.id)
    assert good.output is not None
    msgspec.convert({**good.output, "audioUrl": ""}, OUTPUTS[JobType.TTS])  # as the document says
    assert good.output["durationMs"] == 500
    assert (good.output["script"], good.output["characters"]) == ("one two", 7)
    assert len(artifacts.stored[good.output["audioKey"]]) == HEADER_BYTES + 24_000
    assert bad.error is not None
    assert bad.error["code"] == "NOT_FOUND"


async def test_text_without_sounds_is_reported(database: Database) -> None:
    ours = await new_workspace(database)
    kind: Any = TtsKind(Engines(), NoVoices(), MemoryArtifacts())
    async with working(database, kind):
        mixed = await submit(database, ours, **order("They say こんにちは to you."))
        lost = await submit(database, ours, **order("こんにちは"))
        done = await until(database, mixed, JobStatus.COMPLETED)
        failed = await until(database, lost, JobStatus.FAILED)
    assert done.warnings == [
        {
            "code": "text_not_spoken",
            "message": "A voice for 'en' has no sounds for this and leaves it out: こんにちは",
            "path": "input",
        }
    ]
    assert failed.error is not None
    assert failed.error["code"] == "VALIDATION_ERROR"
    assert "Nothing is left to say" in failed.error["message"]


RATE = 16_000


async def test_a_take_is_polished(tmp_path: Path, audio: Callable[[str], bytes]) -> None:
    raw, made = tmp_path / "raw.pcm", tmp_path / "polished.pcm"
    raw.write_bytes(audio("lv_0890"))
    await polish(raw, made, RATE)
    samples = np.frombuffer(made.read_bytes(), "<i2")
    assert len(samples) * 2 == raw.stat().st_size
    loudness = pyloudnorm.Meter(RATE).integrated_loudness(samples / 32768)
    assert loudness == pytest.approx(-16, abs=0.5)


async def test_cancelling_stops_it_at_once(tmp_path: Path) -> None:
    raw, made = tmp_path / "raw.pcm", tmp_path / "polished.pcm"
    raw.write_bytes(tone(1, rate=RATE).tobytes() * 3600)
    task = asyncio.create_task(polish(raw, made, RATE))
    await asyncio.wait({task}, timeout=0.05)
    loop = asyncio.get_running_loop()
    asked = loop.time()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert loop.time() - asked < 1
