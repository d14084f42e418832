"""Accounts: people who sign in, the workspaces they belong to, and the API keys of those.

Users belong to workspaces through memberships. A machine without accounts has one user and one
workspace, the local ones. Of an API key only the digest and a prefix for display are stored.
"""

# ruff: noqa: S608 - what is put into queries are this file's own column names

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from store.database import Queryable
from store.ids import new_id

_USER_COLUMNS = "id, email, name, password_hash, password_number, created_at, updated_at"


@dataclass(frozen=True, slots=True)
class User:
    """A person. ``password_hash`` None: cannot sign in with a password. ``password_number``: of
    the password they have now; each new one gets the next number."""

    id: str
    email: str
    name: str
    password_hash: str | None
    password_number: int
    created_at: datetime
    updated_at: datetime

    def __repr__(self) -> str:
        """Without hash and address: a row may end up in a log."""
        return f"User(id={self.id!r})"


class Users:
    """Queries about users."""

    def __init__(self, db: Queryable) -> None:
        self._db = db

    async def create(self, email: str, name: str, password_hash: str | None) -> User:
        """A new user; raises StoreRefused where the address (in any case) is taken."""
        row = await self._db.fetchrow(
            "INSERT INTO users (id, email, name, password_hash) VALUES ($1, $2, $3, $4)"
            f" RETURNING {_USER_COLUMNS}",
            new_id("usr"),
            email,
            name,
            password_hash,
        )
        return User(**row)

    async def register(self, email: str, name: str, password_hash: str) -> User | None:
        """A new user; None where the address (in any case) is taken."""
        row = await self._db.fetchrow(
            "INSERT INTO users (id, email, name, password_hash) VALUES ($1, $2, $3, $4)"
            f" ON CONFLICT (lower(email)) DO NOTHING RETURNING {_USER_COLUMNS}",
            new_id("usr"),
            email,
            name,
            password_hash,
        )
        return User(**row) if row else None

    async def set_password_hash(self, user_id: str, old: str, new: str) -> None:
        """Replace the hash of the same password, if it is still the ``old`` one."""
        await self._db.execute(
            "UPDATE users SET password_hash = $3, updated_at = now()"
            " WHERE id = $1 AND password_hash = $2",
            user_id,
            old,
            new,
        )

    async def replace_password_hash(self, user_id: str, new: str) -> None:
        """Give the user a new password, which ends every sign-in made with the one before."""
        await self._db.execute(
            "UPDATE users SET password_hash = $2, password_number = password_number + 1,"
            " updated_at = now() WHERE id = $1",
            user_id,
            new,
        )

    async def get(self, user_id: str) -> User | None:
        """The user, or None."""
        row = await self._db.fetchrow(f"SELECT {_USER_COLUMNS} FROM users WHERE id = $1", user_id)
        return User(**row) if row else None

    async def find_by_email(self, email: str) -> User | None:
        """The user with that address in any case, or None."""
        row = await self._db.fetchrow(
            f"SELECT {_USER_COLUMNS} FROM users WHERE lower(email) = lower($1)",
            email,
        )
        return User(**row) if row else None


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


@dataclass(frozen=True, slots=True)
class Standing:
    """What a user may do now. ``password_number``: of the password that counts; ``memberships``:
    oldest first, at least one."""

    password_number: int
    memberships: Sequence[Membership]


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

    async def standing(self, user_id: str) -> Standing | None:
        """What a user may do; None where they are a member of no workspace, or there is no such
        user."""
        rows = await self._db.fetch(
            "SELECT u.password_number, m.workspace_id, w.name, m.role FROM memberships m"
            " JOIN users u ON u.id = m.user_id JOIN workspaces w ON w.id = m.workspace_id"
            " WHERE m.user_id = $1 ORDER BY m.created_at, m.workspace_id",
            user_id,
        )
        mine = [Membership(row["workspace_id"], row["name"], row["role"]) for row in rows]
        return Standing(rows[0]["password_number"], mine) if rows else None

    async def memberships(self, user_id: str) -> Sequence[Membership]:
        """A user's memberships, oldest first."""
        standing = await self.standing(user_id)
        return standing.memberships if standing is not None else []

    async def join(self, workspace_id: str, user_id: str, role: str) -> None:
        """Make a user a member, unless they are; raises StoreRefused where either is absent."""
        await self._db.execute(
            "INSERT INTO memberships (workspace_id, user_id, role) VALUES ($1, $2, $3)"
            " ON CONFLICT DO NOTHING",
            workspace_id,
            user_id,
            role,
        )

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


