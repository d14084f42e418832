"""Whole conversations through LiveSession: answers, interruptions, faults, and clean ends."""

import asyncio
import re
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from media.formats import AudioFormat
from pipelines.engines.base import (
    ChatMessage,
)
from pipelines.engines.scripted.live import (
    LoudnessModel,
    ScriptedEngines,
    scripted_engines,
    tone_of,
)
from sessions.channel import Piece
from sessions.core.config import TurnDetection, TurnMode
from sessions.core.items import ReplyStatus
from tests.support.sessions.fake_channel import FLUSH, FakeChannel
from tests.support.sessions.scripted_call import RATE, ScriptedCall, hold_back, scripted_speech

LONG = "One two three four five six seven eight nine ten eleven twelve."


# ---------------------------------------------------------------------------- conversation


async def test_a_turn_is_heard_answered_and_recorded() -> None:
    engines = scripted_engines(hears=("what time is it",), answers=("It is four.",))
    async with ScriptedCall(engines) as call:
        await call.say(4)
        response = await call.answered()
        assert response["status"] == "completed"
        assert response["output"][0]["content"][0]["transcript"] == "It is four."
        done = await call.event("conversation.item.input_audio_transcription.completed")
        assert done["transcript"] == "what time is it"
        played = call.audio_of(response["id"])
        assert 0.75 <= len(played) / 2 / RATE <= 0.76
        assert tone_of(played, RATE) == pytest.approx(440, abs=3)
        assert (await call.event("blab.playout.heard"))["heard"] == "It is four."
    assert call.reason == "peer_gone"
    assert call.playout_of(response["id"]) == ["started", "stopped"]
    (latency,) = call.of("blab.latency")
    assert latency["response_id"] == response["id"]
    (turn,) = call.notes.turns
    assert turn.latency is not None
    assert latency["total_ms"] == turn.latency.total_ms
    assert (turn.user_text, turn.reply_text, turn.heard_text, turn.interrupted) == (
        "what time is it", "It is four.", "It is four.", False,
    )  # fmt: skip
    asked = engines.chat_model.asked[0][-1]
    assert asked == ChatMessage("user", "what time is it", fact=asked.fact)
    assert re.match(r"It is \d{1,2}:\d\d [ap]m on ", asked.fact)


@pytest.mark.slow
async def test_the_second_answer_knows_the_first() -> None:
    engines = scripted_engines(hears=("hello there", "and now"), answers=("Hi.", "Bye then."))
    async with ScriptedCall(engines) as call:
        for number in (1, 2):
            await call.say(2)
            await call.answered(number)
        said = [(m.role, m.content) for m in engines.chat_model.asked[-1]]
        assert said[-3:] == [("user", "hello there"), ("assistant", "Hi."), ("user", "and now")]


async def test_more_speech_voids_a_speculative_reply() -> None:
    engines = scripted_engines(hears=("hello there",), answers=("Never heard.", "Now then."))
    asked, go = hold_back(engines)
    async with ScriptedCall(engines, turn_detection=PATIENT) as call:
        await call.say(2)
        await asyncio.wait_for(asked.wait(), 5)
        assert not call.of("response.created")
        await call.say(2)
        await call.until(lambda: engines.chat_model.cancelled == 1, what="voided speculation")
        go.set()
        response = await call.answered()
        assert response["output"][0]["content"][0]["transcript"] == "Now then."
        assert len(call.of("response.created")) == 1
        assert len(call.of("input_audio_buffer.committed")) == 1
    assert [turn.reply_text for turn in call.notes.turns] == ["Now then."]


PATIENT = TurnDetection(mode=TurnMode.SERVER_VAD, silence_duration_ms=2_000)
"""Speculates at once on a whole sentence, and waits 2 s (0.5 s here) before it believes in it."""


# ---------------------------------------------------------------------------- barge-in


