"""WebhookEvents: the end of a job becomes an event for the webhooks that listen to it.

The deliveries are jobs of their own, submitted in the transaction that ends the job: either both
happen or neither. A webhook gets an event once, however many of its patterns match. Reported are
users' completed and failed jobs; not cancelled ones, items of a batch, or housekeeping.
"""

from datetime import UTC, datetime
from typing import Any

import msgspec

from pipelines.jobs.job import JobStatus, JobType, NewJob, Unit
from pipelines.jobs.queue import JobQueue
from store.database import Database
from store.ids import new_id
from store.tenants.jobs import Job
from store.tenants.webhooks import Webhooks

from .delivery import DeliveryOrder

EVERYTHING = "*"
REPORTED = (JobType.TTS, JobType.STT, JobType.VOICE_CLONE, JobType.DUBBING, JobType.BATCH)
MAX_BODY_BYTES = 20_000
"""A longer event is sent without its job's output, which ``GET /api/jobs/{id}`` returns."""


class WebhookEvents:
    """Submits deliveries; ``hook`` is a FinishHook."""

    def __init__(self, database: Database) -> None:
        self._queue = JobQueue(database)

    async def hook(self, connection: Any, job: Job, units: tuple[Unit, ...]) -> None:  # noqa: ARG002
        """See FinishHook."""
        ended = (JobStatus.COMPLETED, JobStatus.FAILED)
        if job.type not in REPORTED or job.status not in ended or job.parent_id is not None:
            return
        event = f"{job.type}.{job.status}"
        patterns = (EVERYTHING, event, f"job.{job.status}")
        listening = await Webhooks(connection).listening(job.workspace_id, patterns)
        if not listening:
            return
        event_id, body = new_id("evt"), body_of(event, job)
        for webhook_id in listening:
            order = DeliveryOrder(webhook_id, event_id, event, body)
            new = NewJob(JobType.WEBHOOK, msgspec.to_builtins(order))
            await self._queue.submit_in(connection, job.workspace_id, new)


def body_of(event: str, job: Job) -> str:
    """The event's body for a job that ended, as JSON: with object keys, but without signed URLs,
    which would expire before the last delivery attempt."""
    data: dict[str, Any] = {
        "jobId": job.id,
        "type": job.type,
        "status": job.status,
        "progress": job.progress,
        "output": _shown(job.output),
        "error": job.error,
        "warnings": job.warnings,
        "createdAt": _iso(job.created_at),
        "finishedAt": _iso(job.finished_at),
    }
    message = {"type": event, "timestamp": data["finishedAt"], "data": data}
    body = msgspec.json.encode(message)
    if len(body) >= MAX_BODY_BYTES:
        data |= {"output": None, "outputOmitted": True}
        body = msgspec.json.encode(message)
    return body.decode()


def _shown(value: Any) -> Any:
    """Without the members whose names begin with ``_``."""
    if isinstance(value, dict):
        return {name: _shown(member) for name, member in value.items() if not name.startswith("_")}
    return [_shown(item) for item in value] if isinstance(value, list) else value


def _iso(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
