"""Generating one reply: its clauses in order, one outcome, and nothing left after a cancel."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from pipelines.engines.base import ChatMessage, EngineFailed, EngineTimeout
from pipelines.engines.reading.clauses import ClauseSplitter
from pipelines.engines.scripted.live import Fault, ScriptedEngines, scripted_engines, tone_of
from sessions.core.commands import StartReply
from sessions.core.config import SessionConfig, Tool
from sessions.core.events import (
    ClauseReady,
    ClauseStarted,
    Event,
    FirstToken,
    PlayoutFinished,
    PlayoutHeard,
    ReplyClause,
    ReplyFailed,
    ReplyGenerated,
    ToolUseRequested,
)
from sessions.core.items import Message
from sessions.speech.playout import Playout
from sessions.speech.reply_task import ReplyTask
from tests.support.sessions import virtual_clock
from tests.support.sessions.fake_channel import FakeChannel

RATE = 16_000
ORDER = StartReply(1, 1, "resp_1", "item_1", (Message("user", "hello"),), SessionConfig())


class Maker:
    """A ReplyTask on a playout that nothing has released."""

    def __init__(self, engines: ScriptedEngines, order: StartReply = ORDER) -> None:
        self.engines = engines
        self.events: list[Event] = []
        self.channel = FakeChannel(RATE)
        self.playout = Playout(self.channel, self.events.append)
        self.playout.start(order.reply, order.reply_id, order.item_id)
        self.moves = 0
        self.task = ReplyTask(order, engines, self.playout, RATE, self.events.append, self._advance)

    def _advance(self) -> None:
        self.moves += 1
        self.playout.advance(0.0)

    async def made(self) -> list[Event]:
        """All its events, without its first token and the playout's own."""
        await asyncio.wait_for(self.task.run(), 5)
        self.assert_free()
        others = FirstToken | ClauseStarted | PlayoutHeard | PlayoutFinished
        return [e for e in self.events if not isinstance(e, others)]

    def assert_free(self) -> None:
        assert (self.engines.chat_model.running, self.engines.voice.running) == (0, 0)


def text_of(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, ReplyClause))


def samples_in(events: list[Event]) -> int:
    return sum(event.samples for event in events if isinstance(event, ReplyClause))


async def test_clauses_carry_text_and_audio_in_order() -> None:
    maker = Maker(scripted_engines(answers=("Hello there. How are you?",)))
    events = await maker.made()
    assert maker.events[:2] == [FirstToken(1), ClauseReady(1)]
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


@pytest.mark.parametrize(
    ("order", "fact"),
    [
        (ORDER, "2 + 3 = 5."),
        (replace(ORDER, tools=(Tool("add"),)), ""),
        (replace(ORDER, side=True, config=SessionConfig(output_audio=False)), ""),
    ],
    ids=["spoken", "with tools", "a written task beside"],
)
async def test_a_sum_gets_its_fact_if_the_agent_has_no_tools(order: StartReply, fact: str) -> None:
    question = "What is 2 plus 3?"
    asked = replace(order, history=(Message("user", question),))
    maker = Maker(scripted_engines(answers=("Five.",)), asked)
    await maker.made()
    assert maker.engines.chat_model.asked == [(ChatMessage("user", question, fact=fact),)]


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


async def test_markup_is_neither_text_nor_speech() -> None:
    maker = Maker(scripted_engines(answers=("Look here:\n\n***\n\n1. **Done** it is.",)))
    events = await maker.made()
    assert text_of(events) == "Look here:\nDone it is."
    assert maker.engines.voice.spoken == ["Look here:", "Done it is."]


async def test_unspeakable_text_has_no_samples() -> None:
    maker = Maker(scripted_engines(answers=("Done it is. 👍",)))
    events = await maker.made()
    assert text_of(events) == "Done it is. 👍"
    assert maker.engines.voice.spoken == ["Done it is."]


async def test_reaching_the_token_limit_is_reported() -> None:
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