async def test_an_interruption_flushes_and_no_stale_frame_follows() -> None:
    engines = scripted_engines(hears=("tell me", "stop that now"), answers=(LONG, "Fine."))
    async with ScriptedCall(engines) as call:
        await call.say(2)
        await call.until(lambda: len(call.channel.audio) > RATE, what="a second of reply")
        await call.say(3)
        cut = await call.answered()
        assert cut["status"] == "cancelled"
        assert cut["status_details"]["reason"] == "turn_detected"
        await call.answered(2)
        log = call.channel.log
        flushed = log.index(FLUSH)
        stale = [e for e in log[flushed:] if isinstance(e, Piece) and e.response_id == cut["id"]]
        assert not stale
        assert call.of("conversation.item.truncated")
    assert call.playout_of(cut["id"]) == ["started", "held", "cleared"]
    first, second = call.notes.turns
    (truncated,) = call.of("blab.playout.truncated")
    assert truncated["heard"] == first.heard_text
    assert first.interrupted
    assert first.status is ReplyStatus.CANCELLED
    assert 0 < len(first.heard_text) < len(first.reply_text)
    assert LONG.startswith(first.heard_text)
    assert second.user_text == "stop that now"
    history = engines.chat_model.asked[-1]
    assert any(m.role == "assistant" and first.heard_text in m.content for m in history)
    assert not any("twelve" in m.content for m in history)


@pytest.mark.slow
async def test_a_television_holds_no_floor_and_interrupts_nothing() -> None:
    answers = ("One two three four.", "Done.")
    engines = scripted_engines(hears=("tell me", "and then"), answers=answers)
    engines.vad = LoudnessModel(0.005)
    async with ScriptedCall(engines, television=0.1) as call:
        for number in (1, 2):
            await call.say(4)
            response = await call.answered(number)
            assert response["status"] == "completed"
        later = call.windows_heard + 100
        await call.until(lambda: call.windows_heard >= later, what="three seconds of television")
        assert len(call.of("input_audio_buffer.speech_started")) == 2
        assert not call.of("conversation.item.truncated")
    assert [(t.user_text, t.heard_text) for t in call.notes.turns] == [
        ("tell me", answers[0]),
        ("and then", answers[1]),
    ]


@pytest.mark.slow
async def test_a_false_interruption_resumes_without_loss_or_repetition() -> None:
    engines = scripted_engines(hears=("tell me", ""), answers=("One two three four five six.",))
    ramp = RampVoice()
    engines.voice.sample_rate = RATE
    engines.voice.speak = ramp.speak
    channel = FakeChannel(RATE, own_clock=True)
    async with ScriptedCall(engines, channel=channel) as call:
        clock = asyncio.create_task(_run_clock(channel))
        await call.say(2)
        await call.until(lambda: len(channel.audio) > RATE, what="half a second of reply")
        await call.say(1)
        response = await call.answered()
        clock.cancel()
        await asyncio.gather(clock, return_exceptions=True)
    assert channel.flushed
    assert call.playout_of(response["id"]) == ["started", "held", "resumed", "stopped"]
    assert len(call.of("response.done")) == 1
    assert bytes(channel.ear) == ramp.said
    assert [turn.heard_text for turn in call.notes.turns] == ["One two three four five six."]


class RampVoice:
    """Says every word as a stretch of a ramp, so that each sample is known by its value."""

    def __init__(self) -> None:
        self.said = b""

    async def speak(self, text: str, **_: Any) -> AsyncGenerator[bytes, None]:
        for _word in text.split():
            first = len(self.said) // 2
            pcm = b"".join((n % 30_000).to_bytes(2, "little") for n in range(first, first + 4000))
            self.said += pcm
            yield pcm


async def _run_clock(channel: FakeChannel) -> None:
    """Hear what is played in real time, as a WebRTC sender would; flushed audio is not heard."""
    while True:
        await asyncio.sleep(0.02)
        channel.listen(320)


@pytest.mark.slow
async def test_a_backchannel_does_not_interrupt() -> None:
    engines = scripted_engines(hears=("tell me", "okay"), answers=("One two three four five.",))
    async with ScriptedCall(engines) as call:
        await call.say(2)
        await call.until(lambda: len(call.channel.audio) > RATE, what="half a second of reply")
        await call.say(1)
        assert (await call.answered())["status"] == "completed"


# ---------------------------------------------------------------------------- text, typed input


async def test_a_text_reply_needs_no_voice() -> None:
    engines = scripted_engines(answers=("In writing.",))
    async with ScriptedCall(engines, output_audio=False) as call:
        await call.say(2)
        response = await call.answered()
        assert response["output"][0]["content"][0]["text"] == "In writing."
        deltas = "".join(event["delta"] for event in call.of("response.output_text.delta"))
        assert deltas == "In writing."
    assert not call.channel.pieces
    assert not engines.voice.spoken


