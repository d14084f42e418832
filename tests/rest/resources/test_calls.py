"""Calls over HTTP: the list and its filters, one call, and what may not be seen. What is recorded
of a real call is in tests/integration/test_recordings.py."""

import io
import zipfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rest.accounts.signing import UrlSigner
from rest.http.pagination import Cursors
from rest.jobs.kinds import JobViews
from rest.resources.calls import PATH, READ, CallResource
from sessions.recording.parts import EVENTS
from store.database import Database
from store.ids import new_id
from store.objects import ObjectStore
from store.tenants.objects import NewObject, Objects
from store.tenants.recordings import Recordings
from tests.store.tenants.test_calls_search import BEGAN, new_call
from tests.support.pipelines.job_support import new_workspace
from tests.support.rest.job_app import Client
from tests.support.rest.resource_app import ask, serving

pytestmark = pytest.mark.slow
SECRET = bytes(32)


@pytest.fixture
async def ours(database: Database) -> str:
    return await new_workspace(database)


@pytest.fixture
async def client(database: Database, ours: str, tmp_path: Path) -> AsyncIterator[Client]:
    store = ObjectStore.open(f"file://{tmp_path}/objects")
    views, cursors = JobViews(UrlSigner(SECRET), None), Cursors(SECRET)
    async with serving(CallResource(database, store, views, cursors), ours, [READ]) as made:
        yield made


async def test_calls_are_listed_a_page_at_a_time(
    client: Client, database: Database, ours: str
) -> None:
    ids = [await new_call(database, ours, ("Hello", "Good day.")) for _ in range(3)]
    async with client.get(PATH, params={"limit": "2"}) as answer:
        first = await answer.json()
    assert [call["id"] for call in first["data"]] == [ids[2], ids[1]]
    assert first["meta"]["hasMore"]
    async with client.get(PATH, params={"cursor": first["meta"]["nextCursor"]}) as answer:
        assert [call["id"] for call in (await answer.json())["data"]] == [ids[0]]
    (call,) = first["data"][:1]
    assert call == {
        "id": ids[2],
        "agentId": None,
        "agentName": None,
        "agentVersion": None,
        "channel": "websocket",
        "status": "ended",
        "startedAt": "2026-03-01T12:00:00.000Z",
        "endedAt": "2026-03-01T12:01:00.000Z",
        "durationMs": 60_000,
        "endReason": "peer_gone",
        "language": "en",
        "turnCount": 1,
        "excerpt": "Hello / Good day.",
        "recording": None,
    }


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("q=hello", 1),
        ("q=goodbye", 0),
        ("from=2026-03-01T11:00:00Z&to=2026-03-01T13:00:00Z", 1),
        ("to=2026-03-01T11:00:00Z", 0),
        ("minSeconds=60&channel=websocket&endReason=peer_gone", 1),
        ("minSeconds=61", 0),
        ("recorded=true", 0),
        ("agentId=nobody", 0),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_list_is_filtered(
    client: Client, database: Database, ours: str, query: str, count: int
) -> None:
    await new_call(database, ours, ("Hello", "Good day."))
    status, calls = await ask(client, "GET", f"{PATH}?{query}")
    assert (status, len(calls)) == (200, count)


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("from=yesterday", "from"),
        ("to=2026-13-01T00:00:00Z", "to"),
        ("minSeconds=-1", "minSeconds"),
        ("recorded=perhaps", "recorded"),
        ("cursor=x", "cursor"),
        (f"q={'a' * 201}", "q"),
    ],
    ids=["from", "to", "seconds", "recorded", "cursor", "words"],
)
async def test_what_is_no_filter_is_refused(client: Client, query: str, path: str) -> None:
    status, error = await ask(client, "GET", f"{PATH}?{query}")
    assert (status, error["details"]["path"]) == (400, path)


