from collections.abc import AsyncGenerator

import pytest

from pipelines.engines.bound_speaker import BoundSpeaker
from pipelines.engines.scripted import WORD_MS, ScriptedSpeaker, tone_of


class Voice(ScriptedSpeaker):
    closed = False

    async def speak(
        self, text: str, *, voice: str = "default", speed: float = 1.0, language: str = "en"
    ) -> AsyncGenerator[bytes, None]:
        try:
            for word in text.split():
                yield f"{word} {voice} {language} {speed:g}".encode()
        finally:
            self.closed = True


async def test_it_speaks_with_what_it_is_bound_to() -> None:
    voice = Voice(model_id="pico", sample_rate=16_000)
    speaker = BoundSpeaker(voice, "de-DE", "de")
    assert (speaker.model_id, speaker.sample_rate) == ("pico", 16_000)
    audio = speaker.speak("one two", voice="other", speed=2.0, language="fr")
    assert await anext(audio) == b"one de-DE de 2"
    await audio.aclose()
    assert voice.closed


@pytest.mark.parametrize("speed", [0.25, 0.5, 1.0, 3.0, 4.0])
async def test_it_speaks_at_speeds_that_the_engine_does_not_have(speed: float) -> None:
    asked: list[float] = []

    class Limited(ScriptedSpeaker):
        async def speak(
            self, text: str, *, voice: str = "default", speed: float = 1.0, language: str = "en"
        ) -> AsyncGenerator[bytes, None]:
            asked.append(speed)
            async for pcm in super().speak(text, speed=speed):
                yield pcm

    speaker = BoundSpeaker(Limited(), "default", "en")
    pcm = b"".join([piece async for piece in speaker.speak("one two three", speed=speed)])
    seconds = len(pcm) / 2 / speaker.sample_rate
    assert seconds == pytest.approx(3 * WORD_MS / 1000 / speed, rel=0.01)
    assert tone_of(pcm, speaker.sample_rate) == pytest.approx(440, rel=0.05)
    assert 0.5 <= asked[0] <= 2
