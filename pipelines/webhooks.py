"""Webhooks: the end of a job becomes an event, and each event is delivered to those who listen.

``WebhookEvents`` submits the deliveries. They are jobs of their own, submitted in the transaction
that ends the job: either both happen or neither. A webhook gets an event once, however many of its
patterns match. Reported are users' completed and failed jobs; not cancelled ones, items of a batch,
or housekeeping.

``WebhookKind`` delivers one event to one webhook, by the Standard Webhooks specification
(https://www.standardwebhooks.com); requests are signed by version ``v1`` of it. Each run is one
attempt; between attempts the job waits in the queue, by the specification's schedule. Attempts are
recorded in the deliveries, so a run that starts too early or twice neither sends out of turn nor
forgets one. Only an attempt whose worker died before recording it is sent twice, with the same id.

``redeliver`` sends an event again, accepted or not: the same body and id, a new signature, and
attempts of its own by the same schedule. An attempt that is accepted meanwhile ends both schedules.
``send_test`` sends a ``webhook.test``, once.

No workspace gets more than its share of the attempts that a worker makes at once: endpoints that do
not answer delay their owner's events and nobody else's.

A response of 2xx accepts the event; 410 disables the webhook; all others, including redirects, are
retried. A job that was given up and is retried by hand starts the schedule anew.
"""

import base64
import contextlib
import hashlib
import hmac
import random
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct

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
from store.database import Database
from store.ids import new_id
from store.tenants.jobs import Job, Jobs
from store.tenants.webhooks import Deliveries, Delivery, NewDelivery, Webhook, Webhooks
from store.vault import Vault

from .ssrf import CustomerHttp, Undelivered, UrlRefused

PREFIX = "whsec_"
SECRET_BYTES = 32
"""The specification asks for 24 to 64."""


def new_secret() -> str:
    """A new secret, in the form shown to its owner."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signature_headers(secret: str, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers by which the receiver verifies the sender of ``body``.

    ``message_id`` is the same in every attempt; ``timestamp`` is the attempt's, in Unix seconds."""
    key = base64.b64decode(secret.removeprefix(PREFIX))
    signed = f"{message_id}.{timestamp}.".encode() + body
    signature = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{signature}",
    }


CONCURRENCY = 20
SHARE = 5
"""Attempts at once of one workspace."""
BUSY_SECONDS = 10.0
"""An attempt beyond the share is delayed by this to twice this."""
DEADLINE_SECONDS = 60.0
"""For one attempt with its records; the request itself has CustomerHttp's deadline."""
HOUR = 3600.0
SCHEDULE = (0.0, 5.0, 300.0, 1800.0, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR)
"""Seconds before each attempt, counted from the one before; the specification's."""
JITTER = 0.1
"""A delay is longer by up to this share, so that attempts that failed together are spread out."""
EARLY_SECONDS = 1.0
"""An attempt due within this time counts as due."""
_GONE = 410
TEST_EVENT = "webhook.test"


class DeliveryOrder(Struct, frozen=True, rename="camel"):
    """A webhook job's input: ``body`` as it is sent and signed, byte for byte. ``repeats``: the
    delivery that it repeats, ``after``: the number of the event's last attempt before."""

    webhook_id: str
    event_id: str
    event: str
    body: str
    repeats: str | None = None
    after: int = 0


