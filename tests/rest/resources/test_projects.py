"""The contract's tag Projects."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from rest.http.endpoint import EndpointOptions
from rest.http.idempotency import HEADER, Idempotency
from rest.http.pagination import Cursors
from rest.resources.projects import ProjectResource
from store.database import Database
from store.tenants.idempotency import IdempotencyKeys
from store.tenants.projects import Projects
from tests.support.rest.api_app import (
    SECRET,
    Answered,
    Client,
    Tenant,
    ask,
    authenticator,
    new_tenant,
    serving,
)

PATH = "/api/projects"


@pytest.fixture
async def ours(database: Database) -> Tenant:
    return await new_tenant(database)


@pytest.fixture
async def client(database: Database) -> AsyncIterator[Client]:
    options = EndpointOptions(idempotency=Idempotency(IdempotencyKeys(database)))
    resource = ProjectResource(database, Cursors(SECRET))
    async with serving([resource], authenticator(database).of_request, options) as client:
        yield client


async def create(client: Client, tenant: Tenant, name: str, **more: Any) -> Answered:
    return await ask(client, "POST", PATH, tenant.key, json={"name": name}, **more)


async def test_a_project_is_created_changed_and_deleted(client: Client, ours: Tenant) -> None:
    body = {"name": "Film", "description": "d", "unknown": 1}
    made = await ask(client, "POST", PATH, ours.key, json=body)
    assert made.status == 200
    assert set(made.data) == {"id", "name", "description", "createdAt", "updatedAt"}
    assert (made.data["name"], made.data["description"]) == ("Film", "d")
    one = f"{PATH}/{made.data['id']}"
    for change, name, description in (
        ({"name": "Film", "description": "e"}, "Film", "e"),
        ({"name": "Series"}, "Series", "e"),
        ({"name": "Show", "description": ""}, "Show", ""),
        ({"name": "Show"}, "Show", ""),
    ):
        changed = await ask(client, "PATCH", one, ours.token, json=change)
        assert (changed.data["name"], changed.data["description"]) == (name, description)
        assert changed.data["createdAt"] == made.data["createdAt"]
    assert (await ask(client, "GET", PATH, ours.key)).data == [changed.data]
    gone = await ask(client, "DELETE", one, ours.key)
    assert gone.data == {"id": made.data["id"], "deleted": True}
    assert (await ask(client, "DELETE", one, ours.key)).status == 404
    assert (await create(client, ours, "Bare")).data["description"] == ""


async def test_pages_are_stable_under_inserts_and_deletes(client: Client, ours: Tenant) -> None:
    made = [(await create(client, ours, f"p{number}")).data["id"] for number in range(5)]
    newest = sorted(made, reverse=True)
    first = await ask(client, "GET", f"{PATH}?limit=2", ours.key)
    assert first.body["meta"]["hasMore"] is True
    await create(client, ours, "inserted")
    await ask(client, "DELETE", f"{PATH}/{newest[1]}", ours.key)  # what the cursor names
    cursor = first.body["meta"]["nextCursor"]
    second = await ask(client, "GET", f"{PATH}?limit=2&cursor={cursor}", ours.key)
    third = await ask(
        client, "GET", f"{PATH}?limit=2&cursor={second.body['meta']['nextCursor']}", ours.key
    )
    shown = [project["id"] for page in (first, second, third) for project in page.data]
    assert shown == newest
    assert third.body["meta"]["hasMore"] is False
    assert third.body["meta"]["nextCursor"] is None


@pytest.mark.parametrize(
    ("query", "status"),
    [("limit=0", 400), ("limit=101", 400), ("limit=x", 400), ("cursor=x", 400), ("cursor=", 400)],
)
async def test_no_such_page(client: Client, ours: Tenant, query: str, status: int) -> None:
    refused = await ask(client, "GET", f"{PATH}?{query}", ours.key)
    assert (refused.status, refused.details["path"]) == (status, query.partition("=")[0])


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "name"),
        ({"name": None}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": "n", "description": None}, "description"),
        ({"name": "n", "description": "x" * 10_001}, "description"),
        ({"name": "a\0"}, "name"),
    ],
)
async def test_unusable_files_are_refused(
    client: Client, ours: Tenant, body: dict[str, Any], path: str
) -> None:
    made = (await create(client, ours, "p")).data
    refusals = [
        await ask(client, "POST", PATH, ours.key, json=body),
        await ask(client, "PATCH", f"{PATH}/{made['id']}", ours.key, json=body),
    ]
    for refused in refusals:
        assert (refused.status, refused.details["path"]) == (400, path)
    assert (await ask(client, "GET", PATH, ours.key)).data == [made]


async def test_a_repeated_request_creates_one_project(client: Client, ours: Tenant) -> None:
    answers = [await create(client, ours, "p", headers={HEADER: "k"}) for _ in range(2)]
    assert answers[0].data == answers[1].data
    assert len((await ask(client, "GET", PATH, ours.key)).data) == 1


async def test_another_workspaces_project_is_not_found(
    client: Client, database: Database, ours: Tenant
) -> None:
    theirs = await new_tenant(database, "theirs@example.org")
    project = (await create(client, theirs, "secret")).data
    answers = [
        await ask(client, method, f"{PATH}/{name}", ours.key, json={"name": "mine"})
        for name in (project["id"], "prj_00000000000000000000000000", "%00", "x")
        for method in ("PATCH", "DELETE")
    ]
    assert {answer.status for answer in answers} == {404}
    assert len({str(answer.body["error"]) for answer in answers}) == 1
    assert (await ask(client, "GET", PATH, ours.key)).data == []
    assert (await ask(client, "GET", PATH, theirs.key)).data == [project]
    with pytest.raises(ValueError, match="workspace_id"):
        await Projects(database).update(
            theirs.workspace_id, project["id"], {"workspace_id": ours.workspace_id}
        )


async def test_scopes(client: Client, database: Database) -> None:
    reader = await new_tenant(database, "r@example.org", ["projects:read"])
    assert (await ask(client, "GET", PATH, reader.key)).status == 200
    assert (await create(client, reader, "p")).status == 403
