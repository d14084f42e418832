import asyncio

import pytest

from store.database import Database
from store.errors import MigrationError, StoreRefused
from store.migrate import MIGRATIONS, Migration, migrate, read_migrations

ONE = Migration(1, "one", "CREATE TABLE one (i int); CREATE TABLE uno (i int)")
TWO = Migration(2, "two", "CREATE TABLE two (i int)")


async def test_each_migration_is_applied_once(empty_database):
    assert await migrate(empty_database, [ONE]) == 1
    assert await migrate(empty_database, [ONE, TWO]) == 1
    assert await migrate(empty_database, [ONE, TWO]) == 0
    await empty_database.execute("SELECT * FROM one, uno, two")


async def test_many_starters_apply_once(own_database_url):
    databases = [Database(own_database_url) for _ in range(4)]
    await asyncio.gather(*(database.connect() for database in databases))
    applied = await asyncio.gather(*(migrate(database) for database in databases))
    assert sorted(applied) == [0, 0, 0, len(read_migrations())]
    await asyncio.gather(*(database.close() for database in databases))


async def test_an_edited_migration_is_refused(empty_database):
    await migrate(empty_database, [ONE])
    edited = Migration(1, "one", ONE.sql + " -- a word")
    with pytest.raises(MigrationError, match="0001_one was edited"):
        await migrate(empty_database, [edited, TWO])
    assert await empty_database.fetchval("SELECT to_regclass('two')") is None


async def test_a_newer_schema_is_refused(empty_database):
    await migrate(empty_database, [ONE, TWO])
    with pytest.raises(MigrationError, match=r"0002_two.*newer blab"):
        await migrate(empty_database, [ONE])


async def test_a_failing_migration_leaves_nothing(empty_database):
    broken = Migration(2, "broken", "CREATE TABLE half (i int); SELECT 1/0")
    with pytest.raises(StoreRefused):
        await migrate(empty_database, [ONE, broken])
    assert await empty_database.fetchval("SELECT to_regclass('half')") is None
    assert await migrate(empty_database, [ONE, TWO]) == 1


async def test_the_lock_is_released_and_the_connection_is_as_before(empty_database):
    deadline = await empty_database.fetchval("SHOW statement_timeout")
    await migrate(empty_database)
    count = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = $1"
    assert await empty_database.fetchval(count, 0x626C6162) == 0
    assert await empty_database.fetchval("SHOW statement_timeout") == deadline


def test_line_endings_do_not_change_a_migration():
    assert Migration(1, "a", "x\r\ny").checksum == Migration(1, "a", "x\ny").checksum


def test_the_files_are_numbered_without_a_gap(tmp_path):
    assert read_migrations(MIGRATIONS)[0].name == "people_and_calls"
    (tmp_path / "0002_late.sql").write_text("SELECT 1")
    with pytest.raises(MigrationError, match="not numbered"):
        read_migrations(tmp_path)
    (tmp_path / "notes.sql").write_text("SELECT 1")
    with pytest.raises(MigrationError, match="NNNN_words"):
        read_migrations(tmp_path)
