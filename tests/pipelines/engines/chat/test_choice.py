"""The larger chat model answers only on machines that can run it."""

import json
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipelines.engines import startup
from pipelines.engines.base import ChatDelta, ChatMessage, EngineFailed
from pipelines.engines.catalogue import Catalogue
from pipelines.engines.chat import choice as chat_choice
from pipelines.engines.chat.choice import (
    COMING,
    LARGER,
    SMALLER,
    ChatChoice,
    Speed,
    Verdict,
    Verdicts,
    estimated,
    measured,
)
from pipelines.engines.chat.llama import ENGINES, llama
from pipelines.engines.engine import Engine, EngineSettings, Role
from pipelines.engines.startup import Startup, Stop, embedded_chat
from pipelines.weights.manifest import Model, WeightsError

FAST = Verdict(Speed(20.0, 0.5), estimated=False)
SLOW = Verdict(Speed(6.0, 2.0), estimated=False)
HOPEFUL = Verdict(Speed(16.0, 0.7), estimated=True)


class PacedChat:
    """A chat model that takes ``wait`` seconds to its first token and makes ``rate`` a second, by a
    clock of its own."""

    def __init__(self, model_id: str = SMALLER, wait: float = 0.2, rate: float = 30.0) -> None:
        self.model_id = model_id
        self.wait, self.rate = wait, rate
        self.now = 0.0
        self.closed = False

    async def stream(
        self, messages: Sequence[ChatMessage], *, max_tokens: int = 256, **_: Any
    ) -> AsyncGenerator[ChatDelta, None]:
        self.now += self.wait
        for place in range(max_tokens):
            self.now += 1 / self.rate if place else 0.0
            yield ChatDelta(" word")
        yield ChatDelta("", "length", 20, max_tokens)

    async def prefill(self, messages: Sequence[ChatMessage], **_: Any) -> None:
        pass

    async def close(self) -> None:
        self.closed = True


async def test_speed_is_tokens_a_second_and_the_wait_for_a_clause() -> None:
    chat = PacedChat(wait=0.2, rate=20.0)
    speed = await measured(chat, lambda: chat.now)
    assert speed.tokens_per_second == pytest.approx(20.0)
    assert speed.wait == pytest.approx(0.2 + 7 / 20)
    assert speed.enough


async def test_an_empty_answer_does_not_count_as_fast() -> None:
    class Silent(PacedChat):
        async def stream(self, *_: Any, **__: Any) -> AsyncGenerator[ChatDelta, None]:
            yield ChatDelta("", "stop", 20, 0)

    assert not (await measured(Silent())).enough


@pytest.mark.parametrize(("rate", "hopeful"), [(20.5, False), (21.5, True), (60.0, True)])
async def test_the_small_models_speed_decides_whether_to_try(rate: float, hopeful: bool) -> None:
    chat = PacedChat(rate=rate)
    assert (await estimated(chat, lambda: chat.now)).hopeful is hopeful


def test_a_verdict_is_kept_for_this_machine_only(tmp_path: Path) -> None:
    verdicts = Verdicts(tmp_path)
    assert verdicts.read() is None
    verdicts.write(SLOW)
    assert verdicts.read() == SLOW
    (file,) = tmp_path.iterdir()
    kept = json.loads(file.read_text())
    file.write_text(json.dumps(kept | {"machine": "another"}))
    assert verdicts.read() is None
    for damaged in ("", "[]", "{}", json.dumps(kept | {"speed": ["x"]})):
        file.write_text(damaged)
        assert verdicts.read() is None


def test_an_unwritable_folder_is_tolerated(tmp_path: Path) -> None:
    Verdicts(tmp_path / "absent").write(FAST)
    assert Verdicts(tmp_path / "absent").read() is None


