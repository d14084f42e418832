"""Agents: what a workspace's calls talk to."""

# ruff: noqa: S608 - what is put into queries are this file's own column names

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any

from store.database import Queryable
from store.ids import new_id
from store.vault import Vault

_COLUMNS = (
    "id, workspace_id, name, system_prompt, model, tts_model, voice, language, is_default,"
    " created_at, updated_at, tools, recording"
)
DEFAULT_PROMPT = (
    "You are a friendly voice assistant on a live call. Answer in one or two short spoken"
    " sentences, without lists, markup or emoji."
)

_NEWEST_CALLS = 500


@dataclass(frozen=True, slots=True)
class NewAgent:
    """The fields of an agent that can be set; the defaults are those of the contract's
    AgentCreate."""

    name: str
    system_prompt: str = DEFAULT_PROMPT
    model: str = "verinova-stable"
    tts_model: str = "blab-stable"
    voice: str = "default"
    language: str | None = None
    tools: Sequence[Mapping[str, Any]] = ()
    """What it may use; their format belongs to sessions.tools."""
    recording: Mapping[str, Any] = field(default_factory=dict)
    """``enabled``, ``consent`` and ``keep_days`` of its calls' recordings; empty: none."""


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent's record. ``language`` None: whatever the caller speaks."""

    id: str
    workspace_id: str
    name: str
    system_prompt: str
    model: str
    tts_model: str
    voice: str
    language: str | None
    is_default: bool
    created_at: datetime
    updated_at: datetime
    tools: Sequence[Mapping[str, Any]] = ()
    recording: Mapping[str, Any] = field(default_factory=dict)


_SETTABLE = tuple(field.name for field in fields(NewAgent))


class Agents:
    """Queries about agents. ``vault`` seals the secrets of their tools; None: they are stored as
    they are."""

    def __init__(self, db: Queryable, vault: Vault | None = None) -> None:
        self._db = db
        self._vault = vault

    def _agent(self, row: Mapping[str, Any]) -> Agent:
        agent = Agent(**row)
        return (
            agent
            if self._vault is None
            else replace(agent, tools=self._vault.open_tools(agent.tools))
        )

    def _stored(self, name: str, value: Any) -> Any:
        """A field's value as its column takes it: a list for jsonb, its secrets sealed."""
        if name == "recording":
            return dict(value)
        if name != "tools":
            return value
        return list(value) if self._vault is None else self._vault.close_tools(value)

    async def create(self, workspace_id: str, agent: NewAgent) -> Agent:
        """A new agent."""
        row = await self._db.fetchrow(
            "INSERT INTO agents (id, workspace_id, name, system_prompt, model, tts_model, voice,"
            " language, tools, recording) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
            f" RETURNING {_COLUMNS}",
            new_id("agt"),
            workspace_id,
            *self._values(agent),
        )
        return self._agent(row)

    async def get(self, workspace_id: str, agent_id: str) -> Agent | None:
        """The agent, or None where the workspace has no such agent."""
        row = await self._db.fetchrow(
            f"SELECT {_COLUMNS} FROM agents WHERE workspace_id = $1 AND id = $2",
            workspace_id,
            agent_id,
        )
        return self._agent(row) if row else None

    async def of_any_workspace(self, agent_id: str) -> Agent | None:
        """The agent with its workspace, for the operator's own carrier, which has no other key.
        Never use it to answer a workspace's request."""
        row = await self._db.fetchrow(f"SELECT {_COLUMNS} FROM agents WHERE id = $1", agent_id)
        return self._agent(row) if row else None

    async def recently_called(self, limit: int) -> Sequence[Agent]:
        """Of any workspace, the agents of the newest calls, the latest first; for the node's own
        use. Never answer a workspace's request with it."""
        rows = await self._db.fetch(
            f"SELECT {_COLUMNS} FROM agents JOIN (SELECT agent_id, max(id) AS newest"
            "  FROM (SELECT agent_id, id FROM calls ORDER BY id DESC LIMIT $2) AS latest"
            "  WHERE agent_id IS NOT NULL GROUP BY agent_id) AS called ON agents.id = agent_id"
            " ORDER BY newest DESC LIMIT $1",
            limit,
            _NEWEST_CALLS,
        )
        return [self._agent(row) for row in rows]

    async def list(self, workspace_id: str, *, limit: int = 100, after: str = "") -> list[Agent]:
        """Agents, oldest first, from the one after id ``after`` on."""
        rows = await self._db.fetch(
            f"SELECT {_COLUMNS} FROM agents WHERE workspace_id = $1 AND id > $2"
            " ORDER BY id LIMIT $3",
            workspace_id,
            after,
            limit,
        )
        return [self._agent(row) for row in rows]

    async def update(
        self, workspace_id: str, agent_id: str, changes: Mapping[str, Any]
    ) -> Agent | None:
        """Change the named fields (those of NewAgent; ValueError for others).

        None where the workspace has no such agent."""
        if foreign := changes.keys() - set(_SETTABLE):
            raise ValueError(f"not a field of an agent: {', '.join(sorted(foreign))}")
        sets = "".join(f", {name} = ${place}" for place, name in enumerate(changes, start=3))
        row = await self._db.fetchrow(
            f"UPDATE agents SET updated_at = now(){sets} WHERE workspace_id = $1 AND id = $2"
            f" RETURNING {_COLUMNS}",
            workspace_id,
            agent_id,
            *[self._stored(name, value) for name, value in changes.items()],
        )
        return self._agent(row) if row else None

    async def delete(self, workspace_id: str, agent_id: str) -> bool:
        """Delete; its calls and turns stay. False where the workspace has no such agent."""
        tag = await self._db.execute(
            "DELETE FROM agents WHERE workspace_id = $1 AND id = $2", workspace_id, agent_id
        )
        return tag == "DELETE 1"

    async def ensure_default_agent(self, workspace_id: str) -> Agent:
        """The agent that answers if none was requested; created if it is missing."""
        row = await self._db.fetchrow(
            f"SELECT {_COLUMNS} FROM agents WHERE workspace_id = $1 AND is_default",
            workspace_id,
        )
        if row is None:
            made = NewAgent(name="Assistant")
            row = await self._db.fetchrow(
                "INSERT INTO agents (id, workspace_id, name, system_prompt, model, tts_model,"
                " voice, language, tools, recording, is_default)"
                " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, true)"
                " ON CONFLICT (workspace_id) WHERE is_default DO UPDATE SET is_default = true"
                f" RETURNING {_COLUMNS}",
                new_id("agt"),
                workspace_id,
                *self._values(made),
            )
        return self._agent(row)

    def _values(self, agent: NewAgent) -> tuple[Any, ...]:
        """In the order of _SETTABLE."""
        return tuple(self._stored(name, getattr(agent, name)) for name in _SETTABLE)
