"""Users: people who sign in. They belong to workspaces through memberships."""

# ruff: noqa: S608 - what is put into queries are this file's own column names

from dataclasses import dataclass
from datetime import datetime

from store.database import Queryable
from store.ids import new_id

_COLUMNS = "id, email, name, password_hash, created_at, updated_at"


@dataclass(frozen=True, slots=True)
class User:
    """A person. ``password_hash`` None: cannot sign in with a password."""

    id: str
    email: str
    name: str
    password_hash: str | None
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
            f" RETURNING {_COLUMNS}",
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
            f" ON CONFLICT (lower(email)) DO NOTHING RETURNING {_COLUMNS}",
            new_id("usr"),
            email,
            name,
            password_hash,
        )
        return User(**row) if row else None

    async def set_password_hash(self, user_id: str, old: str, new: str) -> None:
        """Replace a hash, if it is still the ``old`` one."""
        await self._db.execute(
            "UPDATE users SET password_hash = $3, updated_at = now()"
            " WHERE id = $1 AND password_hash = $2",
            user_id,
            old,
            new,
        )

    async def get(self, user_id: str) -> User | None:
        """The user, or None."""
        row = await self._db.fetchrow(f"SELECT {_COLUMNS} FROM users WHERE id = $1", user_id)
        return User(**row) if row else None

    async def find_by_email(self, email: str) -> User | None:
        """The user with that address in any case, or None."""
        row = await self._db.fetchrow(
            f"SELECT {_COLUMNS} FROM users WHERE lower(email) = lower($1)",
            email,
        )
        return User(**row) if row else None
