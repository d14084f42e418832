"""API keys as stored: digest and display prefix, never the key."""

# ruff: noqa: S608 - what is put into queries are this file's own column names

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from store.database import Queryable
from store.ids import new_id

_COLUMNS = (
    "id, workspace_id, created_by, name, prefix, scopes, expires_at, last_used_at, revoked_at,"
    " created_at, updated_at"
)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key's record. ``prefix`` is what may be shown."""

    id: str
    workspace_id: str
    created_by: str | None
    name: str
    prefix: str
    scopes: list[str]
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """A new key; ``digest`` is the SHA-256 of its text (32 bytes)."""

    name: str
    prefix: str
    digest: bytes
    scopes: Sequence[str]
    expires_at: datetime | None = None
    created_by: str | None = None


class ApiKeys:
    """Queries about API keys."""

    def __init__(self, db: Queryable) -> None:
        self._db = db

    async def insert(self, workspace_id: str, key: NewApiKey) -> ApiKey:
        """Store a new key."""
        row = await self._db.fetchrow(
            "INSERT INTO api_keys (id, workspace_id, created_by, name, prefix, digest, scopes,"
            f" expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING {_COLUMNS}",
            new_id("key"),
            workspace_id,
            key.created_by,
            key.name,
            key.prefix,
            key.digest,
            list(key.scopes),
            key.expires_at,
        )
        return ApiKey(**row)

    async def find_by_digest(self, digest: bytes) -> ApiKey | None:
        """The live key (neither revoked nor expired) with that digest, of any workspace. The only
        query here without a workspace, because it is what finds the workspace."""
        row = await self._db.fetchrow(
            f"SELECT {_COLUMNS} FROM api_keys WHERE digest = $1 AND revoked_at IS NULL"
            " AND (expires_at IS NULL OR expires_at > now())",
            digest,
        )
        return ApiKey(**row) if row else None

    async def list(self, workspace_id: str, *, limit: int = 100, after: str = "") -> list[ApiKey]:
        """Keys not revoked, oldest first, from the one after id ``after`` on."""
        rows = await self._db.fetch(
            f"SELECT {_COLUMNS} FROM api_keys WHERE workspace_id = $1 AND id > $2"
            " AND revoked_at IS NULL ORDER BY id LIMIT $3",
            workspace_id,
            after,
            limit,
        )
        return [ApiKey(**row) for row in rows]

    async def get(self, workspace_id: str, key_id: str) -> ApiKey | None:
        """The key, None where it is revoked or the workspace has no such key."""
        row = await self._db.fetchrow(
            f"SELECT {_COLUMNS} FROM api_keys WHERE workspace_id = $1 AND id = $2"
            " AND revoked_at IS NULL",
            workspace_id,
            key_id,
        )
        return ApiKey(**row) if row else None

    async def count(self, workspace_id: str) -> int:
        """The number of keys that are not revoked, including expired ones."""
        return int(
            await self._db.fetchval(
                "SELECT count(*) FROM api_keys WHERE workspace_id = $1 AND revoked_at IS NULL",
                workspace_id,
            )
        )

    async def revoke(self, workspace_id: str, key_id: str) -> ApiKey | None:
        """Revoke a key; None where the workspace has no such live key."""
        row = await self._db.fetchrow(
            "UPDATE api_keys SET revoked_at = now(), updated_at = now() WHERE workspace_id = $1"
            f" AND id = $2 AND revoked_at IS NULL RETURNING {_COLUMNS}",
            workspace_id,
            key_id,
        )
        return ApiKey(**row) if row else None

    async def touch(self, workspace_id: str, key_id: str) -> None:
        """Store that a key was used; writes at most once a minute."""
        await self._db.execute(
            "UPDATE api_keys SET last_used_at = now() WHERE workspace_id = $1 AND id = $2"
            " AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')",
            workspace_id,
            key_id,
        )