async def test_a_call_shows_how_much_of_it_is_recorded(
    client: Client, database: Database, ours: str
) -> None:
    call_id = await new_call(database, ours, ("Hello", "Good day."), seconds=None)
    path, recordings = f"{PATH}/{call_id}", Recordings(database)
    await recordings.begin(ours, call_id, 1, 0, 7)
    await recordings.begin(ours, call_id, 3, 61_000, None)
    _, call = await ask(client, "GET", path)
    assert (call["status"], call["endedAt"], call["recording"]["state"]) == (
        "live", None, "in_progress",
    )  # fmt: skip
    assert call["recording"]["expiresAt"] is not None
    await recordings.store(ours, call_id, 1, duration_ms=60_000, complete=True)
    key = f"{ours}/{call_id}/part1-{EVENTS}"
    await Objects(database).put(
        ours, NewObject(key, "recording", "application/x-ndjson", "log", 3, call_id=call_id)
    )
    await database.execute("UPDATE calls SET ended_at = now(), end_reason = 'node_lost'")
    _, call = await ask(client, "GET", path)
    assert call["recording"]["state"] == "incomplete"
    assert [(part["number"], part["beginsMs"], part["durationMs"]) for part in call["parts"]] == [
        (1, 0, 60_000),
        (3, 61_000, None),
    ]
    first, missing = call["parts"]
    assert first["eventsUrl"].startswith("http")
    assert (first["callerUrl"], missing["eventsUrl"]) == (None, None)
    assert [turn["userTranscript"] for turn in call["turns"]] == ["Hello"]
    await recordings.store(ours, call_id, 3, duration_ms=1, complete=True)
    _, call = await ask(client, "GET", path)
    assert call["recording"]["state"] == "complete"
    # its log is gone: nothing can be read
    status, error = await ask(client, "GET", f"{path}/timeline")
    assert (status, error["details"]["reason"]) == (404, "no_recording")


async def test_turns_that_are_left_out_are_counted(
    client: Client, database: Database, ours: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rest.resources.calls.MAX_TURNS", 2)
    whole = await new_call(database, ours, ("Hello", "Good day."), ("Bread?", "Yes."))
    cut = await new_call(database, ours, *[("Hello", "Good day.")] * 3)
    for call_id, count, warnings, left_out in (
        (whole, 2, [], False),
        (cut, 2, ["turns_left_out"], True),
    ):
        async with client.get(f"{PATH}/{call_id}") as shown:
            answer = await shown.json()
        assert len(answer["data"]["turns"]) == count
        given = answer["meta"].get("warnings", [])
        assert [warning["code"] for warning in given] == warnings
        async with client.get(f"{PATH}/{call_id}/export") as download:
            archive = zipfile.ZipFile(io.BytesIO(await download.read()))
        lines = archive.read("transcript.txt").decode().splitlines()
        assert ("(Further turns, not in this file: 1)" in lines) == left_out


async def test_only_so_many_calls_are_downloaded_at_once(
    client: Client, database: Database, ours: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    call_id = await new_call(database, ours, ("Hello", "Good day."))
    monkeypatch.setattr("rest.resources.call_export.MOST_ZIPS", 0)
    status, refused = await ask(client, "GET", f"{PATH}/{call_id}/export")
    assert (status, refused["details"]) == (503, {"retryAfter": 10})


async def test_a_foreign_call_looks_like_an_absent_one(
    client: Client, database: Database, ours: str
) -> None:
    theirs = await new_workspace(database, "theirs@example.org")
    call_id = await new_call(database, theirs, ("Hello", "Good day."))
    await Recordings(database).begin(theirs, call_id, 1, 0, None)
    await Recordings(database).store(theirs, call_id, 1, duration_ms=1, complete=True)
    assert await ask(client, "GET", PATH) == (200, [])
    for one in (call_id, new_id("call"), "x"):
        for path in ("", "/timeline", "/events", "/export"):
            status, _ = await ask(client, "GET", f"{PATH}/{one}{path}")
            assert status == 404


async def test_old_recordings_are_deleted_and_the_call_stays(database: Database, ours: str) -> None:
    call_id = await new_call(database, ours, ("Hello", "Good day."))
    recordings, objects = Recordings(database), Objects(database)
    for number, days in ((1, None), (12, 1)):
        await recordings.begin(ours, call_id, number, 0, days)
        key = f"{ours}/{call_id}/part{number}-{EVENTS}"
        new = NewObject(key, "recording", "text/plain", "log", 1, call_id=call_id)
        await objects.put(ours, new)
    assert await recordings.with_expired() == []
    await database.execute(
        "UPDATE recordings SET expires_at = now() - interval '1s' WHERE number = 12"
    )
    assert await recordings.with_expired() == [ours]
    assert await recordings.delete_old(ours, None, 10) == [f"{ours}/{call_id}/part12-{EVENTS}"]
    before = BEGAN + timedelta(days=1)
    assert await recordings.delete_old(ours, before, 10) == [f"{ours}/{call_id}/part1-{EVENTS}"]
    assert await objects.of_call(ours, call_id) == []
    assert await recordings.of_calls(ours, [call_id]) == {}
    assert datetime.now(UTC) > BEGAN
