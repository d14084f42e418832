"""Webhooks: where a workspace wants events about its jobs delivered, and each attempt to do so.

A delivery is one attempt to send an event to a webhook, with its result.

A webhook's secret is needed in clear to sign, so it is sealed (``store.vault``). ``seal_all`` seals
what an earlier version stored.
"""

# ruff: noqa: S608 - what is put into queries are this file's own column names

import base64
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Literal

from store.database import Queryable
from store.ids import new_id
from store.vault import Vault

logger = logging.getLogger(__name__)

MAX_WEBHOOKS = 50
"""Webhooks of one workspace at most."""
SEALED = "sealed:01:"
"""What a sealed secret begins with. A worker of an earlier version reads it as another secret: the
receiver refuses what it signs, and the attempt is repeated, by a newer worker by then."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """A webhook's record. ``events``: names, or ``*``; ``secret`` in clear; None where it was
    sealed under another key."""

    id: str
    workspace_id: str
    url: str
    events: list[str]
    enabled: bool
    secret: str | None = field(repr=False)
    created_at: datetime
    updated_at: datetime


_WEBHOOK_COLUMNS = ", ".join(field.name for field in fields(Webhook))
_SETTABLE = ("url", "events", "enabled")


class Webhooks:
    """Queries about webhooks. ``vault`` seals their secrets; None: they are stored as they are."""

    def __init__(self, db: Queryable, vault: Vault | None = None) -> None:
        self._db = db
        self._vault = vault

    def _webhook(self, row: Mapping[str, Any]) -> Webhook:
        return Webhook(**{**row, "secret": self._opened(row["id"], row["secret"])})

    def _closed(self, secret: str) -> str:
        if self._vault is None:
            return secret
        return SEALED + base64.b64encode(self._vault.seal(secret.encode())).decode()

    def _opened(self, webhook_id: str, stored: str) -> str | None:
        if self._vault is None or not stored.startswith(SEALED):
            return stored
        opened = self._vault.unseal(base64.b64decode(stored.removeprefix(SEALED)))
        if opened is None:
            logger.error(
                "the secret of webhook %s was sealed under another key: set BLAB_SECRET_KEY (or"
                " secret.key in the data directory) to what it was, or create the webhook again",
                webhook_id,
            )
            return None
        return opened.decode()

    async def seal_all(self) -> int:
        """Seal the secrets of every workspace that are stored in clear; returns how many."""
        rows = await self._db.fetch(
            "SELECT id, secret FROM webhooks WHERE NOT starts_with(secret, $1)", SEALED
        )
        for row in rows:
            await self._db.execute(
                "UPDATE webhooks SET secret = $3 WHERE id = $1 AND secret = $2",
                row["id"],
                row["secret"],
                self._closed(row["secret"]),
            )
        return len(rows)

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
            self._closed(secret),
            MAX_WEBHOOKS,
        )
        return self._webhook(row) if row else None

    async def get(self, workspace_id: str, webhook_id: str) -> Webhook | None:
        """The webhook, or None where the workspace has no such webhook."""
        row = await self._db.fetchrow(
            f"SELECT {_WEBHOOK_COLUMNS} FROM webhooks WHERE workspace_id = $1 AND id = $2",
            workspace_id,
            webhook_id,
        )
        return self._webhook(row) if row else None

    async def list(self, workspace_id: str) -> list[Webhook]:
        """All of them, newest first."""
        rows = await self._db.fetch(
            f"SELECT {_WEBHOOK_COLUMNS} FROM webhooks WHERE workspace_id = $1 ORDER BY id DESC",
            workspace_id,
        )
        return [self._webhook(row) for row in rows]

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
        return self._webhook(row) if row else None

    async def delete(self, workspace_id: str, webhook_id: str) -> bool:
        """Delete with its deliveries; False where the workspace has no such webhook."""
        tag = await self._db.execute(
            "DELETE FROM webhooks WHERE workspace_id = $1 AND id = $2", workspace_id, webhook_id
        )
        return tag == "DELETE 1"


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """One attempt. ``event_id``: the message's, the same in every attempt; ``job_id``: the job that
    made it; ``next_attempt_seconds``: from now to the next one; None where there will be none;
    ``repeats``: the delivery that a redelivery repeats."""

    event_id: str
    event: str
    job_id: str
    status: Literal["delivered", "failed"]
    response_status: int | None
    error: str | None
    duration_ms: int
    next_attempt_seconds: float | None
    repeats: str | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """An attempt's record; fields as in NewDelivery. ``attempt``: counted from 1 over all of the
    event's to this webhook; ``job_id``: None where the job was gone before this was recorded."""

    id: str
    webhook_id: str
    event_id: str
    event: str
    job_id: str | None
    attempt: int
    status: str
    response_status: int | None
    error: str | None
    duration_ms: int
    next_attempt_at: datetime | None
    repeats: str | None
    created_at: datetime

    @property
    def last(self) -> bool:
        """Whether no other attempt was to follow."""
        return self.next_attempt_at is None


