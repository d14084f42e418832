"""``blab migrate``: bring the database's tables up to date."""

import argparse
import asyncio
import sys

from gateway.services import ServiceError, attached_services
from gateway.settings import Settings
from store.database import Database
from store.errors import StoreError
from store.migrate import migrate


def arguments(parser: argparse.ArgumentParser) -> None:
    """``blab migrate`` accepts nothing."""


def run(options: argparse.Namespace, settings: Settings) -> int:  # noqa: ARG001
    """Apply what is missing; harmless when repeated, or when two do it at once."""
    try:
        applied = asyncio.run(_migrate(settings))
    except (ServiceError, StoreError) as error:
        print(f"blab migrate: {error}", file=sys.stderr)
        return 1
    print(f"{applied} migrations applied; the database is up to date")
    return 0


async def _migrate(settings: Settings) -> int:
    async with attached_services(settings) as urls:
        database = Database(urls.database_url)
        await database.connect()
        try:
            return await migrate(database)
        finally:
            await database.close()
