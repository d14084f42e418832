"""The contract's tag Batch: all faults at once, and partial batches on request."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipelines.engines.scripted.jobs import ScriptedJobEngines
from pipelines.jobs.artifacts import Artifacts
from pipelines.jobs.job import JobType
from rest.jobs.batch import READ, WRITE, BatchResource
from rest.jobs.kinds import JOBS, JobViews
from rest.jobs.speech_requests import SpeechChecks
from store.database import Database
from store.objects import ObjectStore
from store.tenants.jobs import Jobs
from tests.rest.jobs.test_speech_requests import NoVoices
from tests.support.pipelines.job_support import new_workspace
from tests.support.rest.job_app import Client, Signer
from tests.support.rest.resource_app import ask, serving

PATH = "/api/batch"


@pytest.fixture
async def client(database: Database, tmp_path: Path) -> AsyncIterator[Client]:
    checks = SpeechChecks(ScriptedJobEngines(absent=frozenset({"ja"})), NoVoices())
    artifacts = Artifacts(database, ObjectStore.open(tmp_path.as_uri()))
    resource = BatchResource(database, checks, artifacts, JobViews(Signer()))
    async with serving(resource, await new_workspace(database), [READ, WRITE]) as client:
        yield client


def body(*items: Any, **more: Any) -> dict[str, Any]:
    return {"model": "blab-stable", "language": "en", "items": list(items), **more}


FAULTY = (
    {"input": "One."},
    {"inpt": "Two."},
    {"input": "...", "voice": None},
    {"input": "Four.", "voice": "nobody"},
    {"input": "\0"},
    "six",
    {"input": "Seven.", "speed": 2},
)
PATHS = ["items[1].input", "items[2].voice", "items[3].voice", "items[4].input", "items[5]"]


async def test_all_faults_are_reported_at_once(client: Client, database: Database) -> None:
    status, error = await ask(client, "POST", PATH, body(*FAULTY))
    assert (status, error["code"]) == (400, "VALIDATION_ERROR")
    faults = error["details"]["errors"]
    assert [fault["path"] for fault in faults] == PATHS
    assert error["message"] == (
        "items[1].input: input is required, and 'inpt' is not a field."
        " (1 of 5 faults: see details.errors)"
    )
    assert await database.fetchval("SELECT count(*) FROM jobs") == 0


async def test_faults_of_one_kind_keep_their_status(client: Client) -> None:
    nobody = {"input": "Four.", "voice": "nobody"}
    status, error = await ask(client, "POST", PATH, body(nobody, {"input": "x"}, nobody))
    assert (status, error["code"]) == (404, "NOT_FOUND")
    assert [fault["path"] for fault in error["details"]["errors"]] == [
        "items[0].voice",
        "items[2].voice",
    ]
    status, error = await ask(client, "POST", PATH, body(nobody))
    assert error["details"] == {"path": "items[0].voice"}


async def test_a_partial_batch_runs_its_valid_items(client: Client, database: Database) -> None:
    async with client.post(PATH, json=body(*FAULTY, partial=True)) as answer:
        assert answer.status == 202
        envelope = await answer.json()
    made = envelope["data"]
    assert made["accepted"] == 2
    assert [one["index"] for one in made["refused"]] == [1, 2, 3, 4, 5]
    assert [one["errors"][0]["path"] for one in made["refused"]] == PATHS
    warnings = {one["code"]: one["path"] for one in envelope["meta"]["warnings"]}
    assert warnings == {"unknown_field": "items[6].speed", "items_refused": "items"}
    workspace_id = await database.fetchval("SELECT workspace_id FROM jobs LIMIT 1")
    items = await Jobs(database).children(workspace_id, made["jobId"])
    assert [(item.item_index, item.input["input"]) for item in items] == [
        (0, "One."),
        (6, "Seven."),
    ]
    _, shown = await ask(client, "GET", f"{PATH}/{made['jobId']}")
    assert [item["status"] for item in shown["output"]["items"]] == [
        "queued",
        *["refused"] * 5,
        "queued",
    ]
    msgspec.convert(shown, JOBS[JobType.BATCH])  # as the document says
    assert shown["output"]["items"][1]["errors"] == made["refused"][0]["errors"]
    assert (shown["output"]["total"], shown["output"]["refused"]) == (7, 5)


async def test_a_partial_batch_without_valid_items_is_refused(client: Client) -> None:
    status, error = await ask(client, "POST", PATH, body({"input": "!"}, partial=True))
    assert (status, error["details"]["path"]) == (400, "items[0].input")


async def test_a_valid_partial_batch_has_nothing_to_report(client: Client) -> None:
    async with client.post(PATH, json=body({"input": "One."}, partial=True)) as answer:
        envelope = await answer.json()
    assert (answer.status, envelope["data"]["refused"]) == (202, [])
    assert "warnings" not in envelope["meta"]


@pytest.mark.parametrize("items", [[], [{"input": "a"}] * 201, {}, None])
async def test_a_batch_has_items(client: Client, items: Any) -> None:
    status, error = await ask(client, "POST", PATH, {"model": "blab-stable", "items": items})
    assert (status, error["details"]["path"]) == (400, "items")
