"""Usage: an event for each unit of a workspace's work, and sums over them.

Each sum is one statement, so it is consistent, and in exact numbers: what is summed here equals
what is listed.
"""

# ruff: noqa: S608 - what is put into queries are this file's own column names

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime, timedelta
from decimal import Decimal

from store.database import Queryable, storable
from store.ids import new_id


@dataclass(frozen=True, slots=True)
class NewUsageEvent:
    """A unit of work. ``unit`` names it in the workspace; ``audio_ms``: of what was heard or made;
    ``cost`` in the price table's currency, to 8 decimals."""

    unit: str
    type: str
    model: str
    tokens: int
    audio_ms: int
    cost: Decimal


@dataclass(frozen=True, slots=True)
class UsageEvent:
    """A unit's record; fields as in NewUsageEvent."""

    id: str
    type: str
    model: str
    tokens: int
    audio_ms: int
    cost: Decimal
    created_at: datetime


@dataclass(frozen=True, slots=True)
class UsageSum:
    """Sums over ``count`` events."""

    count: int = 0
    tokens: int = 0
    audio_ms: int = 0
    cost: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class UsageBreakdown:
    """The same events summed in three ways. ``by_day``: every day of the period, oldest first."""

    by_model: Mapping[str, UsageSum]
    by_type: Mapping[str, UsageSum]
    by_day: Mapping[date, UsageSum]


_COLUMNS = ", ".join(field.name for field in fields(UsageEvent))
_SUMS = (
    "count(*) AS count, coalesce(sum(tokens), 0)::bigint AS tokens,"
    " coalesce(sum(audio_ms), 0)::bigint AS audio_ms, coalesce(sum(cost), 0) AS cost"
)


class UsageEvents:
    """Queries about usage."""

    def __init__(self, db: Queryable) -> None:
        self._db = db

    async def insert(self, events: Sequence[tuple[str, NewUsageEvent]]) -> int:
        """Store units of work, each with its workspace; returns how many were not stored yet."""
        if not events:
            return 0
        tag = await self._db.execute(
            "INSERT INTO usage_events (id, workspace_id, unit, type, model, tokens, audio_ms, cost)"
            " SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[],"
            " $6::bigint[], $7::bigint[], $8::numeric[])"
            " ON CONFLICT (workspace_id, unit) DO NOTHING",
            [new_id("use") for _ in events],
            [workspace_id for workspace_id, _ in events],
            [storable(event.unit) for _, event in events],
            [event.type for _, event in events],
            [storable(event.model) for _, event in events],
            [event.tokens for _, event in events],
            [event.audio_ms for _, event in events],
            [event.cost for _, event in events],
        )
        return int(tag.split()[-1])

    async def total(self, workspace_id: str) -> UsageSum:
        """The sum of all events ever."""
        row = await self._db.fetchrow(
            f"SELECT {_SUMS} FROM usage_events WHERE workspace_id = $1", workspace_id
        )
        return UsageSum(**row)

    async def breakdown(self, workspace_id: str, days: int) -> UsageBreakdown:
        """Sums over the last ``days`` days in UTC, today's included."""
        rows = await self._db.fetch(
            "WITH today AS (SELECT (now() AT TIME ZONE 'UTC')::date AS today),"
            " events AS (SELECT *, (created_at AT TIME ZONE 'UTC')::date AS day"
            " FROM usage_events, today WHERE workspace_id = $1"
            " AND created_at >= (today - ($2::int - 1))::timestamp AT TIME ZONE 'UTC'"
            " AND created_at < (today + 1)::timestamp AT TIME ZONE 'UTC')"
            f" SELECT model, type, day, {_SUMS}, (SELECT today FROM today) AS today,"
            " grouping(model, type, day) AS others FROM events"
            " GROUP BY GROUPING SETS ((model), (type), (day), ()) ORDER BY others, 1, 2, 3",
            workspace_id,
            days,
        )
        # ``others`` has a bit for each column that the row does not group by; 7: the total, which
        # exists even where there is nothing else
        by_model = {row["model"]: _sum(row) for row in rows if row["others"] == 0b011}
        by_type = {row["type"]: _sum(row) for row in rows if row["others"] == 0b101}
        found = {row["day"]: _sum(row) for row in rows if row["others"] == 0b110}
        today: date = rows[0]["today"]
        every = [today - timedelta(days=ago) for ago in reversed(range(days))]
        return UsageBreakdown(by_model, by_type, {day: found.get(day, UsageSum()) for day in every})

    async def list(
        self,
        workspace_id: str,
        *,
        type: str | None = None,
        model: str | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> list[UsageEvent]:
        """Events, newest first, from the one below id ``after`` on."""
        rows = await self._db.fetch(
            f"SELECT {_COLUMNS} FROM usage_events WHERE workspace_id = $1"
            " AND ($2::text IS NULL OR type = $2) AND ($3::text IS NULL OR model = $3)"
            " AND ($4::text IS NULL OR id < $4) ORDER BY id DESC LIMIT $5",
            workspace_id,
            type,
            model,
            after,
            limit,
        )
        return [UsageEvent(**row) for row in rows]


def _sum(row: Mapping[str, object]) -> UsageSum:
    return UsageSum(**{field.name: row[field.name] for field in fields(UsageSum)})  # type: ignore[arg-type]
