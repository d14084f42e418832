"""Concealment keeps the count exact, sounds like what came before, and fades."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.plc import FADE_MS, Concealer


def tone(hz: float, rate: int, samples: int, start: int = 0) -> bytes:
    at = np.arange(start, start + samples) / rate
    return (8000 * np.sin(2 * np.pi * hz * at)).astype("<i2").tobytes()


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000])
@pytest.mark.parametrize("hz", [80, 130, 220])
def test_a_voiced_sound_goes_on_with_its_own_pitch(rate, hz):
    concealer = Concealer(rate)
    concealer.take(tone(hz, rate, rate // 10))
    ten_ms = rate // 100
    made = np.frombuffer(concealer.conceal(ten_ms), "<i2").astype(float)
    true = np.frombuffer(tone(hz, rate, ten_ms, rate // 10), "<i2").astype(float)
    assert np.sqrt(np.mean((made - true) ** 2)) < 0.15 * 8000


def test_a_long_hole_fades_to_silence():
    concealer = Concealer(8_000)
    concealer.take(tone(200, 8_000, 800))
    first = np.frombuffer(concealer.conceal(160), "<i2")
    concealer.conceal(8 * FADE_MS)
    assert np.abs(first).max() > 6000
    assert not np.frombuffer(concealer.conceal(160), "<i2").any()


def test_good_audio_returns_without_a_click():
    concealer = Concealer(16_000)
    concealer.take(tone(150, 16_000, 1600))
    lost = np.frombuffer(concealer.conceal(320), "<i2").astype(int)
    back = np.frombuffer(concealer.take(tone(150, 16_000, 320, 1920)), "<i2").astype(int)
    steps = np.abs(np.diff(np.concatenate((lost, back))))
    assert steps.max() < 1500


def test_good_audio_passes_unchanged():
    concealer = Concealer(8_000)
    pcm = tone(300, 8_000, 500)
    assert concealer.take(pcm) == pcm


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 700)), max_size=30))
def test_the_count_is_exact_whatever_happens(pieces):
    concealer = Concealer(8_000)
    for good, samples in pieces:
        out = concealer.take(bytes(2 * samples)) if good else concealer.conceal(samples)
        assert len(out) == 2 * samples
