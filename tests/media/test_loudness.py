"""The broadcast chain, measured by an independent meter."""

import math
from collections.abc import Callable, Generator
from pathlib import Path

import numpy as np
import pyloudnorm
import pytest

from media.loudness import Loudness, LoudnessMeter, measure, normalise
from tests.support.media_files import tone

RATE = 16_000


def true_peak(samples: np.ndarray) -> float:
    """dBTP of the samples, oversampled four times."""
    spectrum = np.fft.rfft(samples / 32768)
    count = len(samples)
    padded = np.pad(spectrum, (0, 2 * count + 1 - len(spectrum)))
    return float(20 * np.log10(np.abs(np.fft.irfft(padded, 4 * count) * 4).max()))


def lufs(samples: np.ndarray, rate: int) -> float:
    return float(pyloudnorm.Meter(rate).integrated_loudness(samples / 32768))


def run(steps: Generator[None, None, Loudness]) -> tuple[Loudness, int]:
    pauses = 0
    while True:
        try:
            next(steps)
        except StopIteration as ended:
            return ended.value, pauses
        pauses += 1


def polished(folder: Path, samples: np.ndarray, rate: int) -> tuple[np.ndarray, Loudness]:
    source, target = folder / "raw.pcm", folder / "polished.pcm"
    source.write_bytes(samples.astype("<i2").tobytes())
    told, _ = run(normalise(source, target, rate))
    made = np.frombuffer(target.read_bytes(), "<i2")
    assert len(made) == len(samples)
    return made, told


@pytest.mark.parametrize("name", ["lv_0870", "lv_0930", "joe_pause_flight", "joe_q_weather"])
@pytest.mark.parametrize("gain", [0.2, 2.5])
def test_speech_is_normalised_to_minus_16_lufs(
    name: str, gain: float, tmp_path: Path, audio: Callable[[str], bytes]
) -> None:
    speech = np.frombuffer(audio(name), "<i2")
    quieter = np.clip(speech * gain, -32768, 32767)
    made, told = polished(tmp_path, quieter, RATE)
    assert lufs(made, RATE) == pytest.approx(-16, abs=0.5)
    assert told.lufs == pytest.approx(-16, abs=0.3)
    assert true_peak(made) <= -1.0


def test_noise_at_another_rate(tmp_path: Path) -> None:
    noise = np.random.default_rng(5).normal(0, 3000, 24_000 * 4)
    made, _ = polished(tmp_path, np.clip(noise, -32768, 32767), 24_000)
    assert lufs(made, 24_000) == pytest.approx(-16, abs=0.5)
    assert true_peak(made) <= -1.0


def test_clicks_do_not_pass_the_limiter(tmp_path: Path) -> None:
    clicks = 32767.0 * (np.random.default_rng(1).random(48_000) < 1e-3)
    made, _ = polished(tmp_path, clicks, 24_000)
    assert true_peak(made) <= -1.0


@pytest.mark.parametrize("samples", [0, 1, 100, 3000])
def test_audio_too_short_to_measure_has_no_loudness(samples: int, tmp_path: Path) -> None:
    made, told = polished(tmp_path, tone(1, rate=RATE)[:samples], RATE)
    assert told.lufs is None
    assert len(made) == samples


def test_silence_stays_silent(tmp_path: Path) -> None:
    made, told = polished(tmp_path, np.zeros(RATE), RATE)
    assert not made.any()
    assert told == Loudness(None, -math.inf)


def test_it_can_be_stopped_every_second(tmp_path: Path) -> None:
    source = tmp_path / "raw.pcm"
    source.write_bytes(tone(10, rate=RATE).tobytes())
    steps = normalise(source, tmp_path / "out.pcm", RATE)
    next(steps)
    steps.close()
    _, pauses = run(normalise(source, tmp_path / "out.pcm", RATE))
    assert pauses >= 20


def test_the_meter_agrees_with_another() -> None:
    noise = np.random.default_rng(2).normal(0, 2000, 48_000 * 3).astype("<i2")
    meter = LoudnessMeter(48_000)
    for at in range(0, len(noise), 5_000):
        meter.push(noise[at : at + 5_000].tobytes())
    told = meter.result()
    assert told.lufs == pytest.approx(lufs(noise, 48_000), abs=0.2)
    assert told.peak_dbtp == pytest.approx(true_peak(noise), abs=0.3)


def test_only_what_lies_within_the_spans_is_measured() -> None:
    quiet, loud = tone(2, rate=RATE, level=0.02), tone(2, rate=RATE, level=0.5)
    pcm = np.concatenate((loud, quiet, loud)).astype("<i2").tobytes()
    pieces = [pcm[at : at + 20_001 * 2] for at in range(0, len(pcm), 20_001 * 2)]
    found, pauses = run(measure(pieces, [(2 * RATE, 4 * RATE)], RATE))
    assert found.lufs == pytest.approx(lufs(quiet, RATE), abs=0.7)
    assert pauses == len(pieces)
    assert run(measure(pieces, [], RATE))[0].lufs is None


def test_speech_reaches_a_given_loudness(tmp_path: Path) -> None:
    source, target = tmp_path / "raw.pcm", tmp_path / "made.pcm"
    raw = tone(2, rate=RATE, level=0.5).astype("<i2")
    source.write_bytes(raw.tobytes())
    run(normalise(source, target, RATE, -30.0, ()))
    made = np.frombuffer(target.read_bytes(), "<i2")
    assert lufs(made, RATE) == pytest.approx(-30, abs=0.2)
    assert np.corrcoef(raw, made)[0, 1] > 0.999
