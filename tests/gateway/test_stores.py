"""Opening the stores of a process."""

import dataclasses
from pathlib import Path

from gateway.services import ServiceUrls
from gateway.settings import Settings
from gateway.stores import Stores
from store.database import Database
from store.tenants.webhooks import SEALED, Webhooks
from tests.support.pipelines.job_support import new_workspace


async def test_a_start_seals_what_an_earlier_version_left_in_clear(
    database: Database, own_database_url: str, redis_url: str, tmp_path: Path
) -> None:
    ours = await new_workspace(database)
    webhook = await Webhooks(database).create(ours, "https://x", ["*"], "whsec_old", enabled=True)
    assert webhook is not None
    settings = dataclasses.replace(Settings(), data_dir=tmp_path)
    for _ in range(2):
        stores = await Stores.open(settings, ServiceUrls(own_database_url, redis_url))
        opened = await Webhooks(stores.database, stores.vault).get(ours, webhook.id)
        await stores.close()
        assert opened == webhook
    stored = await database.fetchval("SELECT secret FROM webhooks")
    assert stored.startswith(SEALED)
    assert "whsec_old" not in stored
