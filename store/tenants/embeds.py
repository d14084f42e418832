"""Embeds: agents on other web pages, and the visitors who call from there.

A *visit* is one visitor's way to one call: it waits in a queue, is granted a key, calls, and has
called. All decisions about visits of an embed are made under a lock on the embed, so that several
nodes together never grant more than its limits.

Rules
- A call reserves all that it may last when its key is granted, so that calls at the same time
  cannot use more minutes than the day has. What it did not use is free again at its end.
- Minutes count from the call's beginning to its end, for one that goes on: to now. A call counts on
  the day (UTC) on which it began. One whose node died counts to its end as the calls table has it,
  and never for longer than it was granted.
- Visits wait in the order of their ids. Who is not seen for ``WAIT_SECONDS`` has left the queue.
"""

# ruff: noqa: S608 - what is put into queries are this file's own column names

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

from store.database import Database, Queryable
from store.ids import new_id

KEY_SECONDS = 60
"""So long a key can begin its call."""
WAIT_SECONDS = 20
MOST_WAITING = 50
"""Visits of one embed in the queue; there is no place for further ones."""
LEAST_SECONDS = 20
"""A call that could not last so long is not granted."""


# ---------------------------------------------------------------------- embeds


@dataclass(frozen=True, slots=True)
class NewEmbed:
    """The fields of an embed that can be set. ``origins``: the web pages that may use it, as
    ``rest.accounts.origins`` writes them; ``calls_per_minute``: of one address; ``max_calls``: at a
    time; ``choices``: what a visitor may choose, "voice" and "language"; ``texts``: shown by the
    page, their format belongs to rest.resources.embeds."""

    name: str
    origins: Sequence[str]
    calls_per_minute: int = 6
    max_calls: int = 2
    max_call_minutes: int = 10
    minutes_per_day: int = 120
    enabled: bool = True
    choices: Sequence[str] = ()
    texts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Embed:
    """An embed's record; fields as in NewEmbed."""

    id: str
    workspace_id: str
    agent_id: str
    name: str
    origins: Sequence[str]
    calls_per_minute: int
    max_calls: int
    max_call_minutes: int
    minutes_per_day: int
    enabled: bool
    choices: Sequence[str]
    texts: Mapping[str, str]
    created_at: datetime
    updated_at: datetime


_SETTABLE = tuple(field.name for field in fields(NewEmbed))
_COLUMNS = ", ".join(field.name for field in fields(Embed))
_PLACES = ", ".join(f"${place}" for place in range(4, 4 + len(_SETTABLE)))


class Embeds:
    """Queries about embeds."""

    def __init__(self, db: Queryable) -> None:
        self._db = db

    async def create(self, workspace_id: str, agent_id: str, embed: NewEmbed) -> Embed | None:
        """A new embed of an agent; None where the workspace has no such agent."""
        row = await self._db.fetchrow(
            f"INSERT INTO embeds (workspace_id, agent_id, id, {', '.join(_SETTABLE)})"
            f" SELECT workspace_id, id, $3, {_PLACES} FROM agents"
            f" WHERE workspace_id = $1 AND id = $2 RETURNING {_COLUMNS}",
            workspace_id,
            agent_id,
            new_id("emb"),
            *[_stored(getattr(embed, name)) for name in _SETTABLE],
        )
        return Embed(**row) if row else None

    async def has_agent(self, workspace_id: str, agent_id: str) -> bool:
        """Whether the workspace has that agent, with embeds or without."""
        found = "SELECT true FROM agents WHERE workspace_id = $1 AND id = $2"
        return bool(await self._db.fetchval(found, workspace_id, agent_id))

    async def get(self, workspace_id: str, embed_id: str) -> Embed | None:
        """The embed, or None where the workspace has no such embed."""
        row = await self._db.fetchrow(
            f"SELECT {_COLUMNS} FROM embeds WHERE workspace_id = $1 AND id = $2",
            workspace_id,
            embed_id,
        )
        return Embed(**row) if row else None

    async def published(self, embed_id: str) -> Embed | None:
        """The embed of whichever workspace, for the pages that show it, which have no other key;
        None where there is none, or it is switched off. Never use it to answer a workspace."""
        row = await self._db.fetchrow(
            f"SELECT {_COLUMNS} FROM embeds WHERE id = $1 AND enabled", embed_id
        )
        return Embed(**row) if row else None

    async def list(
        self, workspace_id: str, agent_id: str, *, limit: int = 100, after: str | None = None
    ) -> list[Embed]:
        """An agent's embeds, newest first, from the one behind id ``after`` on."""
        rows = await self._db.fetch(
            f"SELECT {_COLUMNS} FROM embeds WHERE workspace_id = $1 AND agent_id = $2"
            " AND ($3::text IS NULL OR id < $3) ORDER BY id DESC LIMIT $4",
            workspace_id,
            agent_id,
            after,
            limit,
        )
        return [Embed(**row) for row in rows]

    async def update(
        self, workspace_id: str, embed_id: str, changes: Mapping[str, Any]
    ) -> Embed | None:
        """Change the named fields (those of NewEmbed; ValueError for others); None where the
        workspace has no such embed."""
        if foreign := changes.keys() - set(_SETTABLE):
            raise ValueError(f"not a field of an embed: {', '.join(sorted(foreign))}")
        sets = "".join(f", {name} = ${place}" for place, name in enumerate(changes, start=3))
        row = await self._db.fetchrow(
            f"UPDATE embeds SET updated_at = now(){sets} WHERE workspace_id = $1 AND id = $2"
            f" RETURNING {_COLUMNS}",
            workspace_id,
            embed_id,
            *[_stored(value) for value in changes.values()],
        )
        return Embed(**row) if row else None

    async def delete(self, workspace_id: str, embed_id: str) -> bool:
        """Delete; its calls stay. False where the workspace has no such embed."""
        tag = await self._db.execute(
            "DELETE FROM embeds WHERE workspace_id = $1 AND id = $2", workspace_id, embed_id
        )
        return tag == "DELETE 1"


