"""ServerSecrets: the secrets with which the server recognises what it has signed.

A secret is generated when it is first needed and is the same for every node and every later start.
It never leaves the server and appears in no log.
"""

import secrets

from .database import Queryable


class ServerSecrets:
    """Queries about the server's secrets."""

    def __init__(self, db: Queryable) -> None:
        self._db = db

    async def get_or_create(self, name: str, size: int) -> bytes:
        """The secret of that name; generated from ``size`` random bytes if there is none yet. Nodes
        that ask at the same moment get the same one."""
        await self._db.execute(
            "INSERT INTO server_secrets (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            name,
            secrets.token_bytes(size),
        )
        value = await self._db.fetchval("SELECT value FROM server_secrets WHERE name = $1", name)
        return bytes(value)
