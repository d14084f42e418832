"""WebhookKind: scheduled attempts, each recorded, until the event is accepted or given up."""

import asyncio

import msgspec
import pytest

from pipelines.jobs.job import (
    JobFailed,
    JobResult,
    JobRun,
    JobStatus,
    JobType,
    NewJob,
    TryAgain,
    Unit,
)
from pipelines.jobs.queue import JobQueue
from pipelines.jobs.usage import Prices, Usage
from pipelines.ssrf import CustomerHttp
from pipelines.webhooks import (
    BUSY_SECONDS,
    JITTER,
    SCHEDULE,
    SHARE,
    DeliveryOrder,
    WebhookEvents,
    WebhookKind,
)
from rest.jobs.kinds import OUTPUTS
from store.database import Database
from store.tenants.jobs import Job, Jobs
from store.tenants.usage import UsageEvents
from store.tenants.webhooks import Deliveries, Delivery, Webhook, Webhooks
from tests.support.pipelines.job_support import (
    SECONDS,
    Kind,
    new_workspace,
    rows_in_queue,
    submit,
    until,
    working,
)
from tests.support.pipelines.webhook_endpoint import Endpoint, listen, receiving

pytestmark = pytest.mark.slow

BODY = '{"type":"tts.completed","timestamp":"2026-11-01T12:00:00Z","data":{"jobId":"job_1"}}'


def order(webhook: Webhook) -> DeliveryOrder:
    return DeliveryOrder(webhook.id, "evt_1", "tts.completed", BODY)


def a_run(webhook: Webhook, number: int = 1) -> JobRun:
    async def progress(percent: int) -> None:
        raise AssertionError(percent)

    given = msgspec.to_builtins(order(webhook))
    return JobRun("job_w", webhook.workspace_id, given, number, progress)


async def told(database: Database, webhook: Webhook) -> list[Delivery]:
    """The attempts, the first one first."""
    return (await Deliveries(database).list(webhook.workspace_id, webhook.id))[::-1]


async def due(database: Database) -> None:
    """Let the time of the next attempt come."""
    await database.execute("UPDATE webhook_deliveries SET next_attempt_at = now()"
                           " WHERE next_attempt_at IS NOT NULL")  # fmt: skip


def test_the_schedule_is_the_specifications() -> None:
    minutes = [0, 5 / 60, 5, 30, 120, 300, 600, 840, 1200, 1440]
    assert [seconds / 60 for seconds in SCHEDULE] == minutes


async def test_an_accepted_event_is_sent_once(database: Database) -> None:
    ours = await new_workspace(database)
    async with receiving() as (endpoint, http):
        webhook = await listen(database, ours, endpoint)
        kind = WebhookKind(database, http)
        result = await kind.run(a_run(webhook))
        assert await kind.run(a_run(webhook, 2)) == result  # as if its end had not been written
    assert endpoint.received == [msgspec.json.decode(BODY)]
    assert endpoint.bodies == [BODY.encode()]
    sent = endpoint.headers[0]
    assert (sent["webhook-id"], sent["content-type"]) == ("evt_1", "application/json")
    assert sent["user-agent"].startswith("Blab")
    msgspec.convert(result.output, OUTPUTS[JobType.WEBHOOK])  # as the document says
    assert result.output == {
        "webhookId": webhook.id,
        "eventId": "evt_1",
        "event": "tts.completed",
        "attempts": 1,
        "responseStatus": 204,
    }
    (made,) = await told(database, webhook)
    assert (made.attempt, made.status, made.response_status) == (1, "delivered", 204)
    assert (made.error, made.next_attempt_at, made.event) == (None, None, "tts.completed")
    assert made.duration_ms >= 0


