"""A dry turn uses the engines of a call once, and leaves the way to whoever calls."""

from pathlib import Path

import pytest

from pipelines.engines.base import ChatMessage, EngineFailed
from pipelines.engines.catalogue import Catalogue
from pipelines.engines.discovery import BUILT_IN
from pipelines.engines.engine import EngineSettings, Role
from pipelines.engines.scripted.live import Fault, ScriptedEngines, scripted_engines
from sessions.core.config import SessionConfig
from sessions.core.prompt import composed
from sessions.dry_turn import WORDS, dry_turn
from tests.support.sessions import virtual_clock

CONFIG = SessionConfig(instructions="You answer the telephone of a hotel.")


def gone_through(engines: ScriptedEngines, *busy: bool) -> bool:
    """Whether a dry turn comes to its end; ``busy``: whether somebody calls, frame by frame."""
    frames = iter(busy)
    answered = virtual_clock.run(dry_turn(engines, CONFIG, lambda: next(frames, False)))
    assert engines.ears.opened == 0
    assert (engines.chat_model.running, engines.voice.running) == (0, 0)
    return answered


def test_every_engine_is_used_and_the_agents_prompt_is_read() -> None:
    engines = scripted_engines()
    assert gone_through(engines)
    assert engines.voice.spoken[0] == WORDS
    assert len(engines.voice.spoken) >= 2
    assert engines.ears.finals
    assert engines.chat_model.asked[0][0].content == composed(CONFIG)


def test_a_call_goes_first() -> None:
    engines = scripted_engines()
    assert not gone_through(engines, *[False] * 10, True)
    assert not engines.chat_model.asked


@pytest.mark.parametrize("role", [Role.SPEECH, Role.TRANSCRIPTION, Role.CHAT])
def test_an_upstream_is_not_used(role: Role) -> None:
    engines = scripted_engines()
    engines.upstream = frozenset({role})
    assert gone_through(engines) is (role is Role.CHAT)
    assert not engines.chat_model.asked
    assert bool(engines.voice.spoken) is (role is Role.CHAT)


@pytest.mark.alone
@pytest.mark.engines
async def test_the_real_engines_go_through_one(models_dir: Path) -> None:
    engines = Catalogue(EngineSettings(models_dir), engines=BUILT_IN)
    await engines.start()
    try:
        assert await dry_turn(engines, CONFIG, lambda: False)
        prompt = (ChatMessage("system", composed(CONFIG)), ChatMessage("user", "Hello?"))
        model = await engines.chat("default")
        answer = [delta async for delta in model.stream(prompt, max_tokens=4)]
        assert answer[-1].cached_tokens > 90, "the agent's prompt has been read"
    finally:
        await engines.close()


def test_a_failing_engine_is_the_next_calls_business() -> None:
    engines = scripted_engines()
    engines.voice.fault = Fault(EngineFailed("no voice"))
    assert not gone_through(engines)
