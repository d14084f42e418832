"""Webhooks and their deliveries, with another workspace beside ours."""

import asyncio

import pytest

from pipelines.webhooks import signature_headers
from store.database import Database
from store.migrate import migrate, read_migrations
from store.tenants.webhooks import SEALED, Deliveries, NewDelivery, Webhooks
from store.vault import Vault
from tests.support.pipelines.job_support import new_workspace

REDELIVERIES = 12
"""The migration that adds them."""
FAILED = NewDelivery(
    event_id="evt_1",
    event="tts.failed",
    job_id="job_1",
    status="failed",
    response_status=None,
    error="No answer.",
    duration_ms=12,
    next_attempt_seconds=5.0,
)
TAKEN = NewDelivery(
    event_id="evt_1",
    event="tts.failed",
    job_id="job_2",
    status="delivered",
    response_status=200,
    error=None,
    duration_ms=3,
    next_attempt_seconds=None,
)


async def test_each_workspace_sees_its_own_webhooks(database: Database) -> None:
    ours = await new_workspace(database)
    theirs = await new_workspace(database, "stranger@example.com")
    webhooks, deliveries = Webhooks(database), Deliveries(database)
    webhook = await webhooks.create(ours, "https://x", ["*"], "whsec_x", enabled=True)
    assert webhook is not None
    assert await webhooks.get(ours, webhook.id) == webhook
    assert await webhooks.get(theirs, webhook.id) is None
    assert await webhooks.list(theirs) == []
    assert await webhooks.listening(ours, ["*", "a"]) == [webhook.id]
    assert await webhooks.listening(ours, ["a"]) == []
    assert await webhooks.listening(theirs, ["*"]) == []
    assert await webhooks.update(theirs, webhook.id, {"enabled": False}) is None
    with pytest.raises(ValueError, match="secret"):
        await webhooks.update(ours, webhook.id, {"secret": "mine"})
    assert await deliveries.insert(theirs, webhook.id, FAILED) is None
    assert [await deliveries.insert(ours, webhook.id, one) for one in (FAILED, TAKEN)] == [1, 2]
    (first,) = await deliveries.of_job(ours, webhook.id, "evt_1", "job_1", limit=2)
    last = await deliveries.accepted(ours, webhook.id, "evt_1", after=1)
    assert last is not None
    assert (first.attempt, first.last, last.attempt, last.last) == (1, False, 2, True)
    assert {one.id for one in await deliveries.list(ours, webhook.id)} == {first.id, last.id}
    assert await deliveries.get(ours, webhook.id, last.id) == last
    assert await deliveries.last_attempt(ours, webhook.id, "evt_1") == 2
    assert await deliveries.accepted(ours, webhook.id, "evt_1", after=2) is None
    assert await deliveries.of_job(ours, webhook.id, "evt_2", "job_1", limit=9) == []
    assert await deliveries.list(theirs, webhook.id) == []
    assert await deliveries.get(theirs, webhook.id, last.id) is None
    assert await deliveries.of_job(theirs, webhook.id, "evt_1", "job_1", limit=9) == []
    assert await deliveries.accepted(theirs, webhook.id, "evt_1", after=0) is None
    assert await deliveries.last_attempt(theirs, webhook.id, "evt_1") == 0
    assert not await webhooks.delete(theirs, webhook.id)
    assert await webhooks.delete(ours, webhook.id)
    assert await deliveries.list(ours, webhook.id) == []
    assert await deliveries.insert(ours, webhook.id, FAILED) is None


async def test_secrets_are_sealed_and_those_of_earlier_versions_too(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    ours = await new_workspace(database)
    webhooks = Webhooks(database, Vault(b"k" * 32))
    old = await Webhooks(database).create(ours, "https://x", ["*"], "whsec_old", enabled=True)
    new = await webhooks.create(ours, "https://x", ["*"], "whsec_new", enabled=True)
    assert old is not None
    assert new is not None
    assert await webhooks.get(ours, old.id) == old
    assert [await webhooks.seal_all() for _ in range(2)] == [1, 0]
    stored = [row["secret"] for row in await database.fetch("SELECT secret FROM webhooks")]
    assert all(one.startswith(SEALED) and "whsec" not in one for one in stored)
    assert [one.secret for one in await webhooks.list(ours)] == ["whsec_new", "whsec_old"]
    for one in stored:  # a worker of an earlier version signs wrongly, and does not fail
        assert signature_headers(one, "evt_1", 0, b"{}")["webhook-signature"].startswith("v1,")
    foreign = await Webhooks(database, Vault(b"f" * 32)).get(ours, new.id)
    assert foreign is not None
    assert foreign.secret is None
    assert f"the secret of webhook {new.id} was sealed under another key" in caplog.text


async def test_attempts_made_at_the_same_time_have_different_numbers(database: Database) -> None:
    ours = await new_workspace(database)
    webhook = await Webhooks(database).create(ours, "https://x", ["*"], "whsec_x", enabled=True)
    assert webhook is not None

    async def insert() -> int | None:
        async with database.transaction() as connection:
            return await Deliveries(connection).insert(ours, webhook.id, FAILED)

    numbers = await asyncio.gather(*(insert() for _ in range(4)))
    assert sorted(number or 0 for number in numbers) == [1, 2, 3, 4]


async def test_deliveries_of_earlier_versions_get_the_job_that_made_them(
    empty_database: Database,
) -> None:
    before = [one for one in read_migrations() if one.version < REDELIVERIES]
    await migrate(empty_database, before)
    ours = "ws_1"
    await empty_database.execute("INSERT INTO workspaces (id, name) VALUES ($1, 'Ours')", ours)
    await empty_database.execute(
        "INSERT INTO webhooks (id, workspace_id, url, events, secret)"
        " VALUES ('wh_1', $1, 'https://x', '{}', 'whsec_x')",
        ours,
    )
    await empty_database.execute(
        "INSERT INTO jobs (id, workspace_id, type, input) VALUES ('job_1', $1, 'webhook',"
        ' \'{"webhookId": "wh_1", "eventId": "evt_1"}\')',
        ours,
    )
    await empty_database.execute(
        "INSERT INTO webhook_deliveries (id, workspace_id, webhook_id, event_id, event, attempt,"
        " status, duration_ms) SELECT 'dlv_' || n, $1, 'wh_1', 'evt_' || n, 'tts.failed', 1,"
        " 'failed', 1 FROM generate_series(1, 2) n",
        ours,
    )
    await migrate(empty_database)
    found = await Deliveries(empty_database).list(ours, "wh_1")
    assert {one.id: one.job_id for one in found} == {"dlv_1": "job_1", "dlv_2": None}
