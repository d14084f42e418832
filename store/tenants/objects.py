"""Objects: what is known of the bytes in the object store.

The record decides: bytes without one belong to nobody (and are deleted), and what clients see of an
object is stored here. The key begins with the workspace's id and is looked up only there.
"""

# ruff: noqa: S608 - what is put into queries are this file's own column names

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

from store.database import Queryable, storable
from store.errors import StoreRefused


@dataclass(frozen=True, slots=True)
class NewObject:
    """A new object. ``kind``: upload, sample, source, artifact, preview, turn, recording or line
    (what a simulated caller says). ``job_id``: the job that made it or consumes it, with which it
    is deleted; ``call_id``: the call that it records, likewise. ``filename``: as it is offered for
    download. ``details``: JSON, what was found when it was uploaded."""

    key: str
    kind: str
    content_type: str
    filename: str
    size_bytes: int
    duration_ms: int | None = None
    job_id: str | None = None
    call_id: str | None = None
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object's record; fields as in NewObject. ``created_at``: when its bytes were written."""

    key: str
    workspace_id: str
    kind: str
    job_id: str | None
    content_type: str
    filename: str
    size_bytes: int
    duration_ms: int | None
    details: dict[str, Any]
    created_at: datetime


_COLUMNS = ", ".join(field.name for field in fields(StoredObject))


class Objects:
    """Queries about objects."""

    def __init__(self, db: Queryable) -> None:
        self._db = db

    async def put(self, workspace_id: str, new: NewObject) -> StoredObject:
        """Store an object's record, replacing the one with that key; raises StoreRefused where the
        workspace or its job is gone, or where the key is another workspace's."""
        row = await self._db.fetchrow(
            "INSERT INTO objects AS o (key, workspace_id, kind, job_id, content_type, filename,"
            " size_bytes, duration_ms, details, call_id)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
            " ON CONFLICT (key) DO UPDATE SET kind = excluded.kind, job_id = excluded.job_id,"
            " content_type = excluded.content_type, filename = excluded.filename,"
            " size_bytes = excluded.size_bytes, duration_ms = excluded.duration_ms,"
            " details = excluded.details, call_id = excluded.call_id, created_at = now()"
            f" WHERE o.workspace_id = excluded.workspace_id RETURNING {_COLUMNS}",
            new.key,
            workspace_id,
            new.kind,
            new.job_id,
            new.content_type,
            storable(new.filename),
            new.size_bytes,
            new.duration_ms,
            new.details,
            new.call_id,
        )
        if row is None:
            raise StoreRefused("the key is another workspace's")
        return StoredObject(**row)

    async def get(self, workspace_id: str, key: str) -> StoredObject | None:
        """The object, or None where the workspace has no such object."""
        row = await self._db.fetchrow(
            f"SELECT {_COLUMNS} FROM objects WHERE workspace_id = $1 AND key = $2",
            workspace_id,
            key,
        )
        return StoredObject(**row) if row else None

    async def claim(self, workspace_id: str, key: str, job_id: str) -> bool:
        """Give an object without a job to a job of the workspace; False where there is none, or
        where it is another job's. May be repeated."""
        tag = await self._db.execute(
            "UPDATE objects SET job_id = $3 WHERE workspace_id = $1 AND key = $2"
            " AND (job_id IS NULL OR job_id = $3)"
            " AND EXISTS (SELECT 1 FROM jobs WHERE workspace_id = $1 AND id = $3)",
            workspace_id,
            key,
            job_id,
        )
        return tag == "UPDATE 1"

    async def delete(self, workspace_id: str, key: str) -> bool:
        """Delete an object's record; False where the workspace has no such object."""
        tag = await self._db.execute(
            "DELETE FROM objects WHERE workspace_id = $1 AND key = $2", workspace_id, key
        )
        return tag == "DELETE 1"

    async def of_call(self, workspace_id: str, call_id: str) -> list[StoredObject]:
        """What was recorded of a call."""
        rows = await self._db.fetch(
            f"SELECT {_COLUMNS} FROM objects WHERE workspace_id = $1 AND call_id = $2 ORDER BY key",
            workspace_id,
            call_id,
        )
        return [StoredObject(**row) for row in rows]

    async def keys_of_jobs(self, workspace_id: str, job_ids: Sequence[str]) -> list[str]:
        """The keys of what these jobs made and consumed."""
        rows = await self._db.fetch(
            "SELECT key FROM objects WHERE workspace_id = $1 AND job_id = ANY($2::text[])",
            workspace_id,
            list(job_ids),
        )
        return [row["key"] for row in rows]

    # ------------------------------------------------------------------ of every workspace

    async def delete_loose(self, before: datetime, limit: int = 100) -> list[str]:
        """Delete the records of old objects without a job or a call; returns the keys. Those that a
        voice, a turn or a simulation refers to stay, and so do those that an active job names in
        its input."""
        rows = await self._db.fetch(
            "DELETE FROM objects WHERE key IN (SELECT key FROM objects o"
            " WHERE job_id IS NULL AND call_id IS NULL AND created_at < $1"
            " AND NOT EXISTS (SELECT 1 FROM voices v"
            " WHERE v.workspace_id = o.workspace_id AND o.key IN (v.sample_key, v.preview_key))"
            " AND NOT EXISTS (SELECT 1 FROM turns t WHERE t.audio_key = o.key)"
            " AND NOT (kind = 'line' AND EXISTS (SELECT 1 FROM simulations s"
            " WHERE s.workspace_id = o.workspace_id AND strpos(s.recordings::text, o.key) > 0))"
            " AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.workspace_id = o.workspace_id"
            " AND j.status IN ('queued', 'running') AND strpos(j.input::text, o.key) > 0)"
            " ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING key",
            before,
            limit,
        )
        return [row["key"] for row in rows]

    async def orphans(self, keys: Sequence[str]) -> list[str]:
        """Those of ``keys`` that have no record although their workspace exists. (Others may belong
        to another installation that stores its objects in the same place.)"""
        rows = await self._db.fetch(
            "SELECT key FROM unnest($1::text[]) AS stored (key)"
            " WHERE NOT EXISTS (SELECT 1 FROM objects o WHERE o.key = stored.key)"
            " AND EXISTS (SELECT 1 FROM workspaces w WHERE w.id = split_part(stored.key, '/', 1))",
            list(keys),
        )
        return [row["key"] for row in rows]
