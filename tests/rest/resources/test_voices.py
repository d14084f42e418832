"""The contract's tag Voices: samples that are checked, consent, clones, the catalogue."""

import asyncio
import wave
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import FormData

from media.vad import SileroModel
from pipelines.clone import CloneKind
from pipelines.engines.base import ModelUnavailable
from pipelines.engines.engine import EngineStatus, Role
from pipelines.engines.jobs import VoiceInfo
from pipelines.engines.scripted.jobs import ScriptedJobEngines, scripted_job_engines
from pipelines.jobs.artifacts import Artifacts
from pipelines.jobs.job import JobStatus, JobType
from rest.http.endpoint import EndpointOptions
from rest.http.idempotency import Idempotency
from rest.http.pagination import Cursors
from rest.http.uploads import Uploads
from rest.jobs.kinds import OUTPUTS, JobViews
from rest.resources.voices import VoiceResource
from store.database import Database
from store.objects import ObjectStore
from store.tenants.idempotency import IdempotencyKeys
from store.tenants.jobs import Job, Jobs
from store.tenants.voices import NewVoice, Voices
from tests.support.media_files import audio_file, tone
from tests.support.object_store import keys
from tests.support.pipelines.job_support import until, working
from tests.support.rest.api_app import (
    Answered,
    Client,
    Tenant,
    ask,
    authenticator,
    new_tenant,
    serving,
)
from tests.support.rest.job_app import Signer

Load = Callable[[str], bytes]


class Detection:
    """Distinguishes speech from other sound; or is not loaded."""

    def __init__(self, model: SileroModel) -> None:
        self.model: SileroModel | None = model

    @property
    def vad_model(self) -> SileroModel:
        if self.model is None:
            raise ModelUnavailable("silero-vad is not live: loading")
        return self.model


class Engines(ScriptedJobEngines):
    """Scripted, with voices that differ by model, and cloning in two languages."""

    def voices(self, model_id: str) -> tuple[VoiceInfo, ...]:
        loud = VoiceInfo(
            id="loud",
            name="Loud",
            language="en-GB",
            engine="louder",
            gender=None,
            quality="weak",
        )
        known = {"blab-stable": self.builtin, "blab-expressive": (*self.builtin[:1], loud)}
        return known.get(model_id, ())

    def statuses(self) -> tuple[EngineStatus, ...]:
        cloner = EngineStatus("cloner", Role.CLONING, live=True, languages=("en", "pt"))
        return (*super().statuses()[:-1], cloner)


@dataclass
class Platform:
    """A server of the resource, and what its worker needs."""

    client: Client
    tenant: Tenant
    database: Database
    store: ObjectStore
    artifacts: Artifacts
    engines: Engines
    detection: Detection
    clip: bytes
    """A wav file in which a reader speaks."""

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        credential: str | None = None,
        **headers: str,
    ) -> Answered:
        more = {} if body is None else {"json": body}
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        path = f"/api/voices{path}"
        credential = credential or self.tenant.key
        return await ask(self.client, method, path, credential, headers=sent, **more)

    async def send(self, content: bytes, name: str = "me.wav", **texts: str) -> Answered:
        form = FormData()
        form.add_field("file", content, filename=name)
        for field, text in texts.items():
            form.add_field(field, text)
        return await ask(self.client, "POST", "/api/voices/samples", self.tenant.key, data=form)

    async def sample(self, **texts: str) -> str:
        key: str = (await self.send(self.clip, **texts)).data["storageKey"]
        return key

    async def clone(self, **more: Any) -> Answered:
        return await self.ask("POST", "/clone", {"name": "Ada", "consent": True, **more})

    async def cloned(self, sample: str, **more: Any) -> tuple[Job, str]:
        """The job and the voice's id."""
        accepted = await self.clone(sampleStorageKey=sample, **more)
        assert accepted.status == 202, accepted.body
        job = await Jobs(self.database).get(self.tenant.workspace_id, accepted.data["jobId"])
        assert job is not None
        kind: Any = CloneKind(self.database, self.engines, self.artifacts)
        async with working(self.database, kind):
            done = await until(self.database, job, JobStatus.COMPLETED)
        assert done.output is not None
        msgspec.convert(done.output, OUTPUTS[JobType.VOICE_CLONE])  # as the document says
        return done, done.output["voiceId"]


@pytest.fixture
async def platform(
    database: Database, tmp_path: Path, models_dir: Path, audio: Load
) -> AsyncIterator[Platform]:
    scripted = scripted_job_engines()
    engines = Engines(**{name: getattr(scripted, name) for name in ("chat_model", "voice")})
    store = ObjectStore.open((tmp_path / "objects").as_uri())
    artifacts = Artifacts(database, store)
    detection = Detection(SileroModel(models_dir / "silero-vad" / "silero_vad.onnx"))
    resource = VoiceResource(
        database, engines, artifacts, JobViews(Signer()), Cursors(b"c" * 32), detection
    )
    uploads = tmp_path / "uploads"
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
            store=store,
            artifacts=artifacts,
            engines=engines,
            detection=detection,
            clip=wav(audio("lv_0930")),
        )


