import asyncio
import time

import pytest

from store.database import Database, DatabaseLimits, storable
from store.errors import DatabaseUnavailable, StoreRefused


async def test_a_transaction_is_all_or_nothing(empty_database):
    await empty_database.execute("CREATE TABLE t (i int PRIMARY KEY)")

    async def fail_halfway():
        async with empty_database.transaction() as connection:
            await connection.execute("INSERT INTO t VALUES (1)")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail_halfway()
    assert await empty_database.fetchval("SELECT count(*) FROM t") == 0
    async with empty_database.transaction() as connection:
        await connection.execute("INSERT INTO t VALUES (1)")
    assert [row["i"] for row in await empty_database.fetch("SELECT i FROM t")] == [1]


async def test_errors_name_the_constraint_without_values(empty_database):
    await empty_database.execute("CREATE TABLE t (secret text CONSTRAINT only_one UNIQUE)")
    await empty_database.execute("INSERT INTO t VALUES ($1)", "hush-hush")
    with pytest.raises(StoreRefused, match="only_one") as refused:
        await empty_database.execute("INSERT INTO t VALUES ($1)", "hush-hush")
    assert "hush" not in str(refused.value)
    with pytest.raises(StoreRefused):
        await empty_database.execute("INSERT INTO t VALUES ($1)", 5)


async def test_json_survives_a_round_trip(empty_database):
    value = {"a": [1, None, "ü"]}
    assert await empty_database.fetchval("SELECT $1::jsonb", value) == value


async def test_a_slow_statement_is_cancelled(database_url):
    database = Database(database_url, DatabaseLimits(statement_timeout=0.1))
    await database.connect()
    with pytest.raises(DatabaseUnavailable, match="QueryCanceled"):
        await database.execute("SELECT pg_sleep(5)")
    assert await database.fetchval("SELECT 1") == 1
    await database.close()


async def test_waiting_for_a_connection_has_a_deadline(database_url):
    database = Database(database_url, DatabaseLimits(max_connections=1, acquire_timeout=0.1))
    await database.connect()
    async with database.connection():
        with pytest.raises(DatabaseUnavailable):
            await database.execute("SELECT 1")
    await database.close()


async def test_a_statement_costs_no_second_one(database_url):
    one = Database(database_url, DatabaseLimits(max_connections=1))
    other = Database(database_url)
    await one.connect()
    await other.connect()
    pid = await one.fetchval("SELECT pg_backend_pid() AS itself")
    last = "SELECT query FROM pg_stat_activity WHERE pid = $1"
    assert await other.fetchval(last, pid) == "SELECT pg_backend_pid() AS itself"
    await one.close()
    await other.close()


async def test_close_aborts_busy_connections(database_url):
    database = Database(database_url)
    await database.connect()
    busy = asyncio.create_task(database.execute("SELECT pg_sleep(4)"))
    while not await database.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(4)%' AND pid <>"
        " pg_backend_pid()"
    ):
        pass
    await database.close(deadline=0.05)
    with pytest.raises(DatabaseUnavailable):
        await busy


async def test_connecting_to_no_server_ends_at_the_deadline(tmp_path):
    database = Database(f"postgresql://x@/x?host={tmp_path}", DatabaseLimits(connect_deadline=0.3))
    began = time.monotonic()
    with pytest.raises(DatabaseUnavailable, match="no connection"):
        await database.connect()
    assert time.monotonic() - began < 2
    with pytest.raises(DatabaseUnavailable, match="not connected"):
        await database.fetch("SELECT 1")


async def test_a_wrong_database_is_refused_at_once(database_url):
    database = Database(database_url.replace("/postgres?", "/absent?"))
    began = time.monotonic()
    with pytest.raises(DatabaseUnavailable, match="absent"):
        await database.connect()
    assert time.monotonic() - began < 5


def test_text_is_made_storable():
    assert storable("a\0b\ud800ü") == "ab?ü"
