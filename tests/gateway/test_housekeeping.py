"""Calls of dead nodes are closed; calls of live and of doubtful nodes are not."""

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.housekeeping import CallFiles, Housekeeping
from sessions.event_log import event_log_path
from sessions.registry import CallRegistry
from store.bus import Bus
from store.database import Database
from store.errors import BusUnavailable
from store.ids import new_id
from store.tenants.accounts import Workspaces
from store.tenants.calls import NODE_LOST, Calls, NewCall
from store.tenants.retention import Retention
from tests.support.services import eventually


async def open_call(database: Database, node_id: str) -> tuple[str, str]:
    workspace = await Workspaces(database).ensure_local_workspace()
    call = NewCall(new_id("call"), None, node_id, "websocket", {}, datetime.now(UTC))
    await Calls(database).open(workspace.id, call)
    return workspace.id, call.id


async def test_a_dead_nodes_calls_are_closed_at_the_second_look(
    database: Database, redis: Bus
) -> None:
    living = CallRegistry(redis)
    living.start()
    try:
        dead_call = await open_call(database, "node_dead")
        living_call = await open_call(database, living.node_id)
        async with asyncio.timeout(5):
            while not await CallRegistry(redis).is_alive(living.node_id):
                await asyncio.sleep(0.01)
        housekeeping = Housekeeping(Calls(database), CallRegistry(redis))
        assert await housekeeping.look() == 0
        assert await housekeeping.look() == 1
        assert await housekeeping.look() == 0
    finally:
        await living.stop()
    closed, still_open = [await Calls(database).get(*ids) for ids in (dead_call, living_call)]
    assert closed is not None
    assert still_open is not None
    assert closed.end_reason == NODE_LOST
    assert still_open.ended_at is None


async def test_nobody_is_declared_dead_while_redis_is_away(database: Database) -> None:
    await open_call(database, "node_unknown")
    away = Bus("unix:///nowhere/valkey.sock")
    housekeeping = Housekeeping(Calls(database), CallRegistry(away), interval=0.01)
    with pytest.raises(BusUnavailable):
        await housekeeping.look()
    running = asyncio.create_task(housekeeping.run())
    await asyncio.sleep(0)
    done, _ = await asyncio.wait({running}, timeout=0.2)
    assert not done
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await away.close()
    assert await Calls(database).nodes_with_open_calls() == {"node_unknown"}


async def test_files_of_deleted_calls_are_deleted(database: Database, tmp_path: Path) -> None:
    workspace_id, gone = await open_call(database, "node_a")
    _, kept = await open_call(database, "node_a")
    for call_id in (gone, kept):
        event_log_path(tmp_path, call_id).write_text("SECRET")
    files = CallFiles(database, tmp_path)
    assert await files.sweep(tmp_path) == 0
    await Calls(database).close(workspace_id, gone, "hung_up", datetime.now(UTC))
    later = datetime.now(UTC) + timedelta(days=1)
    assert await Retention(database).delete_calls(workspace_id, later, 10) == (1, [])
    files.start()
    await eventually(lambda: not event_log_path(tmp_path, gone).exists())
    await files.stop()
    assert os.listdir(tmp_path) == [f"{kept}.jsonl"]
    assert await CallFiles(database, tmp_path).sweep(tmp_path) == 0  # after a restart