_KEY_COLUMNS = (
    "id, workspace_id, created_by, name, prefix, scopes, expires_at, last_used_at, revoked_at,"
    " created_at, updated_at"
)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key's record. ``prefix`` is what may be shown."""

    id: str
    workspace_id: str
    created_by: str | None
    name: str
    prefix: str
    scopes: list[str]
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """A new key; ``digest`` is the SHA-256 of its text (32 bytes)."""

    name: str
    prefix: str
    digest: bytes
    scopes: Sequence[str]
    expires_at: datetime | None = None
    created_by: str | None = None


class ApiKeys:
    """Queries about API keys."""

    def __init__(self, db: Queryable) -> None:
        self._db = db

    async def insert(self, workspace_id: str, key: NewApiKey) -> ApiKey:
        """Store a new key."""
        row = await self._db.fetchrow(
            "INSERT INTO api_keys (id, workspace_id, created_by, name, prefix, digest, scopes,"
            f" expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING {_KEY_COLUMNS}",
            new_id("key"),
            workspace_id,
            key.created_by,
            key.name,
            key.prefix,
            key.digest,
            list(key.scopes),
            key.expires_at,
        )
        return ApiKey(**row)

    async def find_by_digest(self, digest: bytes) -> ApiKey | None:
        """The live key (neither revoked nor expired) with that digest, of any workspace. The only
        query here without a workspace, because it is what finds the workspace."""
        row = await self._db.fetchrow(
            f"SELECT {_KEY_COLUMNS} FROM api_keys WHERE digest = $1 AND revoked_at IS NULL"
            " AND (expires_at IS NULL OR expires_at > now())",
            digest,
        )
        return ApiKey(**row) if row else None

    async def list(self, workspace_id: str, *, limit: int = 100, after: str = "") -> list[ApiKey]:
        """Keys not revoked, oldest first, from the one after id ``after`` on."""
        rows = await self._db.fetch(
            f"SELECT {_KEY_COLUMNS} FROM api_keys WHERE workspace_id = $1 AND id > $2"
            " AND revoked_at IS NULL ORDER BY id LIMIT $3",
            workspace_id,
            after,
            limit,
        )
        return [ApiKey(**row) for row in rows]

    async def get(self, workspace_id: str, key_id: str) -> ApiKey | None:
        """The key, None where it is revoked or the workspace has no such key."""
        row = await self._db.fetchrow(
            f"SELECT {_KEY_COLUMNS} FROM api_keys WHERE workspace_id = $1 AND id = $2"
            " AND revoked_at IS NULL",
            workspace_id,
            key_id,
        )
        return ApiKey(**row) if row else None

    async def count(self, workspace_id: str) -> int:
        """The number of keys that are not revoked, including expired ones."""
        return int(
            await self._db.fetchval(
                "SELECT count(*) FROM api_keys WHERE workspace_id = $1 AND revoked_at IS NULL",
                workspace_id,
            )
        )

    async def revoke(self, workspace_id: str, key_id: str) -> ApiKey | None:
        """Revoke a key; None where the workspace has no such live key."""
        row = await self._db.fetchrow(
            "UPDATE api_keys SET revoked_at = now(), updated_at = now() WHERE workspace_id = $1"
            f" AND id = $2 AND revoked_at IS NULL RETURNING {_KEY_COLUMNS}",
            workspace_id,
            key_id,
        )
        return ApiKey(**row) if row else None

    async def touch(self, workspace_id: str, key_id: str) -> None:
        """Store that a key was used; writes at most once a minute."""
        await self._db.execute(
            "UPDATE api_keys SET last_used_at = now() WHERE workspace_id = $1 AND id = $2"
            " AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')",
            workspace_id,
            key_id,
        )