async def test_a_typed_message_is_answered() -> None:
    engines = scripted_engines(answers=("Typed back.",))
    async with ScriptedCall(engines) as call:
        await call.type("hello")
        assert (await call.answered())["status"] == "completed"
        assert engines.chat_model.asked[0][-1] == ChatMessage("user", "hello")


async def test_a_ping_is_answered_to_its_sender_alone() -> None:
    async with ScriptedCall(scripted_engines()) as call:
        await call.send({"type": "blab.ping", "event_id": "mine"})
        pong = await call.event("blab.pong")
        assert pong["ping_id"] == "mine"
        answers: list[list[dict[str, Any]]] = []
        call.session.inject({"type": "blab.ping", "event_id": 7}, answers.append)
        ((answer,),) = answers
        assert (answer["type"], answer["ping_id"]) == ("blab.pong", None)
        assert len([e for e in call.channel.events if e["type"] == "blab.pong"]) == 1


async def test_push_to_talk_ends_a_turn_by_hand() -> None:
    engines = scripted_engines(hears=("by hand",), answers=("Yes.",))
    manual = TurnDetection(mode=TurnMode.NONE)
    async with ScriptedCall(engines, turn_detection=manual) as call:
        await call.say(2)
        await call.send({"type": "input_audio_buffer.commit"})
        await call.event("conversation.item.input_audio_transcription.completed")
        await call.send({"type": "response.create"})
        assert (await call.answered())["status"] == "completed"


async def test_cancelling_frees_a_slow_engine() -> None:
    engines = scripted_engines(answers=("Too late.",))
    asked, go = hold_back(engines)
    async with ScriptedCall(engines) as call:
        await call.type("hello")
        await asyncio.wait_for(asked.wait(), 5)
        await call.send({"type": "response.cancel"})
        response = await call.answered()
        assert response["status"] == "cancelled"
        assert engines.chat_model.running == 0
        go.set()
        await call.next_turn_is_answered()


async def test_cancelling_nothing_is_refused_by_event_id() -> None:
    async with ScriptedCall() as call:
        await call.send({"type": "response.cancel", "event_id": "mine"})
        refused = (await call.event("error"))["error"]
        assert (refused["code"], refused["event_id"]) == ("response_cancel_not_active", "mine")


# ---------------------------------------------------------------------------- session.update


@pytest.mark.slow
async def test_voice_and_formats_change_during_a_call() -> None:
    engines = scripted_engines(answers=("One two.",))
    voices = note_voices(engines)
    async with ScriptedCall(engines) as call:
        await call.say(2)
        first = await call.answered()
        output = {"format": {"type": "audio/pcm", "rate": 8000}, "voice": "anna", "speed": 0.5}
        await call.configure(audio={"output": output})
        await call.event("session.updated")
        await call.say(2)
        second = await call.answered(2)
        assert not call.of("error")
        assert voices == [("default", 1.0), ("anna", 0.5)]
        assert len(call.audio_of(first["id"])) == pytest.approx(0.5 * 2 * RATE, rel=0.02)
        assert len(call.audio_of(second["id"])) == pytest.approx(1.0 * 2 * 8000, rel=0.02)
        assert tone_of(call.audio_of(second["id"]), 8000) == pytest.approx(440, abs=3)


def note_voices(engines: ScriptedEngines) -> list[tuple[str, float]]:
    voices: list[tuple[str, float]] = []
    speak = engines.voice.speak

    def noted(text: str, **how: Any) -> AsyncGenerator[bytes, None]:
        voices.append((how["voice"], how["speed"]))
        return speak(text, **how)

    engines.voice.speak = noted
    return voices


async def test_a_reply_made_for_the_old_rate_is_not_played_at_the_new_one() -> None:
    engines = scripted_engines(answers=(LONG,))
    async with ScriptedCall(engines) as call:
        await call.say(2)
        await call.event("response.output_audio_transcript.delta")
        output = {"format": {"type": "audio/pcm", "rate": 8000}}
        await call.configure(audio={"output": output})
        response = await call.answered()
        assert response["status"] == "cancelled"
        log = call.channel.log
        updated = log.index(call.of("session.updated")[0])
        assert not [entry for entry in log[updated:] if isinstance(entry, Piece)]
        assert not call.of("error")


