"""Fixtures with the real embedded Postgres and Valkey, isolated between tests."""

import asyncio
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from redis.asyncio import Redis

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


UNSAFE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
"""What the session's Postgres does without: none of its data is worth anything after a crash."""
EMPTY = """
DO $$
DECLARE name text;
BEGIN
  SET LOCAL lock_timeout = '10s';
  SET LOCAL session_replication_role = replica;  -- neither triggers nor foreign keys
  FOR name IN SELECT tablename FROM pg_tables
              WHERE schemaname = '{schema}' AND tablename <> 'schema_migrations' LOOP
    EXECUTE format('DELETE FROM {schema}.%I', name);
  END LOOP;
  FOR name IN SELECT sequencename FROM pg_sequences
              WHERE schemaname = '{schema}' AND last_value IS NOT NULL LOOP
    EXECUTE format('ALTER SEQUENCE {schema}.%I RESTART', name);
  END LOOP;
END $$
"""
"""Deletes all rows of a schema's tables."""


@pytest.fixture(scope="session")
def service_urls() -> Iterator[ServiceUrls]:
    """The session's Postgres and Valkey; that Postgres waits for no disk."""
    directory = open_directory()
    services = EmbeddedServices(directory / "data")

    async def start() -> ServiceUrls:
        urls = await services.start()
        async with connected(urls.database_url) as database:
            for name, value in UNSAFE.items():
                await database.execute(f"ALTER SYSTEM SET {name} = {value}")
            await database.fetch("SELECT pg_reload_conf()")
        return urls

    try:
        yield in_own_loop(start)
    finally:
        in_own_loop(services.stop)
        shutil.rmtree(directory)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Database]:
    """A database, until the end of the block."""
    database = Database(url)
    await database.connect()
    try:
        yield database
    finally:
        await database.close()


@pytest.fixture(scope="session")
def database_url(service_urls: ServiceUrls) -> str:
    """The session's database, its public schema empty unless a test fills it."""
    return service_urls.database_url


@pytest.fixture
async def redis_url(service_urls: ServiceUrls) -> str:
    """The session's Valkey, emptied: attempts to sign in, for one, are counted for a quarter of an
    hour, and all tests come from the same address."""
    async with Redis.from_url(service_urls.redis_url) as emptied:
        await emptied.flushdb()
    return service_urls.redis_url


@pytest.fixture(scope="session")
def emptied_schemas() -> list[str]:
    """Schemas with today's tables that earlier tests have left, all empty."""
    return []


@pytest.fixture
async def own_database_url(
    database_url: str, emptied_schemas: list[str], request: pytest.FixtureRequest
) -> AsyncIterator[str]:
    """The URL of a database whose schema is the test's own: without tables, unless the test asks
    for ``database``, too.

    A schema with tables is emptied for the next test: to migrate and drop one costs a tenth of a
    second of the processor, which was more than most tests do with it."""
    with_tables = "database" in request.fixturenames
    async with connected(database_url) as admin:
        if with_tables and emptied_schemas:
            schema = emptied_schemas.pop()
        else:
            schema = f"test_{uuid.uuid4().hex}"
            await admin.execute(f"CREATE SCHEMA {schema}")
        url = f"{database_url}&search_path={schema}"
        yield url
        if with_tables:
            await admin.execute(EMPTY.format(schema=schema))
            emptied_schemas.append(schema)
        else:
            await admin.execute(f"DROP SCHEMA {schema} CASCADE")


@pytest.fixture
async def empty_database(own_database_url: str) -> AsyncIterator[Database]:
    """A connected database without tables."""
    async with connected(own_database_url) as database:
        yield database


@pytest.fixture
async def database(own_database_url: str) -> AsyncIterator[Database]:
    """A connected database with today's tables, all empty."""
    async with connected(own_database_url) as database:
        await migrate(database)
        yield database


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
