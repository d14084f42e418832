"""A job's event stream: in order, resumable, from any node, ending with the job."""

import asyncio
import json
from typing import Any

import pytest

from pipelines.jobs.queue import JobQueue
from store.database import Database
from store.tenants.jobs import Job, JobEnd, Jobs
from tests.support.pipelines.job_support import SECONDS, new_workspace, submit
from tests.support.rest.job_app import Client, jobs_client


async def read(client: Client, job: Job, last: str | None = None) -> list[dict[str, Any]]:
    """All events until the stream ends."""
    headers = {} if last is None else {"Last-Event-ID": last}
    async with (
        asyncio.timeout(SECONDS),
        client.get(f"/api/jobs/{job.id}/events", headers=headers) as answer,
    ):
        assert answer.content_type == "text/event-stream"
        text = await answer.text()
    return [parsed(block) for block in text.split("\n\n") if block and not block.startswith(":")]


def parsed(block: str) -> dict[str, Any]:
    fields = dict(line.split(": ", 1) for line in block.splitlines())
    return {**fields, "data": json.loads(fields["data"])}


async def run_by_hand(database: Database, job: Job) -> None:
    """What a worker writes of a run."""
    ours = job.workspace_id
    await database.execute("UPDATE jobs SET status = 'running', runs = runs + 1")
    for percent in (10, 60):
        async with database.transaction() as connection:
            assert await Jobs(connection).progress(ours, job.id, 1, percent)
    async with database.transaction() as connection:
        end = JobEnd(ours, job.id, "completed", run=1, output={"aKey": "k"})
        assert await Jobs(connection).finish([end])


async def test_a_stream_on_another_node_follows_the_job_to_its_end(database: Database) -> None:
    ours = await new_workspace(database)
    job = await submit(database, ours)
    async with jobs_client(database, ours) as one, jobs_client(database, ours) as two:
        streams = [asyncio.create_task(read(node, job)) for node in (one, one, two)]
        await run_by_hand(database, job)
        received = await asyncio.gather(*streams)
        rest = await read(two, job, last="2")
        assert await read(one, job, last="3") == []
        assert await read(one, job, last="nonsense") == await read(one, job)
    for events in received:
        assert [(event["id"], event["event"]) for event in events] == [
            ("1", "progress"),
            ("2", "progress"),
            ("3", "completed"),
        ]
        assert [event["data"]["progress"] for event in events] == [10, 60, 100]
        assert events[-1]["data"]["output"]["aUrl"].endswith("/files/k?signed")
    assert [event["id"] for event in rest] == ["3"]


async def test_a_retried_job_goes_on_behind_its_first_end(database: Database) -> None:
    ours = await new_workspace(database)
    job = await submit(database, ours)
    queue = JobQueue(database)
    await queue.cancel(ours, job.id)
    async with jobs_client(database, ours) as client:
        assert [event["event"] for event in await read(client, job)] == ["cancelled"]
        await queue.retry(ours, job.id)
        stream = asyncio.create_task(read(client, job))
        await run_by_hand(database, job)
        events = await stream
    assert [event["id"] for event in events] == ["2", "3", "4", "5"]
    assert events[-1]["event"] == "completed"


async def test_a_quiet_stream_is_kept_alive(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rest.http.event_stream.HEARTBEAT_SECONDS", 0.02)
    ours = await new_workspace(database)
    job = await submit(database, ours)
    async with (
        jobs_client(database, ours) as client,
        asyncio.timeout(SECONDS),
        client.get(f"/api/jobs/{job.id}/events") as answer,
    ):
        assert (await answer.content.readline()).startswith(b":")
        await JobQueue(database).cancel(ours, job.id)
        assert b"event: cancelled" in await answer.content.read()


@pytest.mark.parametrize("bound", ["MAX_STREAMS", "MAX_STREAMS_OF_ONE"])
async def test_streams_are_bounded(
    database: Database, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    monkeypatch.setattr(f"rest.http.watch.{bound}", 1)
    ours = await new_workspace(database)
    job = await submit(database, ours)
    path = f"/api/jobs/{job.id}/events"
    async with jobs_client(database, ours) as client, asyncio.timeout(SECONDS):
        async with client.get(path) as first:
            assert first.status == 200
            async with client.get(path) as second:
                assert second.status == 503
            await JobQueue(database).cancel(ours, job.id)
            assert b"event: cancelled" in await first.content.read()
        async with client.get(path) as third:
            assert third.status == 200
