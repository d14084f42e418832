"""Webhooks as a resource: where a workspace wants events delivered, and how the deliveries went."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from pipelines.ssrf import MAX_URL, CustomerHttp, UrlRefused
from pipelines.webhooks import new_secret
from rest.http.errors import ValidationFailed, WrongState
from rest.http.fields import timestamp
from rest.http.operation import Answer, AnyOperation, AnyRequest, Operation, Request
from store.database import Database
from store.tenants.webhooks import MAX_WEBHOOKS, Deliveries, Delivery, Webhook, Webhooks

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
    ``next_attempt_at``: null where there is none."""

    id: str
    event_id: str
    event: str
    attempt: int
    status: str
    response_status: int | None
    error: str | None
    duration_ms: int
    next_attempt_at: str | None
    created_at: str


class WebhookResource:
    """The contract's tag Webhooks."""

    def __init__(self, database: Database, guard: CustomerHttp) -> None:
        self._webhooks = Webhooks(database)
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
                    "Events are signed and told as the Standard Webhooks specification"
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
                description="With the record of its deliveries. What waits to be told is not.",
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
        attempt=made.attempt,
        status=made.status,
        response_status=made.response_status,
        error=made.error,
        duration_ms=made.duration_ms,
        next_attempt_at=timestamp(made.next_attempt_at) if made.next_attempt_at else None,
        created_at=timestamp(made.created_at),
    )
