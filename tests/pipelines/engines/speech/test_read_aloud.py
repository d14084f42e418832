"""Reading aloud with scripted voices: words, pauses, speed and loudness."""

from collections.abc import AsyncGenerator
from typing import Any

import numpy as np
import pytest

from media.level import TARGET_LUFS, loudness
from pipelines.engines.base import EngineFailed
from pipelines.engines.kokoro.voices import VOICES as KOKORO_VOICES
from pipelines.engines.scripted.live import WORD_MS, ScriptedSpeaker, tone_of
from pipelines.engines.speech.pico import VOICES as PICO_VOICES
from pipelines.engines.speech.read_aloud import (
    OWN_FASTEST,
    OWN_SLOWEST,
    Manner,
    gain_of,
    gain_of_mix,
    read_aloud,
)

RATE = 24_000


class Voice:
    """Speaks a whole text as one tone, as long as its words take."""

    def __init__(self, level: float = 1.0) -> None:
        self.asked: list[tuple[str, float]] = []
        self.closed = 0
        self._level = level

    async def say(self, text: str, speed: float) -> AsyncGenerator[bytes, None]:
        self.asked.append((text, speed))
        try:
            pieces = [pcm async for pcm in ScriptedSpeaker().speak(text, speed=speed)]
            tone = np.frombuffer(b"".join(pieces), "<i2") * self._level
            yield tone.astype("<i2").tobytes()
        finally:
            self.closed += 1


async def spoken(voice: Voice, text: str, **manner: Any) -> bytes:
    chosen = Manner(**{"language": "en", "rate": RATE, **manner})
    return b"".join([pcm async for pcm in read_aloud(text, chosen, voice.say)])


@pytest.mark.parametrize("speed", [0.25, 0.5, 0.8, 1.0, 1.25, 1.5, 2.0, 4.0])
async def test_any_speed_is_stretched_from_an_engines_speed(speed: float) -> None:
    voice = Voice()
    pcm = await spoken(voice, "one two three four", speed=speed)
    assert len(pcm) / 2 / RATE == pytest.approx(4 * WORD_MS / 1000 / speed, rel=0.01)
    assert tone_of(pcm, RATE) == pytest.approx(440, rel=0.05)
    ((_, own),) = voice.asked
    assert OWN_SLOWEST <= own <= OWN_FASTEST


async def test_texts_are_normalised_and_breaks_are_silence() -> None:
    voice = Voice()
    text = 'It costs €1.150,00. <break time="1s"/> Write to jane@example.com &amp; wait.'
    pcm = np.frombuffer(await spoken(voice, text, speed=1.0), "<i2")
    assert [text for text, _ in voice.asked] == [
        "It costs 1,150 euros.",
        "Write to jane at example dot com and wait.",
    ]
    silent = np.flatnonzero(np.diff(np.flatnonzero(pcm)) >= RATE)
    assert len(silent) == 1
    assert len(pcm) / RATE == pytest.approx(1 + 13 * WORD_MS / 1000, abs=0.01)


@pytest.mark.parametrize("level", [0.3, 1.0, 2.5])
async def test_every_voice_is_as_loud(level: float) -> None:
    gain = -20 * np.log10(level) - 6.0  # of a tone at a quarter of full scale
    pcm = await spoken(Voice(level), "one two three", gain_db=float(gain))
    samples = np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32768)
    assert loudness(samples, RATE) == pytest.approx(TARGET_LUFS, abs=0.3)


async def test_closing_closes_the_voice_and_its_errors_come_through() -> None:
    voice = Voice()
    audio = read_aloud("one two. " * 100, Manner("en", RATE), voice.say)
    await anext(audio)
    await audio.aclose()
    assert voice.closed == 1

    async def broken(text: str, speed: float) -> AsyncGenerator[bytes, None]:
        yield b"\0\0" * RATE
        raise EngineFailed("the voice broke")

    with pytest.raises(EngineFailed, match="broke"):
        async for _ in read_aloud("one", Manner("en", RATE), broken):
            pass


def test_every_embedded_voice_has_been_measured() -> None:
    for engine, voices in (
        ("hibari", ["default"]),
        ("pico", list(PICO_VOICES.values())),
        ("kokoro", list(KOKORO_VOICES)),
    ):
        gains = [gain_of(engine, voice) for voice in voices]
        assert all(-20 < gain < 20 and gain for gain in gains), engine
    one, two = KOKORO_VOICES[:2]
    mixed = gain_of_mix("kokoro", {one: 1.0, two: 3.0})
    assert mixed == pytest.approx((gain_of("kokoro", one) + 3 * gain_of("kokoro", two)) / 4)
    assert gain_of("upstream", "nobody") == gain_of_mix("kokoro", {}) == 0.0
