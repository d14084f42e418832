"""Webhooks: where a workspace wants events about its jobs delivered, and each attempt to do so.

A delivery is one attempt to send an event to a webhook, with its result.
"""

# ruff: noqa: S608 - what is put into queries are this file's own column names

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Literal

from store.database import Queryable
from store.ids import new_id

MAX_WEBHOOKS = 50
"""Webhooks of one workspace at most."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """A webhook's record. ``events``: names, or ``*``; ``secret`` in clear, because it is used for
    signing."""

    id: str
    workspace_id: str
    url: str
    events: list[str]
    enabled: bool
    secret: str = field(repr=False)
    created_at: datetime
    updated_at: datetime


_WEBHOOK_COLUMNS = ", ".join(field.name for field in fields(Webhook))
_SETTABLE = ("url", "events", "enabled")


class Webhooks:
    """Queries about webhooks."""

    def __init__(self, db: Queryable) -> None:
        self._db = db

    async def create(
        self, workspace_id: str, url: str, events: Sequence[str], secret: str, *, enabled: bool
    ) -> Webhook | None:
        """A new webhook; None where the workspace has ``MAX_WEBHOOKS`` already."""
        row = await self._db.fetchrow(
            "INSERT INTO webhooks (id, workspace_id, url, events, enabled, secret)"
            " SELECT $1, $2, $3, $4, $5, $6"
            " WHERE (SELECT count(*) FROM webhooks WHERE workspace_id = $2) < $7"
            f" RETURNING {_WEBHOOK_COLUMNS}",
            new_id("wh"),
            workspace_id,
            url,
            list(events),
            enabled,
            secret,
            MAX_WEBHOOKS,
        )
        return Webhook(**row) if row else None

    async def get(self, workspace_id: str, webhook_id: str) -> Webhook | None:
        """The webhook, or None where the workspace has no such webhook."""
        row = await self._db.fetchrow(
            f"SELECT {_WEBHOOK_COLUMNS} FROM webhooks WHERE workspace_id = $1 AND id = $2",
            workspace_id,
            webhook_id,
        )
        return Webhook(**row) if row else None

    async def list(self, workspace_id: str) -> list[Webhook]:
        """All of them, newest first."""
        rows = await self._db.fetch(
            f"SELECT {_WEBHOOK_COLUMNS} FROM webhooks WHERE workspace_id = $1 ORDER BY id DESC",
            workspace_id,
        )
        return [Webhook(**row) for row in rows]

    async def listening(self, workspace_id: str, events: Sequence[str]) -> Sequence[str]:
        """Ids of the enabled webhooks that listen to one of ``events``, each once."""
        rows = await self._db.fetch(
            "SELECT id FROM webhooks WHERE workspace_id = $1 AND enabled AND events && $2::text[]"
            " ORDER BY id",
            workspace_id,
            list(events),
        )
        return [row["id"] for row in rows]

    async def update(
        self, workspace_id: str, webhook_id: str, changes: dict[str, Any]
    ) -> Webhook | None:
        """Change the named fields (url, events, enabled; ValueError for others).

        None where the workspace has no such webhook."""
        if foreign := changes.keys() - set(_SETTABLE):
            raise ValueError(f"not a field of a webhook: {', '.join(sorted(foreign))}")
        sets = "".join(f", {name} = ${place}" for place, name in enumerate(changes, start=3))
        row = await self._db.fetchrow(
            f"UPDATE webhooks SET updated_at = now(){sets} WHERE workspace_id = $1 AND id = $2"
            f" RETURNING {_WEBHOOK_COLUMNS}",
            workspace_id,
            webhook_id,
            *changes.values(),
        )
        return Webhook(**row) if row else None

    async def delete(self, workspace_id: str, webhook_id: str) -> bool:
        """Delete with its deliveries; False where the workspace has no such webhook."""
        tag = await self._db.execute(
            "DELETE FROM webhooks WHERE workspace_id = $1 AND id = $2", workspace_id, webhook_id
        )
        return tag == "DELETE 1"


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """One attempt, counted from 1. ``event_id``: the message's, the same in every attempt;
    ``next_attempt_seconds``: from now to the next one; None where there will be none."""

    event_id: str
    event: str
    attempt: int
    status: Literal["delivered", "failed"]
    response_status: int | None
    error: str | None
    duration_ms: int
    next_attempt_seconds: float | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """An attempt's record; fields as in NewDelivery."""

    id: str
    webhook_id: str
    event_id: str
    event: str
    attempt: int
    status: str
    response_status: int | None
    error: str | None
    duration_ms: int
    next_attempt_at: datetime | None
    created_at: datetime

    @property
    def last(self) -> bool:
        """Whether no other attempt was to follow."""
        return self.next_attempt_at is None


_DELIVERY_COLUMNS = ", ".join(field.name for field in fields(Delivery))


class Deliveries:
    """Queries about deliveries."""

    def __init__(self, db: Queryable) -> None:
        self._db = db

    async def insert(self, workspace_id: str, webhook_id: str, delivery: NewDelivery) -> bool:
        """Store an attempt; False where it is stored already, or the webhook is gone."""
        tag = await self._db.execute(
            "INSERT INTO webhook_deliveries (id, workspace_id, webhook_id, event_id, event,"
            " attempt, status, response_status, error, duration_ms, next_attempt_at)"
            " SELECT $3, workspace_id, id, $4, $5, $6, $7, $8, $9, $10,"
            " now() + $11::float8 * interval '1 second'"
            " FROM webhooks WHERE workspace_id = $1 AND id = $2 FOR KEY SHARE"
            " ON CONFLICT (workspace_id, webhook_id, event_id, attempt) DO NOTHING",
            workspace_id,
            webhook_id,
            new_id("dlv"),
            delivery.event_id,
            delivery.event,
            delivery.attempt,
            delivery.status,
            delivery.response_status,
            delivery.error,
            delivery.duration_ms,
            delivery.next_attempt_seconds,
        )
        return tag == "INSERT 0 1"

    async def of_event(
        self, workspace_id: str, webhook_id: str, event_id: str, *, limit: int
    ) -> list[Delivery]:
        """The attempts to deliver one event, the last one first."""
        rows = await self._db.fetch(
            f"SELECT {_DELIVERY_COLUMNS} FROM webhook_deliveries WHERE workspace_id = $1"
            " AND webhook_id = $2 AND event_id = $3 ORDER BY attempt DESC LIMIT $4",
            workspace_id,
            webhook_id,
            event_id,
            limit,
        )
        return [Delivery(**row) for row in rows]

    async def list(self, workspace_id: str, webhook_id: str, *, limit: int = 100) -> list[Delivery]:
        """A webhook's attempts, newest first; empty where the workspace has no such webhook."""
        rows = await self._db.fetch(
            f"SELECT {_DELIVERY_COLUMNS} FROM webhook_deliveries WHERE workspace_id = $1"
            " AND webhook_id = $2 ORDER BY id DESC LIMIT $3",
            workspace_id,
            webhook_id,
            limit,
        )
        return [Delivery(**row) for row in rows]
