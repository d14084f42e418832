"""WebhookEvents: which webhook gets which event of a job that ended."""

import json
from typing import Any

import pytest

from pipelines.jobs.job import JobResult, JobRun, JobStatus, JobType, NewJob
from pipelines.jobs.queue import JobQueue
from pipelines.webhooks import MAX_BODY_BYTES, WebhookEvents
from store.database import Database
from store.tenants.jobs import Job, JobEnd, Jobs
from store.tenants.webhooks import Webhooks
from tests.support.pipelines.job_support import Kind, new_workspace, submit, until, working
from tests.support.pipelines.webhook_endpoint import Endpoint, listen

WEBHOOK = Endpoint(url="https://example.com/hook")


async def end(database: Database, job: Job, status: str = "completed", **ended: Any) -> Job:
    """End the job as the runner does."""
    async with database.transaction() as connection:
        [over] = (
            await Jobs(connection).finish([JobEnd(job.workspace_id, job.id, status, **ended)])
        ).values()
        await WebhookEvents(database).hook(connection, [(over, ())])
        return over


async def told(database: Database, workspace_id: str) -> list[dict[str, Any]]:
    """Inputs of the workspace's webhook jobs, by webhook."""
    jobs = await Jobs(database).list(workspace_id, type="webhook")
    return sorted((job.input for job in jobs), key=lambda order: str(order["webhookId"]))


async def test_the_event_has_the_jobs_result(database: Database) -> None:
    ours = await new_workspace(database)
    webhook = await listen(database, ours, WEBHOOK)
    output = {"audioKey": f"{ours}/a.mp3", "_recipe": 1, "takes": [{"textKey": "t", "_x": 2}]}
    job = await end(database, await submit(database, ours), output=output)
    (order,) = await told(database, ours)
    assert (order["webhookId"], order["event"]) == (webhook.id, "tts.completed")
    message = json.loads(order["body"])
    assert (message["type"], message["timestamp"]) == (
        "tts.completed",
        message["data"]["finishedAt"],
    )
    assert message["timestamp"].endswith("Z")
    assert message["data"] | {"createdAt": "", "finishedAt": ""} == {
        "jobId": job.id,
        "type": "tts",
        "status": "completed",
        "progress": 100,
        "output": {"audioKey": f"{ours}/a.mp3", "takes": [{"textKey": "t"}]},
        "error": None,
        "warnings": [],
        "createdAt": "",
        "finishedAt": "",
    }


async def test_a_long_output_is_left_out(database: Database) -> None:
    ours = await new_workspace(database)
    await listen(database, ours, WEBHOOK)
    for length in (MAX_BODY_BYTES - 1000, MAX_BODY_BYTES):
        await end(database, await submit(database, ours), output={"script": "x" * length})
    bodies = [order["body"] for order in await told(database, ours)]
    omitted = [json.loads(body)["data"].get("outputOmitted", False) for body in bodies]
    assert sorted(omitted) == [False, True]
    assert all(len(body) < MAX_BODY_BYTES for body in bodies)


@pytest.mark.parametrize(
    ("patterns", "status", "count"),
    [
        (["*"], "completed", 1),
        (["*"], "failed", 1),
        (["*", "tts.completed", "job.completed"], "completed", 1),
        (["tts.completed"], "completed", 1),
        (["tts.completed"], "failed", 0),
        (["tts.failed"], "failed", 1),
        (["job.completed"], "completed", 1),
        (["job.failed"], "failed", 1),
        (["job.failed", "stt.completed"], "completed", 0),
        (["*"], "cancelled", 0),
        ([], "completed", 0),
    ],
)
async def test_each_listening_webhook_gets_an_event_once(
    database: Database, patterns: list[str], status: str, count: int
) -> None:
    ours = await new_workspace(database)
    await Webhooks(database).create(ours, WEBHOOK.url, patterns, "whsec_", enabled=True)
    await end(database, await submit(database, ours), status)
    assert len(await told(database, ours)) == count


async def test_other_events_disabled_webhooks_and_inner_jobs_get_nothing(
    database: Database,
) -> None:
    ours = await new_workspace(database)
    theirs = await new_workspace(database, "stranger@example.com")
    first, second = [await listen(database, ours, WEBHOOK) for _ in range(2)]
    await listen(database, ours, WEBHOOK, enabled=False)
    await listen(database, theirs, WEBHOOK)
    queue = JobQueue(database)
    batch = await queue.submit(ours, NewJob(JobType.BATCH, {}))
    item = await queue.submit(ours, NewJob(JobType.TTS, {}, batch.id, 0))
    for inner in (item, await queue.submit(ours, NewJob(JobType.CLEANUP, {}))):
        await end(database, inner, output={})
    assert await told(database, ours) == []
    await end(database, batch, output={"total": 1})
    orders = await told(database, ours)
    assert [order["webhookId"] for order in orders] == sorted([first.id, second.id])
    assert len({(order["eventId"], order["body"]) for order in orders}) == 1
    assert await told(database, theirs) == []
    (delivery, _) = await Jobs(database).list(ours, type="webhook")
    await end(database, delivery, output={})  # the end of a delivery is no event
    assert len(await told(database, ours)) == 2


async def test_webhooks_are_queued_when_a_workers_job_ends(database: Database) -> None:
    ours = await new_workspace(database)
    await listen(database, ours, WEBHOOK, "tts.failed")

    async def work(run: JobRun) -> JobResult:
        raise ValueError

    hooks = [WebhookEvents(database).hook]
    async with working(database, Kind(work), hooks=hooks):
        job = await submit(database, ours)
        await database.execute("UPDATE jobs SET runs = 9 WHERE id = $1", job.id)
        await until(database, job, JobStatus.FAILED)
    (order,) = await told(database, ours)
    assert json.loads(order["body"])["data"]["error"]["code"] == "INTERNAL"
