import asyncio
from pathlib import Path
from typing import Any

import pytest

from pipelines.engines.base import EngineFailed, ModelUnavailable
from pipelines.engines.engine import LOADING, EngineSettings, EngineStatus, Role
from pipelines.engines.engine import Engine as Declaration
from pipelines.engines.loading import LOOK_SECONDS, RETRY_SECONDS, Loader
from pipelines.weights.manifest import Model, ModelFile

FILES = Role.FILE_TRANSCRIPTION
EARS = (FILES, "ears")
MISSING = "weights missing (a.bin): run `blab models fetch`"


class Engine:
    def __init__(self, *parts: object) -> None:
        self.parts = parts
        self.closed = 0

    async def close(self) -> None:
        self.closed += 1


class Bench:
    """Engines whose loading a test holds, counts and breaks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.loads: list[str] = []
        self.open = asyncio.Event()
        self.open.set()
        self.broken: dict[str, Exception] = {}
        self.lacking: set[str] = set()
        self.now = 0.0

    def engine(self, name: str, role: Role = FILES, **more: Any) -> Declaration:
        async def load(_settings: EngineSettings, *parts: object) -> Engine:
            self.loads.append(name)
            await self.open.wait()
            if name in self.broken:
                raise self.broken[name]
            return Engine(*parts)

        weights = (Model(name=name, files=(ModelFile("a.bin", 1, ""),)),)
        more = {"on_demand": True, "weights": weights, **more}
        return Declaration(role=role, id=name, load=load, **more)

    def loader(self, *engines: Declaration) -> Loader:
        """With the weights of all engines but those in ``lacking``."""
        for engine in engines:
            self.fetch(engine.id)
        settings = EngineSettings(self.folder)
        return Loader(settings, lambda: engines, clock=lambda: self.now)

    def fetch(self, name: str) -> None:
        if name not in self.lacking:
            (self.folder / name).mkdir(exist_ok=True)
            (self.folder / name / "a.bin").touch()


@pytest.fixture
async def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def standing(status: EngineStatus | None) -> tuple[bool, bool, str]:
    assert status is not None
    return status.live, status.loaded, status.reason


async def test_an_engine_is_loaded_once_for_all_who_ask(bench: Bench) -> None:
    loader = bench.loader(bench.engine("ears"))
    assert standing(loader.status(EARS)) == (True, False, "")
    bench.open.clear()
    asking = [asyncio.create_task(loader.fetch(EARS)) for _ in range(5)]
    await asyncio.sleep(0)
    asking[0].cancel()
    while not bench.loads:
        await asyncio.sleep(0)
    assert standing(loader.status(EARS)) == (False, False, LOADING)
    bench.open.set()
    _, *got = await asyncio.gather(*asking, return_exceptions=True)
    assert len({id(engine) for engine in got}) == 1
    assert bench.loads == ["ears"]
    assert loader.loaded[EARS] is await loader.fetch(EARS)
    assert standing(loader.status(EARS)) == (True, True, "")
    await loader.close()
    assert [getattr(engine, "closed", None) for engine in got] == [1] * 4


async def test_load_skips_engines_that_only_jobs_use(bench: Bench) -> None:
    loader = bench.loader(bench.engine("voice", Role.SPEECH, on_demand=False), bench.engine("ears"))
    await loader.load()
    assert bench.loads == ["voice"]
    await loader.close()
    assert {standing(loader.status(key))[2] for key in loader.engines} == {"shut down"}
    with pytest.raises(ModelUnavailable, match="shut down"):
        await loader.fetch(EARS)


async def test_a_failed_engine_is_retried_later(bench: Bench) -> None:
    loader = bench.loader(bench.engine("ears"))
    bench.broken["ears"] = EngineFailed("out of memory")
    for _ in range(2):
        with pytest.raises(ModelUnavailable, match="ears cannot be used: out of memory"):
            await loader.fetch(EARS)
    assert bench.loads == ["ears"]
    bench.broken.clear()
    bench.now += RETRY_SECONDS
    assert standing(loader.status(EARS)) == (True, False, "")
    assert isinstance(await loader.fetch(EARS), Engine)
    await loader.close()


async def test_a_bug_in_one_engine_affects_no_other(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    loader = bench.loader(
        bench.engine("voice", Role.SPEECH, on_demand=False),
        bench.engine("talker", Role.CHAT, on_demand=False),
    )
    bench.broken["voice"] = ZeroDivisionError("division by zero")
    await loader.load()
    reason = "ZeroDivisionError: division by zero"
    assert standing(loader.status((Role.SPEECH, "voice"))) == (False, False, reason)
    assert standing(loader.status((Role.CHAT, "talker"))) == (True, True, "")
    assert "voice (speech) failed to load" in caplog.text
    await loader.close()


async def test_calls_do_not_count_on_a_live_engine_that_failed(bench: Bench) -> None:
    loader = bench.loader(bench.engine("voice", Role.SPEECH, on_demand=False))
    bench.broken["voice"] = EngineFailed("no luck")
    await loader.load()
    bench.now += 2 * RETRY_SECONDS
    assert standing(loader.status((Role.SPEECH, "voice"))) == (False, False, "no luck")
    await loader.close()


async def test_weights_that_arrive_later_are_found(bench: Bench) -> None:
    bench.lacking = {"ears"}
    loader = bench.loader(bench.engine("ears"))
    with pytest.raises(ModelUnavailable, match=r"weights missing \(a.bin\)"):
        await loader.fetch(EARS)
    assert bench.loads == []
    bench.lacking.clear()
    bench.fetch("ears")
    bench.now += LOOK_SECONDS
    assert isinstance(await loader.fetch(EARS), Engine)
    await loader.close()


async def test_a_composed_engine_gets_its_parts(bench: Bench) -> None:
    cloner = bench.engine("cloner", Role.CLONING, needs=((Role.SPEECH, "voice"),))
    bench.lacking = {"voice"}
    loader = bench.loader(cloner, bench.engine("voice", Role.SPEECH))
    status = loader.status((Role.CLONING, "cloner"))
    assert standing(status) == (False, False, f"it needs voice: {MISSING}")
    bench.lacking.clear()
    bench.fetch("voice")
    bench.now += LOOK_SECONDS
    made = await loader.fetch((Role.CLONING, "cloner"))
    assert made.parts == (loader.loaded[Role.SPEECH, "voice"],)
    assert bench.loads == ["voice", "cloner"]
    await loader.close()


async def test_close_ends_what_is_loading(bench: Bench) -> None:
    loader = bench.loader(bench.engine("ears"))
    bench.open.clear()
    asking = asyncio.create_task(loader.fetch(EARS))
    while not bench.loads:
        await asyncio.sleep(0)
    await loader.close()
    with pytest.raises(ModelUnavailable, match="shut down"):
        await asking
    assert EARS not in loader.loaded


async def test_engines_are_chosen_anew_at_the_start(bench: Bench) -> None:
    engines = [bench.engine("small", Role.CHAT, on_demand=False, weights=())]
    loader = Loader(EngineSettings(bench.folder), lambda: list(engines))
    kept: Engine = await loader.fetch((Role.CHAT, "small"))
    engines[:] = [bench.engine("large", Role.CHAT, on_demand=False, weights=())]
    await loader.load()
    assert [engine.id for engine in loader.of(Role.CHAT)] == ["large", "small"]
    assert loader.loaded[Role.CHAT, "small"] is kept
    await loader.close()
    assert kept.closed == 1


async def test_an_unknown_engine_has_no_status(bench: Bench) -> None:
    loader = bench.loader()
    assert loader.status(EARS) is None
    with pytest.raises(ModelUnavailable, match="'ears'"):
        await loader.fetch(EARS)
