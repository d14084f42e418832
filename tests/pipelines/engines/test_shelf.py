import asyncio

import pytest

from pipelines.engines.base import EngineFailed, ModelUnavailable
from pipelines.engines.plan import Plan
from pipelines.engines.shelf import LOADING, LOOK_SECONDS, RETRY_SECONDS, Shelf
from pipelines.engines.status import EngineStatus, Role


class Engine:
    def __init__(self, *parts: object) -> None:
        self.parts = parts
        self.closed = 0

    async def close(self) -> None:
        self.closed += 1


class Bench:
    """Plans whose loading a test holds, counts and breaks."""

    def __init__(self) -> None:
        self.loads: list[str] = []
        self.open = asyncio.Event()
        self.open.set()
        self.broken: dict[str, str] = {}
        self.lacking: dict[str, str] = {}
        self.now = 0.0

    def plan(self, name: str, role: Role = Role.FILES, **more: object) -> Plan:
        async def load(*parts: object) -> Engine:
            self.loads.append(name)
            await self.open.wait()
            if name in self.broken:
                raise EngineFailed(self.broken[name])
            return Engine(*parts)

        return Plan(name, role, load, **{"lazy": True, **more})  # type: ignore[arg-type]

    def shelf(self, *plans: Plan) -> Shelf:
        return Shelf(
            lambda: plans,
            lambda plan: self.lacking.get(plan.model_id, ""),
            clock=lambda: self.now,
        )


@pytest.fixture
async def bench() -> Bench:
    return Bench()


def told(status: EngineStatus | None) -> tuple[bool, bool, str]:
    assert status is not None
    return status.live, status.loaded, status.reason


async def test_an_engine_is_loaded_once_for_all_who_ask(bench: Bench) -> None:
    shelf = bench.shelf(bench.plan("ears"))
    assert told(shelf.status(Role.FILES, "ears")) == (True, False, "")
    bench.open.clear()
    asking = [asyncio.create_task(shelf.fetch(Role.FILES, "ears")) for _ in range(5)]
    await asyncio.sleep(0)
    asking[0].cancel()
    while not bench.loads:
        await asyncio.sleep(0)
    assert told(shelf.status(Role.FILES, "ears")) == (False, False, LOADING)
    bench.open.set()
    _, *got = await asyncio.gather(*asking, return_exceptions=True)
    assert len({id(engine) for engine in got}) == 1
    assert bench.loads == ["ears"]
    assert shelf.loaded(Role.FILES, "ears") is await shelf.fetch(Role.FILES, "ears")
    assert told(shelf.status(Role.FILES, "ears")) == (True, True, "")
    await shelf.close()
    assert [getattr(engine, "closed", None) for engine in got] == [1] * 4


async def test_load_leaves_what_only_jobs_use(bench: Bench) -> None:
    shelf = bench.shelf(bench.plan("voice", Role.SPEECH, lazy=False), bench.plan("ears"))
    seen: list[EngineStatus] = []
    await shelf.load(seen.append)
    assert bench.loads == ["voice"]
    assert [status.reason for status in seen] == [LOADING, ""]
    await shelf.close()
    assert {status.reason for status in shelf.statuses()} == {"shut down"}
    with pytest.raises(ModelUnavailable, match="shut down"):
        await shelf.fetch(Role.FILES, "ears")


async def test_what_failed_is_tried_again_after_a_while(bench: Bench) -> None:
    shelf = bench.shelf(bench.plan("ears"))
    bench.broken["ears"] = "out of memory"
    for _ in range(2):
        with pytest.raises(ModelUnavailable, match="ears cannot be used: out of memory"):
            await shelf.fetch(Role.FILES, "ears")
    assert bench.loads == ["ears"]
    bench.broken.clear()
    bench.now += RETRY_SECONDS
    assert told(shelf.status(Role.FILES, "ears")) == (True, False, "")
    assert isinstance(await shelf.fetch(Role.FILES, "ears"), Engine)
    await shelf.close()


async def test_calls_do_not_count_on_a_live_engine_that_failed(bench: Bench) -> None:
    shelf = bench.shelf(bench.plan("voice", Role.SPEECH, lazy=False))
    bench.broken["voice"] = "no luck"
    await shelf.load()
    bench.now += 2 * RETRY_SECONDS
    assert told(shelf.status(Role.SPEECH, "voice")) == (False, False, "no luck")
    await shelf.close()


async def test_weights_that_arrive_later_are_found(bench: Bench) -> None:
    shelf = bench.shelf(bench.plan("ears"))
    bench.lacking["ears"] = "weights missing (a.bin)"
    with pytest.raises(ModelUnavailable, match=r"weights missing \(a.bin\)"):
        await shelf.fetch(Role.FILES, "ears")
    assert bench.loads == []
    bench.lacking.clear()
    bench.now += LOOK_SECONDS
    assert isinstance(await shelf.fetch(Role.FILES, "ears"), Engine)
    await shelf.close()


async def test_an_engine_gets_those_it_is_made_of(bench: Bench) -> None:
    cloner = bench.plan("cloner", Role.CLONING, needs=((Role.SPEECH, "voice"),))
    shelf = bench.shelf(cloner, bench.plan("voice", Role.SPEECH))
    bench.lacking["voice"] = "weights missing"
    status = shelf.status(Role.CLONING, "cloner")
    assert told(status) == (False, False, "it needs voice: weights missing")
    bench.lacking.clear()
    bench.now += LOOK_SECONDS
    made = await shelf.fetch(Role.CLONING, "cloner")
    assert made.parts == (shelf.loaded(Role.SPEECH, "voice"),)
    assert bench.loads == ["voice", "cloner"]
    await shelf.close()


async def test_close_ends_what_is_loading(bench: Bench) -> None:
    shelf = bench.shelf(bench.plan("ears"))
    bench.open.clear()
    asking = asyncio.create_task(shelf.fetch(Role.FILES, "ears"))
    while not bench.loads:
        await asyncio.sleep(0)
    await shelf.close()
    with pytest.raises(ModelUnavailable, match="shut down"):
        await asking
    assert shelf.loaded(Role.FILES, "ears") is None


async def test_plans_are_made_anew_at_the_start(bench: Bench) -> None:
    plans = [bench.plan("small", Role.CHAT, lazy=False)]
    shelf = Shelf(lambda: list(plans), lambda _: "")
    kept: Engine = await shelf.fetch(Role.CHAT, "small")
    plans[:] = [bench.plan("large", Role.CHAT, lazy=False)]
    await shelf.load()
    assert [plan.model_id for plan in shelf.of(Role.CHAT)] == ["large", "small"]
    assert shelf.loaded(Role.CHAT, "small") is kept
    await shelf.close()
    assert kept.closed == 1


async def test_an_unknown_engine_has_no_status(bench: Bench) -> None:
    shelf = bench.shelf()
    assert shelf.status(Role.FILES, "ears") is None
    with pytest.raises(ModelUnavailable, match="'ears'"):
        await shelf.fetch(Role.FILES, "ears")