def wav(pcm: bytes) -> bytes:
    out = BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(pcm)
    return out.getvalue()


# ---------------------------------------------------------------------- samples


async def test_a_sample_is_stored_with_its_measurements(platform: Platform) -> None:
    answer = await platform.send(platform.clip, label="Reader", language="en-GB", model="x")
    data = answer.data
    assert answer.status == 200
    assert (data["durationMs"], data["filename"]) == (3290, "me.wav")
    assert (data["contentType"], data["label"]) == ("audio/wav", "Reader")
    assert 2000 < data["speechMs"] < 3290
    assert data["contrastDb"] > 20
    stored = await platform.artifacts.find(platform.tenant.workspace_id, data["storageKey"])
    assert stored is not None
    assert (stored.kind, stored.duration_ms) == ("sample", 3290)
    assert stored.details["language"] == "en-GB"
    assert stored.details["speechMs"] == data["speechMs"]
    assert await platform.artifacts.read(stored.workspace_id, stored.key) == platform.clip


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (audio_file("mp3", tone(4.0)), "no_speech"),
        (audio_file("wav", tone(1.0)), "too_short"),
        (wav(bytes(32_000 * 4)), "silent"),
        (wav(bytes(2 * 100)) * 2, "too_short"),
        (b"#EXTM3U\nhttp://example.org/a.ts\n", "unreadable_media"),
        (audio_file("flac", tone(302.0, rate=8_000, level=0.0), 8_000), "media_too_long"),
    ],
)
async def test_an_unusable_clip_is_refused(platform: Platform, content: bytes, reason: str) -> None:
    answer = await platform.send(content)
    assert answer.status == 400
    assert answer.body["error"]["code"] == "VALIDATION_ERROR"
    assert (answer.details["path"], answer.details["reason"]) == ("file", reason)
    assert await keys(platform.store) == set()


async def test_without_the_speaker_encoder_no_sample_is_accepted(platform: Platform) -> None:
    platform.detection.model = None
    answer = await platform.send(platform.clip)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")


# ---------------------------------------------------------------------- clones


async def test_a_voice_is_cloned_from_a_sample_and_deleted(platform: Platform) -> None:
    sample = await platform.sample(language="pt")
    before = datetime.now(UTC)
    _, voice_id = await platform.cloned(sample)
    shown = (await platform.ask("GET", f"/{voice_id}")).data
    assert {**shown, "createdAt": None} == {
        "id": voice_id,
        "name": "Ada",
        "providerVoiceId": "scripted-voice",
        "sourceType": "cloned",
        "language": "pt",
        "model": "blab-stable",
        "similarity": 0.75,
        "previewUrl": shown["previewUrl"],
        "createdAt": None,
    }
    assert shown["previewUrl"].endswith("?signed")
    voice = await Voices(platform.database).get(platform.tenant.workspace_id, voice_id)
    assert voice is not None
    assert voice.consent_by == platform.tenant.key_id
    assert before <= voice.consent_at <= datetime.now(UTC)
    assert (await platform.ask("GET", "")).data == [shown]
    assert (await platform.ask("GET", "?source=imported")).data == []
    deleted = await platform.ask("DELETE", f"/{voice_id}")
    assert deleted.data == {
        "id": voice_id,
        "deleted": True,
        "sampleDeleted": True,
        "previewDeleted": True,
    }
    assert await keys(platform.store) == set()
    for method in ("GET", "DELETE"):
        assert (await platform.ask(method, f"/{voice_id}")).status == 404


async def test_the_consent_names_the_user(platform: Platform) -> None:
    sample = await platform.sample()
    accepted = await platform.ask(
        "POST",
        "/clone",
        {"name": "", "sampleStorageKey": sample, "consent": True},
        credential=platform.tenant.token,
    )
    job = await Jobs(platform.database).get(platform.tenant.workspace_id, accepted.data["jobId"])
    assert job is not None
    assert job.input["consentBy"] == platform.tenant.user_id
    assert job.input["language"] == "en"


async def test_a_sample_of_two_voices_goes_with_the_last(platform: Platform) -> None:
    sample = await platform.sample()
    (_, one), (_, other) = [await platform.cloned(sample, name=name) for name in ("A", "B")]
    first = (await platform.ask("DELETE", f"/{one}")).data
    assert (first["sampleDeleted"], first["previewDeleted"]) == (False, True)
    assert sample in await keys(platform.store)
    second = (await platform.ask("DELETE", f"/{other}")).data
    assert (second["sampleDeleted"], second["previewDeleted"]) == (True, True)


