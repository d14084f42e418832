"""The stores of one process, opened before anything is built on them.

Postgres (connected, its tables up to date), Redis (connects at first use), the objects, the
server's own secrets, which all nodes share through the database, and the key that seals customers'
secrets, which is kept outside of it.
"""

from dataclasses import dataclass

from store.bus import Bus
from store.database import USUAL_LIMITS, Database, DatabaseLimits
from store.migrate import migrate
from store.objects import ObjectStore
from store.tenants.webhooks import Webhooks
from store.vault import ServerSecrets, Vault

from .services import ServiceUrls
from .settings import Settings, SettingsError

SECRET_BYTES = 32
KEY_FILE = "secret.key"
_SECRETS = ("addresses", "cursors", "tokens", "callers", "resumption", "lines")
"""As in ``Secrets``."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """What the server signs with; one secret per purpose, so that none can be used for another."""

    addresses: bytes
    cursors: bytes
    tokens: bytes
    callers: bytes
    resumption: bytes
    lines: bytes

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
    vault: Vault

    @classmethod
    async def open(
        cls, settings: Settings, urls: ServiceUrls, limits: DatabaseLimits = USUAL_LIMITS
    ) -> "Stores":
        """Connect and migrate; raises StoreError and SettingsError."""
        where = settings.objects_url or (settings.data_dir / "objects").as_uri()
        try:
            objects = ObjectStore.open(where)
        except ValueError as error:
            raise SettingsError([f"BLAB_OBJECTS_URL: {error}"]) from error
        vault = _vault(settings)
        database = Database(urls.database_url, limits)
        try:
            await database.connect()
            await migrate(database)
            await Webhooks(database, vault).seal_all()
            kept = ServerSecrets(database)
            secrets = Secrets(*[await kept.get_or_create(name, SECRET_BYTES) for name in _SECRETS])
        except BaseException:
            await database.close()
            raise
        return cls(database, Bus(urls.redis_url), objects, secrets, vault)

    async def close(self) -> None:
        """Close every connection."""
        await self.bus.close()
        await self.database.close()


def _vault(settings: Settings) -> Vault:
    if settings.secret_key is not None:
        return Vault(settings.secret_key.encode())
    file = settings.data_dir / KEY_FILE
    try:
        return Vault.kept_in(file)
    except OSError as error:
        raise SettingsError(
            [f"BLAB_SECRET_KEY: not set, and {file} cannot be used: {error.strerror}"]
        ) from error
