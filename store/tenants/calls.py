"""Calls: who talked to which agent, when, how, and why it ended."""

# ruff: noqa: S608 - what is put into queries are this file's own column names

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from store.database import Queryable

_COLUMNS = (
    "id, workspace_id, agent_id, node_id, channel, config, started_at, ended_at, end_reason,"
    " created_at, updated_at"
)
NODE_LOST = "node_lost"
"""End reason of calls whose process died."""


@dataclass(frozen=True, slots=True)
class NewCall:
    """A call that begins; ``id`` is made by the session (``store.ids.new_id("call")``)."""

    id: str
    agent_id: str | None
    node_id: str
    channel: str
    config: dict[str, Any]
    started_at: datetime


@dataclass(frozen=True, slots=True)
class Call:
    """A call's record; ``ended_at`` and ``end_reason`` are None while it runs."""

    id: str
    workspace_id: str
    agent_id: str | None
    node_id: str
    channel: str
    config: dict[str, Any]
    started_at: datetime
    ended_at: datetime | None
    end_reason: str | None
    created_at: datetime
    updated_at: datetime


class Calls:
    """Queries about calls."""

    def __init__(self, db: Queryable) -> None:
        self._db = db

    async def open(self, workspace_id: str, call: NewCall) -> None:
        """Store a call that begins; harmless when repeated.

        An agent that is gone meanwhile leaves the call without one."""
        await self._db.execute(
            "INSERT INTO calls (id, workspace_id, agent_id, node_id, channel, config, started_at)"
            " SELECT $1, $2, (SELECT id FROM agents WHERE workspace_id = $2 AND id = $3 FOR SHARE),"
            " $4, $5, $6, $7 ON CONFLICT (id) DO NOTHING",
            call.id,
            workspace_id,
            call.agent_id,
            call.node_id,
            call.channel,
            call.config,
            call.started_at,
        )

    async def close(self, workspace_id: str, call_id: str, reason: str, ended_at: datetime) -> bool:
        """Note the end of a call; False where the workspace has no such open call."""
        tag = await self._db.execute(
            "UPDATE calls SET ended_at = greatest($4, started_at), end_reason = $3,"
            " updated_at = now() WHERE workspace_id = $1 AND id = $2 AND ended_at IS NULL",
            workspace_id,
            call_id,
            reason,
            ended_at,
        )
        return tag == "UPDATE 1"

    async def prolong(self, workspace_id: str, call_id: str, ended_at: datetime) -> bool:
        """Note that a call which had ended went on till then; False where the workspace has no
        such call."""
        tag = await self._db.execute(
            "UPDATE calls SET ended_at = greatest($3, ended_at), updated_at = now()"
            " WHERE workspace_id = $1 AND id = $2 AND ended_at IS NOT NULL",
            workspace_id,
            call_id,
            ended_at,
        )
        return tag == "UPDATE 1"

    async def get(self, workspace_id: str, call_id: str) -> Call | None:
        """The call, or None where the workspace has no such call."""
        row = await self._db.fetchrow(
            f"SELECT {_COLUMNS} FROM calls WHERE workspace_id = $1 AND id = $2",
            workspace_id,
            call_id,
        )
        return Call(**row) if row else None

    async def list(self, workspace_id: str, *, limit: int = 100, before: str = "~") -> list[Call]:
        """Calls, newest first, from the one before id ``before`` on."""
        rows = await self._db.fetch(
            f"SELECT {_COLUMNS} FROM calls WHERE workspace_id = $1 AND id < $2"
            " ORDER BY id DESC LIMIT $3",
            workspace_id,
            before,
            limit,
        )
        return [Call(**row) for row in rows]

    async def nodes_with_open_calls(self) -> set[str]:
        """Ids of the nodes that carry calls, of all workspaces, as far as the table knows."""
        rows = await self._db.fetch("SELECT DISTINCT node_id FROM calls WHERE ended_at IS NULL")
        return {row["node_id"] for row in rows}

    async def close_orphaned(self, node_id: str) -> int:
        """Close what a dead node left open, in all workspaces; returns how many.

        The end is that of the last stored turn, for nobody knows a better one."""
        tag = await self._db.execute(
            "UPDATE calls SET end_reason = $2, updated_at = now(), ended_at = greatest(started_at,"
            " (SELECT max(t.created_at) FROM turns t WHERE t.workspace_id = calls.workspace_id"
            " AND t.call_id = calls.id)) WHERE node_id = $1 AND ended_at IS NULL",
            node_id,
            NODE_LOST,
        )
        return int(tag.split()[-1])