async def test_a_turn_is_answered_at_another_input_rate() -> None:
    engines = scripted_engines(answers=("Fine.",))
    async with ScriptedCall(engines, input_format=AudioFormat(rate=48_000)) as call:
        await call.say(2)
        assert (await call.answered())["status"] == "completed"


async def test_a_faulty_message_is_answered_and_the_call_goes_on() -> None:
    async with ScriptedCall() as call:
        await call.send({"type": "dance", "event_id": "mine"})
        refused = (await call.event("error"))["error"]
        assert (refused["code"], refused["event_id"]) == ("unknown_event", "mine")
        await call.next_turn_is_answered()


# ---------------------------------------------------------------------------- flood, neighbours


async def test_a_flood_is_paced_and_the_neighbour_is_not_delayed() -> None:
    loop = asyncio.get_running_loop()
    async with ScriptedCall() as flooded, ScriptedCall() as neighbour:
        flooded.hush()
        began = loop.time()
        await flooded.channel.inbox.put(scripted_speech(60))
        await neighbour.say(2)
        await neighbour.answered()
        waited = loop.time() - began
        heard = flooded.session._listening.position / RATE
        assert heard <= 2 + 8 * waited + 0.2
        assert waited < 5
        flooded.session.hang_up("enough")
        assert await flooded.ended() == "enough"


async def test_a_flood_of_small_frames_is_paced_too() -> None:
    loop = asyncio.get_running_loop()
    async with ScriptedCall() as call:
        call.hush()
        began = loop.time()
        for _ in range(250):
            await call.channel.inbox.put(bytes(640))
        await call.until(lambda: call.session._listening.position >= 5 * RATE, what="5 s heard")
        assert loop.time() - began >= (5 - 2) / 8 - 0.05


# ---------------------------------------------------------------------------- ends


@pytest.mark.parametrize("moment", ["at once", "speaking", "thinking", "replying"])
async def test_nothing_is_left_whenever_the_peer_leaves(moment: str) -> None:
    engines = scripted_engines(answers=(LONG,))
    asked, go = hold_back(engines)
    async with ScriptedCall(engines) as call:
        if moment != "at once":
            await call.say(2)
        if moment == "thinking":
            await asyncio.wait_for(asked.wait(), 5)
        if moment == "replying":
            go.set()
            await call.event("response.output_audio_transcript.delta")
    assert call.reason == "peer_gone"


async def test_cancelling_the_call_from_outside_leaves_nothing() -> None:
    engines = scripted_engines(answers=(LONG,))
    async with ScriptedCall(engines) as call:
        await call.say(2)
        await call.event("response.output_audio_transcript.delta")
        call.running.cancel()
        await call.ended()
        assert isinstance(call.failure, asyncio.CancelledError)
        assert not call.of("error")
    assert [turn.user_text for turn in call.notes.turns] == ["hello there"]


async def test_a_call_ends_at_its_maximum_length() -> None:
    async with ScriptedCall(max_call_ms=200) as call:
        assert await call.ended() == "max_duration"


async def test_hanging_up_works_when_the_peer_leaves_during_a_flood() -> None:
    async with ScriptedCall() as call:
        call.hush()
        await call.channel.inbox.put(bytes(30 * 2 * RATE))
        await call.until(lambda: call.session._listening.position > RATE, what="some input")
        call.session.hang_up("server_shutdown")
        assert await call.ended(1) == "server_shutdown"


async def test_nothing_starts_before_the_call() -> None:
    call = ScriptedCall()
    with pytest.raises(RuntimeError, match="is not running"):
        call.session._spawn(asyncio.sleep(0))


# ---------------------------------------------------------------------------- beside it


async def test_a_side_reply_runs_beside_the_spoken_one_and_ends_with_the_call() -> None:
    engines = scripted_engines(hears=("hello there",), answers=(LONG, "In short.", LONG))
    wanted = {"conversation": "none", "output_modalities": ["text"]}
    async with ScriptedCall(engines) as call:
        await call.say(2)
        await call.event("response.output_audio_transcript.delta")
        call.session.inject({"type": "response.create", "response": wanted})
        written = (await call.event("response.done"))["response"]
        assert written["output"][0]["content"] == [{"type": "output_text", "text": "In short."}]
        engines.chat_model.token_delay = 60
        call.session.inject({"type": "response.create", "response": wanted})
        await call.event("response.created", 3)
    assert call.of("response.done")[-1]["response"]["status"] == "cancelled"
