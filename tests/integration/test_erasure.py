"""A caller's calls are erased on request, and nothing of them is found afterwards."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from pipelines.jobs.cleanup import Cleanup
from pipelines.jobs.erasure import Eraser
from rest.accounts.callers import HEADER
from sessions.fanout import forget, stream_of
from sessions.resumption.stored_calls import can_be_resumed, resumption_key
from store.bus import Versioned
from store.database import Database
from store.objects import ObjectStore
from tests.support.gateway.scripted_server import HEARD, ScriptedServer, ask, server
from tests.support.pipelines.job_support import working

__all__ = ["server"]

pytestmark = pytest.mark.slow
CALLER = "+49 30 901820"
SECONDS = 20.0


@contextlib.asynccontextmanager
async def rest(server: ScriptedServer) -> AsyncIterator[Any]:
    """Asks the server's REST platform; gives the status and the envelope's data or error."""
    key = await server.new_key(scopes=["agents:read", "agents:write"])
    headers = {"Authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(server.url, headers=headers) as http:

        async def asked(method: str, path: str, **sent: Any) -> tuple[int, Any]:
            async with http.request(method, path, **sent) as answer:
                body = await answer.json()
                return answer.status, body.get("data", body.get("error", body))

        yield asked


async def stored_calls(database: Database, count: int) -> list[str]:
    """The ids of the calls that have ended, once there are so many, with their turns."""
    async with asyncio.timeout(SECONDS):
        while True:
            rows = await database.fetch(
                "SELECT id FROM calls WHERE ended_at IS NOT NULL AND EXISTS"
                " (SELECT 1 FROM turns WHERE call_id = calls.id) ORDER BY id"
            )
            if len(rows) == count:
                return [row["id"] for row in rows]
            await asyncio.sleep(0.02)


async def test_a_caller_is_erased(server: ScriptedServer, tmp_path: Path) -> None:
    database, bus = server.database, server.bus
    session = {"session": {"type": "realtime"}}
    async with rest(server) as asked:
        secret = "/v1/realtime/client_secrets"
        _, minted = await asked("POST", secret, json=session, headers={HEADER: CALLER})
    for options in (
        {"headers": {HEADER: "0049 30 901820"}},
        {"key": minted["value"]},
        {"headers": {HEADER: "somebody else"}},
    ):
        async with server.client(**options) as caller:
            await caller.wait_for("session.created")
            await ask(caller)
    *erased, kept = await stored_calls(database, 3)
    assert await bus.read({stream_of(erased[0]): 0}, wait=0.01)
    # Redis was away when the calls ended: what would resume them is left, until it expires
    for call_id in (*erased, kept):
        await bus.save([Versioned(resumption_key(call_id), 1, {"state": b"sealed"})], 60)
        assert await can_be_resumed(bus, call_id)

    objects = ObjectStore.open(f"file://{tmp_path}/objects")
    eraser = Eraser(database, objects, partial(forget, bus))
    kind: Any = Cleanup(database, objects, eraser)
    async with rest(server) as asked, working(database, kind), asyncio.timeout(SECONDS):
        status, erasure = await asked("POST", "/api/erasures", json={"caller": CALLER})
        assert status == 202
        while erasure["status"] != "completed":
            await asyncio.sleep(0.02)
            _, erasure = await asked("GET", f"/api/erasures/{erasure['id']}")
        assert erasure["erased"] == {"calls": 2, "turns": 2, "recordings": 0}
        status, again = await asked("DELETE", f"/api/calls/{erased[0]}")
        assert (status, again["code"]) == (404, "NOT_FOUND")
    assert await stored_calls(database, 1) == [kept]
    left = await bus.read({stream_of(call_id): 0 for call_id in (*erased, kept)}, wait=0.01)
    assert set(left) == {stream_of(kept)}
    assert [await can_be_resumed(bus, call_id) for call_id in (*erased, kept)] == [
        *(False for _ in erased),
        True,
    ]
    assert await database.fetchval("SELECT count(*) FROM turns WHERE user_text = $1", HEARD) == 1
    assert await database.fetchval("SELECT count(*) FROM usage_events") == 3
