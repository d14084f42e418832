import asyncio
from contextlib import aclosing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.formats import HEARING_RATE
from pipelines.engines.base import (
    ChatMessage,
    EngineBusy,
    EngineFailed,
    EngineTimeout,
    ModelUnavailable,
)
from pipelines.engines.catalogue import Catalogue
from pipelines.engines.scripted.live import (
    WORD_MS,
    Fault,
    LoudnessModel,
    ScriptedChatModel,
    ScriptedSpeaker,
    ScriptedTranscriber,
    ScriptedTurnDetector,
    scripted_engines,
    tone,
    tone_of,
)

HELLO = (ChatMessage("user", "hello you"),)
WORD = bytes(2 * HEARING_RATE * WORD_MS // 1000)


async def test_partials_grow_with_the_audio() -> None:
    ears = ScriptedTranscriber(["one two three", "four"])
    stream = await ears.open()
    assert [await stream.accept(WORD[: len(WORD) // 2]) for _ in range(4)] == [
        "",
        "one",
        "one",
        "one two",
    ]
    assert (await stream.finish()).text == "one two three"
    stream.close()
    assert ears.opened == 0
    assert (await (await ears.open()).finish()).text == "four"


async def test_the_whole_transcription_is_that_of_the_open_utterance() -> None:
    ears = ScriptedTranscriber(["first", "second"])
    first = await ears.open()
    assert (await ears.transcribe(WORD)).text == "first"
    first.close()
    await ears.open()
    assert (await ears.transcribe(WORD)).words[0].text == "second"


async def test_slots_run_out_and_faults_are_raised() -> None:
    ears = ScriptedTranscriber(places=1, fault=Fault(EngineFailed("deaf")))
    stream = await ears.open()
    with pytest.raises(EngineBusy):
        await ears.open()
    with pytest.raises(EngineFailed, match="deaf"):
        await stream.finish()
    assert (await stream.finish()).text == "hello there"


async def test_answers_come_in_order_and_count_tokens() -> None:
    chat = ScriptedChatModel(["one two", "three"])
    deltas = [delta async for delta in chat.stream(HELLO)]
    assert [d.text for d in deltas] == ["one", " two", ""]
    assert (deltas[-1].finish_reason, deltas[-1].prompt_tokens) == ("stop", 2)
    assert deltas[-1].completion_tokens == 2
    for _ in range(2):
        assert (await anext(chat.stream(HELLO))).text == "three"
    cut = [d async for d in ScriptedChatModel(["a b c"]).stream(HELLO, max_tokens=2)]
    assert "".join(d.text for d in cut) == "a b"
    assert cut[-1].finish_reason == "length"


async def test_a_fault_at_a_token_leaves_those_before_it() -> None:
    chat = ScriptedChatModel(["a b c"], fault=Fault(EngineTimeout("late"), at=2))
    texts = []
    answer = chat.stream(HELLO)
    texts += [(await anext(answer)).text, (await anext(answer)).text]
    with pytest.raises(EngineTimeout):
        await anext(answer)
    assert texts == ["a", " b"]
    assert chat.running == 0
    assert chat.cancelled == 0
    assert len([d async for d in chat.stream(HELLO)]) == 4


async def test_delays_are_set_by_the_test() -> None:
    gate, waited = asyncio.Event(), list[float]()

    async def delay(seconds: float) -> None:
        waited.append(seconds)
        await gate.wait()

    chat = ScriptedChatModel(["a b"], first_token_delay=3, token_delay=1, delay=delay)
    async with aclosing(chat.stream(HELLO)) as answer:
        first = asyncio.ensure_future(anext(answer))
        await asyncio.sleep(0)
        assert not first.done()
        gate.set()
        await first
        await anext(answer)
    assert waited == [3, 1]
    assert chat.running == 0
    assert chat.cancelled == 1


@given(st.integers(100, 4000), st.integers(1, 6))
async def test_audio_identifies_words_and_session(frequency: int, words: int) -> None:
    voice = ScriptedSpeaker(frequency)
    pcm = b"".join([chunk async for chunk in voice.speak("word " * words)])
    assert len(pcm) == 2 * words * 24_000 * WORD_MS // 1000
    assert abs(tone_of(pcm, 24_000) - frequency) <= 2
    assert voice.running == 0


def test_silence_has_no_tone() -> None:
    assert tone_of(bytes(2000), 24_000) == 0.0
    assert tone_of(b"", 24_000) == 0.0


async def test_speed_and_faults_of_the_voice() -> None:
    voice = ScriptedSpeaker(fault=Fault(EngineFailed("hoarse"), at=1), frequency_of=lambda _: 500)
    audio = voice.speak("one two", speed=2.0)
    assert len(await anext(audio)) == 24_000 * WORD_MS // 1000
    with pytest.raises(EngineFailed, match="hoarse"):
        await anext(audio)


async def test_scores_come_in_order() -> None:
    detector = ScriptedTurnDetector([0.1, 0.9])
    assert [await detector.score(bytes(4)) for _ in range(3)] == [0.1, 0.9, 0.9]
    assert detector.heard == [2, 2, 2]


def test_loud_is_speech() -> None:
    import numpy as np

    model = LoudnessModel()
    loud = np.frombuffer(tone(300, 576, 16_000), "<i2").astype(np.float32)[None] / 32768
    assert model.run(loud, model.initial_state())[0] == 1.0
    assert model.run(loud * 0, model.initial_state())[0] == 0.0


async def test_a_set_answers_every_look_up() -> None:
    engines = scripted_engines(hears=["hi"], answers=["yes"])
    live: Catalogue = engines
    assert await live.chat("default") is engines.chat_model
    assert live.streaming_transcriber("x") is live.transcriber("y")
    assert live.speaker("default", "de").sample_rate == 24_000
    assert await live.turn_detector.score(b"") == 1.0
    assert live.vad_model is engines.vad_model
    engines.absent = frozenset({"gone"})
    with pytest.raises(ModelUnavailable, match="'gone'"):
        await live.chat("gone")
    await engines.start()
    assert engines.ready()
    assert len(engines.statuses()) == 4
    await engines.close()
