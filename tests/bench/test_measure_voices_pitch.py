import numpy as np
import pytest

from bench.measure_voices import melody, pitch

RATE = 24_000


def voice(hertz: float, swing: float = 0.0, seconds: float = 1.0) -> np.ndarray:
    """A sound rich in overtones whose pitch moves ``swing`` semitones up and down."""
    at = np.arange(int(seconds * RATE)) / RATE
    frequency = hertz * 2 ** (swing / 12 * np.sin(2 * np.pi * 2 * at))
    phase = 2 * np.pi * np.cumsum(frequency) / RATE
    sound = sum(np.sin(n * phase) / n for n in range(1, 8))
    return (sound * 6000).astype(np.int16)


@pytest.mark.parametrize("hertz", [80.0, 120.0, 210.0, 380.0])
def test_a_steady_voice_has_its_pitch(hertz: float) -> None:
    found = pitch(voice(hertz), RATE)
    assert len(found) > 80
    assert np.median(found) == pytest.approx(hertz, rel=0.02)
    assert melody(found) < 0.3


def test_a_lively_voice_has_more_melody() -> None:
    calm, lively = melody(pitch(voice(150, 1), RATE)), melody(pitch(voice(150, 4), RATE))
    assert calm == pytest.approx(1 / np.sqrt(2), abs=0.2)
    assert lively == pytest.approx(4 / np.sqrt(2), abs=0.5)


def test_sound_without_a_voice_has_no_pitch() -> None:
    noise = np.random.default_rng(1).normal(0, 3000, RATE).astype(np.int16)
    assert len(pitch(noise, RATE)) < 10
    assert len(pitch(np.zeros(RATE, np.int16), RATE)) == 0
    assert len(pitch(np.zeros(10, np.int16), RATE)) == 0
    assert melody(np.zeros(0)) == 0.0
