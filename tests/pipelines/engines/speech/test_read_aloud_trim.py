import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.engines.speech.read_aloud import LEAD_MS, pause_after, speakable, trimmed

RATE = 16_000


def audio(silence_ms: int, sound_ms: int, tail_ms: int) -> npt.NDArray[np.int16]:
    tone = 4000 * np.sin(np.arange(sound_ms * RATE // 1000) * 0.3)
    parts = [np.zeros(silence_ms * RATE // 1000), tone, np.zeros(tail_ms * RATE // 1000)]
    return np.concatenate(parts).astype(np.int16)


def test_silence_is_cut_on_both_sides() -> None:
    out = trimmed(audio(300, 500, 400), RATE, 80)
    assert len(out) == (LEAD_MS + 500 + 80) * RATE // 1000
    assert not out[: LEAD_MS * RATE // 1000].any()


def test_silence_alone_is_trimmed_to_nothing() -> None:
    assert len(trimmed(audio(500, 0, 0), RATE, 80)) == 0
    assert len(trimmed(audio(0, 0, 0), RATE, 80)) == 0
    assert len(trimmed(np.full(16000, 15, np.int16), RATE, 80)) == 0


@given(st.integers(0, 400), st.integers(20, 300), st.integers(0, 400), st.integers(0, 300))
def test_sound_stays_silence_never_grows(lead: int, sound: int, tail: int, pause: int) -> None:
    samples = audio(lead, sound, tail)
    out = trimmed(samples, RATE, pause)
    assert len(out) <= len(samples)
    assert out.astype(float).std() > 0
    assert np.abs(out.astype(np.int64)).sum() >= 0.98 * np.abs(samples.astype(np.int64)).sum()


@pytest.mark.parametrize(
    ("text", "pause"), [("Hello.", 200), ('"Really?" ', 200), ("well,", 80), ("and then", 80)]
)
def test_the_pause_fits_the_punctuation(text: str, pause: int) -> None:
    assert pause_after(text) == pause


def test_speakable_text_is_recognised() -> None:
    assert speakable("4")
    assert speakable("…é")
    assert not speakable("... !? — 🙂")
    assert not speakable("")
