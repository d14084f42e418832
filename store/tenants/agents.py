"""Agents: what a workspace's calls talk to, and the versions of each.

Every change of an agent makes its next version, in the statement that changes it: two changes at a
time get numbers of their own, and none is lost. A change that changes nothing makes none. An agent
keeps its newest ``MAX_VERSIONS``: the next one deletes the oldest.
"""

# ruff: noqa: S608 - what is put into queries are this file's own column names

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any

from store.database import Database, storable
from store.ids import new_id
from store.vault import Vault

_COLUMNS = (
    "id, workspace_id, name, system_prompt, model, tts_model, voice, language, is_default,"
    " created_at, updated_at, tools, recording, greeting, turn_taking, version"
)
DEFAULT_PROMPT = (
    "You are a friendly voice assistant on a live call. Answer in one or two short spoken"
    " sentences, without lists, markup or emoji."
)

_NEWEST_CALLS = 500
_AT_ONCE = 25
"""Agents that are read together: to decode and unseal 500 with five tools each takes the event loop
57 ms."""
MAX_VERSIONS = 200
"""Versions that are kept of an agent: a program that changes it every hour has a week of them."""


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
    greeting: str = ""
    """What it says when a call begins; empty: it waits for the caller."""
    turn_taking: Mapping[str, Any] = field(default_factory=dict)
    """``eagerness``, ``interruptible`` and ``idle_ms``; empty: as calls have it."""


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
    greeting: str = ""
    turn_taking: Mapping[str, Any] = field(default_factory=dict)
    version: int = 1
    """The number of its newest version, which it is."""


@dataclass(frozen=True, slots=True)
class Change:
    """Who changes an agent, and why. ``kind``: api_key, user, page (an ephemeral key) or server;
    ``id``: of the key or the user; ``restores``: the number of the version that is made again."""

    kind: str = "server"
    id: str | None = None
    note: str = ""
    restores: int | None = None


@dataclass(frozen=True, slots=True)
class AgentVersion:
    """An agent as it was from one change to the next; nothing of it is ever changed. ``by``: as in
    Change, with the name of the key or the e-mail address of the user, where it is still known."""

    id: str
    number: int
    agent: NewAgent
    by_kind: str
    by_id: str | None
    by_name: str | None
    note: str
    restores: int | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Updated:
    """An agent after an update; ``changed``: it has a new version."""

    agent: Agent
    changed: bool


Revise = Callable[[Agent], Mapping[str, Any]]
"""The changes of an agent as it is while nobody else can change it; may raise."""
_SETTABLE = tuple(field.name for field in fields(NewAgent))
_DOCUMENTS = ("recording", "turn_taking")
_BY_SERVER = Change()
_CONFIG = "jsonb_build_object(" + ", ".join(f"'{name}', {name}" for name in _SETTABLE) + ")"
_KEEPING = (
    "kept AS (INSERT INTO agent_versions (id, workspace_id, agent_id, number, config, by_kind,"
    f" by_id, note, restores) SELECT $1, workspace_id, id, version, {_CONFIG}, $2, $3, $4, $5"
    f" FROM changed ON CONFLICT (agent_id, number) DO NOTHING) SELECT {_COLUMNS} FROM changed"
)
"""Behind a statement that returns an agent as ``changed``: stores it as a version."""
_INSERT = (
    f"INSERT INTO agents (id, workspace_id, is_default, {', '.join(_SETTABLE)})"
    f" VALUES ($6, $7, $8, {', '.join(f'${9 + place}' for place in range(len(_SETTABLE)))})"
)
_VERSIONS = (
    "SELECT v.id, v.number, v.config, v.by_kind, v.by_id, coalesce(k.name, u.email) AS by_name,"
    " v.note, v.restores, v.created_at FROM agent_versions v"
    " LEFT JOIN api_keys k ON v.by_kind = 'api_key' AND k.workspace_id = v.workspace_id"
    " AND k.id = v.by_id LEFT JOIN (memberships m JOIN users u ON u.id = m.user_id)"
    " ON v.by_kind = 'user' AND m.workspace_id = v.workspace_id AND m.user_id = v.by_id"
    " WHERE v.workspace_id = $1 AND v.agent_id = $2"
)


