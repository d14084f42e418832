"""Workspaces, the users in them, and the one workspace of a machine without accounts."""

from dataclasses import dataclass
from datetime import datetime

from store.database import Queryable
from store.ids import new_id

LOCAL_WORKSPACE = "ws_" + "0" * 26
"""Id of the workspace of embedded mode; fixed, so that two nodes may create it at once."""
LOCAL_USER = "usr_" + "0" * 26
LOCAL_EMAIL = "local@localhost"


@dataclass(frozen=True, slots=True)
class Workspace:
    """A tenant: everything else belongs to exactly one."""

    id: str
    name: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Membership:
    """A workspace as a user sees it. ``role``: ``owner``, ``admin`` or ``member``."""

    workspace_id: str
    name: str
    role: str


class Workspaces:
    """Queries about workspaces."""

    def __init__(self, db: Queryable) -> None:
        self._db = db

    async def create(self, name: str, owner_id: str) -> Workspace:
        """A new workspace owned by a user; raises StoreRefused where there is no such user."""
        row = await self._db.fetchrow(
            "WITH made AS (INSERT INTO workspaces (id, name) VALUES ($1, $2) RETURNING *), owner AS"
            " (INSERT INTO memberships (workspace_id, user_id, role)"
            " SELECT id, $3, 'owner' FROM made)"
            " SELECT id, name, created_at, updated_at FROM made",
            new_id("ws"),
            name,
            owner_id,
        )
        return Workspace(**row)

    async def get(self, workspace_id: str) -> Workspace | None:
        """The workspace, or None."""
        row = await self._db.fetchrow(
            "SELECT id, name, created_at, updated_at FROM workspaces WHERE id = $1", workspace_id
        )
        return Workspace(**row) if row else None

    async def list_of_user(self, user_id: str) -> list[Workspace]:
        """The workspaces a user is a member of, oldest first."""
        rows = await self._db.fetch(
            "SELECT w.id, w.name, w.created_at, w.updated_at FROM workspaces w"
            " JOIN memberships m ON m.workspace_id = w.id WHERE m.user_id = $1 ORDER BY w.id",
            user_id,
        )
        return [Workspace(**row) for row in rows]

    async def memberships(self, user_id: str) -> list[Membership]:
        """A user's memberships, oldest first."""
        rows = await self._db.fetch(
            "SELECT m.workspace_id, w.name, m.role FROM memberships m"
            " JOIN workspaces w ON w.id = m.workspace_id WHERE m.user_id = $1"
            " ORDER BY m.created_at, m.workspace_id",
            user_id,
        )
        return [Membership(**row) for row in rows]

    async def role(self, workspace_id: str, user_id: str) -> str | None:
        """``owner``, ``admin``, ``member``, or None where the user is not a member."""
        role = await self._db.fetchval(
            "SELECT role FROM memberships WHERE workspace_id = $1 AND user_id = $2",
            workspace_id,
            user_id,
        )
        return str(role) if role else None

    async def ensure_local_workspace(self) -> Workspace:
        """The one workspace (with its user) of embedded mode; created if it is missing."""
        await self._db.execute(
            "INSERT INTO users (id, email, name) VALUES ($1, $2, 'Local user')"
            " ON CONFLICT DO NOTHING",
            LOCAL_USER,
            LOCAL_EMAIL,
        )
        await self._db.execute(
            "INSERT INTO workspaces (id, name) VALUES ($1, 'Local workspace')"
            " ON CONFLICT DO NOTHING",
            LOCAL_WORKSPACE,
        )
        await self._db.execute(
            "INSERT INTO memberships (workspace_id, user_id, role) VALUES ($1, $2, 'owner')"
            " ON CONFLICT DO NOTHING",
            LOCAL_WORKSPACE,
            LOCAL_USER,
        )
        workspace = await self.get(LOCAL_WORKSPACE)
        if workspace is None:
            raise LookupError("the local workspace vanished while it was made")
        return workspace
