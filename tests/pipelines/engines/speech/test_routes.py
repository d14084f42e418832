from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from pipelines.engines.engine import Engine, EngineSettings, EngineStatus, Role
from pipelines.engines.jobs import SpeechChoice, VoiceInfo
from pipelines.engines.scripted.live import ScriptedSpeaker
from pipelines.engines.speech.routes import BoundSpeaker, SpeechRoutes


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


async def test_a_bound_speaker_uses_its_voice_and_language() -> None:
    voice = Voice(model_id="pico", sample_rate=16_000)
    speaker = BoundSpeaker(voice, "de-DE", "de")
    assert (speaker.model_id, speaker.sample_rate) == ("pico", 16_000)
    audio = speaker.speak("one two", voice="other", speed=3.0, language="fr")
    assert await anext(audio) == b"one de-DE de 3"
    await audio.aclose()
    assert voice.closed


async def load(_settings: EngineSettings) -> object:
    raise AssertionError("nobody asked for it")


def speaker(model_id: str, *languages: str, voice: str, on_demand: bool = False) -> Engine:
    return Engine(
        role=Role.SPEECH,
        id=model_id,
        languages=languages,
        load=load,
        voices=(VoiceInfo(voice, voice, languages[-1], model_id),),
        on_demand=on_demand,
    )


SPEAKERS = [
    speaker("quick", "en", voice="ann"),
    speaker("broad", "de", "en", voice="bea"),
    speaker("slow", "en", "ja", on_demand=True, voice="cho"),
    speaker("added", "en", "fi", voice="dea"),
]


def routes(speech_model: str | None = None) -> SpeechRoutes:
    def status(model_id: str) -> EngineStatus:
        known = next((one for one in SPEAKERS if one.id == model_id), None)
        if known is None:
            return EngineStatus(model_id, Role.SPEECH, False, "no such model", upstream=True)
        return EngineStatus(
            model_id,
            Role.SPEECH,
            live=True,
            languages=known.languages,
            loaded=not known.on_demand,
            on_demand=known.on_demand,
        )

    settings = EngineSettings(Path("/nowhere"), speech_model=speech_model)
    return SpeechRoutes(settings, lambda: SPEAKERS, status)


@pytest.mark.parametrize(
    ("model", "language", "voice", "engine"),
    [
        ("default", "en-US", "default", "quick"),
        ("default", "de", "default", "broad"),
        ("default", "fi", "default", "added"),
        ("default", "ja", "default", "added"),
        ("default", "en", "dea", "quick"),
        ("default", "fi", "dea", "added"),
        ("default", "en", "alloy", "quick"),
        ("added", "en", "default", "added"),
        ("blab-stable", "en", "default", "quick"),
        ("gpt-voice", "en", "default", "gpt-voice"),
    ],
)
def test_in_a_call_the_voice_decides_and_then_the_language(
    model: str, language: str, voice: str, engine: str
) -> None:
    assert routes().for_call(model, language, voice) == engine


def test_a_configured_speaker_answers_whatever_the_language() -> None:
    assert routes(speech_model="broad").for_call("default", "fi", "default") == "broad"
    assert routes(speech_model="broad").for_call("added", "fi", "default") == "added"


def test_a_job_gets_the_engine_of_its_voice_and_the_first_of_its_language() -> None:
    found = routes()
    assert found.route(SpeechChoice("blab-stable", "ja", "cho")).model_id == "slow"
    assert found.route(SpeechChoice("blab-stable", "ja")).model_id == "slow"
    assert found.route(SpeechChoice("blab-stable", "fi")).model_id == "added"
    assert [voice.id for voice in found.voices("blab-stable")] == ["ann", "bea", "cho", "dea"]
    assert [voice.id for voice in found.voices_in_calls()] == ["ann", "bea", "dea"]
