"""One reply being made: its pieces in order, one outcome, and nothing left when it is cancelled."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from pipelines.engines.base import ChatMessage, EngineFailed, EngineTimeout
from pipelines.engines.scripted import Fault, ScriptedEngines, scripted_engines, tone_of
from sessions.core.commands import StartReply
from sessions.core.config import SessionConfig
from sessions.core.events import (
    ClauseReady,
    Event,
    PieceStarted,
    PlayoutFinished,
    ReplyFailed,
    ReplyGenerated,
    ReplyPiece,
)
from sessions.core.items import Message
from sessions.playout import Playout
from sessions.reply import ReplyTask

from .fake_channel import FakeChannel

RATE = 16_000
ORDER = StartReply(1, 1, "resp_1", "item_1", (Message("user", "hello"),), SessionConfig())


class Maker:
    """A ReplyTask on a playout that nothing has released."""

    def __init__(self, engines: ScriptedEngines, order: StartReply = ORDER) -> None:
        self.engines = engines
        self.events: list[Event] = []
        self.channel = FakeChannel(RATE)
        self.playout = Playout(self.channel, self.events.append)
        self.playout.start(order.reply, order.response_id, order.item_id)
        self.moves = 0
        self.task = ReplyTask(order, engines, self.playout, RATE, self.events.append, self._advance)

    def _advance(self) -> None:
        self.moves += 1
        self.playout.advance(0.0)

    async def made(self) -> list[Event]:
        """All it told, without the playout's own."""
        await asyncio.wait_for(self.task.run(), 5)
        self.assert_free()
        return [e for e in self.events if not isinstance(e, PieceStarted | PlayoutFinished)]

    def assert_free(self) -> None:
        assert (self.engines.chat_model.running, self.engines.voice.running) == (0, 0)


def text_of(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, ReplyPiece))


def samples_in(events: list[Event]) -> int:
    return sum(event.samples for event in events if isinstance(event, ReplyPiece))


async def test_pieces_are_the_text_and_the_audio_in_order() -> None:
    maker = Maker(scripted_engines(answers=("Hello there. How are you?",)))
    events = await maker.made()
    assert isinstance(events[0], ClauseReady)
    assert text_of(events) == "Hello there. How are you?"
    assert samples_in(events) == pytest.approx(5 * 0.25 * RATE, abs=100)
    assert events[-1] == ReplyGenerated(1, 1, 5)
    assert [type(event) for event in events].count(ReplyGenerated) == 1
    assert maker.engines.voice.spoken == ["Hello there.", "How are you?"]
    assert maker.engines.chat_model.asked == [(ChatMessage("user", "hello"),)]
    assert not maker.channel.pieces
    maker.playout.release(1)
    maker.playout.advance(0.0)
    assert tone_of(maker.channel.audio, RATE) == pytest.approx(440, abs=5)


async def test_a_script_is_spoken_without_the_chat_model() -> None:
    maker = Maker(scripted_engines(), replace(ORDER, script="Sorry."))
    events = await maker.made()
    assert text_of(events) == "Sorry."
    assert events[-1] == ReplyGenerated(1)
    assert not maker.engines.chat_model.asked


async def test_text_only_speaks_nothing() -> None:
    order = replace(ORDER, config=SessionConfig(output_audio=False))
    maker = Maker(scripted_engines(answers=("In writing only.",)), order)
    events = await maker.made()
    assert text_of(events) == "In writing only."
    assert samples_in(events) == 0
    assert not maker.engines.voice.spoken


async def test_what_cannot_be_spoken_is_text_without_samples() -> None:
    maker = Maker(scripted_engines(answers=("Look here: \n\n***\n\nDone it is.",)))
    events = await maker.made()
    assert text_of(events) == "Look here: \n\n***\n\nDone it is."
    assert not any("*" in said for said in maker.engines.voice.spoken)


async def test_the_token_limit_is_told() -> None:
    order = replace(ORDER, config=SessionConfig(max_output_tokens=2))
    events = await Maker(scripted_engines(answers=("one two three four",)), order).made()
    assert events[-1] == ReplyGenerated(1, 1, 2, truncated=True)
    assert text_of(events) == "one two"


@pytest.mark.parametrize("spoken", [True, False])
async def test_a_chat_model_that_fails_is_one_outcome(spoken: bool) -> None:
    engines = scripted_engines(answers=("One two three. Four five.",))
    engines.chat_model.fault = Fault(EngineFailed("broken"), at=4)
    maker = Maker(engines, replace(ORDER, config=SessionConfig(output_audio=spoken)))
    events = await maker.made()
    assert events[-1] == ReplyFailed(1, "PROVIDER_ERROR", "broken")
    assert sum(isinstance(e, ReplyFailed | ReplyGenerated) for e in events) == 1


async def test_a_voice_that_fails_stops_the_chat_model() -> None:
    engines = scripted_engines(answers=("word " * 200,))
    engines.voice.fault = Fault(EngineTimeout("late"), at=3)
    maker = Maker(engines)
    events = await maker.made()
    assert events[-1] == ReplyFailed(1, "PROVIDER_ERROR", "late")
    assert samples_in(events) > 0


async def test_an_absent_model_is_named() -> None:
    engines = scripted_engines()
    engines.absent = frozenset({"default"})
    events = await Maker(engines).made()
    assert isinstance(events[-1], ReplyFailed)
    assert events[-1].code == "MODEL_UNAVAILABLE"
    assert "default" in events[-1].message


async def test_a_bug_in_an_engine_is_not_an_outcome() -> None:
    engines = scripted_engines()
    engines.chat_model.answer = lambda _: str(1 // 0)
    maker = Maker(engines)
    with pytest.raises(BaseExceptionGroup) as caught:
        await maker.task.run()
    assert caught.group_contains(ZeroDivisionError)
    assert not maker.events
    maker.assert_free()


@pytest.fixture
async def endless() -> AsyncIterator[Maker]:
    maker = Maker(scripted_engines(answers=("and so on it goes, " * 400,)))
    maker.engines.chat_model.answer = None
    running = asyncio.create_task(maker.task.run())
    yield maker
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    maker.assert_free()
    assert maker.engines.chat_model.cancelled == 1
    assert not [e for e in maker.events if isinstance(e, ReplyGenerated | ReplyFailed)]


async def settle() -> None:
    for _ in range(300):
        await asyncio.sleep(0)


async def test_a_speculation_goes_only_a_few_seconds_ahead(endless: Maker) -> None:
    await settle()
    generated = samples_in(endless.events) / RATE
    assert 4 <= generated < 5
    said = len(endless.engines.voice.spoken)
    await settle()
    assert len(endless.engines.voice.spoken) == said
    assert endless.engines.chat_model.running == 1


async def test_a_released_reply_goes_as_far_as_the_buffer(endless: Maker) -> None:
    endless.playout.release(1)
    endless.playout.advance(0.0)
    await settle()
    assert 20 <= samples_in(endless.events) / RATE < 22


async def test_each_piece_is_sent_as_it_comes(endless: Maker) -> None:
    endless.playout.release(1)
    await settle()
    assert endless.channel.pieces
    assert endless.moves > 10
