"""Redeliveries and test events, sent by a worker to an endpoint on loopback."""

import asyncio
import json
from typing import Any

import pytest

from pipelines.jobs.job import JobStatus, JobType
from pipelines.webhooks import MAX_REDELIVERIES, TEST_EVENT, WebhookEvents, WebhookKind
from rest.resources.webhooks import READ, WRITE, WebhookResource
from store.database import Database
from store.tenants.jobs import Job, Jobs
from store.tenants.webhooks import Webhook, Webhooks
from store.vault import Vault
from tests.support.pipelines.job_support import SECONDS, Kind, new_workspace, submit, until, working
from tests.support.pipelines.webhook_endpoint import Endpoint, listen, receiving
from tests.support.rest.job_app import Client
from tests.support.rest.resource_app import ask, serving

pytestmark = pytest.mark.slow


async def delivered(database: Database, ours: str, endpoint: Endpoint, http: Any) -> Webhook:
    """A webhook that was sent the end of one job."""
    webhook = await listen(database, ours, endpoint)
    kinds = (Kind(), WebhookKind(database, http))
    async with working(database, *kinds, hooks=[WebhookEvents(database).hook]):
        await until(database, await submit(database, ours), JobStatus.COMPLETED)
        (sent,) = await Jobs(database).list(ours, type="webhook")
        await until(database, sent, JobStatus.COMPLETED)
    return webhook


async def deliveries(client: Client, webhook: Webhook) -> list[dict[str, Any]]:
    status, listed = await ask(client, "GET", f"/api/webhooks/{webhook.id}/deliveries")
    assert status == 200
    found: list[dict[str, Any]] = listed
    return found


async def accepted(database: Database, ours: str, answer: tuple[int, Any]) -> Job:
    """The submitted job."""
    status, ref = answer
    assert (status, ref["status"]) == (202, "queued")
    job = await Jobs(database).get(ours, ref["jobId"])
    assert job is not None
    return job


async def test_an_event_is_sent_again_with_its_id_and_a_new_signature(database: Database) -> None:
    ours = await new_workspace(database)
    async with (
        receiving(204, 500, 204) as (endpoint, http),
        serving(WebhookResource(database, http), ours, (READ, WRITE)) as client,
    ):
        webhook = await delivered(database, ours, endpoint, http)
        (first,) = await deliveries(client, webhook)
        assert (first["repeats"], first["attempt"]) == (None, 1)
        path = f"/api/webhooks/{webhook.id}/deliveries/{first['id']}"
        job = await accepted(database, ours, await ask(client, "POST", f"{path}/redeliver"))
        async with working(database, WebhookKind(database, http, schedule=(0, 0))):
            done = await until(database, job, JobStatus.COMPLETED)
        third, second, _ = await deliveries(client, webhook)
        assert await ask(client, "GET", path) == (
            200,
            first | {"body": endpoint.bodies[0].decode()},
        )
    assert done.output is not None
    assert done.output["attempts"] == 3
    assert len(set(endpoint.bodies)) == 1
    assert {sent["webhook-id"] for sent in endpoint.headers} == {first["eventId"]}
    for attempt, made in ((2, second), (3, third)):
        assert (made["repeats"], made["jobId"], made["attempt"]) == (first["id"], job.id, attempt)
    assert (second["status"], third["status"]) == ("failed", "delivered")
    assert second["nextAttemptAt"] is not None


async def test_an_accepted_redelivery_ends_the_schedule_that_waits(database: Database) -> None:
    ours = await new_workspace(database)
    async with (
        receiving(500) as (endpoint, http),
        serving(WebhookResource(database, http), ours, (READ, WRITE)) as client,
    ):
        webhook = await listen(database, ours, endpoint)
        kinds = (Kind(), WebhookKind(database, http, schedule=(0, 300)))
        async with working(database, *kinds, hooks=[WebhookEvents(database).hook]):
            await submit(database, ours)
            async with asyncio.timeout(SECONDS):
                while not (made := await deliveries(client, webhook)):
                    await asyncio.sleep(0.02)
            (waiting,) = await Jobs(database).list(ours, type="webhook")
            path = f"/api/webhooks/{webhook.id}/deliveries/{made[0]['id']}/redeliver"
            again = await accepted(database, ours, await ask(client, "POST", path))
            await until(database, again, JobStatus.COMPLETED)
            await database.execute("UPDATE pgqueuer SET execute_after = now()")
            done = await until(database, waiting, JobStatus.COMPLETED)
    assert len(endpoint.received) == 2
    assert done.output is not None
    assert done.output["attempts"] == 2


async def test_the_redeliveries_of_an_event_are_bounded(database: Database) -> None:
    ours = await new_workspace(database)
    async with (
        receiving() as (endpoint, http),
        serving(WebhookResource(database, http), ours, (READ, WRITE)) as client,
    ):
        webhook = await delivered(database, ours, endpoint, http)
        (made,) = await deliveries(client, webhook)
        path = f"/api/webhooks/{webhook.id}/deliveries/{made['id']}/redeliver"
        answers = [await ask(client, "POST", path) for _ in range(MAX_REDELIVERIES + 1)]
    assert [status for status, _ in answers] == [202] * MAX_REDELIVERIES + [409]
    assert answers[-1][1]["details"] == {"reason": "too_many_redeliveries"}