def _stored(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


# ---------------------------------------------------------------------- visits


@dataclass(frozen=True, slots=True)
class EmbedUse:
    """What an embed is used for now. ``calls``: in progress; ``waiting``: visits in the queue;
    ``seconds``: of calls that began today (UTC), ended or not."""

    calls: int = 0
    waiting: int = 0
    seconds: int = 0


@dataclass(frozen=True, slots=True)
class Granted:
    """The visit may call, for ``seconds`` at most."""

    visit_id: str
    seconds: int


@dataclass(frozen=True, slots=True)
class Queued:
    """The visit has to wait. ``place``: 1 is the next; None: it is not even in the queue, because
    that is full."""

    visit_id: str | None = None
    place: int | None = None


@dataclass(frozen=True, slots=True)
class DaySpent:
    """The day's minutes are used up; ``seconds`` until the next day."""

    seconds: int


_VISITS = """
visit AS (
    SELECT v.id, v.embed_id, v.seconds, v.call_id, v.started_at,
        v.started_at >= date_trunc('day', now(), 'UTC') AS today,
        v.started_at IS NULL AND v.expires_at > now() AS fresh,
        v.started_at IS NOT NULL AND v.ended_at IS NULL AND c.ended_at IS NULL
            AND now() < v.started_at + make_interval(secs => v.seconds) AS running,
        coalesce(v.ended_at, c.ended_at,
            least(now(), v.started_at + make_interval(secs => v.seconds))) AS until
    FROM embed_visits v
    LEFT JOIN calls c ON c.workspace_id = v.workspace_id AND c.id = v.call_id
    WHERE v.workspace_id = $1 AND v.embed_id = ANY($2::text[])
)
"""
_LASTED = "extract(epoch FROM greatest(until - started_at, interval '0'))"
_COUNTED = f"""
WITH {_VISITS}
SELECT
    count(*) FILTER (WHERE running OR fresh AND seconds IS NOT NULL) AS taken,
    coalesce(sum(seconds) FILTER (WHERE running AND today OR fresh), 0) AS reserved,
    coalesce(sum({_LASTED}) FILTER (WHERE today AND NOT running), 0) AS used,
    count(*) FILTER (WHERE fresh AND seconds IS NULL) AS waiting,
    count(*) FILTER (WHERE fresh AND seconds IS NULL AND id < $3) AS ahead,
    bool_or(fresh AND seconds IS NULL AND id = $3) IS TRUE AS known,
    extract(epoch FROM date_trunc('day', now(), 'UTC') + interval '1 day' - now()) AS rest
FROM visit
"""
_WAITS = "started_at IS NULL AND seconds IS NULL AND expires_at > now()"


class Visits:
    """The visits of embeds."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def waits(self, embed: Embed, visit_id: str) -> bool:
        """Whether that visit is in the embed's queue."""
        return bool(
            await self._database.fetchval(
                "SELECT true FROM embed_visits"
                f" WHERE workspace_id = $1 AND embed_id = $2 AND id = $3 AND {_WAITS}",
                embed.workspace_id,
                embed.id,
                visit_id,
            )
        )

    async def ask(
        self, embed: Embed, visit_id: str | None, *, room: bool
    ) -> Granted | Queued | DaySpent | None:
        """Let a visitor call, or wait in the queue: at its end, unless ``visit_id`` is in it.
        ``room``: whether the server has a slot. None: the embed is gone or switched off."""
        async with self._database.transaction() as connection:
            limits = await connection.fetchrow(
                "SELECT max_calls, max_call_minutes, minutes_per_day FROM embeds"
                " WHERE workspace_id = $1 AND id = $2 AND enabled FOR UPDATE",
                embed.workspace_id,
                embed.id,
            )
            if limits is None:
                return None
            await self._forget(connection, embed)
            counted = await connection.fetchrow(
                _COUNTED, embed.workspace_id, [embed.id], visit_id or ""
            )
            known = visit_id if counted["known"] else None
            left = limits["minutes_per_day"] * 60 - int(counted["used"]) - counted["reserved"]
            seconds = min(limits["max_call_minutes"] * 60, left)
            if seconds < LEAST_SECONDS and not counted["reserved"]:
                return DaySpent(int(counted["rest"]) + 1)
            ahead = counted["ahead"] if known else counted["waiting"]
            free = limits["max_calls"] - counted["taken"] if room else 0
            if free > ahead and seconds >= LEAST_SECONDS:
                return Granted(await self._put(connection, embed, known, seconds), seconds)
            if known is None and counted["waiting"] >= MOST_WAITING:
                return Queued()
            return Queued(await self._put(connection, embed, known, None), ahead + 1)

    async def begin(self, workspace_id: str, embed_id: str, visit_id: str, call_id: str) -> bool:
        """The visit's call begins, which it can do once; False where it has begun already, came too
        late, or the embed is gone or switched off."""
        tag = await self._database.execute(
            "UPDATE embed_visits v SET call_id = $4, started_at = now() FROM (SELECT id FROM embeds"
            " WHERE workspace_id = $1 AND id = $2 AND enabled FOR SHARE) e"
            " WHERE v.workspace_id = $1 AND v.embed_id = e.id AND v.id = $3"
            " AND v.started_at IS NULL AND v.seconds IS NOT NULL AND v.expires_at > now()",
            workspace_id,
            embed_id,
            visit_id,
            call_id,
        )
        return tag == "UPDATE 1"

    async def end(self, workspace_id: str, call_id: str) -> None:
        """A visit's call has ended without a record of its own."""
        await self._database.execute(
            "UPDATE embed_visits SET ended_at = now()"
            " WHERE workspace_id = $1 AND call_id = $2 AND ended_at IS NULL",
            workspace_id,
            call_id,
        )

    async def withdraw(self, workspace_id: str, visit_id: str) -> None:
        """The visit will not call: it got no key."""
        await self._database.execute(
            "DELETE FROM embed_visits WHERE workspace_id = $1 AND id = $2 AND started_at IS NULL",
            workspace_id,
            visit_id,
        )

    async def running(self, workspace_id: str, embed_id: str) -> list[str]:
        """The ids of the embed's calls in progress."""
        rows = await self._database.fetch(
            f"WITH {_VISITS} SELECT call_id FROM visit WHERE running ORDER BY id",
            workspace_id,
            [embed_id],
        )
        return [row["call_id"] for row in rows]

    async def use(self, workspace_id: str, embed_ids: Sequence[str]) -> dict[str, EmbedUse]:
        """What the embeds are used for, by id."""
        rows = await self._database.fetch(
            f"WITH {_VISITS} SELECT embed_id, count(*) FILTER (WHERE running) AS calls,"
            " count(*) FILTER (WHERE fresh AND seconds IS NULL) AS waiting,"
            f" coalesce(sum({_LASTED}) FILTER (WHERE today), 0)::int AS seconds"
            " FROM visit GROUP BY embed_id",
            workspace_id,
            list(embed_ids),
        )
        found = {row["embed_id"]: row for row in rows}
        return {
            one: EmbedUse(row["calls"], row["waiting"], row["seconds"])
            if (row := found.get(one))
            else EmbedUse()
            for one in embed_ids
        }

    async def _put(
        self, connection: Any, embed: Embed, visit_id: str | None, seconds: int | None
    ) -> str:
        """Grant a visit so many seconds, or let it wait; a new one where it is not known yet."""
        visit_id = visit_id or new_id("visit")
        await connection.execute(
            "INSERT INTO embed_visits (id, workspace_id, embed_id, seconds, expires_at)"
            " VALUES ($1, $2, $3, $4, now() + make_interval(secs => $5))"
            " ON CONFLICT (id) DO UPDATE SET seconds = $4,"
            " expires_at = now() + make_interval(secs => $5)",
            visit_id,
            embed.workspace_id,
            embed.id,
            seconds,
            WAIT_SECONDS if seconds is None else KEY_SECONDS,
        )
        return visit_id

    async def _forget(self, connection: Any, embed: Embed) -> None:
        """Delete the visits from which nothing is counted any more."""
        await connection.execute(
            "DELETE FROM embed_visits WHERE workspace_id = $1 AND embed_id = $2 AND"
            " coalesce(started_at < now() - interval '2 days', expires_at <= now())",
            embed.workspace_id,
            embed.id,
        )
