"""Speech over a recording that makes room for it."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.dubbing.track import RAMP_MS, UNDER_DB, Ducking, mix_files, mixed

RATE = 1_000
RAMP = RAMP_MS * RATE // 1000


def test_the_background_is_lowered_only_under_the_speech() -> None:
    gains = Ducking([(2_000, 3_000)], RATE).gains(0, 5_000)
    low = 10 ** (UNDER_DB / 20)
    assert gains[: 2_000 - RAMP].min() == 1.0
    assert gains[2_000:3_001] == pytest.approx(low)
    assert gains[3_000 + RAMP :].min() == 1.0
    assert np.abs(np.diff(20 * np.log10(gains))).max() < 0.2


def test_no_pumping_between_close_passages() -> None:
    gains = Ducking([(1_000, 2_000), (2_300, 3_000), (1_500, 1_600)], RATE).gains(1_000, 2_001)
    assert gains == pytest.approx(10 ** (UNDER_DB / 20))


@given(st.lists(st.tuples(st.integers(0, 900), st.integers(1, 300)), max_size=6), st.data())
def test_block_borders_are_inaudible(spans: list[tuple[int, int]], data: st.DataObject) -> None:
    ducking = Ducking([(begin, begin + length) for begin, length in spans], RATE)
    cut = data.draw(st.integers(0, 1_500))
    parts = [ducking.gains(0, cut), ducking.gains(cut, 1_500 - cut)]
    whole = ducking.gains(0, 1_500)
    assert np.array_equal(np.concatenate(parts), whole)
    for begin, length in spans:
        assert whole[begin : begin + length] == pytest.approx(10 ** (UNDER_DB / 20))


def test_the_mix_is_as_long_as_the_longer(tmp_path: Path) -> None:
    speech = tmp_path / "speech.pcm"
    recording = [np.full(400, 1_000, "<i2").tobytes()] * 5
    speech.write_bytes(np.full(3_000, 30_000, "<i2").tobytes())
    out = b"".join(mixed(recording, speech, Ducking([(0, 3_000)], RATE), RATE))
    made = np.frombuffer(out, "<i2")
    assert len(made) == 3_000
    assert made[:2_000] == pytest.approx(30_126, abs=1)
    assert set(made[2_000:]) == {30_000}
    speech.write_bytes(b"")
    whole = list(mixed(recording, speech, Ducking([], RATE), RATE))
    assert whole == recording


def test_too_loud_is_clipped_not_wrapped(tmp_path: Path) -> None:
    speech = tmp_path / "speech.pcm"
    speech.write_bytes(np.full(100, -32_000, "<i2").tobytes())
    recording = [np.full(100, -30_000, "<i2").tobytes()]
    out = b"".join(mixed(recording, speech, Ducking([], RATE), RATE))
    assert set(np.frombuffer(out, "<i2")) == {-32_768}


def test_a_file_of_it(tmp_path: Path) -> None:
    speech, target = tmp_path / "speech.pcm", tmp_path / "mix.pcm"
    speech.write_bytes(bytes(600))
    recording = [b"\1\0" * 100, b"\2\0" * 100]
    places = list(mix_files(recording, speech, Ducking([], RATE), RATE, target))
    assert places == [100, 200, 300]
    assert target.read_bytes() == b"\1\0" * 100 + b"\2\0" * 100 + bytes(200)