async def test_what_is_not_stored_or_switched_off_is_not_sent(database: Database) -> None:
    ours = await new_workspace(database)
    async with (
        receiving() as (endpoint, http),
        serving(WebhookResource(database, http), ours, (READ, WRITE)) as client,
    ):
        webhook = await delivered(database, ours, endpoint, http)
        (made,) = await deliveries(client, webhook)
        one = f"/api/webhooks/{webhook.id}"
        await Webhooks(database).update(ours, webhook.id, {"enabled": False})
        off = [
            await ask(client, "POST", f"{one}/{path}")
            for path in (f"deliveries/{made['id']}/redeliver", "test")
        ]
        await Webhooks(database).update(ours, webhook.id, {"enabled": True})
        await database.execute("DELETE FROM jobs WHERE id = $1", made["jobId"])
        gone = await ask(client, "POST", f"{one}/deliveries/{made['id']}/redeliver")
        _, shown = await ask(client, "GET", f"{one}/deliveries/{made['id']}")
    assert [error["details"] for _, error in off] == [{"reason": "webhook_disabled"}] * 2
    assert (gone[0], gone[1]["details"]) == (409, {"reason": "body_not_stored"})
    assert shown == made | {"body": None}
    assert len(endpoint.received) == 1


async def test_a_test_event_is_signed_and_sent_once(database: Database) -> None:
    ours = await new_workspace(database)
    async with (
        receiving(500) as (endpoint, http),
        serving(WebhookResource(database, http), ours, (READ, WRITE)) as client,
    ):
        webhook = await listen(database, ours, endpoint, "tts.failed")
        job = await accepted(
            database, ours, await ask(client, "POST", f"/api/webhooks/{webhook.id}/test")
        )
        async with working(database, WebhookKind(database, http)):
            failed = await until(database, job, JobStatus.FAILED)
        (made,) = await deliveries(client, webhook)
    (message,) = endpoint.received
    assert (message["type"], message["data"]["webhookId"]) == (TEST_EVENT, webhook.id)
    assert (made["event"], made["status"], made["responseStatus"]) == (TEST_EVENT, "failed", 500)
    assert made["nextAttemptAt"] is None
    assert failed.error is not None
    assert failed.error["details"] == {"reason": "undelivered"}
    assert job.type == JobType.WEBHOOK


async def test_a_delivery_belongs_to_its_workspace_and_webhook(database: Database) -> None:
    ours = await new_workspace(database)
    theirs = await new_workspace(database, "stranger@example.com")
    async with (
        receiving() as (endpoint, http),
        serving(WebhookResource(database, http), ours, (READ, WRITE)) as client,
    ):
        webhook = await delivered(database, ours, endpoint, http)
        other = await listen(database, ours, endpoint)
        foreign = await listen(database, theirs, endpoint)
        (made,) = await deliveries(client, webhook)
        answers = []
        for webhook_id, delivery_id, as_workspace in (
            (webhook.id, made["id"], theirs),
            (foreign.id, made["id"], theirs),
            (other.id, made["id"], ours),
            (webhook.id, "dlv_" + "0" * 26, ours),
            (webhook.id, "%00", ours),
        ):
            path = f"/api/webhooks/{webhook_id}/deliveries/{delivery_id}"
            answers += [
                await ask(client, "GET", path, as_workspace=as_workspace),
                await ask(client, "POST", f"{path}/redeliver", as_workspace=as_workspace),
            ]
        tested = await ask(client, "POST", f"/api/webhooks/{webhook.id}/test", as_workspace=theirs)
    assert {status for status, _ in [*answers, tested]} == {404}
    messages = {error["message"] for _, error in answers}
    assert messages == {"There is no such webhook.", "There is no such delivery."}
    jobs = await Jobs(database).list(ours, type="webhook")
    assert [json.dumps(job.input).count("repeats") for job in jobs] == [1]
    assert jobs[0].input["repeats"] is None
    assert await Jobs(database).list(theirs) == []


async def test_a_secret_sealed_under_another_key_sends_nothing(database: Database) -> None:
    ours = await new_workspace(database)
    async with receiving() as (endpoint, http):
        webhook = await Webhooks(database, Vault(b"a" * 32)).create(
            ours, endpoint.url, ["*"], endpoint.secret, enabled=True
        )
        assert webhook is not None
        kind = WebhookKind(database, http, Vault(b"b" * 32), schedule=(0,))
        async with serving(WebhookResource(database, http), ours, (READ, WRITE)) as client:
            job = await accepted(
                database, ours, await ask(client, "POST", f"/api/webhooks/{webhook.id}/test")
            )
            async with working(database, kind):
                failed = await until(database, job, JobStatus.FAILED)
    assert endpoint.bodies == []
    assert failed.error is not None
    assert "secret cannot be opened" in failed.error["message"]
