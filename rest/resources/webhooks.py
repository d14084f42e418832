"""Webhooks as a resource: where a workspace wants events delivered, and how the deliveries went."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, structs

from pipelines.ssrf import MAX_URL, CustomerHttp, UrlRefused
from pipelines.webhooks import (
    MAX_REDELIVERIES,
    TooManyRedeliveries,
    body_sent,
    new_secret,
    redeliver,
    send_test,
)
from rest.http.errors import NotFound, ValidationFailed, WrongState
from rest.http.fields import timestamp
from rest.http.operation import Answer, AnyOperation, AnyRequest, Operation, Request
from rest.jobs.kinds import JobRef
from store.database import Database
from store.ids import is_id
from store.tenants.webhooks import MAX_WEBHOOKS, Deliveries, Delivery, Webhook, Webhooks
from store.vault import Vault

READ, WRITE = "webhooks:read", "webhooks:write"
NOUN = "webhook"
MAX_DELIVERIES = 100
"""Deliveries in one answer."""

Url = Annotated[
    str, Meta(max_length=MAX_URL, extra_json_schema={"format": "uri", "pattern": "^https?://"})
]
EventName = Literal[
    "*",
    "tts.completed",
    "tts.failed",
    "stt.completed",
    "stt.failed",
    "voice_clone.completed",
    "voice_clone.failed",
    "dubbing.completed",
    "dubbing.failed",
    "batch.completed",
    "batch.failed",
    "job.completed",
    "job.failed",
]


class WebhookCreate(Struct, kw_only=True):
    """The contract's WebhookCreate. Without events nothing is sent."""

    url: Url
    events: list[EventName]
    enabled: bool = True


class WebhookChanges(Struct, kw_only=True):
    """The contract's WebhookCreate, as a change: without ``enabled`` that stays as it is."""

    url: Url
    events: list[EventName]
    enabled: bool | UnsetType = UNSET


class WebhookView(Struct, rename="camel", kw_only=True):
    """The contract's Webhook, and more. ``secret``: shown at creation only."""

    id: str
    url: str
    events: list[str]
    enabled: bool
    created_at: str
    updated_at: str
    secret: Annotated[str, Meta(description="Returned only at creation.")] | UnsetType = UNSET


class DeliveryView(Struct, rename="camel", kw_only=True):
    """An attempt to deliver an event. ``event_id``: the ``webhook-id`` that was sent;
    ``attempt``: counted over all of the event's; ``job_id``: the job that made it;
    ``next_attempt_at``: null where there is none; ``repeats``: the delivery that it repeats."""

    id: str
    event_id: str
    event: str
    job_id: str | None
    repeats: str | None
    attempt: int
    status: str
    response_status: int | None
    error: str | None
    duration_ms: int
    next_attempt_at: str | None
    created_at: str


class DeliveryWithBody(DeliveryView, rename="camel", kw_only=True):
    """An attempt with what was sent. ``body``: byte for byte; null once it is not stored."""

    body: str | None


