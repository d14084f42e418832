"""Projects: names under which a workspace keeps its work apart."""

# ruff: noqa: S608 - what is put into queries are this file's own column names

from dataclasses import dataclass, fields
from datetime import datetime

from store.database import Queryable
from store.ids import new_id

_SETTABLE = ("name", "description")


@dataclass(frozen=True, slots=True)
class Project:
    """A project's record."""

    id: str
    workspace_id: str
    name: str
    description: str
    created_at: datetime
    updated_at: datetime


_COLUMNS = ", ".join(field.name for field in fields(Project))


class Projects:
    """Queries about projects."""

    def __init__(self, db: Queryable) -> None:
        self._db = db

    async def create(self, workspace_id: str, name: str, description: str = "") -> Project:
        """A new project."""
        row = await self._db.fetchrow(
            "INSERT INTO projects (id, workspace_id, name, description) VALUES ($1, $2, $3, $4)"
            f" RETURNING {_COLUMNS}",
            new_id("prj"),
            workspace_id,
            name,
            description,
        )
        return Project(**row)

    async def list(
        self, workspace_id: str, *, limit: int = 100, after: str | None = None
    ) -> list[Project]:
        """Projects, newest first, from the one after id ``after`` on."""
        rows = await self._db.fetch(
            f"SELECT {_COLUMNS} FROM projects WHERE workspace_id = $1"
            " AND ($2::text IS NULL OR id < $2) ORDER BY id DESC LIMIT $3",
            workspace_id,
            after,
            limit,
        )
        return [Project(**row) for row in rows]

    async def update(
        self, workspace_id: str, project_id: str, changes: dict[str, str]
    ) -> Project | None:
        """Change ``name`` or ``description`` (ValueError for others); None where the workspace
        has no such project."""
        if foreign := changes.keys() - set(_SETTABLE):
            raise ValueError(f"not a field of a project: {', '.join(sorted(foreign))}")
        sets = "".join(f", {name} = ${place}" for place, name in enumerate(changes, start=3))
        row = await self._db.fetchrow(
            f"UPDATE projects SET updated_at = now(){sets} WHERE workspace_id = $1 AND id = $2"
            f" RETURNING {_COLUMNS}",
            workspace_id,
            project_id,
            *changes.values(),
        )
        return Project(**row) if row else None

    async def delete(self, workspace_id: str, project_id: str) -> bool:
        """Delete; False where the workspace has no such project."""
        tag = await self._db.execute(
            "DELETE FROM projects WHERE workspace_id = $1 AND id = $2", workspace_id, project_id
        )
        return tag == "DELETE 1"
