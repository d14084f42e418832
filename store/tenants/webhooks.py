"""Webhooks: where a workspace wants events about its jobs delivered."""

# ruff: noqa: S608 - what is put into queries are this file's own column names

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

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


_COLUMNS = ", ".join(field.name for field in fields(Webhook))
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
            f" RETURNING {_COLUMNS}",
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
            f"SELECT {_COLUMNS} FROM webhooks WHERE workspace_id = $1 AND id = $2",
            workspace_id,
            webhook_id,
        )
        return Webhook(**row) if row else None

    async def list(self, workspace_id: str) -> list[Webhook]:
        """All of them, newest first."""
        rows = await self._db.fetch(
            f"SELECT {_COLUMNS} FROM webhooks WHERE workspace_id = $1 ORDER BY id DESC",
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
            f" RETURNING {_COLUMNS}",
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
