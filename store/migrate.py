"""Applies ``migrations/NNNN_name.sql`` in order, once each, whichever node starts first.

Own code, because the maintained runners (yoyo, Alembic, Flyway) drive other drivers or another
language, and a page of code is enough: everything happens under one advisory lock; each file in its
own transaction, together with its record (number, name, SHA-256); a file that changed after it was
applied, or a database that is ahead of this code, is refused. There is no way back: restore a
backup, or write the next migration.
"""

import hashlib
import logging
import re
from dataclasses import dataclass
from pathlib import Path

from .database import Database
from .errors import MigrationError

logger = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).with_name("migrations")
LOCK_KEY = 0x626C6162
"""``blab`` in ASCII; the key of the advisory lock."""
LOCK_SECONDS = 60
_NAME = re.compile(r"(\d{4})_(\w+)\.sql")


@dataclass(frozen=True, slots=True)
class Migration:
    """One file."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 (hex) of the text with Unix line ends."""
        return hashlib.sha256(self.sql.replace("\r\n", "\n").encode()).hexdigest()


def read_migrations(directory: Path = MIGRATIONS) -> list[Migration]:
    """The files in order; raises MigrationError where the numbers are not 1, 2, 3, …"""
    found = []
    for path in sorted(directory.glob("*.sql")):
        name = _NAME.fullmatch(path.name)
        if name is None:
            raise MigrationError(f"{path.name}: a migration is named NNNN_words.sql")
        found.append(Migration(int(name[1]), name[2], path.read_text(encoding="utf-8")))
    if [migration.version for migration in found] != list(range(1, len(found) + 1)):
        raise MigrationError(f"the migrations in {directory} are not numbered 0001, 0002, …")
    return found


async def migrate(database: Database, migrations: list[Migration] | None = None) -> int:
    """Bring the schema up to date; returns how many files were applied.

    Raises MigrationError, or what Database raises; a failed file leaves nothing behind."""
    wanted = read_migrations() if migrations is None else migrations
    async with database.connection() as connection:
        await connection.execute(f"SET lock_timeout = '{LOCK_SECONDS}s'")
        await connection.execute("SET statement_timeout = 0")
        # the driver's own deadline must outlast the wait
        await connection.execute("SELECT pg_advisory_lock($1)", LOCK_KEY, timeout=LOCK_SECONDS + 5)
        try:
            await connection.execute(
                "CREATE TABLE IF NOT EXISTS schema_migrations (version int PRIMARY KEY, name text"
                " NOT NULL, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
            )
            rows = await connection.fetch("SELECT version, name, checksum FROM schema_migrations")
            applied = {row["version"]: (row["name"], row["checksum"]) for row in rows}
            missing = _missing(wanted, applied)
            for migration in missing:
                async with connection.transaction():
                    await connection.execute(migration.sql, timeout=3600)
                    await connection.execute(
                        "INSERT INTO schema_migrations (version, name, checksum)"
                        " VALUES ($1, $2, $3)",
                        migration.version,
                        migration.name,
                        migration.checksum,
                    )
                logger.info("applied migration %04d_%s", migration.version, migration.name)
        finally:
            if not connection.is_closed():
                await connection.reset()  # the lock, and what is set above
        return len(missing)


def _missing(wanted: list[Migration], applied: dict[int, tuple[str, str]]) -> list[Migration]:
    """Those of ``wanted`` not applied yet; refuses a schema that is not ours."""
    known = {migration.version: migration for migration in wanted}
    for version, (name, checksum) in sorted(applied.items()):
        if version not in known:
            raise MigrationError(
                f"the database holds migration {version:04d}_{name}, which this version of blab "
                "does not know; run a newer blab, or restore a backup made before it"
            )
        if known[version].checksum != checksum:
            raise MigrationError(
                f"migration {version:04d}_{known[version].name} was edited after it had been "
                "applied; put the file back and write a new migration instead"
            )
    return [migration for migration in wanted if migration.version not in applied]
