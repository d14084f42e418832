"""Fixtures with the real embedded Postgres and Valkey, isolated between tests."""

import asyncio
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest

from gateway.services import EmbeddedServices, ServiceUrls
from store.bus import Bus
from store.database import Database
from store.migrate import migrate

T = TypeVar("T")


def in_own_loop(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine on a loop of its own, outside the tests' loops."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(work())).result()


def open_directory() -> Path:
    """A new directory that the servers' account can reach (tmp_path is closed to it)."""
    directory = Path(tempfile.mkdtemp(prefix="blab-test-", dir="/tmp"))
    directory.chmod(0o711)
    return directory


@pytest.fixture(scope="session")
def service_urls() -> Iterator[ServiceUrls]:
    """The session's Postgres and Valkey."""
    directory = open_directory()
    services = EmbeddedServices(directory / "data")
    try:
        yield in_own_loop(services.start)
    finally:
        in_own_loop(services.stop)
        shutil.rmtree(directory)


@pytest.fixture(scope="session")
def database_url(service_urls: ServiceUrls) -> str:
    """The session's database, its public schema empty unless a test fills it."""
    return service_urls.database_url


@pytest.fixture(scope="session")
def redis_url(service_urls: ServiceUrls) -> str:
    """The session's Valkey."""
    return service_urls.redis_url


@pytest.fixture
async def own_database_url(database_url: str) -> AsyncIterator[str]:
    """A database URL with an empty schema of the test's own; dropped afterwards."""
    schema = f"test_{uuid.uuid4().hex}"
    admin = Database(database_url)
    await admin.connect()
    await admin.execute(f"CREATE SCHEMA {schema}")
    try:
        yield f"{database_url}&search_path={schema}"
    finally:
        await admin.execute(f"DROP SCHEMA {schema} CASCADE")
        await admin.close()


@pytest.fixture
async def empty_database(own_database_url: str) -> AsyncIterator[Database]:
    """A connected database without tables."""
    database = Database(own_database_url)
    await database.connect()
    yield database
    await database.close()


@pytest.fixture
async def database(empty_database: Database) -> Database:
    """A connected database with today's tables, all empty."""
    await migrate(empty_database)
    return empty_database


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Bus]:
    """A Bus whose keys are the test's own."""
    bus = Bus(redis_url, prefix=f"test:{uuid.uuid4().hex}:")
    yield bus
    await bus.close()


@pytest.fixture
async def own_valkey() -> AsyncIterator[EmbeddedServices]:
    """A Valkey of the test's own, to be stopped and killed; its URL is ``urls.redis_url``."""
    async for services in _own_services(database_url="postgresql://elsewhere/x"):
        yield services


@pytest.fixture
async def own_postgres() -> AsyncIterator[EmbeddedServices]:
    """A Postgres of the test's own, to be stopped and killed; its URL is ``urls.database_url``."""
    async for services in _own_services(redis_url="redis://elsewhere"):
        yield services


async def _own_services(**external: str) -> AsyncIterator[EmbeddedServices]:
    directory = open_directory()
    services = EmbeddedServices(directory / "data", **external)
    await services.start()
    try:
        yield services
    finally:
        await services.stop()
        shutil.rmtree(directory)


async def eventually(condition: Callable[[], bool], within: float = 15.0) -> None:
    """Return when ``condition`` holds; TimeoutError after ``within`` seconds."""
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.01)
