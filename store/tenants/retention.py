"""Retention: how long a workspace keeps its calls, its recordings and its finished jobs.

A period in days, each from 1; None: as long as the server's own period, which is also the longest.
Ids sort by the time at which they were made, so what is old is found by its id, without an index of
its own. What is deleted here is deleted in batches: each call is one short statement.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from store.database import Queryable
from store.ids import first_id


@dataclass(frozen=True, slots=True)
class Periods:
    """Days; None: for ever, or what is set elsewhere."""

    calls: int | None = None
    recordings: int | None = None
    jobs: int | None = None


class Retention:
    """Queries about retention."""

    def __init__(self, db: Queryable) -> None:
        self._db = db

    async def get(self, workspace_id: str) -> Periods:
        """What the workspace has set."""
        row = await self._db.fetchrow(
            "SELECT calls_days, recordings_days, jobs_days FROM retention WHERE workspace_id = $1",
            workspace_id,
        )
        return _periods(row) if row else Periods()

    async def put(self, workspace_id: str, periods: Periods) -> None:
        """Set a workspace's periods; raises StoreRefused where there is no such workspace."""
        await self._db.execute(
            "INSERT INTO retention (workspace_id, calls_days, recordings_days, jobs_days)"
            " VALUES ($1, $2, $3, $4) ON CONFLICT (workspace_id) DO UPDATE SET"
            " calls_days = excluded.calls_days, recordings_days = excluded.recordings_days,"
            " jobs_days = excluded.jobs_days, updated_at = now()",
            workspace_id,
            periods.calls,
            periods.recordings,
            periods.jobs,
        )

    # ------------------------------------------------------------------ of every workspace

    async def in_force(
        self, server_days: int | None, *, after: str = "", limit: int = 1000
    ) -> dict[str, Periods]:
        """The periods in force of each workspace that has any, in the order of their ids, from the
        one behind ``after`` on. ``server_days``: the server's own."""
        rows = await self._db.fetch(
            "SELECT w.id, least(r.calls_days, $1::int) AS calls_days,"
            " least(r.recordings_days, $1) AS recordings_days,"
            " least(r.jobs_days, $1) AS jobs_days"
            " FROM workspaces w LEFT JOIN retention r ON r.workspace_id = w.id"
            " WHERE w.id > $2 AND ($1 IS NOT NULL OR r.workspace_id IS NOT NULL)"
            " ORDER BY w.id LIMIT $3",
            server_days,
            after,
            limit,
        )
        return {row["id"]: _periods(row) for row in rows}

    async def delete_calls(
        self, workspace_id: str, before: datetime, limit: int
    ) -> tuple[int, list[str]]:
        """Delete calls that ended before a moment, with their turns and the records of their files;
        returns how many calls, and the keys of the files."""
        row = await self._db.fetchrow(
            "WITH old AS MATERIALIZED (SELECT id FROM calls WHERE workspace_id = $1 AND id < $2"
            " AND ended_at < $3 LIMIT $4 FOR UPDATE SKIP LOCKED),"
            " files AS (DELETE FROM objects WHERE workspace_id = $1"
            " AND call_id IN (SELECT id FROM old) RETURNING key),"
            " gone AS (DELETE FROM calls WHERE workspace_id = $1"
            " AND id IN (SELECT id FROM old) RETURNING id),"
            " noted AS (INSERT INTO deleted_calls (call_id) SELECT id FROM gone"
            " ON CONFLICT DO NOTHING)"
            " SELECT (SELECT count(*) FROM gone) AS calls, ARRAY(SELECT key FROM files) AS keys",
            workspace_id,
            first_id("call", before),
            before,
            limit,
        )
        return row["calls"], row["keys"]

    async def delete_recordings(self, workspace_id: str, before: datetime, limit: int) -> list[str]:
        """Delete the records of turns' audio, and of the files of jobs that ended before a moment;
        returns the keys. What a voice was made from stays."""
        rows = await self._db.fetch(
            "DELETE FROM objects WHERE key IN ("
            "(SELECT key FROM objects WHERE workspace_id = $1 AND kind = 'turn'"
            " AND job_id IS NULL AND created_at < $2 LIMIT $4) UNION ALL"
            " (SELECT o.key FROM objects o JOIN jobs j ON j.workspace_id = $1 AND j.id = o.job_id"
            " WHERE o.workspace_id = $1 AND o.kind IN ('upload', 'source', 'artifact')"
            " AND o.job_id < $3 AND j.finished_at < $2 LIMIT $4)) RETURNING key",
            workspace_id,
            before,
            first_id("job", before),
            limit,
        )
        return [row["key"] for row in rows]

    async def deleted_calls(
        self, since: datetime, *, after: str = "", limit: int = 1000
    ) -> list[str]:
        """Calls that were deleted at ``since`` or later, by id, from the one behind ``after`` on;
        as long as the cleanup lets it be known."""
        rows = await self._db.fetch(
            "SELECT call_id FROM deleted_calls WHERE created_at >= $1 AND call_id > $2"
            " ORDER BY call_id LIMIT $3",
            since,
            after,
            limit,
        )
        return [row["call_id"] for row in rows]


def _periods(row: Any) -> Periods:
    return Periods(row["calls_days"], row["recordings_days"], row["jobs_days"])