@pytest.mark.parametrize(
    "said", [{"consent": False}, {"consent": "yes"}, {"consent": None}, {"consent": 1}, {}]
)
async def test_without_consent_nothing_is_cloned(platform: Platform, said: Any) -> None:
    body = {"name": "Ada", "sampleStorageKey": "any", **said}
    answer = await platform.ask("POST", "/clone", body)
    assert answer.status == 403
    assert answer.body["error"]["code"] == "CONSENT_REQUIRED"
    assert answer.details["path"] == "consent"
    assert await Jobs(platform.database).list(platform.tenant.workspace_id) == []


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"name": None}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": "\0"}, "name"),
        ({"sampleStorageKey": 5}, "sampleStorageKey"),
        ({"language": 5}, "language"),
        ({"language": "not a tag"}, "language"),
    ],
)
async def test_bad_fields_are_named(platform: Platform, change: Any, path: str) -> None:
    body = {"sampleStorageKey": await platform.sample(), **change}
    answer = await platform.clone(**body)
    assert answer.status == 400
    assert answer.body["error"]["code"] == "VALIDATION_ERROR"
    assert answer.details["path"] == path


async def test_absent_and_foreign_samples_are_refused(platform: Platform) -> None:
    theirs = await new_tenant(platform.database, "theirs@example.org")
    sample = await platform.sample()
    upload = await platform.artifacts.take_in(
        platform.tenant.workspace_id, "upload", b"x", content_type="audio/wav", filename="a"
    )
    refusals = [
        (await platform.clone(sampleStorageKey=key)).body["error"]
        for key in ("", "no such key", "../../etc", upload)
    ]
    asked = {"name": "Ada", "consent": True, "sampleStorageKey": sample}
    foreign = await platform.ask("POST", "/clone", asked, credential=theirs.key)
    assert foreign.status == 404
    assert refusals == [foreign.body["error"]] * 4


async def test_cloning_is_refused_without_an_engine_for_it(platform: Platform) -> None:
    sample = await platform.sample()
    other = await platform.clone(sampleStorageKey=sample, language="de-AT")
    assert (other.status, other.details["path"]) == (404, "language")
    assert other.body["error"]["code"] == "MODEL_UNAVAILABLE"
    assert "en, pt" in other.body["error"]["message"]
    platform.engines.absent = frozenset({"cloner"})
    none = await platform.clone(sampleStorageKey=sample)
    assert (none.status, none.body["error"]["code"]) == (404, "MODEL_UNAVAILABLE")


async def test_the_same_request_twice_is_one_job(platform: Platform) -> None:
    sample = await platform.sample()
    body = {"name": "Ada", "sampleStorageKey": sample, "consent": True}
    answers = [await platform.ask("POST", "/clone", body, Idempotency_Key="k") for _ in range(2)]
    assert answers[0].data == answers[1].data
    assert answers[1].headers["Idempotent-Replayed"] == "true"
    assert len(await Jobs(platform.database).list(platform.tenant.workspace_id)) == 1


# ---------------------------------------------------------------------- lists


async def test_voices_are_paged_and_kept_within_their_workspace(platform: Platform) -> None:
    sample = await platform.sample()
    _, voice_id = await platform.cloned(sample)
    ours, voices = platform.tenant.workspace_id, Voices(platform.database)
    made = await voices.get(ours, voice_id)
    assert made is not None
    fields = {name: getattr(made, name) for name in type(made).__dataclass_fields__}
    for name in ("id", "workspace_id", "created_at", "updated_at", "job_id"):
        del fields[name]
    more = NewVoice(**fields, job_id=None)
    for number in range(2):
        await voices.put(ours, replace(more, name=f"{number}", preview_key=None))
    page = await platform.ask("GET", "?limit=2")
    assert page.body["meta"]["hasMore"] is True
    assert all("previewUrl" not in voice for voice in page.data)
    cursor = page.body["meta"]["nextCursor"]
    rest = await platform.ask("GET", f"?limit=2&cursor={cursor}")
    assert [voice["id"] for voice in rest.data] == [voice_id]
    assert rest.body["meta"]["hasMore"] is False
    theirs = await new_tenant(platform.database, "theirs@example.org")
    assert (await platform.ask("GET", "", credential=theirs.key)).data == []
    for method in ("GET", "DELETE"):
        answers = [
            (await platform.ask(method, f"/{one}", credential=theirs.key)).body["error"]
            for one in (voice_id, "voi_" + "0" * 26, "af_heart", "scripted-high")
        ]
        assert answers == [answers[0]] * 4
    assert await voices.get(ours, voice_id) is not None


async def test_the_catalogue_of_a_model_and_of_all(platform: Platform) -> None:
    stable = (await platform.ask("GET", "/catalog?model=blab-stable")).data
    assert stable["model"] == "blab-stable"
    assert stable["voices"][0] == {
        "id": "scripted-high",
        "name": "High",
        "language": "en",
        "engine": "scripted-voice",
        "gender": "female",
        "quality": "good",
        "models": ["blab-stable"],
    }
    whole = (await platform.ask("GET", "/catalog")).data
    assert whole["model"] is None
    assert {voice["id"]: voice["models"] for voice in whole["voices"]} == {
        "scripted-high": ["blab-stable", "blab-expressive"],
        "scripted-low": ["blab-stable"],
        "loud": ["blab-expressive"],
    }
    unknown = await platform.ask("GET", "/catalog?model=no-such-model")
    assert (unknown.status, unknown.body["error"]["code"]) == (404, "MODEL_UNAVAILABLE")
