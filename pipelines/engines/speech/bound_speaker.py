"""BoundSpeaker: a speaker with the voice and language that a job chose."""

from collections.abc import AsyncGenerator

from pipelines.engines.base import Speaker


class BoundSpeaker:
    """A Speaker that speaks with one voice whatever it is asked for."""

    def __init__(self, speaker: Speaker, voice: str, language: str) -> None:
        self.model_id = speaker.model_id
        self.sample_rate = speaker.sample_rate
        self.voices: tuple[str, ...] = ("default",)
        self._speaker = speaker
        self._voice = voice
        self._language = language

    def speak(
        self,
        text: str,
        *,
        voice: str = "default",  # noqa: ARG002 - it is bound
        speed: float = 1.0,
        language: str = "en",  # noqa: ARG002 - it is bound
    ) -> AsyncGenerator[bytes, None]:
        """As the speaker's own."""
        return self._speaker.speak(text, voice=self._voice, speed=speed, language=self._language)
