"""Postgres: a bounded pool, statement deadlines, transactions, one family of errors.

Rules: nothing outside this file and ``migrate.py`` knows asyncpg's exceptions. Every statement
has a deadline on the server (``statement_timeout``) and on this side; taking a connection has
one too. Lost connections are replaced by the pool; nothing here retries a statement, because
only the caller knows whether that is safe. A connection goes back to the pool as it was: what is
set is set with ``SET LOCAL``, so that no statement costs a second one that resets the session.
"""

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import asyncpg

from .errors import DatabaseUnavailable, StoreRefused

logger = logging.getLogger(__name__)

Row = asyncpg.Record
"""A row: values by column name."""

_AWAY = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
    asyncpg.InternalClientError,
)
"""Errors that mean "not now". All other PostgresErrors mean "not this"."""


@dataclass(frozen=True, slots=True)
class DatabaseLimits:
    """Limits of a Database; seconds."""

    max_connections: int = 10
    connect_deadline: float = 30.0
    acquire_timeout: float = 3.0
    statement_timeout: float = 5.0


USUAL_LIMITS = DatabaseLimits()


class Queryable(Protocol):
    """What the aggregates in ``tenants`` need: a Database, or a connection in a transaction."""

    async def fetch(self, query: str, *args: Any) -> list[Any]:
        """All rows."""
        ...

    async def fetchrow(self, query: str, *args: Any) -> Any:
        """The first row or None."""
        ...

    async def fetchval(self, query: str, *args: Any) -> Any:
        """The first column of the first row or None."""
        ...

    async def execute(self, query: str, *args: Any) -> str:
        """The command tag, e.g. ``UPDATE 1``."""
        ...


class Database:
    """A pool of connections to one database. ``connect`` first, ``close`` last."""

    def __init__(self, url: str, limits: DatabaseLimits = USUAL_LIMITS) -> None:
        """``url`` as libpq knows it; unknown query parameters become server settings."""
        self._url = url
        self._limits = limits
        self._pool: asyncpg.Pool | None = None

    async def connect(self) -> None:
        """Open the pool, retrying until the deadline; raises DatabaseUnavailable."""
        give_up = time.monotonic() + self._limits.connect_deadline
        pause = 0.05
        while True:
            try:
                self._pool = await self._open_pool()
                return
            except (*_AWAY, asyncpg.PostgresError) as error:
                hopeless = isinstance(error, ValueError) or not isinstance(error, _AWAY)
                if hopeless or time.monotonic() + pause > give_up:
                    raise DatabaseUnavailable(f"no connection to Postgres: {error}") from error
                logger.info("Postgres is not reachable yet (%s); retrying", type(error).__name__)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 2.0)

    async def _open_pool(self) -> asyncpg.Pool:
        timeout = self._limits.statement_timeout
        pool = await asyncpg.create_pool(
            self._url,
            min_size=0,  # with a floor, each attempt to hold it in an outage is a traceback
            max_size=self._limits.max_connections,
            timeout=self._limits.acquire_timeout,
            command_timeout=timeout + 1,
            max_inactive_connection_lifetime=300,
            server_settings={
                "application_name": "blab",
                "statement_timeout": str(int(timeout * 1000)),
                "idle_in_transaction_session_timeout": str(int(timeout * 2000)),
            },
            init=_speak_json,
            reset=_nothing_to_reset,
        )
        try:
            await pool.fetchval("SELECT 1")
        except BaseException:
            pool.terminate()
            raise
        return pool

    async def close(self, deadline: float = 5.0) -> None:
        """Close every connection; those still busy at the deadline are aborted."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        try:
            await asyncio.wait_for(pool.close(), deadline)
        except TimeoutError:
            pool.terminate()

    async def fetch(self, query: str, *args: Any) -> list[Any]:
        """See Queryable; raises DatabaseUnavailable or StoreRefused, as all below."""
        async with self.connection() as connection:
            return list(await connection.fetch(query, *args))

    async def fetchrow(self, query: str, *args: Any) -> Any:
        """See Queryable."""
        async with self.connection() as connection:
            return await connection.fetchrow(query, *args)

    async def fetchval(self, query: str, *args: Any) -> Any:
        """See Queryable."""
        async with self.connection() as connection:
            return await connection.fetchval(query, *args)

    async def execute(self, query: str, *args: Any) -> str:
        """See Queryable."""
        async with self.connection() as connection:
            return str(await connection.execute(query, *args))

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """A connection for several statements; returned to the pool at the end."""
        if self._pool is None:
            raise DatabaseUnavailable("the database is not connected")
        with translated():
            async with self._pool.acquire(timeout=self._limits.acquire_timeout) as connection:
                yield connection

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        """A connection inside a transaction: committed at the end, rolled back by an exception."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    @contextlib.asynccontextmanager
    async def plain_pool(self, size: int) -> AsyncIterator[asyncpg.Pool]:
        """A separate pool, without our codecs, for a queue's library that uses asyncpg itself.

        Its commits do not wait for the disk: a crash of Postgres may undo the last of them."""
        timeout = self._limits.statement_timeout
        with translated():
            pool = await asyncpg.create_pool(
                self._url,
                min_size=0,
                max_size=size,
                timeout=self._limits.acquire_timeout,
                command_timeout=timeout + 1,
                server_settings={
                    "application_name": "blab-queue",
                    "synchronous_commit": "off",
                    "statement_timeout": str(int(timeout * 1000)),
                },
                reset=_nothing_to_reset,
            )
            try:
                yield pool
            finally:
                try:
                    await asyncio.wait_for(pool.close(), 5.0)
                except TimeoutError:
                    pool.terminate()


async def _nothing_to_reset(_connection: asyncpg.Connection) -> None:
    """The pool itself rolls back and forgets listeners."""


async def _speak_json(connection: asyncpg.Connection) -> None:
    await connection.set_type_codec(
        "jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog"
    )


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Whatever asyncpg raises inside becomes DatabaseUnavailable or StoreRefused."""
    try:
        yield
    except _AWAY as error:
        if isinstance(error, ValueError):  # asyncpg could not encode an argument
            raise StoreRefused(f"Postgres: {type(error).__name__}") from None
        raise DatabaseUnavailable(f"Postgres: {type(error).__name__}: {error}") from error
    except asyncpg.PostgresError as error:
        # the message may quote values (a DETAIL does); the class and constraint never do
        constraint = getattr(error, "constraint_name", None)
        raise StoreRefused(f"Postgres: {type(error).__name__} {constraint or ''}".strip()) from None


def storable(text: str) -> str:
    """``text`` as Postgres takes it: no NUL, no lone surrogates."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()
