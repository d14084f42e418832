"""Webhooks and their deliveries, with another workspace beside ours."""

import pytest

from store.database import Database
from store.tenants.webhooks import Deliveries, NewDelivery, Webhooks
from tests.support.pipelines.job_support import new_workspace

FAILED = NewDelivery(
    event_id="evt_1",
    event="tts.failed",
    attempt=1,
    status="failed",
    response_status=None,
    error="No answer.",
    duration_ms=12,
    next_attempt_seconds=5.0,
)
TAKEN = NewDelivery(
    event_id="evt_1",
    event="tts.failed",
    attempt=2,
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
    assert not await deliveries.insert(theirs, webhook.id, FAILED)
    for made in (FAILED, TAKEN):
        assert await deliveries.insert(ours, webhook.id, made)
        assert not await deliveries.insert(ours, webhook.id, made)
    last, first = await deliveries.of_event(ours, webhook.id, "evt_1", limit=2)
    assert [last] == await deliveries.of_event(ours, webhook.id, "evt_1", limit=1)
    assert (first.attempt, first.last, last.attempt, last.last) == (1, False, 2, True)
    assert {one.id for one in await deliveries.list(ours, webhook.id)} == {first.id, last.id}
    assert await deliveries.list(theirs, webhook.id) == []
    assert await deliveries.of_event(theirs, webhook.id, "evt_1", limit=9) == []
    assert await deliveries.of_event(ours, webhook.id, "evt_2", limit=9) == []
    assert not await webhooks.delete(theirs, webhook.id)
    assert await webhooks.delete(ours, webhook.id)
    assert await deliveries.list(ours, webhook.id) == []
    assert not await deliveries.insert(ours, webhook.id, FAILED)
