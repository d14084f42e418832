"""``blab key --name NAME``: an API key for the local workspace, shown once."""

import argparse
import asyncio
import sys

from gateway.services import ServiceError, attached_services
from gateway.settings import Settings
from rest.accounts import keys
from rest.accounts.keys import SCOPES
from store.database import Database
from store.errors import StoreError
from store.migrate import migrate
from store.tenants.accounts import ApiKeys, NewApiKey, Workspaces

MAX_NAME = 100


def arguments(parser: argparse.ArgumentParser) -> None:
    """What ``blab key`` accepts."""
    parser.add_argument("--name", required=True, help="what the key is for")
    parser.add_argument(
        "--scopes",
        nargs="+",
        choices=SCOPES,
        default=SCOPES,
        metavar="SCOPE",
        help=f"what the key may do (default: everything), from: {', '.join(SCOPES)}",
    )


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Make the key and print it, and nothing else, on standard output."""
    name = options.name.strip()
    if not 1 <= len(name) <= MAX_NAME or not name.isprintable():
        print(f"blab key: a name has 1 to {MAX_NAME} printable characters", file=sys.stderr)
        return 2
    try:
        text = asyncio.run(_make(settings, name, list(options.scopes)))
    except (ServiceError, StoreError) as error:
        print(f"blab key: {error}", file=sys.stderr)
        return 1
    print("This key is shown only now; keep it safe.", file=sys.stderr)
    print(text)
    return 0


async def _make(settings: Settings, name: str, scopes: list[str]) -> str:
    async with attached_services(settings) as urls:
        database = Database(urls.database_url)
        await database.connect()
        try:
            await migrate(database)
            workspace = await Workspaces(database).ensure_local_workspace()
            key = keys.new_key()
            await ApiKeys(database).insert(
                workspace.id, NewApiKey(name, key.prefix, key.digest, scopes)
            )
            return key.text
        finally:
            await database.close()
