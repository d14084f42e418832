"""What a call's channel brings, in order, whether it is pushed or read."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextvars import ContextVar
from typing import Any

import pytest

from pipelines.engines.scripted.live import scripted_engines
from sessions.core.events import Event, VoiceWindow
from sessions.speech.call_input import CallInput, Pushing
from sessions.speech.listening import Listening
from sessions.speech.voice_activity import FEW, VoiceActivity
from tests.support.sessions.fake_channel import FakeChannel
from tests.support.sessions.scripted_call import scripted_speech

CALL = ContextVar("CALL", default="")
FRAME = bytes(640)


class PushingChannel(FakeChannel):
    """Pushes, as far as the test has it push."""

    taker: CallInput | None = None

    def push_to(self, taker: CallInput) -> None:
        self.taker = taker


class Call:
    """An input that is being read."""

    def __init__(self, channel: FakeChannel, voices: VoiceActivity | None = None) -> None:
        self.seen: list[Event | Mapping[str, Any]] = []
        self.contexts: set[str] = set()
        self.engines = scripted_engines()
        self.voices = voices or VoiceActivity()
        self.listening = Listening(self.engines, self._dispatch, asyncio.create_task, self.voices)
        self.input = CallInput(channel, self.listening, self.seen.append, self._dispatch)
        self.channel = channel

    def _dispatch(self, event: Event) -> None:
        self.seen.append(event)
        self.contexts.add(CALL.get())

    async def read(self) -> None:
        CALL.set("mine")
        await self.input.read()

    async def settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)


@pytest.fixture
async def channel() -> PushingChannel:
    return PushingChannel(16_000)


@pytest.fixture
async def call(channel: PushingChannel) -> AsyncIterator[Call]:
    made = Call(channel)
    reading = asyncio.create_task(made.read())
    await made.settle()
    yield made
    await channel.inbox.put(None)
    await asyncio.wait_for(reading, 5)
    assert not made.input.ready


async def test_pushed_audio_is_heard_at_once_and_in_the_call_s_context(
    channel: PushingChannel, call: Call
) -> None:
    assert channel.taker is call.input
    assert call.input.ready
    for _ in range(8):
        call.input.take(FRAME)
    assert [type(event) for event in call.seen] == [VoiceWindow] * 5
    assert call.contexts == {"mine"}
    assert CALL.get() == ""


async def test_a_channel_that_cannot_push_is_read() -> None:
    channel = FakeChannel(16_000)
    assert not isinstance(channel, Pushing)
    call = Call(channel)
    await channel.inbox.put(FRAME * 2)
    await channel.inbox.put({"type": "x"})
    await channel.inbox.put(None)
    await call.read()
    assert [type(one) for one in call.seen] == [VoiceWindow, dict]


async def test_a_peer_that_is_too_fast_is_read_later(call: Call) -> None:
    for _ in range(120):
        if call.input.ready:
            call.input.take(FRAME)
    heard = call.listening.position
    assert 2 * 16_000 <= heard <= 2.4 * 16_000, "the burst, and what the pace allows"
    assert not call.input.ready


async def test_what_follows_waits_while_the_network_hears_other_calls() -> None:
    voices, channel = VoiceActivity(), PushingChannel(16_000)
    call = Call(channel, voices)
    others = [voices.detector(call.engines.vad_model) for _ in range(FEW)]
    reading = asyncio.create_task(call.read())
    await call.settle()
    call.input.take(scripted_speech(0.032, 16_000))
    assert call.listening.settling
    assert call.input.ready, "for a little more"
    call.input.take(FRAME)
    await channel.inbox.put({"type": "commit"})
    await channel.inbox.put(FRAME * 2)
    await call.settle()
    assert call.seen == []
    await channel.inbox.put(None)
    await asyncio.wait_for(reading, 5)
    assert [type(one) for one in call.seen] == [VoiceWindow, dict, VoiceWindow]
    assert others


async def test_no_more_is_taken_than_a_little_while_the_network_hears_other_calls() -> None:
    voices, channel = VoiceActivity(), PushingChannel(16_000)
    call = Call(channel, voices)
    others = [voices.detector(call.engines.vad_model) for _ in range(FEW)]
    reading = asyncio.create_task(call.read())
    await call.settle()
    call.input.take(scripted_speech(0.032, 16_000))
    while call.input.ready:
        call.input.take(FRAME)
    assert call.listening.position == 512
    await channel.inbox.put(None)
    await asyncio.wait_for(reading, 5)
    assert call.listening.position == 512 + 7 * 320
    assert len(call.seen) == 1 + 4
    assert others


async def test_a_network_that_fails_ends_the_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    channel = PushingChannel(16_000)
    call = Call(channel)
    monkeypatch.setattr(call.engines.vad_model, "run", _failing)
    reading = asyncio.create_task(call.read())
    await call.settle()
    call.input.take(scripted_speech(0.04, 16_000))
    assert not call.input.ready
    await channel.inbox.put(FRAME)
    with pytest.raises(RuntimeError, match="the network fails"):
        await asyncio.wait_for(reading, 5)


def _failing(*_: Any) -> Any:
    raise RuntimeError("the network fails")