async def test_every_attempt_by_the_schedule_until_given_up(database: Database) -> None:
    ours = await new_workspace(database)
    async with receiving(500, 302, 404, *[503] * 7) as (endpoint, http):
        webhook = await listen(database, ours, endpoint)
        kind = WebhookKind(database, http, random=lambda: 0.5)
        waits = []
        for _ in SCHEDULE[1:]:
            with pytest.raises(TryAgain) as again:
                await kind.run(a_run(webhook))
            waits.append(again.value.delay)
            await due(database)
        with pytest.raises(JobFailed, match=r"not delivered\. The endpoint answered 503") as failed:
            await kind.run(a_run(webhook))
        assert failed.value.code == "PROVIDER_ERROR"
        assert waits == pytest.approx([wait * (1 + JITTER / 2) for wait in SCHEDULE[1:]])
        made = await told(database, webhook)
        assert [one.attempt for one in made] == list(range(1, 11))
        assert {one.status for one in made} == {"failed"}
        assert made[1].error == "The endpoint answered 302: redirects are not followed."
        assert [one.last for one in made] == [False] * 9 + [True]
        assert {sent["webhook-id"] for sent in endpoint.headers} == {"evt_1"}
        # a worker that died before the end was written says the same without another attempt
        with pytest.raises(JobFailed, match="503"):
            await kind.run(a_run(webhook, 2))
        assert len(endpoint.received) == 10
        # retried by hand it begins the schedule anew, counting on
        endpoint.statuses = [500]
        with pytest.raises(TryAgain) as again:
            await kind.run(a_run(webhook))
        assert again.value.delay == pytest.approx(5.25)
        await due(database)
        assert (await kind.run(a_run(webhook))).output["attempts"] == 12


async def test_the_next_attempt_is_announced_and_awaited(database: Database) -> None:
    ours = await new_workspace(database)
    async with receiving(500) as (endpoint, http):
        webhook = await listen(database, ours, endpoint)
        kind = WebhookKind(database, http, schedule=(0, 300))
        with pytest.raises(TryAgain) as first:
            await kind.run(a_run(webhook))
        with pytest.raises(TryAgain) as early:
            await kind.run(a_run(webhook))
        (made,) = await told(database, webhook)
    assert len(endpoint.received) == 1
    assert 300 <= first.value.delay <= 330
    assert first.value.delay - 10 < early.value.delay <= first.value.delay
    assert made.next_attempt_at is not None
    ahead = (made.next_attempt_at - made.created_at).total_seconds()
    assert ahead == pytest.approx(first.value.delay)


async def test_a_410_disables_the_webhook(database: Database) -> None:
    ours = await new_workspace(database)
    async with receiving(410) as (endpoint, http):
        webhook = await listen(database, ours, endpoint)
        kind = WebhookKind(database, http)
        with pytest.raises(JobFailed, match="410 Gone"):
            await kind.run(a_run(webhook))
        left = await Webhooks(database).get(ours, webhook.id)
        assert left is not None
        assert not left.enabled
        with pytest.raises(JobFailed, match="disabled") as off:
            await kind.run(a_run(webhook))
        assert await Webhooks(database).delete(ours, webhook.id)
        with pytest.raises(JobFailed, match="deleted") as gone:
            await kind.run(a_run(webhook))
    reasons = [failed.value.details for failed in (off, gone)]
    assert reasons == [{"reason": "webhook_disabled"}, {"reason": "webhook_deleted"}]
    assert len(endpoint.received) == 1


async def test_an_unreachable_endpoint_is_recorded_and_retried(database: Database) -> None:
    ours = await new_workspace(database)
    unreachable = Endpoint(url="https://rebound.test/hook")
    webhook = await listen(database, ours, unreachable)
    http = CustomerHttp(look_up=lambda name: ["10.0.0.1"])
    with pytest.raises(TryAgain):
        await WebhookKind(database, http).run(a_run(webhook))
    await http.close()
    (made,) = await told(database, webhook)
    assert made.response_status is None
    assert made.error is not None
    assert "not public" in made.error


async def test_a_webhook_deleted_meanwhile_leaves_no_record(database: Database) -> None:
    ours = await new_workspace(database)
    async with receiving() as (endpoint, http):
        webhook = await listen(database, ours, endpoint)

        async def taken_and_deleted(url: str, body: bytes, headers: object) -> int:
            await Webhooks(database).delete(ours, webhook.id)
            return 200

        http.post = taken_and_deleted
        assert (await WebhookKind(database, http).run(a_run(webhook))).output["attempts"] == 1
    assert await told(database, webhook) == []


