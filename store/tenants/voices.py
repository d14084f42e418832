"""Voices of a workspace, cloned from samples; builtin ones belong to the engines.

A voice stores what the engine needs to speak with it, and who confirmed its owner's consent and
when. Several voices may have the same sample.
"""

# ruff: noqa: S608 - what is put into queries are this file's own column names

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from store.database import Queryable
from store.errors import StoreRefused
from store.ids import new_id


@dataclass(frozen=True, slots=True)
class NewVoice:
    """A new voice. ``provider_voice_id``: the engine's own name for it; ``recipe``: JSON, what the
    engine needs; ``similarity``: cosine to the sample; ``consent_by``: the user or API key that
    confirmed consent; ``job_id``: the job that makes it."""

    name: str
    source_type: str
    provider_voice_id: str
    model: str
    language: str | None
    recipe: dict[str, Any]
    similarity: float | None
    sample_key: str | None
    preview_key: str | None
    consent_by: str
    consent_at: datetime
    job_id: str | None


@dataclass(frozen=True, slots=True)
class Voice:
    """A voice's record; fields as in NewVoice."""

    id: str
    workspace_id: str
    name: str
    source_type: str
    provider_voice_id: str
    model: str
    language: str | None
    recipe: dict[str, Any]
    similarity: float | None
    sample_key: str | None
    preview_key: str | None
    consent_by: str
    consent_at: datetime
    job_id: str | None
    created_at: datetime
    updated_at: datetime


_GIVEN = tuple(field.name for field in fields(NewVoice))
_COLUMNS = ", ".join(field.name for field in fields(Voice))
_PLACES = ", ".join(f"${place}" for place in range(3, 3 + len(_GIVEN)))
_CHANGES = ", ".join(f"{name} = excluded.{name}" for name in _GIVEN)


class Voices:
    """Queries about voices."""

    def __init__(self, db: Queryable) -> None:
        self._db = db

    async def put(self, workspace_id: str, voice: NewVoice) -> Voice:
        """Store a voice, replacing the one that its job made before (which keeps its id). Raises
        StoreRefused where the job, the sample or the preview is gone."""
        row = await self._db.fetchrow(
            f"INSERT INTO voices AS v (id, workspace_id, {', '.join(_GIVEN)})"
            f" VALUES ($1, $2, {_PLACES})"
            f" ON CONFLICT (job_id) DO UPDATE SET {_CHANGES}, updated_at = now()"
            f" WHERE v.workspace_id = excluded.workspace_id RETURNING {_COLUMNS}",
            new_id("voi"),
            workspace_id,
            *[getattr(voice, name) for name in _GIVEN],
        )
        if row is None:
            raise StoreRefused("the job is another workspace's")
        return Voice(**row)

    async def get(self, workspace_id: str, voice_id: str) -> Voice | None:
        """The voice, or None where the workspace has no such voice."""
        row = await self._db.fetchrow(
            f"SELECT {_COLUMNS} FROM voices WHERE workspace_id = $1 AND id = $2",
            workspace_id,
            voice_id,
        )
        return Voice(**row) if row else None

    async def of_job(self, workspace_id: str, job_id: str) -> Voice | None:
        """The voice that a job made, if it made one."""
        row = await self._db.fetchrow(
            f"SELECT {_COLUMNS} FROM voices WHERE workspace_id = $1 AND job_id = $2",
            workspace_id,
            job_id,
        )
        return Voice(**row) if row else None

    async def list(
        self,
        workspace_id: str,
        *,
        source: str | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> list[Voice]:
        """Voices, newest first, from the one below id ``after`` on; ``source``: of that type."""
        rows = await self._db.fetch(
            f"SELECT {_COLUMNS} FROM voices WHERE workspace_id = $1"
            " AND ($2::text IS NULL OR source_type = $2) AND ($3::text IS NULL OR id < $3)"
            " ORDER BY id DESC LIMIT $4",
            workspace_id,
            source,
            after,
            limit,
        )
        return [Voice(**row) for row in rows]

    async def delete(self, workspace_id: str, voice_id: str) -> Voice | None:
        """Delete; returns the voice as it was, None where the workspace has no such voice."""
        row = await self._db.fetchrow(
            f"DELETE FROM voices WHERE workspace_id = $1 AND id = $2 RETURNING {_COLUMNS}",
            workspace_id,
            voice_id,
        )
        return Voice(**row) if row else None

    async def needs_sample(self, workspace_id: str, key: str) -> bool:
        """Whether a voice was cloned from the sample, or a job is going to."""
        return bool(
            await self._db.fetchval(
                "SELECT EXISTS (SELECT 1 FROM voices WHERE workspace_id = $1 AND sample_key = $2)"
                " OR EXISTS (SELECT 1 FROM jobs WHERE workspace_id = $1 AND type = 'voice_clone'"
                " AND status IN ('queued', 'running') AND input->>'sampleKey' = $2)",
                workspace_id,
                key,
            )
        )
