"""Speech faster and slower: the length is exact, the pitch stays."""

import numpy as np
import pytest

from media.filters import stretch, stretched
from tests.support.media_files import tone


@pytest.mark.parametrize("tempo", [0.25, 0.5, 0.8, 1.0, 1.1, 1.35, 2.0, 3.2, 4.0])
@pytest.mark.parametrize("to_rate", [24_000, 48_000])
@pytest.mark.parametrize("rate", [16_000, 24_000])
def test_length_pitch_and_level(tempo: float, to_rate: int, rate: int) -> None:
    made = np.frombuffer(stretch(tone(2, 440, rate).tobytes(), rate, tempo, to_rate), "<i2")
    assert len(made) == round(2 * to_rate / tempo) == stretched(2 * rate, rate, tempo, to_rate)
    middle = made[len(made) // 4 : len(made) // 4 + to_rate // 2].astype(float)
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle)), to_rate))
    assert abs(int(spectrum.argmax()) - 440) <= 2
    assert np.sqrt(np.mean(middle**2) * 2) == pytest.approx(8192, rel=0.1)


def test_nothing_to_do() -> None:
    pcm = tone(0.1, rate=24_000).tobytes()
    assert stretch(pcm, 24_000, 1.0) == pcm
    assert stretch(b"", 24_000, 1.2, 48_000) == b""


@pytest.mark.parametrize("samples", [1, 7, 200, 5_000])
def test_empty_pieces_are_accepted(samples: int) -> None:
    made = stretch(tone(1, rate=16_000)[:samples].tobytes(), 16_000, 1.3)
    assert len(made) == 2 * round(samples / 1.3)


@pytest.mark.parametrize("tempo", [0.24, 4.01, float("nan")])
def test_bounds(tempo: float) -> None:
    with pytest.raises(ValueError, match="is possible"):
        stretch(b"\0\0", 16_000, tempo)