async def test_a_speculative_reply_runs_only_a_few_seconds_ahead(endless: Maker) -> None:
    await settle()
    generated = samples_in(endless.events) / RATE
    assert 4 <= generated < 5
    said = len(endless.engines.voice.spoken)
    await settle()
    assert len(endless.engines.voice.spoken) == said
    assert endless.engines.chat_model.running == 1


async def test_a_speculative_reply_leaves_in_the_moment_of_its_release() -> None:
    """Its first clause has been spoken by then: there is nothing left to wait for."""
    maker = Maker(scripted_engines(answers=("Hello there. How are you?",)))
    await maker.made()
    assert maker.playout.advance(7.0) is None
    assert not maker.channel.pieces
    maker.playout.release(1)
    maker.playout.advance(7.0)
    assert len(maker.channel.audio) == RATE // 5 * 2, "as far ahead as the channel allows"


async def test_a_released_reply_runs_as_far_ahead_as_the_buffer(endless: Maker) -> None:
    endless.playout.release(1)
    endless.playout.advance(0.0)
    await settle()
    assert 20 <= samples_in(endless.events) / RATE < 22


async def test_each_piece_is_sent_as_it_arrives(endless: Maker) -> None:
    endless.playout.release(1)
    await settle()
    assert endless.channel.pieces
    assert endless.moves > 10


# ---------------------------------------------------------------------------- not an answer

THOUGHT = "<think>The user wants a greeting.</think>Good morning to you."


@pytest.mark.parametrize("spoken", [True, False])
async def test_thoughts_are_left_out_of_a_reply(spoken: bool) -> None:
    order = replace(ORDER, config=SessionConfig(output_audio=spoken))
    maker = Maker(scripted_engines(answers=(THOUGHT,)), order)
    events = await maker.made()
    assert text_of(events) == "Good morning to you."
    assert maker.engines.voice.spoken == (["Good morning to you."] if spoken else [])


async def test_a_model_that_begins_inside_a_thought_is_remembered() -> None:
    engines = scripted_engines(answers=("A greeting, I think. So: </think> Good morning.",))
    thinkers: set[str] = set()
    texts = []
    for _ in range(2):
        maker = Maker(engines)
        maker.task = ReplyTask(
            ORDER, engines, maker.playout, RATE, maker.events.append, maker._advance, thinkers
        )
        texts.append(text_of(await maker.made()))
    assert thinkers == {engines.chat_model.model_id}
    assert texts[0].endswith("Good morning.")
    assert texts[1] == "Good morning."


EMPTY = [
    "",
    "  \n",
    "...",
    "👍🎉",
    "<think>Nothing to say.</think>",
    "<think>never closed",
    "**",
    "[laughs]",
]


@pytest.mark.parametrize("empty", EMPTY)
async def test_an_empty_answer_is_requested_once_more(empty: str) -> None:
    maker = Maker(scripted_engines(answers=(empty, "Good morning.")))
    events = await maker.made()
    assert text_of(events) == "Good morning."
    generated = events[-1]
    assert isinstance(generated, ReplyGenerated)
    assert generated.empty == 1
    assert generated.completion_tokens == len(empty.split(" ")) + 2, "both answers are counted"
    assert len(maker.engines.chat_model.asked) == 2


@pytest.mark.parametrize("empty", EMPTY)
async def test_two_empty_answers_fail(empty: str) -> None:
    maker = Maker(scripted_engines(answers=(empty,)))
    events = await maker.made()
    message = "The chat model had nothing to say."
    assert events == [ReplyFailed(1, "PROVIDER_ERROR", message, empty=2)]
    assert len(maker.engines.chat_model.asked) == 2


async def test_a_written_answer_may_be_a_sign_but_not_blank() -> None:
    order = replace(ORDER, config=SessionConfig(output_audio=False))
    assert text_of(await Maker(scripted_engines(answers=("\n 👍",)), order).made()) == "👍"
    events = await Maker(scripted_engines(answers=(" \n ",)), order).made()
    assert isinstance(events[-1], ReplyFailed)
    assert text_of(events) == ""


