"""Recordings of calls: their parts, which files are stored, and how long they are kept.

A part's row is written when it begins, and again when its files are in the object store. What is
missing when the call has ended is thus known, whatever became of the node. The files are objects of
the call (``objects.call_id``), under keys made of the call's id and the part's number.
"""

# ruff: noqa: S608 - what is put into queries are this file's own column names

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from store.database import Queryable


@dataclass(frozen=True, slots=True)
class RecordingPart:
    """A part of a recording. ``begins_ms``: its place in the call; ``duration_ms``: None until it
    is stored, and of one whose writer was killed; ``complete``: nothing is missing in it."""

    call_id: str
    number: int
    begins_ms: int
    stored: bool
    duration_ms: int | None
    complete: bool
    expires_at: datetime | None


_COLUMNS = ", ".join(field.name for field in fields(RecordingPart))


class Recordings:
    """Queries about recordings."""

    def __init__(self, db: Queryable) -> None:
        self._db = db

    async def begin(
        self, workspace_id: str, call_id: str, number: int, begins_ms: int, keep_days: int | None
    ) -> None:
        """A part begins; may be repeated. Nothing where the workspace has no such call."""
        await self._db.execute(
            "INSERT INTO recordings (workspace_id, call_id, number, begins_ms, expires_at)"
            " SELECT workspace_id, id, $3, $4, now() + make_interval(days => $5)"
            " FROM calls WHERE workspace_id = $1 AND id = $2 ON CONFLICT DO NOTHING",
            workspace_id,
            call_id,
            number,
            begins_ms,
            keep_days,
        )

    async def store(
        self,
        workspace_id: str,
        call_id: str,
        number: int,
        *,
        duration_ms: int | None,
        complete: bool,
    ) -> bool:
        """A part's files are stored; False where there is no such part."""
        tag = await self._db.execute(
            "UPDATE recordings SET stored = true, duration_ms = $4, complete = $5"
            " WHERE workspace_id = $1 AND call_id = $2 AND number = $3",
            workspace_id,
            call_id,
            number,
            duration_ms,
            complete,
        )
        return tag == "UPDATE 1"

    async def withhold(self, workspace_id: str, call_id: str, number: int) -> bool:
        """A part is not kept; False where it is not known to have begun."""
        tag = await self._db.execute(
            "DELETE FROM recordings WHERE workspace_id = $1 AND call_id = $2 AND number = $3",
            workspace_id,
            call_id,
            number,
        )
        return tag == "DELETE 1"

    async def of_calls(
        self, workspace_id: str, call_ids: Sequence[str]
    ) -> dict[str, list[RecordingPart]]:
        """The parts of calls, in order, by call."""
        rows = await self._db.fetch(
            f"SELECT {_COLUMNS} FROM recordings WHERE workspace_id = $1"
            " AND call_id = ANY($2::text[]) ORDER BY call_id, number",
            workspace_id,
            list(call_ids),
        )
        found: dict[str, list[RecordingPart]] = {}
        for row in rows:
            found.setdefault(row["call_id"], []).append(RecordingPart(**row))
        return found

    async def was_deleted(self, call_id: str) -> bool:
        """Whether a call was deleted lately."""
        return bool(
            await self._db.fetchval("SELECT 1 FROM deleted_calls WHERE call_id = $1", call_id)
        )

    async def delete_old(self, workspace_id: str, before: datetime | None, limit: int) -> list[str]:
        """Delete the recordings of ended calls that are past their own time, or of calls that ended
        before a moment; returns the keys of their files."""
        rows = await self._db.fetch(
            "WITH old AS (SELECT r.call_id, r.number FROM recordings r"
            " JOIN calls c ON c.workspace_id = r.workspace_id AND c.id = r.call_id"
            " WHERE r.workspace_id = $1 AND c.ended_at IS NOT NULL"
            " AND (r.expires_at < now() OR c.ended_at < $2::timestamptz) LIMIT $3),"
            " gone AS (DELETE FROM recordings r USING old WHERE r.workspace_id = $1"
            " AND r.call_id = old.call_id AND r.number = old.number RETURNING r.call_id, r.number)"
            " DELETE FROM objects o USING gone WHERE o.workspace_id = $1"
            " AND o.call_id = gone.call_id AND o.kind = 'recording'"
            " AND starts_with(o.key, $1 || '/' || gone.call_id || '/part' || gone.number || '-')"
            " RETURNING o.key",
            workspace_id,
            before,
            limit,
        )
        return [row["key"] for row in rows]

    # ------------------------------------------------------------------ of every workspace

    async def with_expired(self) -> list[str]:
        """Ids of the workspaces that have recordings past their own time."""
        rows: list[Any] = await self._db.fetch(
            "SELECT DISTINCT workspace_id FROM recordings WHERE expires_at < now()"
        )
        return [row["workspace_id"] for row in rows]
