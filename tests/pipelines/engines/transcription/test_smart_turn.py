"""SmartTurn on recorded speech, and its log-mel features against the published definition."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pytest

from pipelines.engines.base import EngineFailed
from pipelines.engines.transcription.smart_turn import (
    BANDS,
    FFT_SIZE,
    HOP,
    SPAN,
    SmartTurn,
    features,
    hz_of_mel,
    log_mel,
    mel_filters,
)


def slow_log_mel(samples: np.ndarray) -> np.ndarray:
    """Straight from the definition: a DFT by matrix, in double precision."""
    padded = np.pad(samples.astype(np.float64), FFT_SIZE // 2, mode="reflect")
    n = np.arange(FFT_SIZE)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * n / FFT_SIZE)
    dft = np.exp(-2j * np.pi * np.outer(np.arange(FFT_SIZE // 2 + 1), n) / FFT_SIZE)
    frames = [padded[i * HOP : i * HOP + FFT_SIZE] * window for i in range(len(samples) // HOP)]
    power = np.abs(np.array(frames) @ dft.T) ** 2
    bands = np.log10(np.maximum(mel_filters().astype(np.float64) @ power.T, 1e-10))
    return (np.maximum(bands, bands.max() - 8) + 4) / 4


@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_matches_the_definition(scale: float) -> None:
    rng = np.random.default_rng(0)
    samples = (rng.normal(0, scale, 16_000) * np.linspace(0, 1, 16_000)).astype(np.float32)
    features = log_mel(samples)
    assert features.shape == (BANDS, 100)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, slow_log_mel(samples), atol=2e-4)


def test_mel_scale_is_slaneys() -> None:
    mels = np.array([0.0, 7.5, 15.0, 15.0 + 27.0])
    np.testing.assert_allclose(hz_of_mel(mels), [0, 500, 1000, 6400], rtol=1e-6)


def test_filters_are_whispers() -> None:
    filters = mel_filters()
    assert filters.shape == (BANDS, FFT_SIZE // 2 + 1)
    assert filters[0, 1] == pytest.approx(0.02486259, abs=1e-7)  # first value of its mel_80
    bin_hz = 8000 / (FFT_SIZE // 2)
    wide = filters[60:]  # narrow triangles are sampled too coarsely to show their area
    np.testing.assert_allclose(wide.sum(axis=1) * bin_hz, 1.0, rtol=0.02)


def test_a_tone_lands_in_its_band() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000).astype(np.float32)
    loudest = int(log_mel(tone)[:, 50].argmax())
    centres = (mel_filters() * np.linspace(0, 8000, FFT_SIZE // 2 + 1)).sum(axis=1)
    weights = mel_filters().sum(axis=1)
    assert centres[loudest] / weights[loudest] == pytest.approx(1000, abs=50)


def test_silence_is_finite() -> None:
    assert np.isfinite(log_mel(np.zeros(16_000, np.float32))).all()


Audio = Callable[[str], bytes]
SILENCE = bytes(16_000 * 2 // 5)
"""200 ms."""


@pytest.fixture
async def detector(models_dir: Path) -> AsyncIterator[SmartTurn]:
    detector = SmartTurn(models_dir / "smart-turn-v3.2" / "smart-turn-v3.2-cpu.onnx")
    await detector.warm()
    assert detector.load_seconds > 0
    yield detector
    await detector.close()


def test_features_take_the_last_eight_seconds() -> None:
    rng = np.random.default_rng(0)
    pcm = rng.integers(-3000, 3000, SPAN + 5000, dtype="<i2").tobytes()
    assert features(pcm).shape == (1, 80, 800)
    np.testing.assert_array_equal(features(pcm), features(pcm[-SPAN * 2 :]))


def test_features_pad_short_audio_in_front() -> None:
    rng = np.random.default_rng(0)
    pcm = rng.integers(-3000, 3000, 16_000, dtype="<i2").tobytes()
    short = features(pcm)
    assert short[0, :, :690].std() < short[0, :, 710:].std()
    np.testing.assert_allclose(short, features(bytes(2 * (SPAN - 16_000)) + pcm), atol=1e-5)


def test_features_do_not_hear_loudness() -> None:
    rng = np.random.default_rng(0)
    samples = rng.integers(-3000, 3000, SPAN, dtype="<i2")
    loud, soft = features((samples * 8).tobytes()), features(samples.tobytes())
    np.testing.assert_allclose(loud, soft, atol=1e-3)


@pytest.mark.engines
async def test_complete_turns_score_higher_than_cut_ones(detector: SmartTurn, audio: Audio) -> None:
    complete = ["joe_q_book", "joe_q_capital", "joe_q_help", "joe_q_hours", "joe_stop", "lv_0920"]
    for name in complete:
        assert await detector.score(audio(name) + SILENCE) > 0.8, name
    spelled = audio("joe_pause_spell")
    inside = spelled[: 2 * 16 * (2560 + 400)]  # "My name is Smith, that is" and 400 ms of pause
    assert await detector.score(inside) < 0.3
    booked = audio("joe_q_book")[: 2 * 16 * 2200]  # "Please book a table for four people on"
    assert await detector.score(booked + SILENCE) < 0.3


@pytest.mark.engines
async def test_scores_at_once_from_many_tasks(detector: SmartTurn, audio: Audio) -> None:
    pcm = audio("joe_q_capital") + SILENCE
    alone = await detector.score(pcm)
    scores = await asyncio.gather(*(detector.score(pcm) for _ in range(4)))
    assert scores == [pytest.approx(alone)] * 4


@pytest.mark.engines
async def test_refuses_no_samples_and_works_no_more_when_closed(detector: SmartTurn) -> None:
    for pcm in (b"", b"abc"):
        with pytest.raises(ValueError, match="samples"):
            await detector.score(pcm)
    await detector.close()
    with pytest.raises(EngineFailed, match="shutting down"):
        await detector.score(SILENCE)


async def test_a_missing_file_is_an_engine_failure(tmp_path: Path) -> None:
    detector = SmartTurn(tmp_path / "none.onnx")
    with pytest.raises(EngineFailed):
        await detector.warm()
    await detector.close()
