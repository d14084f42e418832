"""The contract's tag Jobs."""

from pathlib import Path
from typing import Any

import pytest

from pipelines.jobs.artifacts import Artifacts
from pipelines.jobs.job import JobStatus, JobType, NewJob
from pipelines.jobs.queue import JobQueue
from store.database import Database
from store.objects import ObjectStore
from store.tenants.jobs import Job, JobEnd, Jobs
from tests.support.pipelines.job_support import new_workspace, submit
from tests.support.rest.job_app import Client, jobs_client


async def ask(client: Client, method: str, path: str) -> tuple[int, dict[str, Any]]:
    async with client.request(method, path) as answer:
        body: dict[str, Any] = await answer.json()
        return answer.status, body


async def end(database: Database, job: Job, status: str, **ended: Any) -> None:
    async with database.transaction() as connection:
        end = JobEnd(job.workspace_id, job.id, status, **ended)
        assert await Jobs(connection).finish([end])


async def test_a_job_is_shown_with_signed_addresses(database: Database) -> None:
    ours = await new_workspace(database)
    job = await submit(database, ours)
    output = {"audioKey": f"{ours}/a.mp3", "takes": [{"audioKey": "b"}], "_secret": 1, "n": 2}
    warning = {"code": "c", "message": "m", "path": "input"}
    await end(database, job, "completed", output=output, warnings=[warning])
    async with jobs_client(database, ours) as client:
        status, body = await ask(client, "GET", f"/api/jobs/{job.id}")
        base = str(client.make_url("/")).rstrip("/")
    assert status == 200
    shown = body["data"]
    assert (shown["status"], shown["progress"], shown["error"]) == ("completed", 100, None)
    assert shown["createdAt"].endswith("Z")
    assert shown["warnings"] == body["meta"]["warnings"] == [warning]
    assert shown["output"] == {
        "audioKey": f"{ours}/a.mp3",
        "audioUrl": f"{base}/files/{ours}/a.mp3?signed",
        "takes": [{"audioKey": "b", "audioUrl": f"{base}/files/b?signed"}],
        "n": 2,
    }


@pytest.mark.parametrize("host", ["x:99999", "x:y", "h:-1", "["])
async def test_no_address_is_signed_for_a_host_that_is_none(database: Database, host: str) -> None:
    ours = await new_workspace(database)
    job = await submit(database, ours)
    await end(database, job, "completed", output={"audioKey": f"{ours}/a.mp3"})
    async with (
        jobs_client(database, ours) as client,
        client.get(f"/api/jobs/{job.id}", headers={"Host": host}) as answer,
    ):
        body = await answer.json()
    assert (answer.status, body["error"]["details"]) == (400, {"path": "Host"})


async def test_pages_and_filters(database: Database) -> None:
    ours = await new_workspace(database)
    made = [await submit(database, ours) for _ in range(3)]
    other = await JobQueue(database).submit(ours, NewJob(JobType.STT, {}))
    await end(database, made[0], "failed", error={"code": "INTERNAL", "message": "m"})
    async with jobs_client(database, ours) as client:
        _, first = await ask(client, "GET", "/api/jobs?limit=2&type=tts")
        cursor = first["meta"]["nextCursor"]
        _, second = await ask(client, "GET", f"/api/jobs?limit=2&type=tts&cursor={cursor}")
        _, failed = await ask(client, "GET", "/api/jobs?status=failed")
        _, heard = await ask(client, "GET", "/api/jobs?type=stt")
        _, none = await ask(client, "GET", "/api/jobs?status=nonsense")
        refused = [await ask(client, "GET", f"/api/jobs?{q}") for q in ("limit=0", "type=x")]
    newest = sorted((job.id for job in made), reverse=True)
    assert [job["id"] for job in first["data"] + second["data"]] == newest
    assert (first["meta"]["hasMore"], second["meta"]["hasMore"]) == (True, False)
    assert [job["id"] for job in failed["data"]] == [made[0].id]
    assert [job["id"] for job in heard["data"]] == [other.id]
    assert none["data"] == []
    (warning,) = none["meta"]["warnings"]
    assert (warning["code"], warning["path"]) == ("unknown_value", "status")
    assert "queued, running, completed, failed, cancelled" in warning["message"]
    assert "warnings" not in failed["meta"]
    assert [status for status, _ in refused] == [400, 400]


async def test_only_a_finished_job_is_deleted_with_its_artifacts(
    database: Database, tmp_path: Path
) -> None:
    ours = await new_workspace(database)
    artifacts = Artifacts(database, ObjectStore.open(tmp_path.as_uri()))
    job = await submit(database, ours)
    key = await artifacts.store(ours, job.id, "take.mp3", b"sound", "audio/mpeg")
    async with jobs_client(database, ours, artifacts) as client:
        status, body = await ask(client, "DELETE", f"/api/jobs/{job.id}")
        assert (status, body["error"]["details"]) == (409, {"reason": "job_active"})
        assert await artifacts.read(ours, key) == b"sound"
        await end(database, job, "completed", output={})
        status, body = await ask(client, "DELETE", f"/api/jobs/{job.id}")
        assert (status, body["data"]["artifactsDeleted"]) == (200, 1)
        assert (await ask(client, "GET", f"/api/jobs/{job.id}"))[0] == 404
    assert await artifacts.find(ours, key) is None


async def test_cancel_and_retry(database: Database) -> None:
    ours = await new_workspace(database)
    job = await submit(database, ours)
    path = f"/api/jobs/{job.id}"
    async with jobs_client(database, ours) as client:
        assert (await ask(client, "POST", f"{path}/retry"))[0] == 409
        status, body = await ask(client, "POST", f"{path}/cancel")
        assert (status, body["data"]["status"]) == (200, "cancelled")
        assert (await ask(client, "POST", f"{path}/cancel"))[0] == 200
        status, body = await ask(client, "POST", f"{path}/retry")
        assert (status, body["data"]) == (202, {"jobId": job.id, "status": "queued"})
        await end(database, job, JobStatus.COMPLETED, output={})
        assert (await ask(client, "POST", f"{path}/cancel"))[0] == 409
        assert (await ask(client, "POST", f"{path}/retry"))[0] == 409


async def test_another_workspaces_job_is_not_found(database: Database) -> None:
    ours = await new_workspace(database)
    theirs = await new_workspace(database, "stranger@example.com")
    job = await submit(database, theirs)
    answers = []
    async with jobs_client(database, ours) as client:
        for name in (job.id, "job_00000000000000000000000000", "%00"):
            for method, tail in (
                ("GET", ""),
                ("DELETE", ""),
                ("POST", "/cancel"),
                ("POST", "/retry"),
                ("GET", "/events"),
            ):
                answers.append(await ask(client, method, f"/api/jobs/{name}{tail}"))
    assert {status for status, _ in answers} == {404}
    assert len({str(body) for _, body in answers}) == 1
