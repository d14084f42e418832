"""Windows of speech cut from recordings whose loud parts are known."""

import numpy as np
import pytest

from media.formats import HEARING_RATE
from media.silero import WINDOW
from pipelines.engines.scripted.live import LoudnessModel
from pipelines.engines.transcription.speech_windows import (
    LEAD,
    LONGEST,
    TAIL,
    SpeechWindows,
    Window,
)

NOISE = np.random.default_rng(7)


def loud(seconds: float) -> bytes:
    return NOISE.integers(-9000, 9000, int(seconds * HEARING_RATE)).astype("<i2").tobytes()


def quiet(seconds: float) -> bytes:
    return bytes(2 * int(seconds * HEARING_RATE))


def cut(pcm: bytes, piece: int = 32_000) -> list[Window]:
    windows = SpeechWindows(LoudnessModel())
    found: list[Window] = []
    for begin in range(0, len(pcm), piece):
        found += windows.push(pcm[begin : begin + piece])
    found += windows.finish()
    assert windows.done == len(pcm) // 2
    return found


def test_silence_is_skipped_and_positions_are_exact() -> None:
    pcm = quiet(10) + loud(3) + quiet(8) + loud(2) + quiet(4)
    first, second = cut(pcm)
    assert first.start / HEARING_RATE == pytest.approx(9.8, abs=0.05)
    assert first.end / HEARING_RATE == pytest.approx(13.3, abs=0.05)
    assert second.start / HEARING_RATE == pytest.approx(20.8, abs=0.05)
    samples = np.frombuffer(pcm, "<i2")
    for window in (first, second):
        assert np.array_equal(window.samples, samples[window.start : window.end])


def test_pauses_stay_within_a_window() -> None:
    (window,) = cut(loud(2) + quiet(1) + loud(2) + quiet(2) + loud(2))
    assert (window.start, window.end) == (0, 9 * HEARING_RATE)
    told = [(begin / HEARING_RATE, end / HEARING_RATE) for begin, end in window.pauses]
    assert told == [pytest.approx((2, 3), abs=0.1), pytest.approx((5, 7), abs=0.1)]


def test_a_long_window_ends_at_the_next_pause() -> None:
    first, second = cut(loud(21) + quiet(0.5) + loud(3))
    assert first.end / HEARING_RATE == pytest.approx(21.3, abs=0.1)
    assert second.end == int(24.5 * HEARING_RATE)


def test_speech_without_a_pause_is_cut_where_it_is_quietest() -> None:
    pcm = loud(23) + quiet(0.2) + loud(10)
    first, second = cut(pcm)
    assert first.end / HEARING_RATE == pytest.approx(23.1, abs=0.1)
    assert second.start == first.end
    windows = cut(loud(70))
    assert all(len(window.samples) <= LONGEST * WINDOW for window in windows)
    assert sum(len(window.samples) for window in windows) == 70 * HEARING_RATE


def test_the_size_of_pieces_changes_nothing() -> None:
    pcm = quiet(1) + loud(2.3) + quiet(3) + loud(0.7)
    expected = [(window.start, window.end) for window in cut(pcm)]
    for piece in (2, 999, 1_000_000):
        assert [(window.start, window.end) for window in cut(pcm, piece)] == expected


@pytest.mark.parametrize("pcm", [b"", b"\0", quiet(0.01), quiet(30)])
def test_there_is_no_window_in_silence(pcm: bytes) -> None:
    assert cut(pcm) == []


def test_memory_does_not_grow_with_the_recording() -> None:
    windows = SpeechWindows(LoudnessModel())
    longest = 0
    for seconds in (1.5, 0.0, 40.0, 90.0):
        for pcm in (loud(seconds), quiet(6)):
            for begin in range(0, len(pcm), 32_000):
                for window in windows.push(pcm[begin : begin + 32_000]):
                    longest = max(longest, len(window.samples))
                assert len(windows._held) <= LONGEST
    assert 0 < longest <= LONGEST * WINDOW
    assert len(windows._held) <= LEAD + TAIL
