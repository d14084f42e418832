"""Recordings: any rate in, the line's rate out, the loud part found."""

from pathlib import Path

import numpy as np
import pytest

from gateway.caller import Recording, write_wav
from tests.support.paths import AUDIO


def test_a_recording_is_resampled_and_its_loud_part_found(tmp_path: Path) -> None:
    rate = 16_000
    tone = (8000 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)).astype(np.int16)
    silence = np.zeros(rate // 2, np.int16)
    write_wav(tmp_path / "a.wav", np.concatenate([silence, tone, silence]), rate)
    recording = Recording.read(tmp_path / "a.wav", 24_000)
    assert recording.seconds == pytest.approx(2.0, abs=0.001)
    assert recording.first == pytest.approx(12_000, abs=300)
    assert recording.last == pytest.approx(36_000, abs=300)
    assert np.abs(recording.samples).max() == pytest.approx(8000, rel=0.05)


def test_real_speech_is_loud_somewhere() -> None:
    recording = Recording.read(AUDIO / "joe_q_capital.wav", 24_000)
    assert 0 <= recording.first < recording.last <= len(recording.samples)
    assert recording.last - recording.first > 24_000


def test_silence_counts_whole() -> None:
    recording = Recording.of(np.zeros(2400, np.int16), 24_000)
    assert (recording.first, recording.last) == (0, 2400)


def test_what_is_no_audio_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(b"no audio at all")
    with pytest.raises(ValueError, match=r"x\.wav holds no readable audio"):
        Recording.read(tmp_path / "x.wav", 24_000)
    with pytest.raises(FileNotFoundError):
        Recording.read(tmp_path / "y.wav", 24_000)