class WebhookKind:
    """Jobs of type ``webhook``; the input is a DeliveryOrder. ``vault`` opens secrets;
    ``random``: from 0 to 1."""

    type = JobType.WEBHOOK
    concurrency = CONCURRENCY
    deadline = DEADLINE_SECONDS

    def __init__(
        self,
        database: Database,
        http: CustomerHttp,
        vault: Vault | None = None,
        *,
        schedule: Sequence[float] = SCHEDULE,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._database = database
        self._webhooks = Webhooks(database, vault)
        self._deliveries = Deliveries(database)
        self._http = http
        self._schedule = tuple(schedule)
        self._random = random
        self._busy: Counter[str] = Counter()

    async def run(self, run: JobRun) -> JobResult:
        """Make the attempt that is due. Raises TryAgain, or JobFailed if it was the last one."""
        order = msgspec.convert(run.input, DeliveryOrder)
        webhook = await self._webhook(run.workspace_id, order)
        event = (run.workspace_id, webhook.id, order.event_id)
        if accepted := await self._deliveries.accepted(*event, after=order.after):
            return _taken(order, accepted.attempt, accepted.response_status)
        tried = await self._deliveries.of_job(*event, run.id, limit=len(self._schedule))
        done = tried[0] if tried else None
        if done is not None and done.last and run.run > 1:  # its worker died before it could say so
            raise _given_up(done.error)
        if done is not None and (wait := _seconds_until(done)) > EARLY_SECONDS:
            raise TryAgain(wait)
        place = next((place for place, one in enumerate(tried) if one.last), len(tried))
        with self._share(run.workspace_id):
            made = await self._attempt(webhook, order, run.id, place)
        number = await self._write(webhook, made)
        if made.status == "delivered":
            return _taken(order, number or len(tried) + 1, made.response_status)
        if made.next_attempt_seconds is not None:
            raise TryAgain(made.next_attempt_seconds)
        raise _given_up(made.error)

    @contextlib.contextmanager
    def _share(self, workspace_id: str) -> Iterator[None]:
        if self._busy[workspace_id] >= SHARE:
            raise TryAgain(BUSY_SECONDS * (1 + self._random()))
        self._busy[workspace_id] += 1
        try:
            yield
        finally:
            self._busy -= Counter([workspace_id])  # keeps no zeros

    async def _webhook(self, workspace_id: str, order: DeliveryOrder) -> Webhook:
        webhook = await self._webhooks.get(workspace_id, order.webhook_id)
        if webhook is None:
            raise JobFailed("NOT_FOUND", "The webhook was deleted.", {"reason": "webhook_deleted"})
        if not webhook.enabled:
            message = "The webhook is disabled: enable it and retry the job."
            raise JobFailed("VALIDATION_ERROR", message, {"reason": "webhook_disabled"})
        return webhook

    async def _attempt(
        self, webhook: Webhook, order: DeliveryOrder, job_id: str, place: int
    ) -> NewDelivery:
        """Send it; ``place``: the number of earlier attempts of this schedule."""
        clock = time.monotonic()
        status, error = await self._sent(webhook, order)
        schedule = self._schedule[:1] if order.event == TEST_EVENT else self._schedule
        wait: float | None = None
        if error is not None and status != _GONE and place + 1 < len(schedule):
            wait = schedule[place + 1] * (1 + JITTER * self._random())
        return NewDelivery(
            event_id=order.event_id,
            event=order.event,
            job_id=job_id,
            repeats=order.repeats,
            status="failed" if error is not None else "delivered",
            response_status=status,
            error=error,
            duration_ms=round(1000 * (time.monotonic() - clock)),
            next_attempt_seconds=wait,
        )

    async def _sent(self, webhook: Webhook, order: DeliveryOrder) -> tuple[int | None, str | None]:
        """The response's status, and why the event was not accepted."""
        if webhook.secret is None:
            return None, "The webhook's secret cannot be opened on this server: see its log."
        body = order.body.encode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Blab-Webhooks/1.0",
            **signature_headers(webhook.secret, order.event_id, int(time.time()), body),
        }
        try:
            status = await self._http.post(webhook.url, body, headers)
        except (UrlRefused, Undelivered) as failure:
            return None, str(failure)
        return status, None if 200 <= status < 300 else _unwelcome(status)

    async def _write(self, webhook: Webhook, made: NewDelivery) -> int | None:
        """Record the attempt; returns its number."""
        async with self._database.transaction() as connection:
            number = await Deliveries(connection).insert(webhook.workspace_id, webhook.id, made)
            if made.response_status == _GONE:
                off = {"enabled": False}
                await Webhooks(connection).update(webhook.workspace_id, webhook.id, off)
            return number


def _seconds_until(done: Delivery) -> float:
    if done.next_attempt_at is None:
        return 0.0
    return (done.next_attempt_at - datetime.now(UTC)).total_seconds()


def _taken(order: DeliveryOrder, attempts: int, status: int | None) -> JobResult:
    output = {
        "webhookId": order.webhook_id,
        "eventId": order.event_id,
        "event": order.event,
        "attempts": attempts,
        "responseStatus": status,
    }
    return JobResult(output)