async def test_a_tool_call_alone_is_not_empty() -> None:
    order = replace(ORDER, tools=(Tool("look_up"),))
    maker = Maker(scripted_engines(answers=('...\nCALL look_up {"a": 1}',)), order)
    events = await maker.made()
    assert events == [ToolUseRequested(1, "look_up", '{"a": 1}'), ReplyGenerated(1, 1, 1)]


# ---------------------------------------------------------------------------- the clock

NEVER = 3600.0


class Listener:
    """Hears a released reply on a virtual clock: each text and the seconds it came after."""

    def __init__(self, engines: ScriptedEngines, *waits: float) -> None:
        """``waits``: seconds before each delta of the chat model, the last one for ever."""
        steps = itertools.chain(waits, itertools.repeat(waits[-1]))

        async def delay(_: float) -> None:
            await asyncio.sleep(next(steps))

        engines.chat_model.delay = delay
        self.maker = Maker(engines)
        self.heard: list[tuple[float, str]] = []
        self.task = ReplyTask(ORDER, engines, self.maker.playout, RATE, self._note, self._advance)

    def _note(self, event: Event) -> None:
        if isinstance(event, ReplyClause) and event.text:
            self.heard.append(
                (round(asyncio.get_running_loop().time() - self._start, 1), event.text)
            )

    def _advance(self) -> None:
        self.maker.playout.advance(asyncio.get_running_loop().time())

    async def listen(self, seconds: float = 60.0, filler_after: float | None = None) -> None:
        loop = asyncio.get_running_loop()
        self._start = loop.time()
        self.maker.playout.release(1)
        running = asyncio.create_task(self.task.run())
        if filler_after is not None:
            loop.call_later(filler_after, self.task.speak_filler, "One moment. ")
        while loop.time() < self._start + seconds and not running.done():
            self._advance()
            await asyncio.sleep(0.02)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        self.maker.assert_free()


def heard(answer: str, *waits: float, filler_after: float | None = None) -> list[tuple[float, str]]:
    async def listened() -> list[tuple[float, str]]:
        listener = Listener(scripted_engines(answers=(answer,)), *waits)
        await listener.listen(filler_after=filler_after)
        return listener.heard

    return virtual_clock.run(listened())


def test_a_slow_models_words_are_spoken_in_groups_after_a_second() -> None:
    text = "We are open from nine in the morning until five in the evening"
    pieces = heard(text, 0.0, 1.0)
    assert pieces[0][0] <= 1.0
    assert "".join(words for _, words in pieces) == text
    moments = [moment for moment, _ in pieces]
    assert max(later - sooner for sooner, later in itertools.pairwise(moments)) <= 2.1
    assert all(len(words.split()) >= 2 for _, words in pieces[1:-1])


def test_words_are_spoken_when_the_model_stalls_after_them() -> None:
    assert heard("We are open today", 0.3, 0.05, 0.05, NEVER) == [(1.3, "We are open")]


def test_a_word_with_a_late_half_is_not_split() -> None:
    splitter = ClauseSplitter()
    for moment, token in enumerate(("We", " will", " re", "sched", "ule", " it")):
        splitter.feed(token, float(moment))
        assert not splitter.take(moment + 0.4).endswith(("re", "sched"))


def test_words_wait_for_their_clause_while_there_is_audio_to_hear() -> None:
    """Two seconds of audio hide a model that needs as long for its second sentence."""
    first = "Here is a sentence that lasts two seconds."
    pieces = heard(f"{first} And one more that comes slowly.", *[0.0] * 8, 0.3)
    assert [text for _, text in pieces] == [first, " And one more that comes slowly."]


def test_a_filler_covers_a_slow_answer() -> None:
    pieces = heard("Good morning.", 5.0, 0.0, filler_after=2.5)
    assert pieces == [(2.5, "One moment. "), (5.0, "Good morning.")]


def test_a_filler_that_comes_too_late_is_not_spoken() -> None:
    assert heard("Good morning.", 1.0, 0.0, filler_after=2.5) == [(1.0, "Good morning.")]
    assert heard("Well, I am here.", 0.0, 2.0, filler_after=1.5)[0] == (1.0, "Well,")
