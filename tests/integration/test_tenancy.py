"""Workspaces are isolated and keys limited to their scopes; generated from the route table.

Every id-taking operation answers another workspace's id exactly as one that never was; every
operation is open to an API key with one scope exactly where the contract says so.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from gateway.app import HOST
from rest.accounts.keys import SCOPES
from sessions.registry import RegisteredCall
from store.ids import new_id
from tests.support.gateway.scripted_server import ScriptedServer, server
from tests.support.rest.all_resources import all_operations, contract_with_additions
from tests.support.rest.tenancy import (
    Route,
    Schema,
    Tenant,
    body_of,
    example,
    form,
    new_key,
    put,
    references,
    routes_of,
    tenant,
)

__all__ = ["server"]

CONTRACT: Schema = contract_with_additions()
AT_ONCE = 8


@dataclass
class Matrix:
    """A running server, its routes, and two tenants."""

    server: ScriptedServer
    http: aiohttp.ClientSession
    routes: list[Route]
    ours: Tenant
    theirs: Tenant

    async def ask(
        self, route: Route, id: str = "x", *, key: str | None = None, body: Any = None
    ) -> tuple[int, dict[str, Any]]:
        """Status and body without what differs from request to request."""
        headers = {"Authorization": f"Bearer {key or self.ours.key}"}
        options: dict[str, Any] = {"data": body} if route.form else {"json": body}
        if body is None:
            options = {}
        url = self.server.url + route.url(id)
        async with self.http.request(route.method, url, headers=headers, **options) as answer:
            if answer.content_type != "application/json":
                return answer.status, {}
            envelope: dict[str, Any] = await answer.json()
            envelope.pop("meta")
            return answer.status, envelope

    def valid_body(self, route: Route) -> Any:
        """What the operation takes, or nothing."""
        if route.form:
            return form()
        schema = body_of(CONTRACT, route)
        return None if schema is None else example(CONTRACT, schema)


@pytest.fixture
async def matrix(server: ScriptedServer) -> AsyncIterator[Matrix]:
    database = server.database
    ours = await tenant(database, "ours@example.com")
    theirs = await tenant(database, "theirs@example.com")
    for one in (ours, theirs):
        one.ids["sessions"] = new_id("call")
        call = RegisteredCall(one.ids["sessions"], one.workspace_id)
        server.app[HOST]._registry.register(call)
    async with aiohttp.ClientSession() as http:
        yield Matrix(server, http, routes_of(server.app, CONTRACT), ours, theirs)


def test_every_operation_has_the_contracts_scope() -> None:
    operations = {(one.method, one.path): one for one in all_operations()}
    for path, methods in CONTRACT["paths"].items():
        for method, operation in methods.items():
            route = Route(method.upper(), path, operation)
            assert operations[route.method, path].scope == route.scope, str(route)
            assert route.scope is None or route.scope in SCOPES


async def test_the_route_table_is_the_contract(matrix: Matrix) -> None:
    """Signing in with a browser (/session) has tests of its own."""
    served = sorted(str(route) for route in matrix.routes)
    paths = [one for one in CONTRACT["paths"].items() if one[0].startswith("/api/")]
    assert served == sorted(f"{m.upper()} {path}" for path, methods in paths for m in methods)


async def test_a_key_can_do_only_what_its_scope_allows(matrix: Matrix) -> None:
    turns = asyncio.Semaphore(AT_ONCE)

    async def allowed(route: Route, key: str) -> bool:
        async with turns:
            status, envelope = await matrix.ask(route, new_id("job"), key=key)
        assert status not in (401, 429, 500), (str(route), envelope)
        details = (envelope.get("error") or {}).get("details") or {}
        return not (status == 403 and details.get("reason") == "missing_scope")

    async def row(scope: str) -> list[str]:
        key = await new_key(matrix.server.database, matrix.ours.workspace_id, [scope])
        answers = await asyncio.gather(*(allowed(route, key) for route in matrix.routes))
        pairs = zip(matrix.routes, answers, strict=True)
        return [f"{route} with {scope}" for route, may in pairs if may != fits(route, scope)]

    def fits(route: Route, scope: str) -> bool:
        return route.scope is None or route.scope == scope

    wrong = [line for scope in SCOPES for line in await row(scope)]
    assert wrong == []


async def test_another_workspaces_id_is_not_found_on_any_path(matrix: Matrix) -> None:
    checked = 0
    for route in matrix.routes:
        if "{id}" not in route.path or route.public:
            continue  # what is public of an embed is not its workspace's alone
        foreign = matrix.theirs.ids[route.kind]
        prefix = foreign.partition("_")[0]
        answers = [
            await matrix.ask(route, one, body=matrix.valid_body(route))
            for one in (foreign, new_id(prefix), "x", foreign.upper(), f"{foreign}%00")
        ]
        assert answers[0][0] == 404, str(route)
        assert answers[0][1]["error"]["code"] == "NOT_FOUND", str(route)
        assert all(answer == answers[0] for answer in answers), (str(route), answers)
        checked += 1
    assert checked == sum(
        "{id}" in path and operation.get("security") != []
        for path, methods in CONTRACT["paths"].items()
        for operation in methods.values()
    )
    await assert_untouched(matrix)


async def assert_untouched(matrix: Matrix) -> None:
    """Every id above is real: its owner finds what nobody else could touch."""
    theirs = matrix.theirs
    for route in matrix.routes:
        # streams, what only a recorded call has, and the second id of a path
        left_out = any(word in route.path for word in ("events", "timeline", "deliveryId"))
        if route.method == "GET" and "{id}" in route.path and not left_out:
            status, _ = await matrix.ask(route, theirs.ids[route.kind], key=theirs.key)
            assert status in (200, 400, 409), str(route)  # an export that is not there yet
    for table, kind in (
        ("projects", "projects"),
        ("api_keys", "api-keys"),
        ("jobs", "jobs"),
        ("embeds", "embeds"),
    ):
        query = f"SELECT updated_at = created_at FROM {table} WHERE id = $1"
        assert await matrix.server.database.fetchval(query, theirs.ids[kind]), table


async def test_another_workspaces_id_is_not_found_in_any_body(matrix: Matrix) -> None:
    """Stored objects and voices that a body names; an agent's voice is looked up by nobody."""
    checked = []
    for route in matrix.routes:
        schema = body_of(CONTRACT, route)
        if schema is None or route.kind == "agents":
            continue
        for path in references(CONTRACT, schema):
            name = path[-1]
            kind = "voices" if name == "voice" else name.removesuffix("StorageKey")
            foreign = matrix.theirs.ids[kind]
            absent = foreign[:-6] + "000000"
            answers = []
            for value in (foreign, absent):
                body = example(CONTRACT, schema)
                for own in ("sampleStorageKey", "sourceStorageKey"):
                    if own in body:
                        body[own] = matrix.ours.ids[own.removesuffix("StorageKey")]
                put(body, path, value)
                answers.append(await matrix.ask(route, body=body))
            assert answers[0] == answers[1], str(route)
            assert answers[0][0] == 404, (str(route), path, answers[0])
            checked.append(f"{route}: {'.'.join(path)}")
    assert len(checked) >= 7, checked


async def test_another_workspaces_conversation_is_not_found(matrix: Matrix) -> None:
    [route] = [one for one in matrix.routes if one.path == "/api/agents/{id}/turn"]
    answers = []
    for conversation in (matrix.theirs.ids["conversation"], new_id("call")):
        sent = form()
        sent.add_field("conversationId", conversation)
        answers.append(await matrix.ask(route, matrix.ours.ids["agents"], body=sent))
    assert answers[0] == answers[1]
    assert answers[0][0] == 404


async def test_lists_show_only_the_workspaces_own(matrix: Matrix) -> None:
    foreign = set(matrix.theirs.ids.values()) | {matrix.theirs.workspace_id}
    for route in matrix.routes:
        if route.method == "GET" and "{" not in route.path:
            status, envelope = await matrix.ask(route)
            assert status == 200, (str(route), envelope)
            shown = json.dumps(envelope)
            assert not [one for one in foreign if one in shown], str(route)