def _given_up(error: str | None) -> JobFailed:
    return JobFailed(
        "PROVIDER_ERROR",
        f"The event was not delivered. {error or ''}".strip(),
        {"reason": "undelivered"},
    )


def _unwelcome(status: int) -> str:
    if status == _GONE:
        return "The endpoint answered 410 Gone: the webhook has been disabled."
    if 300 <= status < 400:
        return f"The endpoint answered {status}: redirects are not followed."
    return f"The endpoint answered {status}."


MAX_REDELIVERIES = 5
"""Redeliveries of one event to one webhook that have not ended."""


class TooManyRedeliveries(Exception):
    """``MAX_REDELIVERIES`` of the event have not ended."""


async def body_sent(database: Database, workspace_id: str, delivery: Delivery) -> str | None:
    """The body of a delivery, or None where it is not stored any more."""
    job = await Jobs(database).get(workspace_id, delivery.job_id) if delivery.job_id else None
    return None if job is None else msgspec.convert(job.input, DeliveryOrder).body


async def redeliver(database: Database, workspace_id: str, delivery: Delivery) -> Job | None:
    """Submit a job that sends the delivery's event again; None where it is not stored any more.
    Raises TooManyRedeliveries."""
    body = await body_sent(database, workspace_id, delivery)
    if body is None:
        return None
    deliveries = Deliveries(database)
    event = (workspace_id, delivery.webhook_id, delivery.event_id)
    if await deliveries.waiting(*event) >= MAX_REDELIVERIES:
        raise TooManyRedeliveries
    order = DeliveryOrder(
        webhook_id=delivery.webhook_id,
        event_id=delivery.event_id,
        event=delivery.event,
        body=body,
        repeats=delivery.id,
        after=await deliveries.last_attempt(*event),
    )
    return await _submit(database, workspace_id, order)


async def send_test(database: Database, webhook: Webhook) -> Job:
    """Submit a job that sends the webhook a ``webhook.test``, whatever it listens to."""
    data = {"webhookId": webhook.id, "message": "This is a test event from Blab."}
    message = {"type": TEST_EVENT, "timestamp": _iso(datetime.now(UTC)), "data": data}
    body = msgspec.json.encode(message).decode()
    order = DeliveryOrder(webhook.id, new_id("evt"), TEST_EVENT, body)
    return await _submit(database, webhook.workspace_id, order)


async def _submit(database: Database, workspace_id: str, order: DeliveryOrder) -> Job:
    new = NewJob(JobType.WEBHOOK, msgspec.to_builtins(order))
    return await JobQueue(database).submit(workspace_id, new)


EVERYTHING = "*"
REPORTED = (JobType.TTS, JobType.STT, JobType.VOICE_CLONE, JobType.DUBBING, JobType.BATCH)
MAX_BODY_BYTES = 20_000
"""A longer event is sent without its job's output, which ``GET /api/jobs/{id}`` returns."""


class WebhookEvents:
    """Submits deliveries; ``hook`` is a FinishHook."""

    def __init__(self, database: Database) -> None:
        self._queue = JobQueue(database)

    async def hook(self, connection: Any, ended: Sequence[tuple[Job, tuple[Unit, ...]]]) -> None:
        """See FinishHook."""
        listening: dict[tuple[str, str], Sequence[str]] = {}
        for job, _ in ended:
            if not _reported(job):
                continue
            event = f"{job.type}.{job.status}"
            of_event = (job.workspace_id, event)
            if of_event not in listening:
                patterns = (EVERYTHING, event, f"job.{job.status}")
                found = await Webhooks(connection).listening(job.workspace_id, patterns)
                listening[of_event] = found
            event_id, body = new_id("evt"), body_of(event, job) if listening[of_event] else ""
            for webhook_id in listening[of_event]:
                order = DeliveryOrder(webhook_id, event_id, event, body)
                new = NewJob(JobType.WEBHOOK, msgspec.to_builtins(order))
                await self._queue.submit_in(connection, job.workspace_id, new)


def _reported(job: Job) -> bool:
    ended = job.status in (JobStatus.COMPLETED, JobStatus.FAILED)
    return ended and job.type in REPORTED and job.parent_id is None


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