async def test_the_deliveries_of_one_workspace_are_bounded(database: Database) -> None:
    ours = await new_workspace(database)
    theirs = await new_workspace(database, "stranger@example.com")
    waiting, answered, begun = [], asyncio.Event(), asyncio.Queue[str]()

    async def held_up(url: str, body: bytes, headers: object) -> int:
        begun.put_nowait(url)
        await answered.wait()
        return 200

    async with receiving() as (endpoint, http):
        http.post = held_up
        kind = WebhookKind(database, http, random=lambda: 0.5)
        webhooks = [await listen(database, ours, endpoint) for _ in range(SHARE + 1)]
        foreign = await listen(database, theirs, endpoint)
        async with asyncio.timeout(SECONDS):
            for webhook in (*webhooks[:SHARE], foreign):
                waiting.append(asyncio.create_task(kind.run(a_run(webhook))))
                await begun.get()
            with pytest.raises(TryAgain) as busy:
                await kind.run(a_run(webhooks[SHARE]))
            answered.set()
            await asyncio.gather(*waiting)
            await kind.run(a_run(webhooks[SHARE]))
    assert busy.value.delay == 1.5 * BUSY_SECONDS
    assert len(await told(database, webhooks[SHARE])) == 1


async def submitted(database: Database, webhook: Webhook) -> Job:
    new = NewJob(JobType.WEBHOOK, msgspec.to_builtins(order(webhook)))
    return await JobQueue(database).submit(webhook.workspace_id, new)


async def test_one_job_from_the_first_attempt_to_the_last(database: Database) -> None:
    ours = await new_workspace(database)
    async with receiving(500, 500) as (endpoint, http):
        webhook = await listen(database, ours, endpoint)
        kind = WebhookKind(database, http, schedule=(0, 0, 0, 0))
        async with working(database, kind):
            job = await submitted(database, webhook)
            done = await until(database, job, JobStatus.COMPLETED)
    assert (done.runs, done.output and done.output["attempts"]) == (1, 3)
    assert len(endpoint.received) == 3
    made = await told(database, webhook)
    assert [one.status for one in made] == ["failed", "failed", "delivered"]
    assert [one.attempt for one in made] == [1, 2, 3]


async def test_a_waiting_delivery_can_be_cancelled(database: Database) -> None:
    ours = await new_workspace(database)
    async with receiving(500) as (endpoint, http):
        webhook = await listen(database, ours, endpoint)
        async with working(database, WebhookKind(database, http, schedule=(0, 300))):
            job = await submitted(database, webhook)
            async with asyncio.timeout(SECONDS):
                while not await told(database, webhook):
                    await asyncio.sleep(0.02)
            waiting = await until(database, job, JobStatus.QUEUED)
            assert waiting.runs == 0
            cancelled = await JobQueue(database).cancel(ours, job.id)
    assert cancelled is not None
    assert cancelled.status == JobStatus.CANCELLED
    assert await rows_in_queue(database) == 0


async def test_a_finished_job_notifies_its_owner(database: Database) -> None:
    ours = await new_workspace(database)
    unit = Unit("u", "tts", "m", tokens=3)

    async def work(run: JobRun) -> JobResult:
        return JobResult({"audioKey": "k"}, (unit,))

    hooks = [Usage(database, Prices()).hook, WebhookEvents(database).hook]
    async with receiving() as (endpoint, http):
        webhook = await listen(database, ours, endpoint, "job.completed", "tts.completed")
        kinds = (Kind(work), WebhookKind(database, http))
        async with working(database, *kinds, hooks=hooks):
            job = await until(database, await submit(database, ours), JobStatus.COMPLETED)
            (delivery,) = await Jobs(database).list(ours, type="webhook")
            await until(database, delivery, JobStatus.COMPLETED)
    (message,) = endpoint.received
    assert message["type"] == "tts.completed"
    assert (message["data"]["jobId"], message["data"]["output"]) == (job.id, {"audioKey": "k"})
    (made,) = await told(database, webhook)
    assert made.event_id == endpoint.headers[0]["webhook-id"]
    assert (await UsageEvents(database).total(ours)).tokens == 3
