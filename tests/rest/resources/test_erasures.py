"""Erasures over HTTP; what they do is in tests/pipelines/jobs/test_erasure.py."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from pipelines.jobs.job import JobType
from rest.accounts.callers import CallerIds
from rest.resources.erasures import PATH, READ, WRITE, ErasureResource
from store.database import Database
from store.ids import new_id
from store.tenants.calls import Calls, NewCall
from store.tenants.erasures import Erasures
from store.tenants.jobs import Jobs
from tests.support.pipelines.job_support import new_workspace
from tests.support.rest.job_app import Client, PlainCursors
from tests.support.rest.resource_app import ask, serving

pytestmark = pytest.mark.slow
CALLERS = CallerIds(b"secret")


@pytest.fixture
async def ours(database: Database) -> str:
    return await new_workspace(database)


@pytest.fixture
async def client(database: Database, ours: str) -> AsyncIterator[Client]:
    resource = ErasureResource(database, CALLERS, PlainCursors())
    async with serving(resource, ours, [READ, WRITE]) as client:
        yield client


async def new_call(database: Database, workspace_id: str) -> str:
    new = NewCall(
        id=new_id("call"),
        agent_id=None,
        node_id="node_x",
        channel="websocket",
        config={},
        started_at=datetime.now(UTC),
    )
    await Calls(database).open(workspace_id, new)
    return new.id


async def test_a_callers_erasure_is_accepted_and_shown(
    database: Database, client: Client, ours: str
) -> None:
    status, made = await ask(client, "POST", PATH, {"caller": " +49 (30) 90-1820 "})
    assert status == 202
    assert made == {
        "id": made["id"],
        "status": "queued",
        "of": "caller",
        "callId": None,
        "jobId": made["jobId"],
        "requestedBy": "key",
        "erased": {"calls": 0, "turns": 0, "recordings": 0},
        "createdAt": made["createdAt"],
        "finishedAt": None,
    }
    job = await Jobs(database).get(ours, made["jobId"])
    assert job is not None
    assert (job.type, job.input) == (JobType.CLEANUP, {"erasureId": made["id"]})
    stored = await Erasures(database).get(ours, made["id"])
    assert stored is not None
    assert stored.caller == CALLERS.of(ours, "+4930901820")
    await Erasures(database).finish(ours, made["id"])
    status, shown = await ask(client, "GET", f"{PATH}/{made['id']}")
    assert (status, shown["status"]) == (200, "completed")
    assert shown["finishedAt"] is not None
    assert await ask(client, "GET", PATH) == (200, [shown])


async def test_a_call_is_erased_by_either_address(
    database: Database, client: Client, ours: str
) -> None:
    call = await new_call(database, ours)
    for answer in (
        await ask(client, "POST", PATH, {"callId": call}),
        await ask(client, "DELETE", f"/api/calls/{call}"),
    ):
        assert answer[0] == 202
        assert (answer[1]["of"], answer[1]["callId"]) == ("call", call)
    assert len((await ask(client, "GET", PATH))[1]) == 2


async def test_another_workspaces_call_does_not_exist(database: Database, client: Client) -> None:
    theirs = await new_workspace(database, "theirs@example.org")
    call = await new_call(database, theirs)
    for one in (call, new_id("call"), "x"):
        assert (await ask(client, "DELETE", f"/api/calls/{one}"))[0] == 404
        assert (await ask(client, "POST", PATH, {"callId": one}))[0] == 404
    assert await Erasures(database).list(theirs) == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"caller": "  "},
        {"caller": "Ann", "callId": "call_x"},
        {"caller": 5},
        {"caller": "x" * 257},
    ],
)
async def test_what_names_nobody_is_refused(client: Client, body: dict[str, Any]) -> None:
    status, error = await ask(client, "POST", PATH, body)
    assert (status, error["details"]["path"]) == (400, "caller")
