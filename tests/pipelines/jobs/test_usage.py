"""Units of work: their prices, and that each is billed once."""

import contextlib
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from pipelines.jobs.job import JobResult, JobRun, JobStatus, Unit
from pipelines.jobs.usage import Price, Prices, PricesError, Usage
from store.database import Database
from store.ids import new_id
from store.tenants.calls import Calls, Turns
from store.tenants.usage import UsageEvent, UsageEvents
from tests.store.test_tenants import a_call, a_turn
from tests.support.pipelines.job_support import Kind, new_workspace, submit, until, working

PRICES = Prices({"*": {"*": Price(Decimal("0.01"), Decimal("0.6"))}})


async def booked(database: Database, workspace_id: str) -> list[tuple[str, str, int, int, Decimal]]:
    events: list[UsageEvent] = await UsageEvents(database).list(workspace_id)
    return sorted((e.type, e.model, e.tokens, e.audio_ms, e.cost) for e in events)


async def test_a_unit_is_billed_once(database: Database) -> None:
    ours = await new_workspace(database)
    theirs = await new_workspace(database, "stranger@example.com")
    usage = Usage(database, PRICES)
    units = [Unit("req:tts", "tts", "m", 100, 500), Unit("req:stt", "stt", "w", 0, 60_000)]
    await usage.book(ours, units)
    await usage.book(ours, [*units, Unit("req:tts", "tts", "dearer", 9999)])
    await usage.book(theirs, units[:1])
    assert await booked(database, ours) == [
        ("stt", "w", 0, 60_000, Decimal("0.6")),
        ("tts", "m", 100, 500, Decimal("0.006")),
    ]
    assert len(await booked(database, theirs)) == 1


async def test_all_units_or_none(database: Database) -> None:
    ours = await new_workspace(database)
    usage = Usage(database, PRICES)
    with contextlib.suppress(RuntimeError):
        async with database.transaction() as connection:
            await usage.book_in(connection, ours, [Unit("a", "tts", "m", 1)])
            raise RuntimeError
    assert await booked(database, ours) == []


async def test_a_job_is_booked_with_its_end(database: Database) -> None:
    ours = await new_workspace(database)
    refuse = True

    async def work(run: JobRun) -> JobResult:
        nonlocal refuse
        unit = Unit(f"{run.id}:tts", "tts", "m", tokens=run.input["n"])
        if refuse:
            refuse = False
            return JobResult({"nul": "\0"}, (unit,))  # the database refuses it: a fault
        return JobResult({}, (unit,))

    async with working(database, Kind(work), hooks=[Usage(database, PRICES).hook]):
        jobs = [await submit(database, ours, n=n) for n in (10, 20)]
        for job in jobs:
            await until(database, job, JobStatus.COMPLETED)
    assert [tokens for _, _, tokens, _, _ in await booked(database, ours)] == [10, 20]


async def test_a_turn_is_booked_by_its_chat_model(database: Database) -> None:
    ours = await new_workspace(database)
    theirs = await new_workspace(database, "stranger@example.com")
    usage, call = Usage(database, PRICES), a_call()
    named = replace(a_call(), id=new_id("call"), config={})
    for one in (call, named):
        await Calls(database).open(ours, one)
    turn = a_turn(prompt_tokens=90, completion_tokens=10)
    silent = a_turn(prompt_tokens=0, completion_tokens=0)
    async with database.transaction() as connection:
        for one in (turn, silent):
            assert await Turns(connection).insert(ours, call.id, one)
            for _ in range(2):
                await usage.book_turn(connection, ours, call.id, one)
        await usage.book_turn(connection, ours, named.id, a_turn())
        await usage.book_turn(connection, theirs, call.id, turn)
    assert await booked(database, ours) == [
        ("agent", "default", 14, 0, Decimal("0.00014")),
        ("agent", "m", 100, 0, Decimal("0.001")),
    ]
    assert await booked(database, theirs) == []


TABLE = """{
  "tts": {"blab-expressive": {"perThousandTokens": 0.03}, "*": {"perThousandTokens": 0.015}},
  "stt": {"*": {"perAudioMinute": 0.006}},
  "agent": {"small": {"perThousandTokens": 0.1, "perAudioMinute": 1}},
  "*": {"house": {"perThousandTokens": 7}}
}"""


@pytest.mark.parametrize(
    ("unit", "cost"),
    [
        (Unit("u", "tts", "blab-expressive", tokens=1000), "0.03"),
        (Unit("u", "tts", "blab-stable", tokens=1, audio_ms=90_000), "0.000015"),
        (Unit("u", "stt", "whisper", tokens=500, audio_ms=1), "0.0000001"),
        (Unit("u", "stt", "whisper", audio_ms=90_000), "0.009"),
        (Unit("u", "agent", "small", tokens=3, audio_ms=30_000), "0.5003"),
        (Unit("u", "agent", "large", tokens=1000), "0"),
        (Unit("u", "voice_clone", "house", tokens=1000), "7"),
        (Unit("u", "voice_clone", "other", tokens=1000), "0"),
    ],
)
def test_the_nearest_entry_counts(tmp_path: Path, unit: Unit, cost: str) -> None:
    path = tmp_path / "prices.json"
    path.write_text(TABLE)
    assert Prices.read(path).cost(unit) == Decimal(cost)


def test_without_a_table_everything_costs_nothing() -> None:
    assert Prices.read(None).cost(Unit("u", "tts", "m", 10**9, 10**9)) == 0


def test_costs_are_rounded_to_what_is_stored() -> None:
    prices = Prices({"tts": {"*": Price(per_thousand_tokens=Decimal("0.000005"))}})
    assert prices.cost(Unit("u", "tts", "m", tokens=1)) == Decimal("0.00000001")
    assert prices.cost(Unit("u", "tts", "m", tokens=1)).as_tuple().exponent == -8


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not a price table"),
        ("[]", "not a price table"),
        ('{"tts": {"*": 1}}', "not a price table"),
        ('{"tts": {"*": {"perAudioMinutes": 1}}}', "perAudioMinutes"),
        ('{"tts": {"*": {"perAudioMinute": -1}}}', r"tts\.\*"),
        ('{"tts": {"*": {"perAudioMinute": 1e9}}}', r"tts\.\*"),
        ('{"tts": {"*": {"perAudioMinute": "NaN"}}}', r"tts\.\*"),
        ('{"tts": {"*": {"perAudioMinute": "much"}}}', "not a price table"),
        ("\xff", "not a price table"),
    ],
)
def test_a_table_that_is_wrong_is_refused(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "prices.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(PricesError, match=why):
        Prices.read(path)


def test_a_missing_price_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PricesError, match="cannot be read"):
        Prices.read(tmp_path / "absent.json")
