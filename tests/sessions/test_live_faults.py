"""A LiveSession whose engines fail or have bugs: reported, survived, or ended cleanly."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from pipelines.engines.base import (
    ChatDelta,
    ChatMessage,
    EngineBusy,
    EngineError,
    EngineFailed,
    ToolOffer,
)
from pipelines.engines.scripted.live import Fault, scripted_engines
from sessions.channel import Piece
from sessions.core.config import TurnDetection, TurnMode
from sessions.core.events import Event
from sessions.core.items import ReplyStatus
from sessions.live import INTERNAL_ERROR
from tests.support.sessions.scripted_call import CONFIG, ScriptedCall

pytestmark = pytest.mark.slow

LONG = "One two three four five six seven eight nine ten eleven twelve."

# ---------------------------------------------------------------------------- engines that fail


@pytest.mark.parametrize(
    ("error", "at"),
    [(EngineFailed("broken"), 0), (EngineFailed("broken"), 4), (EngineBusy("crowded"), 0)],
)
async def test_a_failing_chat_model_is_reported_and_the_call_continues(
    error: EngineError, at: int
) -> None:
    engines = scripted_engines(answers=("One two. Three four five six.",))
    engines.chat_model.fault = Fault(error, at=at)
    async with ScriptedCall(engines) as call:
        await call.type("hello")
        failed = (await call.event("error"))["error"]
        assert (failed["type"], failed["code"]) == ("server_error", "PROVIDER_ERROR")
        assert str(error) in failed["message"]
        response = await call.answered()
        assert response["status"] == "failed"
        said = [item["content"][0]["transcript"] for item in response["output"]]
        assert said == (["One two."] if at else [])
        await call.until(
            lambda: any("Sorry" in said for said in engines.voice.spoken), what="an apology"
        )
        await call.send({"type": "response.cancel"})
        await call.next_turn_is_answered()


async def test_a_speculation_that_fails_is_tried_again_in_silence() -> None:
    engines = scripted_engines(answers=("One two.",))
    engines.chat_model.fault = Fault(EngineFailed("broken"))
    async with ScriptedCall(engines) as call:
        await call.say(2)
        assert (await call.answered())["status"] == "completed"
        assert not call.of("error")


@pytest.mark.parametrize("at", [0, 1])
async def test_a_failing_voice_is_reported_and_the_call_continues(at: int) -> None:
    engines = scripted_engines(answers=("One two three.",))
    engines.voice.fault = Fault(EngineFailed("hoarse"), at=at)
    async with ScriptedCall(engines) as call:
        await call.type("hello")
        assert (await call.event("error"))["error"]["code"] == "PROVIDER_ERROR"
        assert (await call.answered())["status"] == "failed"
        await call.event("response.created", 2)
        await call.send({"type": "response.cancel"})
        await call.next_turn_is_answered()


async def test_a_voice_that_keeps_failing_is_not_apologised_for_again() -> None:
    engines = scripted_engines(answers=("Fine.",))
    engines.voice.fault = Fault(EngineFailed("mute"), times=1000)
    async with ScriptedCall(engines) as call:
        await call.say(2)
        await call.answered(2)
        engines.voice.fault = None
        await call.next_turn_is_answered()
        assert len(call.of("response.created")) == 3


async def test_a_failing_recogniser_is_reported_and_the_call_continues() -> None:
    engines = scripted_engines(hears=("", "hello there"))
    engines.ears.fault = Fault(EngineFailed("deaf"))
    async with ScriptedCall(engines, turn_detection=SHORT) as call:
        await call.say(2)
        failed = await call.event("conversation.item.input_audio_transcription.failed")
        assert failed["error"]["code"] == "PROVIDER_ERROR"
        await call.event("response.created")
        await call.send({"type": "response.cancel"})
        await call.next_turn_is_answered()


SHORT = TurnDetection(mode=TurnMode.SERVER_VAD, silence_duration_ms=300)


async def test_a_busy_recogniser_costs_only_the_partials() -> None:
    engines = scripted_engines(answers=("Fine.",))
    engines.ears.places = 0
    async with ScriptedCall(engines) as call:
        await call.say(2)
        assert (await call.answered())["status"] == "completed"


async def test_a_failing_turn_detector_costs_only_its_probability() -> None:
    engines = scripted_engines(answers=("Fine.",))
    engines.turn_detector.fault = Fault(EngineFailed("undecided"), times=1000)
    async with ScriptedCall(engines) as call:
        await call.say(2)
        assert (await call.answered())["status"] == "completed"


async def test_a_hint_that_fails_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    engines = scripted_engines(answers=("Fine.",))

    async def prefill(_: Sequence[ChatMessage], *, offer: ToolOffer | None) -> None:
        raise EngineFailed("no cache")

    monkeypatch.setattr(engines.chat_model, "prefill", prefill)
    async with ScriptedCall(engines) as call:
        await call.say(2)
        assert (await call.answered())["status"] == "completed"


@pytest.mark.parametrize("wanted", ["model", "speech_model"])
async def test_a_model_that_nobody_serves_is_named(wanted: str) -> None:
    engines = scripted_engines(answers=("Fine.",))
    engines.absent = frozenset({"unheard-of"})
    config = replace(CONFIG, **{wanted: "unheard-of"})
    async with ScriptedCall(engines, config) as call:
        await call.say(2)
        failed = await call.event("error")
        assert failed["error"]["code"] == "MODEL_UNAVAILABLE"
        assert "unheard-of" in failed["error"]["message"]
        if wanted == "model":
            await call.configure(model="default")
            await call.event("session.updated")
            await call.event("response.created", 2)
            await call.send({"type": "response.cancel"})
            await call.next_turn_is_answered()


# ---------------------------------------------------------------------------- bugs


class BuggyCore:
    """A core that fails at the first message it is given."""

    def __init__(self, core: Any) -> None:
        self._core = core

    def handle(self, event: Event, now: float) -> Any:
        if type(event).__name__ == "ClearInput":
            raise KeyError("secret words")
        return self._core.handle(event, now)

    def next_deadline(self) -> float | None:
        deadline: float | None = self._core.next_deadline()
        return deadline


async def test_a_bug_in_the_core_ends_that_call_only(caplog: pytest.LogCaptureFixture) -> None:
    async with ScriptedCall() as neighbour:
        async with ScriptedCall() as call:
            call.session._core = BuggyCore(call.session._core)  # type: ignore[assignment]
            await call.send({"type": "input_audio_buffer.clear"})
            assert await call.ended() == INTERNAL_ERROR
            assert call.of("error")[-1]["error"]["code"] == INTERNAL_ERROR
            call.session.hang_up("too late")
        assert len(errors_in(caplog)) == 1
        await neighbour.next_turn_is_answered()


def errors_in(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_bug_in_an_engine_ends_that_call_cleanly() -> None:
    engines = scripted_engines(answers=(LONG,))
    engines.chat_model.answer = lambda _: 1 / 0  # type: ignore[assignment,return-value]
    async with ScriptedCall() as neighbour:
        async with ScriptedCall(engines) as call:
            await call.say(2)
            await call.ended()
            assert isinstance(call.failure, BaseExceptionGroup)
            assert call.failure.subgroup(ZeroDivisionError)
            assert call.of("error")[-1]["error"]["code"] == INTERNAL_ERROR
            assert not isinstance(call.channel.log[-1], Piece)
        await neighbour.next_turn_is_answered()


async def test_what_was_heard_is_recorded_when_a_bug_ends_the_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engines = scripted_engines(answers=(LONG,))
    monkeypatch.setattr(engines.chat_model, "stream", crashing_stream)
    async with ScriptedCall(engines) as call:
        await call.say(2)
        await call.event("response.output_audio_transcript.delta")
        await call.ended()
        assert call.failure is not None
    (turn,) = call.notes.turns
    assert turn.user_text == "hello there"
    assert turn.status is ReplyStatus.CANCELLED


async def crashing_stream(
    messages: Sequence[ChatMessage], **_: Any
) -> AsyncGenerator[ChatDelta, None]:
    yield ChatDelta("One two three four. ")
    yield ChatDelta("Five six.")
    await asyncio.sleep(0.3)
    raise ZeroDivisionError
