import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import pytest_asyncio

from pipelines.engines.base import EngineFailed
from pipelines.engines.speech.hibari import SAMPLE_RATE, HibariSpeaker

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def speaker() -> AsyncIterator[HibariSpeaker]:
    speaker = await HibariSpeaker.load()
    yield speaker
    await speaker.close()


async def speak(speaker: HibariSpeaker, text: str, **options: Any) -> npt.NDArray[np.int16]:
    pcm = b"".join([chunk async for chunk in speaker.speak(text, **options)])
    return np.frombuffer(pcm, "<i2")


def sound_begins_ms(samples: npt.NDArray[np.int16]) -> float:
    frames = samples[: len(samples) // 24 * 24].reshape(-1, 24).astype(float)
    return float(np.flatnonzero(np.sqrt((frames**2).mean(axis=1)) > 100)[0])


@pytest.mark.parametrize("text", ["Sure.", "Hello there, how can I help you?", "It costs $12."])
async def test_sound_begins_within_20_ms(speaker: HibariSpeaker, text: str) -> None:
    samples = await speak(speaker, text)
    assert sound_begins_ms(samples) <= 20
    assert np.abs(samples).max() > 3000


async def test_each_sentence_is_a_chunk(speaker: HibariSpeaker) -> None:
    chunks = [chunk async for chunk in speaker.speak("This is one. This is two. And three.")]
    assert len(chunks) == 3
    assert all(len(chunk) % 2 == 0 for chunk in chunks)


async def test_speed_shortens_speech(speaker: HibariSpeaker) -> None:
    text = "This sentence is long enough to be measured."
    slow, normal, fast = [len(await speak(speaker, text, speed=s)) for s in (0.5, 1.0, 1.5)]
    assert slow > 1.5 * normal
    assert fast < 0.8 * normal


@pytest.mark.parametrize("text", ["", "   ", "...", "!? —", "日本"])
async def test_nothing_to_speak_yields_nothing(speaker: HibariSpeaker, text: str) -> None:
    assert [chunk async for chunk in speaker.speak(text)] == []


async def test_its_own_voice_has_two_names(speaker: HibariSpeaker) -> None:
    assert speaker.voices == ("default", "heart")
    assert len(await speak(speaker, "Yes.", voice="heart"))


async def test_unknown_voices_and_languages_are_refused(speaker: HibariSpeaker) -> None:
    with pytest.raises(EngineFailed, match=r"no voice 'emma'; it has: default, heart"):
        await speak(speaker, "Yes.", voice="emma")
    with pytest.raises(EngineFailed, match="English only"):
        await speak(speaker, "Ja.", language="de")


async def test_many_at_once_do_not_mix(speaker: HibariSpeaker) -> None:
    texts = ["Yes.", "This is a sentence of some length.", "No, thank you very much."] * 3
    alone = {text: len(await speak(speaker, text)) for text in set(texts)}
    together = await asyncio.gather(*(speak(speaker, text) for text in texts))
    for text, samples in zip(texts, together, strict=True):
        assert abs(len(samples) - alone[text]) <= SAMPLE_RATE // 50


async def test_closing_early_stops_the_work(speaker: HibariSpeaker) -> None:
    spoken: list[str] = []

    class Recording:
        voice = "heart"

        def split_sentences(self, text: str) -> list[str]:
            return text.split("|")

        def stream(self, text: str, speed: float) -> Iterator[npt.NDArray[np.float32]]:
            spoken.append(text)
            yield np.full(2400, 0.5, np.float32)

    many = HibariSpeaker("many", Recording(), workers=1)
    audio = many.speak("|".join(f"sentence {n}" for n in range(100)))
    await anext(audio)
    begun = time.perf_counter()
    await audio.aclose()
    assert time.perf_counter() - begun < 0.5
    await many.close()
    assert len(spoken) < 20
