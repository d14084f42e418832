"""Calls are found by what was said in them, and by everything else that a list filters by."""

from datetime import UTC, datetime, timedelta

import pytest

from store.database import Database
from store.ids import new_id
from store.tenants.agents import Agents, NewAgent
from store.tenants.calls import CallFilters, Calls, NewCall, NewTurn, Turns
from store.tenants.recordings import Recordings
from tests.support.pipelines.job_support import new_workspace

BEGAN = datetime(2026, 3, 1, 12, tzinfo=UTC)


def turn(number: int, said: str, answered: str) -> NewTurn:
    return NewTurn(
        id=new_id("turn"),
        number=number,
        user_text=said,
        reply_text=answered,
        heard_text=answered,
        interrupted=False,
        status="completed",
        endpointing_ms=None,
        stt_ms=None,
        llm_ms=None,
        tts_ms=None,
        gateway_ms=None,
        total_ms=None,
        prompt_tokens=0,
        completion_tokens=0,
        created_at=BEGAN,
    )


async def new_call(
    database: Database,
    workspace_id: str,
    *said: tuple[str, str],
    agent_id: str | None = None,
    channel: str = "websocket",
    began: datetime = BEGAN,
    seconds: float | None = 60,
    reason: str = "peer_gone",
) -> str:
    call_id = new_id("call")
    new = NewCall(call_id, agent_id, "node", channel, {"language": "en"}, began)
    await Calls(database).open(workspace_id, new)
    for number, (user, reply) in enumerate(said, start=1):
        await Turns(database).insert(workspace_id, call_id, turn(number, user, reply))
    if seconds is not None:
        ended = began + timedelta(seconds=seconds)
        await Calls(database).close(workspace_id, call_id, reason, ended)
    return call_id


async def found(database: Database, workspace_id: str, **filters: object) -> list[str]:
    calls = await Calls(database).find(workspace_id, CallFilters(**filters))
    return [call.id for call in calls]


async def test_words_are_found_in_any_turn_and_any_language(database: Database) -> None:
    ours = await new_workspace(database)
    theirs = await new_workspace(database, "theirs@example.org")
    first = await new_call(
        database, ours, ("Hello there", "Good day."), ("I want to book a flight", "Where to?")
    )
    second = await new_call(database, ours, ("Ich möchte nach Köln", "Gern, wann?"))
    await new_call(database, theirs, ("I want to book a flight", "No."))
    for words, expected in (
        ("flight", [first]),
        ("FLIGHT book", [first]),
        ("book fli", [first]),
        ("flight hello", []),  # not in one turn
        ("köln", [second]),
        ("wann", [second]),
        ("where", [first]),
        ("light", []),
        ("?!", []),
        ("'; DROP TABLE turns; --", []),
        ("xyz & | ! ( ) : * \\ '", []),
    ):
        assert await found(database, ours, words=words) == expected, words
    (call,) = await Calls(database).find(ours, CallFilters(words="flight"))
    assert (call.turns, call.excerpt) == (2, "I want to book a flight / Where to?")
    (_, unsearched) = await Calls(database).find(ours, CallFilters())
    assert unsearched.excerpt == "Hello there / Good day."


async def test_calls_are_filtered(database: Database) -> None:
    ours = await new_workspace(database)
    agent = await Agents(database).create(ours, NewAgent("Ada"))
    old = await new_call(database, ours, began=BEGAN - timedelta(days=9), seconds=5)
    phone = await new_call(
        database, ours, channel="twilio", agent_id=agent.id, reason="max_duration"
    )
    live = await new_call(database, ours, began=datetime.now(UTC), seconds=None)
    await Recordings(database).begin(ours, phone, 1, 0, None)
    assert await found(database, ours) == [live, phone, old]
    assert await found(database, ours, agent_id=agent.id) == [phone]
    assert await found(database, ours, channel="twilio") == [phone]
    assert await found(database, ours, since=BEGAN, until=BEGAN + timedelta(days=1)) == [phone]
    assert await found(database, ours, min_seconds=30) == [phone]
    assert await found(database, ours, end_reason="max_duration") == [phone]
    assert await found(database, ours, recorded=True) == [phone]
    assert await found(database, ours, recorded=False) == [live, old]
    calls = await Calls(database).find(ours, CallFilters(), limit=1, before=live)
    assert [(call.id, call.agent_name) for call in calls] == [(phone, "Ada")]
    assert await Calls(database).get_listed(ours, phone) == calls[0]
    assert await Calls(database).get_listed(new_id("ws"), phone) is None


@pytest.mark.slow
async def test_a_search_uses_its_index(database: Database) -> None:
    ours = await new_workspace(database)
    call_id = await new_call(database, ours, ("where is the lighthouse", "There."))
    await database.execute(
        "INSERT INTO turns (id, workspace_id, call_id, number, user_text, reply_text, heard_text,"
        " interrupted, status) SELECT 'turn_' || n, $1, $2, n, 'hello ' || n, 'good day ' || n, '',"
        " false, 'completed' FROM generate_series(1, 20000) n",
        ours,
        call_id,
    )
    await database.execute("ANALYZE turns")
    explained: list[str] = []

    class Explaining:
        async def fetch(self, query: str, *args: object) -> list[object]:
            rows = await database.fetch(f"EXPLAIN {query}", *args)
            explained.extend(row[0] for row in rows)
            return []

    await Calls(Explaining()).find(ours, CallFilters(words="lighthouse"))
    assert any("turns_words" in line for line in explained), "\n".join(explained)
    assert await found(database, ours, words="lighthouse") == [call_id]
