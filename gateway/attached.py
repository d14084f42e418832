"""Services for a command that needs the database for a moment, whether Blab runs or not."""

import contextlib
from collections.abc import AsyncIterator

from gateway.services import EmbeddedServices, ServiceFailed, ServiceUrls, running_services
from gateway.settings import Settings


def present_services(settings: Settings) -> ServiceUrls:
    """Where Postgres and Redis are: external, or of the Blab that runs on the data directory.

    Raises ServiceFailed where one of them is neither."""
    urls = _known(settings)
    if urls is None:
        raise ServiceFailed(
            "no services: set DATABASE_URL and REDIS_URL, or start `blab serve` on this machine"
            f" with the data directory {settings.data_dir}"
        )
    return urls


@contextlib.asynccontextmanager
async def attached_services(settings: Settings) -> AsyncIterator[ServiceUrls]:
    """As ``present_services``, but services that do not run are started for the while.

    Raises ServiceError where they cannot be had."""
    if urls := _known(settings):
        yield urls
        return
    services = EmbeddedServices(
        settings.data_dir, database_url=settings.database_url, redis_url=settings.redis_url
    )
    urls = await services.start()
    try:
        yield urls
    finally:
        await services.stop()


def _known(settings: Settings) -> ServiceUrls | None:
    database_url, redis_url = settings.database_url, settings.redis_url
    if running := running_services(settings.data_dir):
        database_url = database_url or running.database_url
        redis_url = redis_url or running.redis_url
    return ServiceUrls(database_url, redis_url) if database_url and redis_url else None