class House:
    """Engines with a small chat model, and a larger one that can be had."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
        self.small, self.larger = PacedChat(SMALLER), PacedChat(LARGER)
        self.broken: EngineFailed | None = None
        self.fetches: list[str] = []
        self.unfetched: WeightsError | None = None
        self.settings = EngineSettings(folder, **options)
        self.choices: list[ChatChoice] = []
        self.engines = Catalogue(
            self.settings,
            engines=[self._declared(self.larger), self._declared(self.small)],
            fetch=self._fetch,
            on_chat_replaced=self.choices.append,
        )
        self.measured = FAST
        self.memory = 8_000_000_000
        monkeypatch.setattr(chat_choice, "free_memory", lambda: self.memory)
        monkeypatch.setattr(startup, "measured", self._measured)
        monkeypatch.setattr(startup, "estimated", self._estimated)
        self.estimate = HOPEFUL
        self.estimates = 0

    def _declared(self, model: PacedChat) -> Engine:
        async def load(_settings: EngineSettings) -> PacedChat:
            if self.broken is not None and model is self.larger:
                raise self.broken
            return model

        weights = (Model(name=model.model_id, files=()),)
        return Engine(role=Role.CHAT, id=model.model_id, load=load, languages=(), weights=weights)

    async def _measured(self, _model: object) -> Speed:
        return self.measured.speed

    async def _estimated(self, _model: object) -> Verdict:
        self.estimates += 1
        return self.estimate

    async def start(self) -> ChatChoice | None:
        """Start, and what became of the larger model: None where it was not tried."""
        await self.engines.start()
        return await self.grown()

    @property
    def startup(self) -> Startup:
        assert isinstance(self.engines.source, Startup)
        return self.engines.source

    async def grown(self) -> ChatChoice | None:
        growth = self.startup._growth
        assert growth is not None
        await growth
        return self.choices[-1] if self.choices else None

    def _fetch(self, models: Sequence[Model], _stop: Stop) -> None:
        names = [model.name for model in models]
        self.fetches += names
        if LARGER in names and self.unfetched is not None:
            raise self.unfetched

    async def answers(self) -> tuple[str, str]:
        """Which model answers, and what its status says about that."""
        model = await self.engines.chat("default")
        (note,) = (s.note for s in self.engines.statuses() if s.model_id == model.model_id)
        return model.model_id, note


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    return House(tmp_path, monkeypatch)


async def test_a_fast_large_model_takes_over_and_the_small_one_is_closed(house: House) -> None:
    await house.engines.start()
    assert await house.answers() == (SMALLER, COMING)
    choice = await house.grown()
    assert choice == ChatChoice(LARGER, FAST.reason)
    assert await house.answers() == (LARGER, FAST.reason)
    assert house.small.closed
    assert not house.larger.closed
    assert Verdicts(house.settings.models_dir).read() == FAST
    await house.engines.close()
    assert house.larger.closed


async def test_a_slow_large_model_is_closed_and_not_tried_again(house: House) -> None:
    house.measured = SLOW
    assert await house.start() == ChatChoice(SMALLER, SLOW.reason)
    assert house.larger.closed
    assert not house.small.closed
    assert await house.answers() == (SMALLER, SLOW.reason)
    await house.startup.choose_chat()
    assert await house.startup.grow() is None
    assert (house.fetches, house.estimates) == ([SMALLER, LARGER], 1)
    await house.engines.close()


async def test_a_large_model_without_a_chance_is_not_fetched(house: House) -> None:
    house.estimate = Verdict(Speed(5.0, 3.0), estimated=True)
    assert await house.start() is None
    model, note = await house.answers()
    assert model == SMALLER
    assert "too slow" in note
    assert "5 tokens/s" in note
    assert house.fetches == [SMALLER]
    await house.engines.close()


async def test_too_little_memory_is_reported(house: House) -> None:
    house.memory = 2_000_000_000
    assert await house.start() is None
    assert "4 GB" in (await house.answers())[1]
    assert house.estimates == 0
    await house.engines.close()


async def test_a_failed_download_keeps_the_small_model(house: House) -> None:
    house.unfetched = WeightsError("no source gave it")
    choice = await house.start()
    assert choice is not None
    assert "no source gave it" in choice.reason
    house.unfetched, house.broken = None, EngineFailed("it does not load")
    choice = await house.start()
    assert choice is not None
    assert "it does not load" in choice.reason
    assert (await house.answers())[0] == SMALLER
    await house.engines.close()


async def test_a_configured_model_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(tmp_path, monkeypatch, chat_model=SMALLER)
    assert await house.start() is None
    assert await house.answers() == (SMALLER, "")
    await house.engines.close()


def test_the_next_start_loads_the_chosen_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_choice, "free_memory", lambda: 8_000_000_000)
    monkeypatch.setattr(startup, "missing_files", lambda *_: [])
    settings = EngineSettings(tmp_path)
    assert embedded_chat(settings, ENGINES) == SMALLER
    for verdict, expected in ((HOPEFUL, SMALLER), (SLOW, SMALLER), (FAST, LARGER)):
        Verdicts(tmp_path).write(verdict)
        assert embedded_chat(settings, ENGINES) == expected
    monkeypatch.setattr(chat_choice, "free_memory", lambda: 2_000_000_000)
    assert embedded_chat(settings, ENGINES) == SMALLER


def test_the_chat_model_follows_the_profile_and_the_files(tmp_path: Path) -> None:
    def chosen(**options: Any) -> str | None:
        return embedded_chat(EngineSettings(tmp_path, **options), ENGINES)

    assert chosen(profile="small") == SMALLER
    assert chosen(profile="full") == LARGER
    path = llama(EngineSettings(tmp_path), SMALLER).path
    path.parent.mkdir()
    path.touch()
    assert chosen(profile="full") == SMALLER
    assert chosen(chat_model=LARGER) == LARGER
    assert chosen(chat_model="gpt-9") is None
