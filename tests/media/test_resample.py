"""Exact counts, inaudible block borders, unchanged sound."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.formats import PCM_RATES
from media.resample import Resampler, resample
from tests.support.examples import examples

PAIRS = list(permutations(PCM_RATES, 2))


def tone(hz: float, rate: int, seconds: float = 0.5) -> bytes:
    at = np.arange(int(rate * seconds)) / rate
    return (10_000 * np.sin(2 * np.pi * hz * at)).astype("<i2").tobytes()


def level(pcm: bytes) -> float:
    return float(np.frombuffer(pcm, "<i2")[200:-200].astype(float).std())


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_tone_keeps_its_place_and_level(source, target):
    made = np.frombuffer(resample(tone(1_000, source), source, target), "<i2").astype(float)
    true = np.frombuffer(tone(1_000, target), "<i2").astype(float)
    assert len(made) == len(true)
    error = (made - true)[100:-100]
    assert np.sqrt(np.mean(error**2)) < 10


@pytest.mark.parametrize(("source", "target"), [p for p in PAIRS if p[0] > p[1]])
def test_frequencies_above_the_lower_rate_are_removed(source, target):
    above = tone(0.53 * target, source)
    assert level(resample(above, source, target)) < level(above) / 500


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_frame_in_is_a_frame_out_and_the_delay_is_short(source, target):
    resampler = Resampler(source, target)
    frame = bytes(2 * source // 50)
    assert [len(resampler.push(frame)) for _ in range(3)] == [2 * target // 50] * 3
    assert resampler.delay / target <= 0.005


@settings(max_examples=examples(60), deadline=None)
@given(st.sampled_from(PAIRS), st.lists(st.integers(0, 400), min_size=1, max_size=8), st.data())
def test_frame_sizes_do_not_change_the_output_and_counts_are_exact(pair, sizes, data):
    source, target = pair
    noise = np.random.default_rng(1).integers(-20_000, 20_000, sum(sizes), "<i2").tobytes()
    cut = Resampler(source, target)
    pieces, at = [], 0
    for size in sizes:
        pieces.append(cut.push(memoryview(noise)[2 * at : 2 * (at + size)]))
        at += size
    pieces.append(cut.flush())
    whole = Resampler(source, target)
    made = np.frombuffer(b"".join(pieces), "<i2").astype(int)
    uncut = np.frombuffer(whole.push(noise) + whole.flush(), "<i2").astype(int)
    assert len(made) == len(uncut)
    # A matrix product may sum in another order at another size: rounding may differ by one step.
    assert np.abs(made - uncut).max(initial=0) <= 1
    assert len(b"".join(pieces)) // 2 == -(-at * target // source) + cut.delay
    assert len(resample(noise, source, target)) // 2 == -(-at * target // source)


def test_loud_input_is_clipped_not_wrapped():
    square = (np.where(np.arange(1600) % 40 < 20, 32_767, -32_768)).astype("<i2").tobytes()
    made = np.frombuffer(resample(square, 16_000, 48_000), "<i2").astype(int)
    assert np.abs(np.diff(made)).max() < 40_000
    assert made.max() == 32_767


def test_the_same_rate_changes_nothing():
    resampler = Resampler(16_000, 16_000)
    assert resampler.push(b"ab") + resampler.flush() == b"ab"
    assert resampler.delay == 0


def test_refusals():
    with pytest.raises(ValueError, match="44100 Hz"):
        Resampler(44_100, 16_000)
    with pytest.raises(ValueError, match="even number"):
        Resampler(8_000, 16_000).push(b"abc")
