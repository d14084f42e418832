"""The contract's tag Usage: sums that equal the events, days without holes."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from pipelines.jobs.job import Unit
from pipelines.jobs.usage import Price, Prices, Usage
from rest.resources.usage import READ, UsageResource
from store.database import Database
from tests.support.pipelines.job_support import new_workspace
from tests.support.rest.job_app import Client, PlainCursors
from tests.support.rest.resource_app import ask, serving

PRICES = Prices({"*": {"*": Price(Decimal("0.1"), Decimal("0.07"))}})
UNITS = [
    Unit(
        name=f"{type}-{model}-{number}",
        type=type,
        model=model,
        tokens=17 * number,
        audio_ms=999 * number,
    )
    for type, model, count in (("tts", "blab-stable", 7), ("tts", "x", 4), ("stt", "x", 5))
    for number in range(count)
]


@asynccontextmanager
async def usage_client(
    database: Database, workspace_id: str, *scopes: str
) -> AsyncIterator[Client]:
    resource = UsageResource(database, PlainCursors())
    async with serving(resource, workspace_id, scopes or (READ,)) as client:
        yield client


async def book(database: Database, workspace_id: str) -> None:
    await Usage(database, PRICES).book(workspace_id, UNITS)


async def backdate(database: Database, workspace_id: str) -> None:
    """Spread the events over the last days, two a day, the first on the edges of a day in UTC."""
    await database.execute(
        "UPDATE usage_events u SET created_at = date_trunc('day', now(), 'UTC')"
        " - ((n - 1) / 2) * interval '1 day'"
        " + CASE WHEN n % 2 = 0 AND n > 2 THEN interval '1 day' - interval '1 ms'"
        " ELSE interval '0' END"
        " FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM usage_events"
        " WHERE workspace_id = $1) x WHERE u.id = x.id",
        workspace_id,
    )


async def every_event(client: Client, query: str = "") -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        tail = f"&cursor={cursor}" if cursor else ""
        async with client.get(f"/api/usage/events?limit=3{query}{tail}") as answer:
            body = await answer.json()
        assert body["meta"]["hasMore"] == (body["meta"]["nextCursor"] is not None)
        events += body["data"]
        cursor = body["meta"]["nextCursor"]
    return events


def summed(events: list[dict[str, Any]]) -> dict[str, Any]:
    cost = sum((Decimal(str(event["cost"])) for event in events), Decimal(0))
    return {
        "count": len(events),
        "tokens": sum(event["tokens"] for event in events),
        "audioMs": sum(event["audioMs"] for event in events),
        "cost": float(cost),
    }


async def test_the_sums_are_those_of_the_events(database: Database) -> None:
    ours = await new_workspace(database)
    await book(database, ours)
    await backdate(database, ours)
    async with usage_client(database, ours) as client:
        events = await every_event(client)
        _, total = await ask(client, "GET", "/api/usage")
        _, broken = await ask(client, "GET", "/api/usage/breakdown?days=365")
    whole = summed(events)
    assert whole["count"] == len(UNITS) == len({event["id"] for event in events})
    assert total == {
        "tokens": whole["tokens"],
        "audioSeconds": whole["audioMs"] // 1000,
        "cost": whole["cost"],
        "count": whole["count"],
    }
    for name, member in (("byModel", "model"), ("byType", "type")):
        values = {event[member] for event in events}
        assert broken[name] == {
            value: summed([event for event in events if event[member] == value]) for value in values
        }
    for day in broken["byDay"]:
        own = [event for event in events if event["createdAt"].startswith(day["day"])]
        assert day == {"day": day["day"]} | summed(own)
    assert sum(day["count"] for day in broken["byDay"]) == len(UNITS)


@pytest.mark.parametrize("days", [1, 2, 30, 365])
async def test_every_day_is_there_the_oldest_first(database: Database, days: int) -> None:
    ours = await new_workspace(database)
    await book(database, ours)
    await backdate(database, ours)
    async with usage_client(database, ours) as client:
        before = datetime.now(UTC).date()
        _, broken = await ask(client, "GET", f"/api/usage/breakdown?days={days}")
        if days == 30:
            assert await ask(client, "GET", "/api/usage/breakdown") == (200, broken)
    shown = [day["day"] for day in broken["byDay"]]
    today = datetime.fromisoformat(shown[-1]).date()
    assert before <= today <= datetime.now(UTC).date()
    wanted = [(today - timedelta(days=ago)).isoformat() for ago in reversed(range(days))]
    assert shown == wanted
    by_day = sum(day["count"] for day in broken["byDay"])
    assert by_day == min(2 * days, len(UNITS))
    for name in ("byModel", "byType"):
        assert sum(bucket["count"] for bucket in broken[name].values()) == by_day


async def test_an_unused_workspace_has_empty_usage(database: Database) -> None:
    ours = await new_workspace(database)
    async with usage_client(database, ours) as client:
        nothing = {"tokens": 0, "audioSeconds": 0, "cost": 0.0, "count": 0}
        assert await ask(client, "GET", "/api/usage") == (200, nothing)
        _, broken = await ask(client, "GET", "/api/usage/breakdown?days=3")
        assert await every_event(client) == []
    assert (broken["byModel"], broken["byType"]) == ({}, {})
    empty = {"count": 0, "tokens": 0, "audioMs": 0, "cost": 0.0}
    assert [day | {"day": ""} for day in broken["byDay"]] == [{"day": ""} | empty] * 3


async def test_filters_and_what_is_refused(database: Database) -> None:
    ours = await new_workspace(database)
    await book(database, ours)
    async with usage_client(database, ours) as client:
        everything = await every_event(client)
        spoken = await every_event(client, "&type=tts")
        of_x = await every_event(client, "&model=x")
        assert await every_event(client, "&type=nonsense") == []
        both = await every_event(client, "&type=tts&model=x")
        for query in (
            "breakdown?days=0",
            "breakdown?days=366",
            "breakdown?days=x",
            "breakdown?days=1.5",
            "events?limit=0",
            "events?limit=101",
            "events?type=" + "x" * 51,
        ):
            status, error = await ask(client, "GET", f"/api/usage/{query}")
            assert (status, error["code"]) == (400, "VALIDATION_ERROR")
            assert error["details"]["path"] == query.split("?")[1].split("=")[0]
    kinds = Counter(event["type"] for event in everything)
    assert [event["type"] for event in spoken] == ["tts"] * kinds["tts"]
    assert {event["model"] for event in of_x} == {"x"}
    assert [event for event in spoken if event["model"] == "x"] == both
    assert [event["id"] for event in everything] == sorted(
        (event["id"] for event in everything), reverse=True
    )


async def test_another_workspaces_usage_is_not_shown(database: Database) -> None:
    ours = await new_workspace(database)
    theirs = await new_workspace(database, "stranger@example.com")
    await book(database, theirs)
    async with usage_client(database, ours) as client:
        assert (await ask(client, "GET", "/api/usage"))[1]["count"] == 0
        assert await every_event(client) == []
        _, broken = await ask(client, "GET", "/api/usage/breakdown")
        assert broken["byModel"] == {}
        _, foreign = await ask(client, "GET", "/api/usage/events", as_workspace=theirs)
        _, page = await ask(client, "GET", f"/api/usage/events?cursor={foreign[0]['id']}")
        assert page == []
    async with usage_client(database, ours, "jobs:read") as client:
        for path in ("/api/usage", "/api/usage/breakdown", "/api/usage/events"):
            assert (await ask(client, "GET", path))[0] == 403
