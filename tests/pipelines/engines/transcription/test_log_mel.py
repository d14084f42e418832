"""Log-mel features against the published definition, computed the slow way."""

import numpy as np
import pytest

from pipelines.engines.transcription.log_mel import (
    BANDS,
    FFT_SIZE,
    HOP,
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
