"""The contract's tag Webhooks."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, get_args

import pytest

from pipelines.ssrf import CustomerHttp
from rest.resources.webhooks import READ, WRITE, EventName, WebhookResource
from store.database import Database
from store.tenants.webhooks import MAX_WEBHOOKS, Deliveries, NewDelivery, Webhooks
from tests.support.paths import CONTRACT
from tests.support.pipelines.job_support import new_workspace
from tests.support.rest.job_app import Client
from tests.support.rest.resource_app import ask, serving

URL = "https://hooks.example.com/blab"


def where_names_lead(name: str) -> list[str]:
    return ["10.1.2.3"] if name.startswith("inside") else ["1.1.1.1"]


@asynccontextmanager
async def webhooks_client(
    database: Database, workspace_id: str, *scopes: str
) -> AsyncIterator[Client]:
    http = CustomerHttp(look_up=where_names_lead)
    resource = WebhookResource(database, http)
    async with serving(resource, workspace_id, scopes or (READ, WRITE)) as client:
        yield client
    await http.close()


async def make(client: Client, **given: Any) -> dict[str, Any]:
    status, data = await ask(client, "POST", "/api/webhooks", {"url": URL, "events": ["*"]} | given)
    assert status == 200
    made: dict[str, Any] = data
    return made


async def test_the_secret_is_shown_once(database: Database) -> None:
    ours = await new_workspace(database)
    async with webhooks_client(database, ours) as client:
        made = await make(client, events=["tts.failed", "*", "tts.failed"])
        path = f"/api/webhooks/{made['id']}"
        secret = made.pop("secret")
        assert await ask(client, "GET", path) == (200, made)
        assert await ask(client, "GET", "/api/webhooks") == (200, [made])
        _, changed = await ask(client, "PATCH", path, {"url": URL, "events": ["*"]})
    stored = await Webhooks(database).get(ours, made["id"])
    assert stored is not None
    assert (stored.secret, secret in repr(stored)) == (secret, False)
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    assert (made["url"], made["events"], made["enabled"]) == (URL, ["tts.failed", "*"], True)
    assert made["createdAt"].endswith("Z")
    assert "secret" not in changed


async def test_sent_fields_change_and_the_rest_stays(database: Database) -> None:
    ours = await new_workspace(database)
    async with webhooks_client(database, ours) as client:
        made = await make(client, enabled=False)
        del made["secret"]
        path = f"/api/webhooks/{made['id']}"
        other = "http://other.example.com:8080/"
        steps: list[dict[str, Any]] = [
            {"url": URL, "events": ["job.failed", "job.failed"], "unknown": 1},
            {"url": other, "events": ["job.failed"]},
            {"url": other, "events": ["job.failed"], "enabled": True},
            {"url": other, "events": []},
        ]
        for step in steps:
            status, seen = await ask(client, "PATCH", path, step)
            del made["updatedAt"]
            made |= step | {"events": step["events"][:1], "updatedAt": ""}
            made.pop("unknown", None)
            assert (status, seen | {"updatedAt": ""}) == (200, made | {"updatedAt": ""})
        assert await ask(client, "DELETE", path) == (200, {"id": made["id"], "deleted": True})
        for method in ("GET", "PATCH", "DELETE"):
            body = {"url": URL, "events": []} if method == "PATCH" else None
            assert (await ask(client, method, path, body))[0] == 404


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"events": ["*"]}, "url"),
        ({"url": URL}, "events"),
        ({"url": URL, "events": "*"}, "events"),
        ({"url": URL, "events": ["webhook.completed"]}, "events[0]"),
        ({"url": URL, "events": ["*", 1]}, "events[1]"),
        ({"url": URL, "events": ["*"], "enabled": "yes"}, "enabled"),
        ({"url": URL, "events": ["*"], "enabled": None}, "enabled"),
        ({"url": 1, "events": ["*"]}, "url"),
        ({"url": "", "events": ["*"]}, "url"),
        ({"url": URL + "x" * 2048, "events": ["*"]}, "url"),
        ({"url": URL + "\0", "events": ["*"]}, "url"),
        ({"url": "ftp://example.com", "events": ["*"]}, "url"),
        ({"url": "https://a:b@example.com/", "events": ["*"]}, "url"),
        ({"url": "https://inside.example.com/", "events": ["*"]}, "url"),
        ({"url": "https://127.0.0.1:5432/", "events": ["*"]}, "url"),
        ({"url": "https://0x7f.1/", "events": ["*"]}, "url"),
        ({"url": "https://[::ffff:10.0.0.1]/", "events": ["*"]}, "url"),
        ({"url": "http://169.254.169.254/latest", "events": ["*"]}, "url"),
    ],
)
async def test_bad_fields_are_refused_with_their_path(
    database: Database, body: dict[str, Any], path: str
) -> None:
    ours = await new_workspace(database)
    async with webhooks_client(database, ours) as client:
        status, error = await ask(client, "POST", "/api/webhooks", body)
        assert (status, error["code"], error["details"]["path"]) == (400, "VALIDATION_ERROR", path)
        made = await make(client)
        status, error = await ask(client, "PATCH", f"/api/webhooks/{made['id']}", body)
        assert (status, error["details"]["path"]) == (400, path)


async def test_deliveries_newest_first_and_bounded(database: Database) -> None:
    ours = await new_workspace(database)
    async with webhooks_client(database, ours) as client:
        webhook = await make(client)
        other = await make(client)
        deliveries = Deliveries(database)
        for number in range(1, 104):
            made = NewDelivery(
                event_id="evt_1",
                event="tts.failed",
                job_id="job_1",
                status="failed",
                response_status=500,
                error="It is.",
                duration_ms=7,
                next_attempt_seconds=60.0,
            )
            assert await deliveries.insert(ours, webhook["id"], made) == number
        status, seen = await ask(client, "GET", f"/api/webhooks/{webhook['id']}/deliveries")
        assert await ask(client, "GET", f"/api/webhooks/{other['id']}/deliveries") == (200, [])
    assert (status, len(seen)) == (200, 100)
    ids = [one["id"] for one in seen]
    assert ids == sorted(ids, reverse=True)
    newest = max(seen, key=lambda one: int(one["attempt"]))
    assert {name: newest[name] for name in ("attempt", "eventId", "event", "status")} == {
        "attempt": 103,
        "eventId": "evt_1",
        "event": "tts.failed",
        "status": "failed",
    }
    assert (newest["responseStatus"], newest["error"], newest["durationMs"]) == (500, "It is.", 7)
    assert newest["nextAttemptAt"] > newest["createdAt"]


async def test_the_webhooks_of_a_workspace_are_bounded(database: Database) -> None:
    ours = await new_workspace(database)
    theirs = await new_workspace(database, "stranger@example.com")
    await database.execute(
        "INSERT INTO webhooks (id, workspace_id, url, events, secret)"
        " SELECT 'wh_' || n, $1, 'https://x', '{}', 's' FROM generate_series(2, $2) n",
        ours,
        MAX_WEBHOOKS,
    )
    async with webhooks_client(database, ours) as client:
        await make(client)
        body = {"url": URL, "events": ["*"]}
        status, error = await ask(client, "POST", "/api/webhooks", body)
        assert (status, error["details"]) == (409, {"reason": "too_many_webhooks"})
        assert (await ask(client, "POST", "/api/webhooks", body, as_workspace=theirs))[0] == 200


async def test_another_workspaces_webhook_is_not_found(database: Database) -> None:
    ours = await new_workspace(database)
    theirs = await new_workspace(database, "stranger@example.com")
    async with webhooks_client(database, ours) as client:
        _, foreign = await ask(
            client, "POST", "/api/webhooks", {"url": URL, "events": ["*"]}, as_workspace=theirs
        )
        answers = []
        for name in (foreign["id"], "wh_00000000000000000000000000", "%00", "x"):
            path = f"/api/webhooks/{name}"
            answers += [
                await ask(client, "GET", path),
                await ask(client, "PATCH", path, {"url": "https://o.example.com", "events": []}),
                await ask(client, "DELETE", path),
                await ask(client, "GET", f"{path}/deliveries"),
                await ask(client, "GET", f"{path}/deliveries/dlv_{'0' * 26}"),
                await ask(client, "POST", f"{path}/deliveries/dlv_{'0' * 26}/redeliver"),
                await ask(client, "POST", f"{path}/test"),
            ]
        _, kept = await ask(client, "GET", f"/api/webhooks/{foreign['id']}", as_workspace=theirs)
        assert await ask(client, "GET", "/api/webhooks") == (200, [])
    assert {status for status, _ in answers} == {404}
    assert len({str(error) for _, error in answers}) == 1
    assert kept["url"] == URL


async def test_scopes(database: Database) -> None:
    ours = await new_workspace(database)
    one = "/api/webhooks/wh_00000000000000000000000000"
    body = {"url": URL, "events": ["*"]}
    made = f"{one}/deliveries/dlv_{'0' * 26}"
    reading = [("GET", "/api/webhooks"), ("GET", one), ("GET", f"{one}/deliveries"), ("GET", made)]
    writing = [("POST", "/api/webhooks"), ("PATCH", one), ("DELETE", one)]
    writing += [("POST", f"{made}/redeliver"), ("POST", f"{one}/test")]
    for scope, allowed, refused in ((READ, reading, writing), (WRITE, writing, reading)):
        async with webhooks_client(database, ours, scope) as client:
            for method, path in (*allowed, *refused):
                sent = body if (method, path) == ("POST", "/api/webhooks") else None
                sent = body if method == "PATCH" else sent
                status, _ = await ask(client, method, path, sent)
                assert (status == 403) == ((method, path) in refused)


def test_the_events_are_the_contracts() -> None:
    contract = json.loads(CONTRACT.read_text())
    items = contract["components"]["schemas"]["WebhookCreate"]["properties"]["events"]["items"]
    assert list(get_args(EventName)) == items["enum"]
