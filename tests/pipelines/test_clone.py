"""Clone jobs on a real queue, with a scripted cloner and a real encoder."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import pytest

from media.files.decode import decode
from pipelines.clone import PREVIEWS, CloneKind, preview_text, provider_voice_id
from pipelines.engines.base import EngineFailed
from pipelines.engines.scripted.jobs import ScriptedJobEngines, scripted_job_engines
from pipelines.engines.scripted.live import Fault
from pipelines.jobs.artifacts import Artifacts
from pipelines.jobs.job import JobRun, JobStatus, JobType, NewJob
from pipelines.jobs.queue import JobQueue
from rest.http.fields import SpokenLanguage
from store.database import Database
from store.objects import ObjectStore
from store.tenants.jobs import Job
from store.tenants.voices import Voices
from tests.support.media_files import audio_file, tone
from tests.support.object_store import keys
from tests.support.pipelines.job_support import new_workspace, until, working

SECONDS = 4.0
WAV = audio_file("wav", tone(SECONDS, rate=16_000), 16_000)
GIVEN = datetime(2026, 11, 25, 9, 30, tzinfo=UTC)


@dataclass
class Studio:
    database: Database
    workspace_id: str
    store: ObjectStore
    artifacts: Artifacts
    engines: ScriptedJobEngines

    async def submit(self, language: str = "en", content: bytes = WAV, **more: Any) -> Job:
        key = await self.artifacts.take_in(
            self.workspace_id, "sample", content, content_type="audio/wav", filename="me.wav"
        )
        order = {
            "name": "Ada", "sampleKey": key, "language": language, "consentBy": "usr_ada",
            "consentAt": GIVEN.isoformat(), **more,
        }  # fmt: skip
        new = NewJob(JobType.VOICE_CLONE, order)
        return await JobQueue(self.database).submit(self.workspace_id, new)

    async def ended(self, job: Job, status: str = JobStatus.COMPLETED) -> Job:
        kind: Any = self.kind()
        async with working(self.database, kind):
            return await until(self.database, job, status)

    def kind(self) -> CloneKind:
        return CloneKind(self.database, self.engines, self.artifacts)


@pytest.fixture
async def studio(database: Database, tmp_path: Path) -> Studio:
    store = ObjectStore.open((tmp_path / "objects").as_uri())
    ours = await new_workspace(database)
    return Studio(database, ours, store, Artifacts(database, store), scripted_job_engines())


async def test_a_voice_is_made_from_a_sample(studio: Studio, tmp_path: Path) -> None:
    job = await studio.submit("pt-BR")
    output = (await studio.ended(job)).output
    assert output is not None
    (voice,) = await Voices(studio.database).list(studio.workspace_id)
    assert output == {
        "voiceId": voice.id, "name": "Ada", "similarity": 0.75, "baseSimilarity": 0.5,
        "method": "scripted-cloner", "details": {}, "previewKey": voice.preview_key,
    }  # fmt: skip
    assert studio.engines.copyist.heard == [int(SECONDS * 16_000)]
    assert voice.recipe == studio.engines.copyist.recipe
    assert (voice.sample_key, voice.language) == (job.input["sampleKey"], "pt-BR")
    assert (voice.consent_by, voice.consent_at) == ("usr_ada", GIVEN)
    assert (voice.source_type, voice.model, voice.job_id) == ("cloned", "blab-stable", job.id)
    (choice,) = studio.engines.choices
    assert (choice.recipe, choice.language) == (voice.recipe, "pt-BR")
    (speaker,) = studio.engines.speakers
    assert speaker.spoken == [PREVIEWS["pt"]]
    assert voice.preview_key is not None
    preview = tmp_path / "preview.mp3"
    stored = await studio.artifacts.fetch(studio.workspace_id, voice.preview_key, preview)
    assert (stored.kind, stored.content_type, stored.filename) == (
        *("preview", "audio/mpeg", "Ada.mp3"),
    )
    heard = await asyncio.to_thread(lambda: b"".join(decode(preview)))
    assert stored.duration_ms == pytest.approx(len(heard) / 32, abs=100)


async def test_a_second_run_makes_no_second_voice(studio: Studio) -> None:
    job = await studio.submit()
    percents: list[int] = []

    async def progress(percent: int) -> None:
        percents.append(percent)

    outputs = [
        (await studio.kind().run(JobRun(job.id, studio.workspace_id, job.input, run, progress)))
        for run in (1, 2)
    ]
    first, second = (result.output for result in outputs)
    assert first["voiceId"] == second["voiceId"]
    assert first["previewKey"] != second["previewKey"]
    assert await keys(studio.store) == {job.input["sampleKey"], second["previewKey"]}
    (unit,) = outputs[1].units
    assert (unit.name, unit.type, unit.audio_ms) == (f"{job.id}:clone", "voice_clone", 4000)
    assert outputs[0].units == outputs[1].units
    assert percents == [10, 42, 90] * 2


async def test_a_missing_or_broken_sample_fails(studio: Studio) -> None:
    gone = await studio.submit()
    await studio.artifacts.delete(studio.workspace_id, gone.input["sampleKey"])
    broken = await studio.submit(content=b"RIFFnothing")
    for job, code in ((gone, "NOT_FOUND"), (broken, "VALIDATION_ERROR")):
        failed = await studio.ended(job, JobStatus.FAILED)
        assert failed.error is not None
        assert failed.error["code"] == code
    assert await Voices(studio.database).list(studio.workspace_id) == []


async def test_an_engine_that_fails_leaves_nothing(studio: Studio) -> None:
    studio.engines.copyist.fault = Fault(EngineFailed("no speech in it"))
    job = await studio.submit()
    failed = await studio.ended(job, JobStatus.FAILED)
    assert failed.error is not None
    assert failed.error["code"] == "PROVIDER_ERROR"
    assert await keys(studio.store) == {job.input["sampleKey"]}


def test_every_language_has_a_preview() -> None:
    assert set(PREVIEWS) == set(get_args(SpokenLanguage))
    assert preview_text("de-CH") == PREVIEWS["de"]
    assert preview_text("xx") == PREVIEWS["en"]


def test_the_engines_name_of_a_voice() -> None:
    recipe = {"engine": "kokoro", "styles": {"af_sky": 0.25, "bm_lewis": 0.75}}
    assert provider_voice_id(recipe) == "kokoro:bm_lewis(0.75)+af_sky(0.25)"
    assert provider_voice_id({"engine": "other", "frequency": 3}) == "other"
