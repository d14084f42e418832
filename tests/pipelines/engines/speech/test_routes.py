from collections.abc import AsyncGenerator

from pipelines.engines.scripted.live import ScriptedSpeaker
from pipelines.engines.speech.routes import BoundSpeaker


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
    audio = speaker.speak("one two", voice="other", speed=3.0, language="fr")
    assert await anext(audio) == b"one de-DE de 3"
    await audio.aclose()
    assert voice.closed
