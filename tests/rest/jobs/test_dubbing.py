"""The contract's tag Dubbing: sources are checked, and impossible dubbings refused."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import FormData

from media.files.limits import MediaLimits
from pipelines.dubbing.job import DubbingKind
from pipelines.engines.scripted.jobs import ScriptedJobEngines, scripted_job_engines, spoken
from pipelines.jobs.artifacts import Artifacts
from pipelines.jobs.job import JobStatus, JobType
from rest.http.endpoint import EndpointOptions
from rest.http.idempotency import Idempotency
from rest.http.uploads import Uploads
from rest.jobs.dubbing import DubbingResource
from rest.jobs.kinds import JOBS, JobViews
from rest.jobs.speech_requests import SpeechChecks
from store.database import Database
from store.objects import ObjectStore
from store.tenants.idempotency import IdempotencyKeys
from store.tenants.jobs import Jobs
from tests.pipelines.dubbing.test_job import NoVoices
from tests.support.media_files import audio_file, tone, video_file
from tests.support.pipelines.job_support import submit, until, working
from tests.support.rest.api_app import Client, Tenant, authenticator, new_tenant, serving
from tests.support.rest.job_app import Signer

WAV = audio_file("wav", tone(2.0, rate=16_000), 16_000)
ABSENT = "ws_0/source/obj_00000000000000000000000000"


@dataclass
class Platform:
    """A server of the resource, and what its worker needs."""

    client: Client
    tenant: Tenant
    database: Database
    artifacts: Artifacts
    engines: ScriptedJobEngines

    async def upload(self, content: bytes = WAV, name: str = "talk.wav") -> tuple[int, Any]:
        form = FormData()
        form.add_field("file", content, filename=name)
        async with self.client.post(
            "/api/dubbing/source", data=form, headers=self.headers()
        ) as answer:
            return answer.status, content_of(await answer.json())

    async def order(
        self, tenant: Tenant | None = None, key: str | None = None, **asked: Any
    ) -> tuple[int, Any]:
        body = {"targetLanguage": "de", "voice": "scripted-low", **asked}
        headers = self.headers(tenant) | ({"Idempotency-Key": key} if key else {})
        async with self.client.post("/api/dubbing", json=body, headers=headers) as answer:
            return answer.status, content_of(await answer.json())

    async def get(self, job_id: str, tenant: Tenant | None = None) -> tuple[int, Any]:
        path = f"/api/dubbing/{job_id}"
        async with self.client.get(path, headers=self.headers(tenant)) as answer:
            return answer.status, content_of(await answer.json())

    def headers(self, tenant: Tenant | None = None) -> dict[str, str]:
        return {"Authorization": f"Bearer {(tenant or self.tenant).key}"}

    async def source(self) -> str:
        status, data = await self.upload()
        assert status == 200
        return str(data["storageKey"])


def content_of(body: dict[str, Any]) -> Any:
    return body["data"] if body["ok"] else body["error"]


@pytest.fixture
async def platform(database: Database, tmp_path: Path) -> AsyncIterator[Platform]:
    engines = scripted_job_engines(hears=(spoken("hello there", 500),))
    artifacts = Artifacts(database, ObjectStore.open((tmp_path / "objects").as_uri()))
    resource = DubbingResource(
        database,
        engines,
        SpeechChecks(engines, NoVoices()),
        artifacts,
        JobViews(Signer()),
        MediaLimits(max_seconds=10),
    )
    options = EndpointOptions(
        uploads=Uploads(tmp_path / "uploads"),
        idempotency=Idempotency(IdempotencyKeys(database)),
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


async def test_from_the_upload_to_signed_outputs(platform: Platform, tmp_path: Path) -> None:
    film = video_file(tmp_path / "film.mp4", tone(3), seconds=3).read_bytes()
    status, source = await platform.upload(film, "my-film.mp4")
    assert status == 200
    key = source.pop("storageKey")
    assert source == {
        "fileName": "my-film.mp4",
        "sizeBytes": len(film),
        "durationMs": 3000,
        "contentType": "video/mp4",
        "hasVideo": True,
    }
    status, ref = await platform.order(sourceStorageKey=key, sourceLanguage="en-US", format="opus")
    assert (status, ref["status"]) == (202, "queued")
    job = await Jobs(platform.database).get(platform.tenant.workspace_id, ref["jobId"])
    assert job is not None
    kept = await platform.artifacts.find(platform.tenant.workspace_id, key)
    assert kept is not None
    assert kept.job_id == job.id
    kind: Any = DubbingKind(platform.engines, NoVoices(), platform.artifacts)
    async with working(platform.database, kind):
        await until(platform.database, job, JobStatus.COMPLETED)
    status, shown = await platform.get(job.id)
    assert (status, shown["type"], shown["progress"]) == (200, "dubbing", 100)
    msgspec.convert(shown, JOBS[JobType.DUBBING])  # as the document says
    output = shown["output"]
    names = ["audio", "video", "sourceSrt", "sourceVtt", "targetSrt", "targetVtt"]
    assert all(f"/files/{output[f'{name}Key']}" in output[f"{name}Url"] for name in names)
    assert output["segments"][0]["targetText"] == "HELLO THERE"
    assert (output["voice"], output["format"]) == ("scripted-low", "opus")


async def test_sources_that_are_refused(platform: Platform, tmp_path: Path) -> None:
    silent = video_file(tmp_path / "silent.mp4", None).read_bytes()
    long = audio_file("flac", tone(11, rate=16_000), 16_000)
    for content, reason in (
        (b"#EXTM3U\nhttp://example.com/a.ts", "unreadable_media"),
        (b"ffconcat version 1.0\nfile /etc/passwd", "unreadable_media"),
        (silent, "no_audio"),
        (long, "media_too_long"),
    ):
        status, error = await platform.upload(content, "talk.wav")
        assert (status, error["code"]) == (400, "VALIDATION_ERROR")
        assert error["details"]["reason"] == reason


async def test_another_workspaces_source_is_not_found(platform: Platform) -> None:
    key = await platform.source()
    other = await new_tenant(platform.database, "other@example.org")
    foreign = await platform.order(tenant=other, sourceStorageKey=key)
    absent = await platform.order(tenant=other, sourceStorageKey=ABSENT)
    nonsense = await platform.order(tenant=other, sourceStorageKey="../../etc/passwd")
    assert foreign == absent == nonsense
    assert (foreign[0], foreign[1]["code"]) == (404, "NOT_FOUND")
    assert foreign[1]["details"] == {"path": "sourceStorageKey"}
    upload = await platform.artifacts.take_in(
        platform.tenant.workspace_id, "upload", b"x", content_type="audio/wav", filename="x"
    )
    assert (await platform.order(sourceStorageKey=upload))[0] == 404


async def test_impossible_dubbings_are_refused(platform: Platform) -> None:
    key = await platform.source()
    platform.engines.absent = frozenset({"en-de", "ja", "gone"})
    for asked, status, code, path in (
        ({"sourceLanguage": "en"}, 404, "MODEL_UNAVAILABLE", "translateModel"),
        ({"targetLanguage": "ja"}, 404, "MODEL_UNAVAILABLE", "model"),
        ({"sourceLanguage": "ja"}, 404, "MODEL_UNAVAILABLE", "sourceLanguage"),
        ({"model": "gone"}, 404, "MODEL_UNAVAILABLE", "model"),
        (
            {"sourceLanguage": "pt", "translateModel": "gone"},
            404,
            "MODEL_UNAVAILABLE",
            "translateModel",
        ),
        ({"model": "blab-expressive", "format": "flac"}, 404, "MODEL_UNAVAILABLE", "format"),
        ({"voice": "voi_nobody"}, 404, "NOT_FOUND", "voice"),
        ({"sourceLanguage": "de-AT"}, 400, "VALIDATION_ERROR", "targetLanguage"),
        ({"sourceLanguage": "Deutsch!"}, 400, "VALIDATION_ERROR", "sourceLanguage"),
        ({"targetLanguage": ""}, 400, "VALIDATION_ERROR", "targetLanguage"),
        ({"format": "ogg"}, 400, "VALIDATION_ERROR", "format"),
        ({"voice": None}, 400, "VALIDATION_ERROR", "voice"),
    ):
        answered, error = await platform.order(sourceStorageKey=key, **asked)
        assert (answered, error["code"]) == (status, code), asked
        assert error["details"]["path"] == path, asked
    assert await Jobs(platform.database).list(platform.tenant.workspace_id) == []
    found = await platform.artifacts.find(platform.tenant.workspace_id, key)
    assert found is not None
    assert found.job_id is None


async def test_a_draft_is_refused_with_the_pairs_that_have_a_translator(
    platform: Platform,
) -> None:
    key = await platform.source()
    for asked in ({"targetLanguage": "fr"}, {"sourceLanguage": "en", "targetLanguage": "fr"}):
        platform.engines.words.draft = "sourceLanguage" in asked
        status, error = await platform.order(sourceStorageKey=key, **asked)
        assert (status, error["code"]) == (404, "MODEL_UNAVAILABLE")
        assert error["details"]["path"] == "targetLanguage"
        assert "allowDraft" in error["message"]
        assert (await platform.order(sourceStorageKey=key, allowDraft=True, **asked))[0] == 202
    platform.engines.words.draft = False
    _, error = await platform.order(sourceStorageKey=key, targetLanguage="fr")
    assert "pairs with a translator: en to de, en to pt" in error["message"]
    status, error = await platform.order(sourceStorageKey=key, allowDraft="yes")
    assert (status, error["details"]["path"]) == (400, "allowDraft")


async def test_one_source_into_two_languages(platform: Platform) -> None:
    key = await platform.source()
    first = await platform.order(sourceStorageKey=key, targetLanguage="de")
    second = await platform.order(sourceStorageKey=key, targetLanguage="pt")
    assert (first[0], second[0]) == (202, 202)
    found = await platform.artifacts.find(platform.tenant.workspace_id, key)
    assert found is not None
    assert found.job_id == first[1]["jobId"]


async def test_repeated_and_started_once(platform: Platform) -> None:
    key = await platform.source()
    answers = [await platform.order(sourceStorageKey=key, key="once") for _ in range(2)]
    assert answers[0] == answers[1]
    assert len(await Jobs(platform.database).list(platform.tenant.workspace_id)) == 1


async def test_another_workspaces_job_and_other_kinds_are_not_found(platform: Platform) -> None:
    _, ref = await platform.order(sourceStorageKey=await platform.source())
    other = await new_tenant(platform.database, "other@example.org")
    speech = await submit(platform.database, platform.tenant.workspace_id)
    answers = [
        await platform.get(ref["jobId"], other),
        await platform.get(speech.id),
        await platform.get("job_00000000000000000000000000"),
        await platform.get("%00"),
    ]
    assert {status for status, _ in answers} == {404}
    assert all(error == answers[0][1] for _, error in answers)
    assert (await platform.get(ref["jobId"]))[0] == 200