class Agents:
    """Queries about agents. ``vault`` seals the secrets of their tools; None: they are stored as
    they are."""

    def __init__(self, db: Database, vault: Vault | None = None) -> None:
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
        if name in _DOCUMENTS:
            return dict(value)
        if name != "tools":
            return value
        return list(value) if self._vault is None else self._vault.close_tools(value)

    async def create(
        self, workspace_id: str, agent: NewAgent, change: Change = _BY_SERVER
    ) -> Agent:
        """A new agent, of version 1."""
        row = await self._db.fetchrow(
            f"WITH changed AS ({_INSERT} RETURNING *), {_KEEPING}",
            *_kept_as(change),
            new_id("agt"),
            workspace_id,
            False,
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
        found: list[Agent] = []
        while (room := min(_AT_ONCE, limit - len(found))) > 0:
            rows = await self._db.fetch(
                f"SELECT {_COLUMNS} FROM agents WHERE workspace_id = $1 AND id > $2"
                " ORDER BY id LIMIT $3",
                workspace_id,
                after,
                room,
            )
            found += [self._agent(row) for row in rows]
            if len(rows) < room:
                break
            after = found[-1].id
        return found

    async def names(self, workspace_id: str, *, limit: int = 500) -> Sequence[tuple[str, str]]:
        """Id and name of the workspace's agents, oldest first."""
        rows = await self._db.fetch(
            "SELECT id, name FROM agents WHERE workspace_id = $1 ORDER BY id LIMIT $2",
            workspace_id,
            limit,
        )
        return [(row["id"], row["name"]) for row in rows]

    async def update(
        self,
        workspace_id: str,
        agent_id: str,
        changes: Mapping[str, Any] | Revise,
        change: Change = _BY_SERVER,
    ) -> Updated | None:
        """Change the named fields (those of NewAgent; ValueError for others): the next version,
        unless all of them are so already.

        None where the workspace has no such agent."""
        async with self._db.transaction() as connection:
            row = await connection.fetchrow(
                f"SELECT {_COLUMNS} FROM agents WHERE workspace_id = $1 AND id = $2"
                " FOR NO KEY UPDATE",
                workspace_id,
                agent_id,
            )
            if row is None:
                return None
            agent = self._agent(row)
            wanted = changes(agent) if callable(changes) else changes
            if foreign := wanted.keys() - set(_SETTABLE):
                raise ValueError(f"not a field of an agent: {', '.join(sorted(foreign))}")
            news = {name: value for name, value in wanted.items() if _differs(agent, name, value)}
            if not news:
                return Updated(agent, changed=False)
            sets = "".join(f", {name} = ${place}" for place, name in enumerate(news, start=8))
            row = await connection.fetchrow(
                "WITH changed AS (UPDATE agents SET updated_at = now(), version = version + 1"
                f"{sets} WHERE workspace_id = $6 AND id = $7 RETURNING *), {_KEEPING}",
                *_kept_as(change),
                workspace_id,
                agent_id,
                *[self._stored(name, value) for name, value in news.items()],
            )
            await connection.execute(
                "DELETE FROM agent_versions WHERE workspace_id = $1 AND agent_id = $2"
                " AND number <= $3",
                workspace_id,
                agent_id,
                row["version"] - MAX_VERSIONS,
            )
        return Updated(self._agent(row), changed=True)

    async def versions(
        self, workspace_id: str, agent_id: str, *, limit: int = 100, before: str | None = None
    ) -> Sequence[AgentVersion]:
        """The versions of an agent, newest first, from the one before version id ``before`` on;
        none where the workspace has no such agent."""
        rows = await self._db.fetch(
            f"{_VERSIONS} AND ($3::text IS NULL OR v.number < (SELECT b.number FROM agent_versions"
            " b WHERE b.workspace_id = $1 AND b.agent_id = $2 AND b.id = $3))"
            " ORDER BY v.number DESC LIMIT $4",
            workspace_id,
            agent_id,
            before,
            limit,
        )
        return [self._version(row) for row in rows]

    async def version(self, workspace_id: str, agent_id: str, number: int) -> AgentVersion | None:
        """One version; None where the workspace has no such agent, or the agent no such version."""
        row = await self._db.fetchrow(
            f"{_VERSIONS} AND v.number = $3", workspace_id, agent_id, number
        )
        return self._version(row) if row else None

    async def as_of(self, workspace_id: str, agent_id: str, number: int) -> Agent | None:
        """The agent as it was in a version; None where the workspace has no such agent, or the
        agent no such version."""
        agent = await self.get(workspace_id, agent_id)
        version = await self.version(workspace_id, agent_id, number)
        if agent is None or version is None:
            return None
        config = {name: getattr(version.agent, name) for name in _SETTABLE}
        return replace(agent, version=number, **config)

    async def delete(self, workspace_id: str, agent_id: str) -> bool:
        """Delete, with its versions; its calls and turns stay. False where the workspace has no
        such agent."""
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
                f"WITH changed AS ({_INSERT} ON CONFLICT (workspace_id) WHERE is_default"
                f" DO UPDATE SET is_default = true RETURNING *), {_KEEPING}",
                *_kept_as(_BY_SERVER),
                new_id("agt"),
                workspace_id,
                True,
                *self._values(made),
            )
        return self._agent(row)

    def _values(self, agent: NewAgent) -> tuple[Any, ...]:
        """In the order of _SETTABLE."""
        return tuple(self._stored(name, getattr(agent, name)) for name in _SETTABLE)

    def _version(self, row: Mapping[str, Any]) -> AgentVersion:
        given = dict(row)
        config = given.pop("config")
        if self._vault is not None:
            config = config | {"tools": self._vault.open_tools(config["tools"])}
        return AgentVersion(agent=NewAgent(**config), **given)


def _kept_as(change: Change) -> tuple[Any, ...]:
    """The first five arguments of a statement with ``_KEEPING``."""
    return new_id("ver"), change.kind, change.id, storable(change.note), change.restores


def _differs(agent: Agent, name: str, value: Any) -> bool:
    current = getattr(agent, name)
    if name == "tools":
        return [dict(tool) for tool in current] != [dict(tool) for tool in value]
    return bool(current != value)
