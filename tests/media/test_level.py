"""Levelling phrases, measured by independent meters."""

import numpy as np
import pyloudnorm
import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.level import PEAK_DBTP, TARGET_LUFS, levelled, loudness
from media.loudness import LoudnessMeter

FULL = 32768


def bursts(rate: int, seed: int = 0) -> np.ndarray:
    """Noise that rises and falls as speech does, at about -22 LUFS, in -1..1."""
    random = np.random.default_rng(seed)
    steps = np.repeat(random.random(30), rate // 10)
    return (random.normal(0, 0.08, rate * 3) * steps).astype(np.float32)


@pytest.mark.parametrize("rate", [16_000, 24_000, 48_000])
def test_the_measurement_matches_a_reference(rate: int) -> None:
    samples = bursts(rate)
    assert loudness(samples, rate) == pytest.approx(
        pyloudnorm.Meter(rate).integrated_loudness(samples), abs=0.2
    )


@pytest.mark.parametrize("rate", [16_000, 24_000])
@pytest.mark.parametrize("level", [0.25, 1.0, 3.0])
def test_phrases_reach_one_loudness_without_peaks(rate: int, level: float) -> None:
    samples = np.clip(bursts(rate) * level, -1, 1)
    samples[rate :: rate // 7] = min(0.9, 0.4 * level)  # clicks
    own = loudness(samples, rate)
    assert own is not None
    gain = TARGET_LUFS - own + 1.5  # the voice's gain is not quite that of the phrase
    made = levelled((samples * 32767).astype("<i2").tobytes(), rate, gain)
    assert len(made) == 2 * len(samples)
    meter = LoudnessMeter(rate)
    meter.push(made)
    told = meter.result()
    assert told.lufs == pytest.approx(TARGET_LUFS, abs=1.0)
    assert told.peak_dbtp <= PEAK_DBTP


def test_a_phrases_correction_is_bounded() -> None:
    whispered = (bursts(24_000) * 0.05 * 32767).astype("<i2")
    made = np.frombuffer(levelled(whispered.tobytes(), 24_000, 0.0), "<i2")
    ratio = np.std(made) / np.std(whispered)
    assert 20 * np.log10(ratio) == pytest.approx(3.0, abs=0.1)


def test_short_phrases_get_their_voices_gain() -> None:
    short = (bursts(24_000)[:4000] * 32767).astype("<i2")
    made = np.frombuffer(levelled(short.tobytes(), 24_000, 6.0206), "<i2")
    assert np.abs(made - 2.0 * short).max() <= 1
    assert levelled(b"", 24_000, 6.0) == b""
    assert loudness(np.zeros(24_000, np.float32), 24_000) is None


@given(st.binary(max_size=4000).map(lambda data: data[: len(data) // 2 * 2]))
def test_whatever_the_samples_are(pcm: bytes) -> None:
    assert len(levelled(pcm, 16_000, 12.0)) == len(pcm)
