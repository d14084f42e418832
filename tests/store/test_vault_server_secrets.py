"""The server's secrets: generated once, for all nodes."""

import asyncio

from store.database import Database
from store.vault import ServerSecrets


async def test_every_node_gets_the_same_secret(own_database_url: str, database: Database):
    other = Database(own_database_url)
    await other.connect()
    try:
        asked = [ServerSecrets(db).get_or_create("signing", 32) for db in (database, other) * 5]
        values = set(await asyncio.gather(*asked))
    finally:
        await other.close()
    assert len(values) == 1
    assert len(values.pop()) == 32


async def test_names_have_secrets_of_their_own(database: Database):
    secrets = ServerSecrets(database)
    first = await secrets.get_or_create("signing", 32)
    assert await secrets.get_or_create("tokens", 32) != first
    assert await secrets.get_or_create("signing", 64) == first
