"""Simulations: calls of simulated callers to a version of an agent, and what came of each.

A simulation is queued, then a process of some node has it for as long as it renews its lease, and
then it has ended. Nothing stays running for ever::

    queued ── claim ──► running ── finish ──► completed, failed
      ▲                 │  │
      │ release, or     │  └── cancel ──► cancelled    (cancel of a queued one: at once)
      └─ lease is over ─┘
         (after ``MOST_ATTEMPTS`` leases: failed)

Rules
- Each claim is an attempt of its own, and every write names it: a process that another has
  overtaken changes nothing.
- Calls that have ended stay as they are when the simulation goes on elsewhere; one that was being
  made is made again.
- ``revision`` grows with each change, so that what follows a simulation knows that there is news.
- A workspace has at most ``MOST_ACTIVE`` that have not ended, and keeps the newest ``MOST_KEPT``.
"""

# ruff: noqa: S608 - what is put into queries are this file's own column names and numbers

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any

from store.database import Database
from store.ids import new_id

MOST_ACTIVE = 3
MOST_KEPT = 200
MOST_ATTEMPTS = 3
ENDED = ("completed", "failed", "cancelled")
LOST = {
    "code": "process_lost",
    "message": "The processes that made the calls ended before they were done. Run it again.",
}
"""The error of a simulation whose processes have died ``MOST_ATTEMPTS`` times."""


