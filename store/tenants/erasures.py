"""Erasures: what was requested to be erased, of which calls, and how much it was.

A call is removed in one transaction with the counts of its erasure, so that an erasure that is
interrupted goes on where it was and counts nothing twice. Once it is done, the record no longer
says whose calls they were.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from store.database import Queryable
from store.ids import new_id

_COLUMNS = (
    "e.id, e.workspace_id, e.job_id, e.call_id, e.caller, e.requested_by, e.calls, e.turns,"
    " e.recordings, e.finished_at, e.created_at, j.status AS job_status"
)
_FROM = "FROM erasures e LEFT JOIN jobs j ON j.workspace_id = e.workspace_id AND j.id = e.job_id"


@dataclass(frozen=True, slots=True)
class Erasure:
    """An erasure's record: of one call (``call_id``) or of all calls of a ``caller`` (a digest).
    ``calls``, ``turns``, ``recordings``: how many have been erased. ``job_status``: of the job that
    does it; None where that is gone."""

    id: str
    workspace_id: str
    job_id: str | None
    call_id: str | None
    caller: bytes | None
    requested_by: str
    calls: int
    turns: int
    recordings: int
    finished_at: datetime | None
    created_at: datetime
    job_status: str | None


@dataclass(frozen=True, slots=True)
class FoundCall:
    """A call to be erased. ``open``: it has not ended."""

    id: str
    open: bool


class Erasures:
    """Queries about erasures. ``remove`` needs a connection in a transaction."""

    def __init__(self, db: Queryable) -> None:
        self._db = db

    async def create(
        self,
        workspace_id: str,
        *,
        job_id: str,
        requested_by: str,
        erasure_id: str,
        call_id: str | None = None,
        caller: bytes | None = None,
    ) -> None:
        """A new erasure, of a call or of a caller."""
        await self._db.execute(
            "INSERT INTO erasures (id, workspace_id, job_id, call_id, caller, requested_by)"
            " VALUES ($1, $2, $3, $4, $5, $6)",
            erasure_id,
            workspace_id,
            job_id,
            call_id,
            caller,
            requested_by,
        )

    async def get(self, workspace_id: str, erasure_id: str) -> Erasure | None:
        """The erasure, or None where the workspace has no such erasure."""
        row = await self._db.fetchrow(
            f"SELECT {_COLUMNS} {_FROM} WHERE e.workspace_id = $1 AND e.id = $2",
            workspace_id,
            erasure_id,
        )
        return Erasure(**row) if row else None

    # ------------------------------------------------------------------ doing it

    async def calls(self, erasure: Erasure, *, after: str, limit: int) -> list[FoundCall]:
        """Calls that are left of it, by id, from the one behind ``after`` on."""
        rows = await self._db.fetch(
            "SELECT id, ended_at IS NULL AS open FROM calls WHERE workspace_id = $1"
            " AND (id = $2 OR caller = $3) AND id > $4 ORDER BY id LIMIT $5",
            erasure.workspace_id,
            erasure.call_id,
            erasure.caller,
            after,
            limit,
        )
        return [FoundCall(**row) for row in rows]

    async def recordings(self, workspace_id: str, call_ids: Sequence[str]) -> list[str]:
        """The keys of the audio of these calls, and of the event logs beside it."""
        rows = await self._db.fetch(
            "SELECT audio_key AS key FROM turns WHERE workspace_id = $1"
            " AND call_id = ANY($2::text[]) AND audio_key IS NOT NULL"
            " UNION ALL SELECT key FROM objects WHERE workspace_id = $1"
            " AND call_id = ANY($2::text[])",
            workspace_id,
            list(call_ids),
        )
        return [row["key"] for row in rows]

    async def remove(self, erasure: Erasure, call_ids: Sequence[str]) -> list[str]:
        """Delete these calls with their turns, the records of their audio and the answers kept
        about them, and count them; returns the keys of the audio."""
        workspace_id, ids = erasure.workspace_id, list(call_ids)
        locked = "SELECT id FROM calls WHERE workspace_id = $1 AND id = ANY($2) ORDER BY id"
        await self._db.fetch(f"{locked} FOR UPDATE", workspace_id, ids)
        keys = await self.recordings(workspace_id, ids)
        turns = await self._db.execute(
            "DELETE FROM turns WHERE workspace_id = $1 AND call_id = ANY($2::text[])",
            workspace_id,
            ids,
        )
        recordings = await self._db.execute(
            "DELETE FROM objects WHERE workspace_id = $1 AND key = ANY($2::text[])",
            workspace_id,
            keys,
        )
        await self._db.execute(  # what they lasted counts on
            "UPDATE embed_visits v SET ended_at = c.ended_at FROM calls c"
            " WHERE v.workspace_id = $1 AND v.call_id = ANY($2::text[]) AND v.ended_at IS NULL"
            " AND c.workspace_id = $1 AND c.id = v.call_id",
            workspace_id,
            ids,
        )
        await self._db.execute(
            "DELETE FROM idempotency_keys WHERE workspace_id = $1 AND call_id = ANY($2::text[])",
            workspace_id,
            ids,
        )
        calls = await self._db.execute(
            "WITH gone AS (DELETE FROM calls WHERE workspace_id = $1 AND id = ANY($2::text[])"
            " RETURNING id)"
            " INSERT INTO deleted_calls (call_id) SELECT id FROM gone ON CONFLICT DO NOTHING",
            workspace_id,
            ids,
        )
        await self._db.execute(
            "UPDATE erasures SET calls = calls + $3, turns = turns + $4,"
            " recordings = recordings + $5 WHERE workspace_id = $1 AND id = $2",
            workspace_id,
            erasure.id,
            *(_count(tag) for tag in (calls, turns, recordings)),
        )
        return keys

    async def finish(self, workspace_id: str, erasure_id: str) -> None:
        """It is done: the record stays, without the caller."""
        await self._db.execute(
            "UPDATE erasures SET finished_at = now(), caller = NULL"
            " WHERE workspace_id = $1 AND id = $2 AND finished_at IS NULL",
            workspace_id,
            erasure_id,
        )

    async def list(
        self, workspace_id: str, *, limit: int = 100, after: str | None = None
    ) -> list[Erasure]:
        """Erasures, newest first, from the one below id ``after`` on."""
        rows = await self._db.fetch(
            f"SELECT {_COLUMNS} {_FROM} WHERE e.workspace_id = $1"
            " AND ($2::text IS NULL OR e.id < $2) ORDER BY e.id DESC LIMIT $3",
            workspace_id,
            after,
            limit,
        )
        return [Erasure(**row) for row in rows]


def new_erasure_id() -> str:
    """The id of an erasure that is to be created."""
    return new_id("erase")


def _count(tag: str) -> int:
    return int(tag.split()[-1])
