"""Turns: what was said, what was answered, what of that was heard, and where the time went."""

# ruff: noqa: S608 - what is put into queries are this file's own column names

from dataclasses import dataclass, fields
from datetime import datetime

from store.database import Queryable, storable


@dataclass(frozen=True, slots=True)
class NewTurn:
    """One finished turn; ``id`` from ``store.ids.new_id("turn")``. Latencies in ms, None where
    the stage did not happen. ``status``: completed, cancelled, incomplete or failed.
    ``audio_key``: the object that holds the reply's audio, where it was kept."""

    id: str
    number: int
    user_text: str
    reply_text: str
    heard_text: str
    interrupted: bool
    status: str
    endpointing_ms: int | None
    stt_ms: int | None
    llm_ms: int | None
    tts_ms: int | None
    gateway_ms: int | None
    total_ms: int | None
    prompt_tokens: int
    completion_tokens: int
    created_at: datetime
    audio_key: str | None = None

    def __repr__(self) -> str:
        """Without texts: a row may end up in a log."""
        return f"NewTurn(id={self.id!r}, number={self.number})"


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn's record; fields as in NewTurn."""

    id: str
    workspace_id: str
    call_id: str
    agent_id: str | None
    number: int
    user_text: str
    reply_text: str
    heard_text: str
    interrupted: bool
    status: str
    endpointing_ms: int | None
    stt_ms: int | None
    llm_ms: int | None
    tts_ms: int | None
    gateway_ms: int | None
    total_ms: int | None
    prompt_tokens: int
    completion_tokens: int
    created_at: datetime
    updated_at: datetime
    audio_key: str | None = None

    def __repr__(self) -> str:
        """Without texts: a row may end up in a log."""
        return f"Turn(id={self.id!r}, number={self.number})"


_GIVEN = tuple(field.name for field in fields(NewTurn))
NEWEST = "~"
"""Sorts behind every id: a list before it begins with the newest turn."""
_COLUMNS = ", ".join(field.name for field in fields(Turn))
_INSERT = (
    f"INSERT INTO turns (workspace_id, call_id, agent_id, {', '.join(_GIVEN)})"
    " SELECT workspace_id, id, agent_id, "
    + ", ".join(f"${place}" for place in range(3, 3 + len(_GIVEN)))
    + " FROM calls WHERE workspace_id = $1 AND id = $2 ON CONFLICT (id) DO NOTHING"
)


class Turns:
    """Queries about turns."""

    def __init__(self, db: Queryable) -> None:
        self._db = db

    async def insert(self, workspace_id: str, call_id: str, turn: NewTurn) -> bool:
        """Store a turn of a call; may be repeated. False where it is stored already, or there is no
        such call."""
        values = [getattr(turn, name) for name in _GIVEN]
        texts = [storable(value) if isinstance(value, str) else value for value in values]
        tag = await self._db.execute(_INSERT, workspace_id, call_id, *texts)
        return tag == "INSERT 0 1"

    async def list_of_call(
        self, workspace_id: str, call_id: str, *, limit: int = 1000
    ) -> list[Turn]:
        """The turns of a call in order; empty where the workspace has no such call."""
        rows = await self._db.fetch(
            f"SELECT {_COLUMNS} FROM turns WHERE workspace_id = $1 AND call_id = $2"
            " ORDER BY number, id LIMIT $3",
            workspace_id,
            call_id,
            limit,
        )
        return [Turn(**row) for row in rows]

    async def latest_of_call(self, workspace_id: str, call_id: str, limit: int) -> list[Turn]:
        """The last turns of a call, in order; empty where the workspace has no such call."""
        rows = await self._db.fetch(
            f"SELECT {_COLUMNS} FROM turns WHERE workspace_id = $1 AND call_id = $2"
            " ORDER BY number DESC, id DESC LIMIT $3",
            workspace_id,
            call_id,
            limit,
        )
        return [Turn(**row) for row in reversed(rows)]

    async def list_of_agent(
        self, workspace_id: str, agent_id: str, *, limit: int = 100, before: str = NEWEST
    ) -> list[Turn]:
        """An agent's turns over all calls, newest first, from the one before id ``before`` on."""
        rows = await self._db.fetch(
            f"SELECT {_COLUMNS} FROM turns WHERE workspace_id = $1 AND agent_id = $2"
            " AND id < $3 ORDER BY id DESC LIMIT $4",
            workspace_id,
            agent_id,
            before,
            limit,
        )
        return [Turn(**row) for row in rows]
