"""The contract's tag STT: checked uploads, jobs private to their workspace, exports."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pysubs2
import pytest
from aiohttp import FormData

from media.files.limits import MediaLimits
from pipelines.decoding import decoded
from pipelines.engines.scripted.jobs import ScriptedJobEngines, scripted_job_engines, spoken
from pipelines.jobs.artifacts import Artifacts
from pipelines.jobs.job import JobStatus, JobType
from pipelines.transcription.job import SttKind
from rest.http.endpoint import EndpointOptions
from rest.http.idempotency import Idempotency
from rest.http.uploads import Uploads
from rest.jobs.kinds import JOBS, JobViews
from rest.jobs.stt import SttResource
from store.database import Database
from store.objects import ObjectStore
from store.tenants.idempotency import IdempotencyKeys
from store.tenants.jobs import Job, Jobs
from tests.support.media_files import audio_file, tone, video_file
from tests.support.pipelines.job_support import until, working
from tests.support.rest.api_app import Client, Tenant, authenticator, new_tenant, serving
from tests.support.rest.job_app import Signer

WAV = audio_file("wav", tone(2.0, rate=16_000), 16_000)


@dataclass
class Platform:
    """A server of the resource, and what its worker needs."""

    client: Client
    tenant: Tenant
    database: Database
    artifacts: Artifacts
    engines: ScriptedJobEngines

    async def send(
        self, content: bytes = WAV, name: str = "talk.wav", key: str | None = None, **texts: str
    ) -> tuple[int, dict[str, Any]]:
        form = FormData()
        form.add_field("file", content, filename=name)
        for field, text in texts.items():
            form.add_field(field, text)
        headers = self.headers() | ({"Idempotency-Key": key} if key else {})
        async with self.client.post("/api/stt", data=form, headers=headers) as answer:
            return answer.status, await answer.json()

    async def get(self, path: str, tenant: Tenant | None = None) -> tuple[int, dict[str, Any]]:
        async with self.client.get(path, headers=self.headers(tenant)) as answer:
            return answer.status, await answer.json()

    async def export(self, job_id: str, query: str = "") -> tuple[str, str, str]:
        """Text, content type and Content-Disposition."""
        path = f"/api/stt/{job_id}/export{query}"
        async with self.client.get(path, headers=self.headers()) as answer:
            assert answer.status == 200
            headers = answer.headers
            return await answer.text(), headers["Content-Type"], headers["Content-Disposition"]

    def headers(self, tenant: Tenant | None = None) -> dict[str, str]:
        return {"Authorization": f"Bearer {(tenant or self.tenant).key}"}

    async def job(self, job_id: str) -> Job:
        found = await Jobs(self.database).get(self.tenant.workspace_id, job_id)
        assert found is not None
        return found

    async def transcribed(self, *, max_record_bytes: int = 10_000, **sent: Any) -> str:
        status, body = await self.send(**sent)
        assert status == 202, body
        job = await self.job(body["data"]["jobId"])
        kind: Any = SttKind(self.engines, self.artifacts, decoded, max_record_bytes)
        async with working(self.database, kind):
            await until(self.database, job, JobStatus.COMPLETED)
        return job.id


@asynccontextmanager
async def platform_of(database: Database, folder: Path) -> AsyncIterator[Platform]:
    said = (spoken("tell me, does it work", 250), spoken("it does", 1500))
    engines = scripted_job_engines(hears=said)
    artifacts = Artifacts(database, ObjectStore.open((folder / "objects").as_uri()))
    views = JobViews(Signer())
    limits = MediaLimits(max_seconds=10)
    resource = SttResource(database, engines, artifacts, views, limits)
    uploads = folder / "uploads"
    await asyncio.to_thread(uploads.mkdir)
    options = EndpointOptions(
        idempotency=Idempotency(IdempotencyKeys(database)), uploads=Uploads(uploads)
    )
    tenant = await new_tenant(database)
    async with serving([resource], authenticator(database).of_request, options) as client:
        yield Platform(
            client=client,
            tenant=tenant,
            database=database,
            artifacts=artifacts,
            engines=engines,
        )


@pytest.fixture
async def platform(database: Database, tmp_path: Path) -> AsyncIterator[Platform]:
    async with platform_of(database, tmp_path) as made:
        yield made


async def test_from_upload_to_export(platform: Platform) -> None:
    job_id = await platform.transcribed(label="Standup", language="en-GB")
    status, body = await platform.get(f"/api/stt/{job_id}")
    assert status == 200
    msgspec.convert(body["data"], JOBS[JobType.STT])  # as the document says
    output = body["data"]["output"]
    assert (body["data"]["status"], output["text"]) == (
        "completed",
        "tell me, does it work it does",
    )
    assert (output["label"], output["language"]) == ("Standup", "en")
    assert (output["fileName"], output["durationMs"]) == ("talk.wav", 2000)
    assert "upload" in output["sourceUrl"]  # kept as long as the job, to be heard again

    text, kind, disposition = await platform.export(job_id)
    assert text == "tell me, does it work\nit does\n"
    assert kind == "text/plain; charset=utf-8"
    assert disposition == 'attachment; filename="talk.txt"'
    for format in ("srt", "vtt"):
        text, kind, disposition = await platform.export(job_id, f"?format={format}")
        assert (kind, disposition) == (
            "text/plain; charset=utf-8",
            f'attachment; filename="talk.{format}"',
        )
        cues = pysubs2.SSAFile.from_string(text, format_=format)
        assert " ".join(cue.plaintext for cue in cues) == "tell me, does it work it does"
        assert cues[-1].end <= 2000
    text, _, _ = await platform.export(job_id, "?format=json")
    exported = json.loads(text)
    assert exported["segments"] == output["segments"]
    assert (exported["language"], exported["durationMs"], exported["text"]) == (
        "en",
        2000,
        output["text"],
    )


async def test_a_long_transcript_is_exported_alike(platform: Platform) -> None:
    short = await platform.transcribed()
    long = await platform.transcribed(max_record_bytes=10)
    _, body = await platform.get(f"/api/stt/{long}")
    msgspec.convert(body["data"], JOBS[JobType.STT])
    assert body["data"]["output"]["transcriptUrl"].endswith("transcript.json?signed")
    for format in ("txt", "srt", "vtt", "json"):
        exports = [await platform.export(one, f"?format={format}") for one in (short, long)]
        assert exports[0] == exports[1]
    workspace_id = platform.tenant.workspace_id
    assert await platform.artifacts.delete(workspace_id, f"{workspace_id}/{long}/transcript.json")
    status, body = await platform.get(f"/api/stt/{long}/export")
    assert (status, body["error"]["code"]) == (404, "NOT_FOUND")


async def test_the_upload_goes_with_its_job(platform: Platform) -> None:
    status, body = await platform.send()
    assert status == 202
    job = await platform.job(body["data"]["jobId"])
    stored = await platform.artifacts.find(job.workspace_id, job.input["sourceKey"])
    assert stored is not None
    assert (stored.job_id, stored.kind, stored.duration_ms) == (job.id, "upload", 2000)
    assert (stored.content_type, stored.filename) == ("audio/wav", "talk.wav")
    assert stored.details["sampleRate"] == 16_000


async def test_a_video_is_heard(platform: Platform, tmp_path: Path) -> None:
    path = await asyncio.to_thread(
        video_file, tmp_path / "a.mp4", tone(1.0), muxer="mp4", seconds=1.0
    )
    content = await asyncio.to_thread(path.read_bytes)
    job_id = await platform.transcribed(content=content, name="a.mp4")
    assert (await platform.export(job_id))[0] == "tell me, does it work\n"


async def test_an_idempotency_key_makes_one_job(platform: Platform) -> None:
    first, second = await platform.send(key="one"), await platform.send(key="one")
    assert first[1]["data"] == second[1]["data"]
    status, body = await platform.send(key="one", label="other")
    assert (status, body["error"]["code"]) == (409, "IDEMPOTENCY_CONFLICT")
    assert len(await Jobs(platform.database).list(platform.tenant.workspace_id)) == 1


async def test_unreadable_uploads_are_refused_at_once(platform: Platform, tmp_path: Path) -> None:
    silent = await asyncio.to_thread(video_file, tmp_path / "silent.mp4", None, seconds=1.0)
    mute = await asyncio.to_thread(silent.read_bytes)
    cases = {
        "unreadable_media": b"no media at all",
        "no_audio": mute,
        "media_too_long": audio_file("wav", tone(11.0, rate=8000), 8000),
    }
    for reason, content in cases.items():
        status, body = await platform.send(content)
        error = body["error"]
        assert (status, error["code"]) == (400, "VALIDATION_ERROR")
        assert error["details"] == {"path": "file", "reason": reason}
        assert len(error["message"]) > 30
    assert await Jobs(platform.database).list(platform.tenant.workspace_id) == []
    assert await platform.database.fetchval("SELECT count(*) FROM objects") == 0


async def test_model_and_language_are_checked(platform: Platform) -> None:
    platform.engines.absent = frozenset({"whisper-9", "tlh"})
    status, body = await platform.send(model="whisper-9")
    assert (status, body["error"]["code"]) == (404, "MODEL_UNAVAILABLE")
    status, body = await platform.send(language="tlh")
    assert (status, body["error"]["code"]) == (404, "MODEL_UNAVAILABLE")
    status, body = await platform.send(language="English, please")
    assert (status, body["error"]["details"]["path"]) == (400, "language")
    status, body = await platform.send(language="", model="", label="")
    assert status == 202
    job = await platform.job(body["data"]["jobId"])
    assert set(job.input) == {"sourceKey", "fileName", "durationMs"}


async def test_no_export_before_the_end(platform: Platform) -> None:
    _, body = await platform.send()
    job_id = body["data"]["jobId"]
    status, body = await platform.get(f"/api/stt/{job_id}/export")
    assert (status, body["error"]["details"]["reason"]) == (409, "not_completed")
    status, body = await platform.get(f"/api/stt/{job_id}/export?format=doc")
    assert (status, body["error"]["details"]["path"]) == (400, "format")


async def test_another_workspaces_transcript_is_not_found(platform: Platform) -> None:
    theirs = await new_tenant(platform.database, "theirs@example.org")
    job_id = await platform.transcribed()
    answers = [
        await platform.get(path, tenant)
        for name, tenant in ((job_id, theirs), ("job_" + "0" * 26, platform.tenant), ("x", theirs))
        for path in (f"/api/stt/{name}", f"/api/stt/{name}/export")
    ]
    assert {status for status, _ in answers} == {404}
    assert len({json.dumps(body["error"]) for _, body in answers}) == 1


async def test_each_needs_its_scope(platform: Platform) -> None:
    reader = await new_tenant(platform.database, "reader@example.org", ["stt:read"])
    writer = await new_tenant(platform.database, "writer@example.org", ["stt:write"])
    assert (await platform.get("/api/stt/x", writer))[0] == 403
    assert (await platform.get("/api/stt/x", reader))[0] == 404
    platform.tenant = reader
    assert (await platform.send())[0] == 403
    platform.tenant = writer
    assert (await platform.send())[0] == 202
