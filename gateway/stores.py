"""Stores: where one process keeps things, opened before anything is built on them.

Postgres (connected, its tables up to date), Redis (connects when it is first used), the objects,
and the server's own secrets, which every node shares through the database.
"""

from dataclasses import dataclass

from store.bus import Bus
from store.database import Database
from store.migrate import migrate
from store.objects import ObjectStore
from store.server_secrets import ServerSecrets

from .services import ServiceUrls
from .settings import Settings, SettingsError

SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class Secrets:
    """What the server signs with; one for each purpose, so that none can stand for another."""

    addresses: bytes
    cursors: bytes
    tokens: bytes

    def __repr__(self) -> str:
        """Without the secrets."""
        return "Secrets()"


@dataclass(frozen=True, slots=True)
class Stores:
    """Open stores; ``close`` at the end."""

    database: Database
    bus: Bus
    objects: ObjectStore
    secrets: Secrets

    @classmethod
    async def open(cls, settings: Settings, urls: ServiceUrls) -> "Stores":
        """Connect and migrate; raises StoreError and SettingsError."""
        where = settings.objects_url or (settings.data_dir / "objects").as_uri()
        try:
            objects = ObjectStore.open(where)
        except ValueError as error:
            raise SettingsError([f"BLAB_OBJECTS_URL: {error}"]) from error
        database = Database(urls.database_url)
        try:
            await database.connect()
            await migrate(database)
            kept = ServerSecrets(database)
            secrets = Secrets(
                *[
                    await kept.get_or_create(name, SECRET_BYTES)
                    for name in ("addresses", "cursors", "tokens")
                ]
            )
        except BaseException:
            await database.close()
            raise
        return cls(database, Bus(urls.redis_url), objects, secrets)

    async def close(self) -> None:
        """Close every connection."""
        await self.bus.close()
        await self.database.close()
