"""Deliveries: the attempts to send an event to a webhook, each with its result."""

# ruff: noqa: S608 - what is put into queries are this file's own column names

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Literal

from store.database import Queryable
from store.ids import new_id


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


_COLUMNS = ", ".join(field.name for field in fields(Delivery))


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
            f"SELECT {_COLUMNS} FROM webhook_deliveries WHERE workspace_id = $1"
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
            f"SELECT {_COLUMNS} FROM webhook_deliveries WHERE workspace_id = $1"
            " AND webhook_id = $2 ORDER BY id DESC LIMIT $3",
            workspace_id,
            webhook_id,
            limit,
        )
        return [Delivery(**row) for row in rows]
