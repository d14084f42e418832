"""Embeds and the visits of their pages: who may call, for how long, and who waits."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipelines.jobs.erasure import submit_erasure
from store.database import Database
from store.ids import new_id
from store.tenants.agents import Agents, NewAgent
from store.tenants.calls import Calls, NewCall
from store.tenants.embeds import (
    LEAST_SECONDS,
    MOST_WAITING,
    DaySpent,
    Embed,
    Embeds,
    Granted,
    NewEmbed,
    Queued,
    Visits,
)
from store.tenants.erasures import Erasures
from tests.support.pipelines.job_support import new_workspace

DAY = 24 * 3600


async def new_embed(database: Database, **fields: Any) -> Embed:
    workspace_id = await new_workspace(database)
    agent = await Agents(database).create(workspace_id, NewAgent("Ann"))
    new = NewEmbed("Shop", ["https://shop.example"], **fields)
    made = await Embeds(database).create(workspace_id, agent.id, new)
    assert made is not None
    return made


async def granted(visits: Visits, embed: Embed, visit_id: str | None = None) -> Granted:
    visit = await visits.ask(embed, visit_id, room=True)
    assert isinstance(visit, Granted)
    return visit


async def queued(visits: Visits, embed: Embed, visit_id: str | None = None) -> Queued:
    visit = await visits.ask(embed, visit_id, room=True)
    assert isinstance(visit, Queued)
    return visit


async def call(database: Database, embed: Embed, *, seconds: int = 0, ended: bool = True) -> str:
    """A call of a visitor that began so many seconds ago."""
    visits, call_id = Visits(database), new_id("call")
    visit = await granted(visits, embed)
    assert await visits.begin(embed.workspace_id, embed.id, visit.visit_id, call_id)
    began = datetime.now(UTC) - timedelta(seconds=seconds)
    record = NewCall(
        id=call_id,
        agent_id=embed.agent_id,
        node_id="node_a",
        channel="websocket",
        config={},
        started_at=began,
    )
    await Calls(database).open(embed.workspace_id, record)
    await database.execute(
        "UPDATE embed_visits SET started_at = $2 WHERE call_id = $1", call_id, began
    )
    if ended:
        await end(database, embed, call_id)
    return call_id


async def end(database: Database, embed: Embed, call_id: str) -> None:
    assert await Calls(database).close(embed.workspace_id, call_id, "ended", datetime.now(UTC))


async def lapse(database: Database, embed: Embed) -> None:
    """Keys that nobody used expire, and who waits leaves the queue."""
    await database.execute(
        "UPDATE embed_visits SET expires_at = now() WHERE embed_id = $1", embed.id
    )


async def test_a_visit_calls_once(database: Database) -> None:
    embed, visits = await new_embed(database), Visits(database)
    visit = await granted(visits, embed)
    assert visit.seconds == embed.max_call_minutes * 60
    place = (embed.workspace_id, embed.id, visit.visit_id)
    assert await visits.begin(*place, new_id("call"))
    assert not await visits.begin(*place, new_id("call"))
    foreign = await new_workspace(database, "theirs@example.org")
    other = await granted(visits, embed)
    assert not await visits.begin(foreign, embed.id, other.visit_id, new_id("call"))
    await lapse(database, embed)
    assert not await visits.begin(*place[:2], other.visit_id, new_id("call"))


async def test_an_embed_that_is_switched_off_begins_nothing(database: Database) -> None:
    embed, visits = await new_embed(database), Visits(database)
    visit = await granted(visits, embed)
    await Embeds(database).update(embed.workspace_id, embed.id, {"enabled": False})
    assert await Embeds(database).published(embed.id) is None
    assert not await visits.begin(embed.workspace_id, embed.id, visit.visit_id, new_id("call"))
    assert await visits.ask(embed, None, room=True) is None


async def test_visitors_wait_in_their_order_for_a_call_that_ends(database: Database) -> None:
    embed, visits = await new_embed(database, max_calls=1), Visits(database)
    running = await call(database, embed, ended=False)
    first, second = await queued(visits, embed), await queued(visits, embed)
    assert (first.place, second.place) == (1, 2)
    assert (await queued(visits, embed, second.visit_id)).place == 2
    assert (await visits.use(embed.workspace_id, [embed.id]))[embed.id].waiting == 2
    await end(database, embed, running)
    assert (await queued(visits, embed, second.visit_id)).place == 2  # the first one's turn
    newcomer = await queued(visits, embed)
    assert newcomer.place == 3
    assert first.visit_id is not None
    assert await visits.waits(embed, first.visit_id)
    assert (await granted(visits, embed, first.visit_id)).visit_id == first.visit_id
    assert not await visits.waits(embed, first.visit_id)
    assert (await queued(visits, embed, second.visit_id)).place == 1
    await lapse(database, embed)  # nobody is there any more
    await granted(visits, embed)


async def test_a_key_that_nobody_uses_gives_its_place_back(database: Database) -> None:
    embed, visits = await new_embed(database, max_calls=1), Visits(database)
    visit = await granted(visits, embed)
    assert (await queued(visits, embed, visit.visit_id)).place == 1  # it is no waiting visit
    await visits.withdraw(embed.workspace_id, visit.visit_id)
    await lapse(database, embed)
    await granted(visits, embed)


async def test_the_queue_is_bounded(database: Database) -> None:
    embed, visits = await new_embed(database, max_calls=1), Visits(database)
    await granted(visits, embed)
    for place in range(1, MOST_WAITING + 1):
        assert (await queued(visits, embed)).place == place
    assert await queued(visits, embed) == Queued(None, None)


async def test_without_a_slot_of_the_server_everybody_waits(database: Database) -> None:
    embed, visits = await new_embed(database), Visits(database)
    visit = await visits.ask(embed, None, room=False)
    assert isinstance(visit, Queued)
    assert visit.place == 1
    await granted(visits, embed, visit.visit_id)


async def test_calls_reserve_the_minutes_of_the_day(database: Database) -> None:
    limits = {"max_calls": 9, "minutes_per_day": 15, "max_call_minutes": 10}
    embed, visits = await new_embed(database, **limits), Visits(database)
    running = await call(database, embed, ended=False)
    assert (await granted(visits, embed)).seconds == 300
    waiting = await queued(visits, embed)  # a call that ends may leave some
    await end(database, embed, running)
    assert (await granted(visits, embed, waiting.visit_id)).seconds >= 595


async def test_minutes_count_to_the_end_of_a_call(database: Database) -> None:
    limits = {"max_calls": 9, "minutes_per_day": 25, "max_call_minutes": 10}
    embed, visits = await new_embed(database, **limits), Visits(database)
    await call(database, embed, seconds=200)
    await call(database, embed, seconds=100, ended=False)
    await call(database, embed, seconds=DAY + 50)  # yesterday's
    use = (await visits.use(embed.workspace_id, [embed.id]))[embed.id]
    now = datetime.now(UTC)
    since_midnight = (now - now.replace(hour=0, minute=0, second=0)).total_seconds()
    ended, running = (one if one < since_midnight else 0 for one in (200, 100))
    expected = ended + running
    assert use.calls == 1
    assert expected <= use.seconds <= expected + 5
    reserved = 600 if running else 0
    left = (await granted(visits, embed)).seconds
    assert abs(left - min(600, 25 * 60 - ended - reserved)) <= 5


async def test_a_day_that_is_spent_ends_at_midnight(database: Database) -> None:
    limits = {"minutes_per_day": 1, "max_call_minutes": 1}
    embed, visits = await new_embed(database, **limits), Visits(database)
    call_id = await call(database, embed)
    await database.execute(
        "UPDATE calls SET ended_at = started_at + make_interval(secs => $2) WHERE id = $1",
        call_id,
        61 - LEAST_SECONDS,
    )
    visit = await visits.ask(embed, None, room=True)
    assert isinstance(visit, DaySpent)
    assert 0 < visit.seconds <= DAY + 1


async def test_a_call_of_a_lost_node_counts_no_longer_than_it_was_granted(
    database: Database,
) -> None:
    limits = {"max_calls": 1, "minutes_per_day": 600, "max_call_minutes": 1}
    embed, visits = await new_embed(database, **limits), Visits(database)
    await call(database, embed, seconds=3600, ended=False)
    use = (await visits.use(embed.workspace_id, [embed.id]))[embed.id]
    assert (use.calls, use.seconds) in ((0, 60), (0, 0))  # 0 in the first hour of the day
    assert await visits.running(embed.workspace_id, embed.id) == []
    await granted(visits, embed)


async def test_erased_calls_keep_counting(database: Database) -> None:
    embed, visits = await new_embed(database), Visits(database)
    call_id = await call(database, embed, seconds=5)
    erasure = await submit_erasure(database, embed.workspace_id, requested_by="u", call_id=call_id)
    async with database.transaction() as connection:
        await Erasures(connection).remove(erasure, [call_id])
    assert await visits.running(embed.workspace_id, embed.id) == []
    assert (await visits.use(embed.workspace_id, [embed.id]))[embed.id].seconds <= 6


async def test_visitors_who_come_together_get_no_more_than_there_is(database: Database) -> None:
    limits = {"max_calls": 3, "minutes_per_day": 25, "max_call_minutes": 10}
    embed, visits = await new_embed(database, **limits), Visits(database)
    came = await asyncio.gather(*(visits.ask(embed, None, room=True) for _ in range(12)))
    keys = [visit for visit in came if isinstance(visit, Granted)]
    places = sorted(visit.place or 0 for visit in came if isinstance(visit, Queued))
    assert sorted(key.seconds for key in keys) == [300, 600, 600]
    assert places == list(range(1, 10))


async def test_embeds_are_their_workspaces_own(database: Database) -> None:
    embed, embeds = await new_embed(database), Embeds(database)
    theirs = await new_workspace(database, "theirs@example.org")
    assert await embeds.get(theirs, embed.id) is None
    assert await embeds.update(theirs, embed.id, {"name": "x"}) is None
    assert not await embeds.delete(theirs, embed.id)
    assert await embeds.create(theirs, embed.agent_id, NewEmbed("x", ["https://x.example"])) is None
    assert await embeds.list(theirs, embed.agent_id) == []
    with pytest.raises(ValueError, match="agent_id"):
        await embeds.update(embed.workspace_id, embed.id, {"agent_id": "agt_x"})
    await Agents(database).delete(embed.workspace_id, embed.agent_id)
    assert await embeds.get(embed.workspace_id, embed.id) is None