@dataclass(frozen=True, slots=True)
class NewSimulation:
    """A simulation to be made. ``scenarios``: as they were read; ``source``: their TOML, if they
    came as that; ``recordings``: keys of objects, by their names in the scenarios; ``calls``: the
    name and the repetition (from 1) of each call, in their order."""

    agent_id: str
    agent_version: int
    agent_name: str
    source: str | None
    scenarios: Mapping[str, Any]
    recordings: Mapping[str, str]
    repeat: int
    at_once: int
    calls: Sequence[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Simulation:
    """A simulation's record. ``calls``: how many there are; ``summary``: figures of those that have
    ended, empty before the first; ``error``: {code, message} of one that failed."""

    id: str
    workspace_id: str
    agent_id: str
    agent_version: int
    agent_name: str
    source: str | None
    scenarios: dict[str, Any]
    recordings: dict[str, str]
    repeat: int
    at_once: int
    calls: int
    status: str
    summary: dict[str, Any]
    error: dict[str, str] | None
    cancel_requested: bool
    revision: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def active(self) -> bool:
        """True until it has ended."""
        return self.status not in ENDED


@dataclass(frozen=True, slots=True)
class SimulatedCall:
    """One of its calls. ``status``: waiting, calling, passed, failed or not_made; ``report``: its
    lines and checks, once it has ended."""

    position: int
    scenario: str
    repetition: int
    status: str
    call_id: str | None
    report: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Claim:
    """A simulation that a process has. ``seconds``: since its first attempt began; ``ended``: the
    reports of its calls that have ended, by position."""

    simulation: Simulation
    attempt: int
    seconds: float
    ended: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def guard(self) -> tuple[str, str, int]:
        """The first three arguments of what it writes."""
        return self.simulation.workspace_id, self.simulation.id, self.attempt


_COLUMNS = ", ".join(one.name for one in fields(Simulation))
_SHOWN = _COLUMNS.replace("scenarios,", "'{}'::jsonb AS scenarios,")
_GUARDED = "workspace_id = $1 AND id = $2 AND attempt = $3 AND status = 'running'"
_CHANGE = "UPDATE simulations SET revision = revision + 1"
_NOT_MADE = (
    "UPDATE simulated_calls c SET status = 'not_made' FROM over WHERE"
    " c.workspace_id = over.workspace_id AND c.simulation_id = over.id"
    " AND c.status IN ('waiting', 'calling')"
)


class Simulations:
    """Queries about simulations."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, workspace_id: str, new: NewSimulation) -> Simulation | None:
        """A new one, queued; None where the workspace has ``MOST_ACTIVE`` already. The oldest of
        more than ``MOST_KEPT`` that have ended are deleted."""
        async with self._database.transaction() as connection:
            await connection.fetchval(
                "SELECT id FROM workspaces WHERE id = $1 FOR NO KEY UPDATE", workspace_id
            )
            active = await connection.fetchval(
                "SELECT count(*) FROM simulations WHERE workspace_id = $1"
                " AND status IN ('queued', 'running')",
                workspace_id,
            )
            if active >= MOST_ACTIVE:
                return None
            row = await connection.fetchrow(
                "INSERT INTO simulations (id, workspace_id, agent_id, agent_version, agent_name,"
                " source, scenarios, recordings, repeat, at_once, calls)"
                " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
                f" RETURNING {_COLUMNS}",
                new_id("sim"),
                workspace_id,
                new.agent_id,
                new.agent_version,
                new.agent_name,
                new.source,
                dict(new.scenarios),
                dict(new.recordings),
                new.repeat,
                new.at_once,
                len(new.calls),
            )
            made = Simulation(**row)
            await connection.execute(
                "INSERT INTO simulated_calls"
                " (workspace_id, simulation_id, position, scenario, repetition)"
                " SELECT $1, $2, place - 1, scenario, repetition"
                " FROM unnest($3::text[], $4::int[]) WITH ORDINALITY"
                " AS given (scenario, repetition, place)",
                workspace_id,
                made.id,
                [name for name, _ in new.calls],
                [repetition for _, repetition in new.calls],
            )
            await connection.execute(
                "DELETE FROM simulations WHERE workspace_id = $1 AND id IN (SELECT id"
                " FROM simulations WHERE workspace_id = $1 AND finished_at IS NOT NULL"
                f" ORDER BY id DESC OFFSET {MOST_KEPT})",
                workspace_id,
            )
        return made

    async def get(self, workspace_id: str, simulation_id: str) -> Simulation | None:
        """The simulation, or None where the workspace has no such one."""
        row = await self._database.fetchrow(
            f"SELECT {_COLUMNS} FROM simulations WHERE workspace_id = $1 AND id = $2",
            workspace_id,
            simulation_id,
        )
        return Simulation(**row) if row else None

    async def list(
        self, workspace_id: str, *, agent_id: str | None, limit: int, before: str | None
    ) -> Sequence[Simulation]:
        """Simulations without their scenarios, newest first, from the one before id ``before`` on;
        those of one agent if it is named."""
        rows = await self._database.fetch(
            f"SELECT {_SHOWN} FROM simulations WHERE workspace_id = $1"
            " AND ($2::text IS NULL OR agent_id = $2) AND ($3::text IS NULL OR id < $3)"
            " ORDER BY id DESC LIMIT $4",
            workspace_id,
            agent_id,
            before,
            limit,
        )
        return [Simulation(**row) for row in rows]

    async def calls(
        self, workspace_id: str, simulation_id: str, *, reports: bool = True
    ) -> Sequence[SimulatedCall]:
        """Its calls in their order, without their ``reports`` where those are not wanted."""
        report = "report" if reports else "NULL::jsonb AS report"
        rows = await self._database.fetch(
            f"SELECT position, scenario, repetition, status, call_id, {report}"
            " FROM simulated_calls WHERE workspace_id = $1 AND simulation_id = $2"
            " ORDER BY position",
            workspace_id,
            simulation_id,
        )
        return [SimulatedCall(**row) for row in rows]

    async def cancel(self, workspace_id: str, simulation_id: str) -> Simulation | None:
        """Cancel: a queued one at once, a running one as soon as its process notices. One that has
        ended stays as it is. None where the workspace has no such one."""
        await self._database.execute(
            f"WITH over AS ({_CHANGE}, cancel_requested = true,"
            " status = CASE status WHEN 'queued' THEN 'cancelled' ELSE status END,"
            " finished_at = CASE status WHEN 'queued' THEN now() END"
            " WHERE workspace_id = $1 AND id = $2 AND status IN ('queued', 'running')"
            " RETURNING workspace_id, id, status)"
            f" {_NOT_MADE} AND over.status = 'cancelled'",
            workspace_id,
            simulation_id,
        )
        return await self.get(workspace_id, simulation_id)

    async def delete(self, workspace_id: str, simulation_id: str) -> bool:
        """Delete one that has ended; False where the workspace has no such one."""
        tag = await self._database.execute(
            "DELETE FROM simulations WHERE workspace_id = $1 AND id = $2"
            " AND finished_at IS NOT NULL",
            workspace_id,
            simulation_id,
        )
        return tag == "DELETE 1"

    async def delete_before(self, workspace_id: str, before: datetime, limit: int) -> int:
        """Delete up to ``limit`` that ended before a moment; returns how many."""
        tag = await self._database.execute(
            "DELETE FROM simulations WHERE workspace_id = $1 AND id IN (SELECT id"
            " FROM simulations WHERE workspace_id = $1 AND finished_at < $2 LIMIT $3)",
            workspace_id,
            before,
            limit,
        )
        return int(tag.removeprefix("DELETE "))

    # ------------------------------------------------------------------ by the process that has one

    async def call_began(self, claim: Claim, position: int, call_id: str) -> None:
        """A call is answered."""
        await self._database.execute(
            f"WITH mine AS ({_CHANGE} WHERE {_GUARDED} RETURNING id)"
            " UPDATE simulated_calls SET status = 'calling', call_id = $5 WHERE workspace_id = $1"
            " AND simulation_id IN (SELECT id FROM mine) AND position = $4",
            *claim.guard,
            position,
            call_id,
        )

    async def call_ended(
        self,
        claim: Claim,
        position: int,
        report: Mapping[str, Any],
        *,
        call_id: str | None,
        passed: bool,
        summary: Mapping[str, Any],
    ) -> None:
        """A call is over; ``summary``: the figures of all that are."""
        await self._database.execute(
            f"WITH mine AS ({_CHANGE}, summary = $8 WHERE {_GUARDED} RETURNING id)"
            " UPDATE simulated_calls SET status = $5, call_id = $6, report = $7"
            " WHERE workspace_id = $1 AND simulation_id IN (SELECT id FROM mine)"
            " AND position = $4",
            *claim.guard,
            position,
            "passed" if passed else "failed",
            call_id,
            dict(report),
            dict(summary),
        )

    async def renew(self, claim: Claim, lease: timedelta) -> bool | None:
        """Have it for another lease: whether it is to be cancelled; None if it is another's now, or
        has been deleted."""
        wanted: bool | None = await self._database.fetchval(
            f"UPDATE simulations SET leased_until = now() + $4 WHERE {_GUARDED}"
            " RETURNING cancel_requested",
            *claim.guard,
            lease,
        )
        return wanted

    async def release(self, claim: Claim) -> None:
        """Give it back to the queue; the attempt does not count."""
        await self._database.execute(
            f"WITH back AS ({_CHANGE}, status = 'queued', leased_until = NULL,"
            f" attempt = attempt - 1 WHERE {_GUARDED} RETURNING id)"
            " UPDATE simulated_calls SET status = 'waiting', call_id = NULL"
            " WHERE workspace_id = $1 AND simulation_id IN (SELECT id FROM back)"
            " AND status = 'calling'",
            *claim.guard,
        )

    async def finish(
        self, claim: Claim, status: str, error: Mapping[str, str] | None = None
    ) -> None:
        """It has ended (completed, failed or cancelled); calls that have not are not made."""
        await self._database.execute(
            f"WITH over AS ({_CHANGE}, status = $4, error = $5, finished_at = now()"
            f" WHERE {_GUARDED} RETURNING workspace_id, id) {_NOT_MADE}",
            *claim.guard,
            status,
            dict(error) if error else None,
        )

    # ------------------------------------------------------------------ of every workspace

    async def claim(self, lease: timedelta) -> Claim | None:
        """Take the oldest that waits, or whose process is gone, for a lease; None if there is none.
        Workspaces of which none is running come first."""
        await self._end_lost()
        row = await self._database.fetchrow(
            f"{_CHANGE}, status = 'running', attempt = attempt + 1, leased_until = now() + $1,"
            " started_at = coalesce(started_at, now()) WHERE id = (SELECT id FROM simulations s"
            " WHERE status = 'queued' OR (status = 'running' AND leased_until < now())"
            " ORDER BY EXISTS (SELECT 1 FROM simulations r WHERE r.workspace_id = s.workspace_id"
            " AND r.status = 'running' AND r.leased_until >= now()), id"
            " LIMIT 1 FOR UPDATE SKIP LOCKED)"
            f" RETURNING {_COLUMNS}, attempt,"
            " extract(epoch FROM clock_timestamp() - started_at)::float8 AS seconds",
            lease,
        )
        if row is None:
            return None
        found = dict(row)
        attempt, seconds = found.pop("attempt"), found.pop("seconds")
        simulation = Simulation(**found)
        await self._database.execute(
            "UPDATE simulated_calls SET status = 'waiting', call_id = NULL"
            " WHERE workspace_id = $1 AND simulation_id = $2 AND status = 'calling'",
            simulation.workspace_id,
            simulation.id,
        )
        calls = await self.calls(simulation.workspace_id, simulation.id)
        ended = {call.position: call.report for call in calls if call.report is not None}
        return Claim(simulation, attempt, max(0.0, seconds), ended)

    async def _end_lost(self) -> None:
        """End those whose process is gone and that were to be cancelled, or were tried enough."""
        await self._database.execute(
            f"WITH over AS ({_CHANGE}, finished_at = now(),"
            " status = CASE WHEN cancel_requested THEN 'cancelled' ELSE 'failed' END,"
            " error = CASE WHEN cancel_requested THEN NULL ELSE $1::jsonb END"
            " WHERE status = 'running' AND leased_until < now()"
            f" AND (cancel_requested OR attempt >= {MOST_ATTEMPTS}) RETURNING workspace_id, id)"
            f" {_NOT_MADE}",
            LOST,
        )

    async def latest(self, simulation_ids: Sequence[str]) -> Mapping[str, int]:
        """The revision of each that there is."""
        rows = await self._database.fetch(
            "SELECT id, revision FROM simulations WHERE id = ANY($1::text[])", list(simulation_ids)
        )
        return {row["id"]: row["revision"] for row in rows}