_DELIVERY_COLUMNS = ", ".join(field.name for field in fields(Delivery))
_SELECT = f"SELECT {_DELIVERY_COLUMNS} FROM webhook_deliveries WHERE workspace_id = $1"


class Deliveries:
    """Queries about deliveries."""

    def __init__(self, db: Queryable) -> None:
        self._db = db

    async def insert(self, workspace_id: str, webhook_id: str, delivery: NewDelivery) -> int | None:
        """Store an attempt; returns its number, or None where the webhook is gone.

        On a connection in a transaction: the webhook's row is locked, so that attempts made at the
        same time get different numbers."""
        locked = await self._db.fetchval(
            "SELECT id FROM webhooks WHERE workspace_id = $1 AND id = $2 FOR NO KEY UPDATE",
            workspace_id,
            webhook_id,
        )
        if locked is None:
            return None
        attempt: int = await self._db.fetchval(
            "INSERT INTO webhook_deliveries (id, workspace_id, webhook_id, event_id, event, job_id,"
            " attempt, status, response_status, error, duration_ms, next_attempt_at, repeats)"
            " SELECT $3, $1, $2, $4, $5, $6, coalesce(max(attempt), 0) + 1, $7, $8, $9, $10,"
            " now() + $11::float8 * interval '1 second', $12 FROM webhook_deliveries"
            " WHERE workspace_id = $1 AND webhook_id = $2 AND event_id = $4 RETURNING attempt",
            workspace_id,
            webhook_id,
            new_id("dlv"),
            delivery.event_id,
            delivery.event,
            delivery.job_id,
            delivery.status,
            delivery.response_status,
            delivery.error,
            delivery.duration_ms,
            delivery.next_attempt_seconds,
            delivery.repeats,
        )
        return attempt

    async def get(self, workspace_id: str, webhook_id: str, delivery_id: str) -> Delivery | None:
        """The attempt, or None where the workspace's webhook has no such attempt."""
        row = await self._db.fetchrow(
            f"{_SELECT} AND webhook_id = $2 AND id = $3", workspace_id, webhook_id, delivery_id
        )
        return Delivery(**row) if row else None

    async def of_job(
        self, workspace_id: str, webhook_id: str, event_id: str, job_id: str, *, limit: int
    ) -> list[Delivery]:
        """One job's attempts to deliver its event, the last one first."""
        rows = await self._db.fetch(
            f"{_SELECT} AND webhook_id = $2 AND event_id = $3 AND job_id = $4"
            " ORDER BY attempt DESC LIMIT $5",
            workspace_id,
            webhook_id,
            event_id,
            job_id,
            limit,
        )
        return [Delivery(**row) for row in rows]

    async def accepted(
        self, workspace_id: str, webhook_id: str, event_id: str, *, after: int
    ) -> Delivery | None:
        """The first of the event's attempts behind number ``after`` that was accepted."""
        row = await self._db.fetchrow(
            f"{_SELECT} AND webhook_id = $2 AND event_id = $3 AND attempt > $4"
            " AND status = 'delivered' ORDER BY attempt LIMIT 1",
            workspace_id,
            webhook_id,
            event_id,
            after,
        )
        return Delivery(**row) if row else None

    async def last_attempt(self, workspace_id: str, webhook_id: str, event_id: str) -> int:
        """The number of the event's last attempt; 0 where there was none."""
        number: int = await self._db.fetchval(
            "SELECT coalesce(max(attempt), 0) FROM webhook_deliveries"
            " WHERE workspace_id = $1 AND webhook_id = $2 AND event_id = $3",
            workspace_id,
            webhook_id,
            event_id,
        )
        return number

    async def waiting(self, workspace_id: str, webhook_id: str, event_id: str) -> int:
        """How many redeliveries of the event have not ended."""
        count: int = await self._db.fetchval(
            "SELECT count(*) FROM jobs WHERE workspace_id = $1 AND type = 'webhook'"
            " AND status IN ('queued', 'running') AND input ->> 'webhookId' = $2"
            " AND input ->> 'eventId' = $3 AND input ->> 'repeats' IS NOT NULL",
            workspace_id,
            webhook_id,
            event_id,
        )
        return count

    async def list(self, workspace_id: str, webhook_id: str, *, limit: int = 100) -> list[Delivery]:
        """A webhook's attempts, newest first; empty where the workspace has no such webhook."""
        rows = await self._db.fetch(
            f"{_SELECT} AND webhook_id = $2 ORDER BY id DESC LIMIT $3",
            workspace_id,
            webhook_id,
            limit,
        )
        return [Delivery(**row) for row in rows]
