"""Usage events: one per unit, summed exactly by workspace."""

from dataclasses import replace
from decimal import Decimal

from store.database import Database
from store.tenants.usage import NewUsageEvent, UsageEvents, UsageSum
from tests.support.pipelines.job_support import new_workspace

EVENT = NewUsageEvent(
    unit="job_1:tts",
    type="tts",
    model="m",
    tokens=10,
    audio_ms=1500,
    cost=Decimal("0.00000001"),
)


async def test_each_workspace_sees_its_own_usage(database: Database) -> None:
    ours = await new_workspace(database)
    theirs = await new_workspace(database, "stranger@example.com")
    events = UsageEvents(database)
    assert await events.insert([(ours, EVENT), (ours, replace(EVENT, tokens=98))]) == 1
    assert await events.insert([(ours, replace(EVENT, tokens=99)), (theirs, EVENT)]) == 1
    another = replace(EVENT, unit="nul\0", cost=Decimal("123456789.1"))
    assert await events.insert([(ours, another)]) == 1
    assert await events.insert([]) == 0
    total = UsageSum(
        count=2,
        tokens=20,
        audio_ms=3000,
        cost=Decimal("123456789.10000001"),
    )
    assert await events.total(ours) == total
    broken = await events.breakdown(ours, 2)
    assert (broken.by_model, broken.by_type) == ({"m": total}, {"tts": total})
    assert list(broken.by_day.values()) == [UsageSum(), total]
    assert (await events.total(theirs)).count == 1
    assert len(await events.list(theirs)) == 1
    assert await events.list(theirs, type="stt") == []
    newest, oldest = await events.list(ours)
    assert await events.list(ours, after=newest.id) == [oldest]
    assert await events.list(ours, model="m", limit=1) == [newest]
