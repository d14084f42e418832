"""The contract's tag API Keys."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rest.accounts import api_keys, keys
from rest.accounts.api_keys import ApiKeyResource
from rest.accounts.keys import SCOPES
from rest.http.endpoint import EndpointOptions
from rest.http.idempotency import HEADER, Idempotency
from store.database import Database
from store.tenants.accounts import ApiKeys
from store.tenants.idempotency import IdempotencyKeys
from tests.support.rest.api_app import (
    Answered,
    Client,
    Tenant,
    ask,
    authenticator,
    new_tenant,
    serving,
)

PATH = "/api/api-keys"


@pytest.fixture
async def ours(database: Database) -> Tenant:
    return await new_tenant(database)


@pytest.fixture
async def client(database: Database) -> AsyncIterator[Client]:
    who = authenticator(database)
    options = EndpointOptions(idempotency=Idempotency(IdempotencyKeys(database)))
    async with serving([ApiKeyResource(database, who.forget)], who.of_request, options) as client:
        yield client


async def create(client: Client, credential: str, **body: Any) -> Answered:
    headers = body.pop("headers", {})
    body = {"name": "ci", "scopes": ["tts:read"], **body}
    return await ask(client, "POST", PATH, credential, json=body, headers=headers)


async def test_made_shown_once_listed_used_and_revoked(client: Client, ours: Tenant) -> None:
    until = datetime.now(UTC) + timedelta(days=1)
    made = await create(
        client,
        ours.token,
        scopes=["api-keys:read", "tts:read", "tts:read"],
        expiresAt=until.isoformat(),
    )
    assert made.status == 200
    assert set(made.data) == {"id", "key", "prefix"}
    key = made.data["key"]
    assert keys.parse(key).prefix == made.data["prefix"]
    listed = await ask(client, "GET", PATH, key)
    assert key not in str(listed.body)
    [first, second] = listed.data
    assert first["id"] == ours.key_id
    assert set(first) == {"id", "name", "prefix", "scopes", "createdAt"}
    assert (second["id"], second["name"]) == (made.data["id"], "ci")
    assert second["scopes"] == ["api-keys:read", "tts:read"]
    assert second["expiresAt"][:19] == until.isoformat()[:19]
    assert second["lastUsedAt"].endswith("Z")
    revoked = await ask(client, "DELETE", f"{PATH}/{made.data['id']}", ours.key)
    assert revoked.data == {"id": made.data["id"], "revoked": True}
    assert (await ask(client, "GET", PATH, key)).status == 401  # at once
    assert (await ask(client, "DELETE", f"{PATH}/{made.data['id']}", ours.key)).status == 404
    assert len((await ask(client, "GET", PATH, ours.key)).data) == 1


async def test_a_key_cannot_revoke_itself(client: Client, ours: Tenant) -> None:
    refused = await ask(client, "DELETE", f"{PATH}/{ours.key_id}", ours.key)
    assert (refused.status, refused.details["reason"]) == (403, "own_key")
    revoked = await ask(client, "DELETE", f"{PATH}/{ours.key_id}", ours.token)
    assert revoked.data["revoked"] is True


async def test_a_key_grants_only_what_it_holds(
    client: Client, database: Database, ours: Tenant
) -> None:
    narrow = await new_tenant(database, "b@example.org", ["api-keys:write", "tts:read"])
    assert (await create(client, narrow.key)).status == 200
    assert (await create(client, narrow.key, scopes=[])).status == 200
    refused = await create(client, narrow.key, scopes=["tts:read", "tts:write"])
    assert (refused.status, refused.details["reason"]) == (403, "scope_not_held")
    assert (await create(client, narrow.token, scopes=list(SCOPES))).status == 200
    assert (await ask(client, "GET", PATH, narrow.key)).status == 403
    assert len(await ApiKeys(database).list(ours.workspace_id)) == 1


@pytest.mark.parametrize(
    ("body", "status", "path"),
    [
        ({"scopes": ["*"]}, 400, "scopes[0]"),
        ({"scopes": "tts:read"}, 400, "scopes"),
        ({"scopes": None}, 400, "scopes"),
        ({"name": 1}, 400, "name"),
        ({"expiresAt": "tomorrow"}, 400, "expiresAt"),
        ({"expiresAt": None}, 400, "expiresAt"),
        ({"expiresAt": "2020-01-01T00:00:00Z"}, 400, "expiresAt"),
        ({"expiresAt": "0000-01-01T00:00:00Z"}, 400, "expiresAt"),
    ],
)
async def test_invalid_keys_are_refused(
    client: Client, ours: Tenant, body: dict[str, Any], status: int, path: str
) -> None:
    refused = await create(client, ours.key, **body)
    assert (refused.status, refused.details["path"]) == (status, path)


async def test_the_last_moment_can_be_stored(client: Client, ours: Tenant) -> None:
    assert (await create(client, ours.key, expiresAt="9999-12-31T23:59:60-23:59")).status == 200
    [_, shown] = (await ask(client, "GET", PATH, ours.key)).data
    assert shown["expiresAt"].startswith("9999-12-31")


async def test_the_keys_of_a_workspace_are_bounded(
    client: Client, ours: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_keys, "MOST_KEYS", 2)
    assert (await create(client, ours.key)).status == 200
    assert (await create(client, ours.key)).details == {"reason": "too_many_keys"}


async def test_a_repeated_request_shows_the_same_key(
    client: Client, database: Database, ours: Tenant
) -> None:
    first = await create(client, ours.key, headers={HEADER: "once"})
    again = await create(client, ours.key, headers={HEADER: "once"})
    assert first.data_bytes == again.data_bytes
    assert len(await ApiKeys(database).list(ours.workspace_id)) == 2
    stored = await database.fetchval("SELECT answer FROM idempotency_keys")
    assert first.data["key"].encode() not in stored


async def test_another_workspaces_key_is_not_found(
    client: Client, database: Database, ours: Tenant
) -> None:
    theirs = await new_tenant(database, "theirs@example.org")
    answers = [
        await ask(client, "DELETE", f"{PATH}/{name}", ours.key)
        for name in (theirs.key_id, "key_00000000000000000000000000", "%00", "x")
    ]
    assert {answer.status for answer in answers} == {404}
    assert len({str(answer.body["error"]) for answer in answers}) == 1
    assert (await ask(client, "GET", PATH, theirs.key)).data[0]["id"] == theirs.key_id
    assert len((await ask(client, "GET", PATH, ours.key)).data) == 1
