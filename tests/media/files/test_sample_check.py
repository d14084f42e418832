from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from media.files.sample_check import SampleCheck, SampleRefused, SampleReport
from media.formats import HEARING_RATE
from media.vad import SileroModel

Load = Callable[[str], bytes]
Samples = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def model(models_dir: Path) -> SileroModel:
    return SileroModel(models_dir / "silero-vad" / "silero_vad.onnx")


def checked(model: SileroModel, pcm: bytes, piece: int = 32_000) -> SampleReport:
    check = SampleCheck(model)
    for start in range(0, len(pcm), piece):
        check.push(pcm[start : start + piece])
    return check.finish()


@pytest.mark.parametrize("name", ["lv_0870", "lv_0890", "lv_0920", "lv_0930", "joe_q_book"])
def test_recordings_of_speech_are_accepted(model: SileroModel, audio: Load, name: str) -> None:
    pcm = audio(name)
    report = checked(model, pcm)
    assert report.duration_ms == len(pcm) // 32
    assert 0.7 * report.duration_ms < report.speech_ms <= report.duration_ms
    assert -35 < report.level_db < -15
    assert report.contrast_db > 20
    assert report.clipped == 0


def test_block_sizes_do_not_matter(model: SileroModel, audio: Load) -> None:
    pcm = audio("lv_0930")
    assert checked(model, pcm, 100) == checked(model, pcm, len(pcm))


def shouted(speech: Samples) -> Samples:
    return speech * 12


def drowned(speech: Samples) -> Samples:
    noise = np.random.default_rng(5).normal(0, speech.std(), len(speech))
    return speech + noise


def faint(speech: Samples) -> Samples:
    return speech * 0.02


def brief(speech: Samples) -> Samples:
    return speech[: 2 * HEARING_RATE]


def mostly_silence(speech: Samples) -> Samples:
    return np.concatenate((speech[: HEARING_RATE * 3 // 2], np.zeros(5 * HEARING_RATE)))


def nothing(speech: Samples) -> Samples:
    return np.zeros(len(speech))


def a_tone(speech: Samples) -> Samples:
    return 8000 * np.sin(2 * np.pi * 440 / HEARING_RATE * np.arange(len(speech)))


@pytest.mark.parametrize(
    ("spoil", "reason", "told"),
    [
        (shouted, "clipped", "at full scale"),
        (drowned, "noisy", "quieter place"),
        (faint, "too_quiet", "higher level"),
        (brief, "too_short", "2.0 s long: send at least 2.5 s"),
        (mostly_silence, "too_little_speech", "send at least 2 s"),
        (nothing, "silent", "silence"),
        (a_tone, "no_speech", "Nobody speaks"),
    ],
)
def test_unusable_samples_are_refused_with_the_reason(
    model: SileroModel, audio: Load, spoil: Callable[[Samples], Samples], reason: str, told: str
) -> None:
    speech = np.frombuffer(audio("lv_0870"), "<i2").astype(np.float64)
    spoilt = np.clip(spoil(speech), -32768, 32767).astype("<i2").tobytes()
    with pytest.raises(SampleRefused, match=told) as refused:
        checked(model, spoilt)
    assert refused.value.reason == reason


def test_an_empty_clip_is_too_short(model: SileroModel) -> None:
    with pytest.raises(SampleRefused) as refused:
        checked(model, b"")
    assert refused.value.reason == "too_short"