class WebhookResource:
    """The contract's tag Webhooks, with redeliveries and test events. ``vault`` seals secrets."""

    def __init__(self, database: Database, guard: CustomerHttp, vault: Vault | None = None) -> None:
        self._database = database
        self._webhooks = Webhooks(database, vault)
        self._deliveries = Deliveries(database)
        self._guard = guard

    def operations(self) -> Sequence[AnyOperation]:
        """See Resource."""
        many, one, tag = "/api/webhooks", "/api/webhooks/{id}", "Webhooks"
        return [
            Operation(
                method="GET",
                path=many,
                tag=tag,
                summary="List webhooks",
                handler=self._list,
                data=list[WebhookView],
                scope=READ,
            ),
            Operation(
                method="POST",
                path=many,
                tag=tag,
                summary="Create a webhook (secret returned once)",
                handler=self._create,
                data=WebhookView,
                scope=WRITE,
                body=WebhookCreate,
                outcome="Created",
                idempotent=True,
                description=(
                    "Events are signed and sent as the Standard Webhooks specification"
                    f" says. A workspace may have {MAX_WEBHOOKS} webhooks."
                ),
            ),
            Operation(
                method="GET",
                path=one,
                tag=tag,
                summary="Get a webhook",
                handler=self._get,
                data=WebhookView,
                scope=READ,
            ),
            Operation(
                method="PATCH",
                path=one,
                tag=tag,
                summary="Update a webhook",
                handler=self._update,
                data=WebhookView,
                scope=WRITE,
                body=WebhookChanges,
            ),
            Operation(
                method="DELETE",
                path=one,
                tag=tag,
                summary="Delete a webhook",
                handler=self._delete,
                scope=WRITE,
                outcome="Deleted",
                description="With the record of its deliveries. Events that wait are not sent.",
            ),
            Operation(
                method="GET",
                path=f"{one}/deliveries",
                tag=tag,
                summary="Recent delivery attempts",
                handler=self._attempts,
                data=list[DeliveryView],
                scope=READ,
                description=f"Newest first, at most {MAX_DELIVERIES}.",
            ),
            *self._more_operations(one, tag),
        ]

    def _more_operations(self, one: str, tag: str) -> Sequence[AnyOperation]:
        """Beside the contract."""
        delivery = f"{one}/deliveries/{{deliveryId}}"
        return [
            Operation(
                method="GET",
                path=delivery,
                tag=tag,
                summary="A delivery attempt, with what was sent",
                handler=self._get_delivery,
                data=DeliveryWithBody,
                scope=READ,
            ),
            Operation(
                method="POST",
                path=f"{delivery}/redeliver",
                tag=tag,
                summary="Send a delivery's event again",
                handler=self._redeliver,
                data=JobRef,
                scope=WRITE,
                status=202,
                outcome="Job accepted",
                idempotent=True,
                description=(
                    "The same body and webhook-id with a new signature, with retries of its own."
                    " Its attempts are listed with the delivery that they repeat. 409 where the"
                    f" body is not stored any more, or {MAX_REDELIVERIES} redeliveries of the"
                    " event have not ended."
                ),
            ),
            Operation(
                method="POST",
                path=f"{one}/test",
                tag=tag,
                summary="Send a test event",
                handler=self._test,
                data=JobRef,
                scope=WRITE,
                status=202,
                outcome="Job accepted",
                idempotent=True,
                description="A signed webhook.test, sent once, whatever the webhook listens to.",
            ),
        ]

    async def _list(self, request: Request[None, None]) -> Answer:
        return Answer([_shown(one) for one in await self._webhooks.list(request.workspace_id)])

    async def _create(self, request: Request[WebhookCreate, None]) -> Answer:
        asked = request.body
        await self._admit(asked.url)
        secret = new_secret()
        webhook = await self._webhooks.create(
            request.workspace_id, asked.url, _once(asked.events), secret, enabled=asked.enabled
        )
        if webhook is None:
            raise WrongState(
                f"The workspace has {MAX_WEBHOOKS} webhooks, which is the most: delete one first.",
                reason="too_many_webhooks",
            )
        view = _shown(webhook)
        view.secret = secret
        return Answer(view)

    async def _get(self, request: Request[None, None]) -> Answer:
        return Answer(_shown(await self._webhook(request)))

    async def _update(self, request: Request[WebhookChanges, None]) -> Answer:
        asked = request.body
        await self._webhook(request)
        await self._admit(asked.url)
        changes: dict[str, Any] = {"url": asked.url, "events": _once(asked.events)}
        if asked.enabled is not UNSET:
            changes["enabled"] = asked.enabled
        webhook = await request.stored(
            NOUN,
            lambda workspace_id, webhook_id: self._webhooks.update(
                workspace_id, webhook_id, changes
            ),
        )
        return Answer(_shown(webhook))

    async def _delete(self, request: Request[None, None]) -> Answer:
        await request.stored(NOUN, self._webhooks.delete)
        return Answer({"id": request.path(), "deleted": True})

    async def _attempts(self, request: Request[None, None]) -> Answer:
        webhook = await self._webhook(request)
        made = await self._deliveries.list(request.workspace_id, webhook.id, limit=MAX_DELIVERIES)
        return Answer([_attempt(one) for one in made])

    async def _get_delivery(self, request: Request[None, None]) -> Answer:
        made = await self._delivery(request)
        body = await body_sent(self._database, request.workspace_id, made)
        return Answer(DeliveryWithBody(**structs.asdict(_attempt(made)), body=body))

    async def _redeliver(self, request: Request[None, None]) -> Answer:
        made = await self._delivery(request)
        await self._switched_on(request)
        try:
            job = await redeliver(self._database, request.workspace_id, made)
        except TooManyRedeliveries as refusal:
            raise WrongState(
                f"{MAX_REDELIVERIES} redeliveries of this event have not ended: cancel their jobs"
                " first, or wait.",
                reason="too_many_redeliveries",
            ) from refusal
        if job is None:
            raise WrongState(
                "What was sent is not stored any more, so it cannot be sent again.",
                reason="body_not_stored",
            )
        return Answer(JobRef(job.id, job.status))

    async def _test(self, request: Request[None, None]) -> Answer:
        job = await send_test(self._database, await self._switched_on(request))
        return Answer(JobRef(job.id, job.status))

    async def _switched_on(self, request: AnyRequest) -> Webhook:
        webhook = await self._webhook(request)
        if not webhook.enabled:
            raise WrongState(
                "The webhook is switched off: switch it on first.", reason="webhook_disabled"
            )
        return webhook

    async def _delivery(self, request: AnyRequest) -> Delivery:
        webhook, delivery_id = await self._webhook(request), request.path("deliveryId")
        found = None
        if is_id(delivery_id):
            found = await self._deliveries.get(request.workspace_id, webhook.id, delivery_id)
        if found is None:
            raise NotFound("There is no such delivery.")
        return found

    async def _admit(self, url: str) -> None:
        try:
            await self._guard.admit(url)
        except UrlRefused as refusal:
            raise ValidationFailed(str(refusal), param="url", reason="url_refused") from refusal

    async def _webhook(self, request: AnyRequest) -> Webhook:
        return await request.stored(NOUN, self._webhooks.get)


def _once(events: Sequence[EventName]) -> list[EventName]:
    """Each event once, in the given order."""
    return list(dict.fromkeys(events))


def _shown(webhook: Webhook) -> WebhookView:
    return WebhookView(
        id=webhook.id,
        url=webhook.url,
        events=webhook.events,
        enabled=webhook.enabled,
        created_at=timestamp(webhook.created_at),
        updated_at=timestamp(webhook.updated_at),
    )


def _attempt(made: Delivery) -> DeliveryView:
    return DeliveryView(
        id=made.id,
        event_id=made.event_id,
        event=made.event,
        job_id=made.job_id,
        repeats=made.repeats,
        attempt=made.attempt,
        status=made.status,
        response_status=made.response_status,
        error=made.error,
        duration_ms=made.duration_ms,
        next_attempt_at=timestamp(made.next_attempt_at) if made.next_attempt_at else None,
        created_at=timestamp(made.created_at),
    )
