"""MoonshineTranscriber on recorded speech; cutting long audio and tidying texts."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.formats import HEARING_RATE
from pipelines.engines.base import EngineFailed, ModelUnavailable
from pipelines.engines.transcription.moonshine import (
    PIECE_SECONDS,
    MoonshineTranscriber,
    pieces,
    tidy,
)

Audio = Callable[[str], bytes]
PADDING = bytes(2 * HEARING_RATE * 3 // 10)


@pytest.fixture
async def engine(models_dir: Path) -> AsyncIterator[MoonshineTranscriber]:
    engine = MoonshineTranscriber(models_dir / "moonshine-tiny-en")
    await engine.warm()
    assert engine.load_seconds > 0
    yield engine
    await engine.close()


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("'I enter Ned", "I enter Ned"),
        ("\"'I enter Ned is down.'", "I enter Ned is down."),
        ('  What  is it? " ', "What is it?"),
        ('He said "no" twice.', 'He said "no" twice.'),
        ("The dogs'", "The dogs'"),
        ("...", ""),
        ("", ""),
        ('"', ""),
    ],
)
def test_tidy(raw: str, clean: str) -> None:
    assert tidy(raw) == clean


@given(st.text())
def test_tidy_never_adds_and_is_stable(text: str) -> None:
    assert len(tidy(text)) <= len(text)
    assert tidy(tidy(text)) == tidy(text)


@given(st.floats(0.2, 130.0), st.integers(0, 2**31))
def test_pieces_are_bounded_and_lose_nothing(seconds: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    samples = rng.integers(-5, 6, int(seconds * HEARING_RATE), dtype=np.int16)
    cut = list(pieces(samples))
    assert all(len(piece) <= PIECE_SECONDS * HEARING_RATE for piece in cut)
    lost = len(samples) - sum(len(piece) for piece in cut)
    assert lost < HEARING_RATE // 10, "at most a tail too short to hear"
    joined = np.concatenate(cut)
    np.testing.assert_array_equal(joined, samples[: len(joined)])


def test_pieces_are_cut_in_the_quiet() -> None:
    samples = np.full(40 * HEARING_RATE, 3000, np.int16)
    pause = int(25.3 * HEARING_RATE)
    samples[pause : pause + HEARING_RATE // 2] = 0
    first, _ = pieces(samples)
    assert pause < len(first) < pause + HEARING_RATE // 2


@pytest.mark.engines
async def test_reads_what_was_said(engine: MoonshineTranscriber, audio: Audio) -> None:
    expected = {
        "joe_q_book": "Please book a table for four people on Thursday at 7.",
        "joe_q_capital": "What is the capital of France?",
        "joe_q_hours": "What time do you open on Saturday morning?",
        "lv_0930": "He might even have been made amiable himself.",
    }
    for name, text in expected.items():
        heard = await engine.transcribe(PADDING + audio(name) + PADDING)
        assert re.sub(r"\bseven\b", "7", heard.text) == text


@pytest.mark.engines
async def test_many_at_once_read_the_same(engine: MoonshineTranscriber, audio: Audio) -> None:
    names = ["joe_q_capital", "joe_q_hours", "joe_stop"]
    alone = [(await engine.transcribe(audio(name))).text for name in names]
    together = await asyncio.gather(*(engine.transcribe(audio(name)) for name in names * 2))
    assert [heard.text for heard in together] == alone * 2


@pytest.mark.engines
async def test_long_audio_is_read_to_its_end(engine: MoonshineTranscriber, audio: Audio) -> None:
    question = audio("joe_q_capital") + bytes(2 * HEARING_RATE)
    once = len(question) // 2 / HEARING_RATE
    times = int((PIECE_SECONDS + 6) / once)
    heard = await engine.transcribe(question * times)
    assert heard.text.count("capital of France") == times


@pytest.mark.engines
async def test_answers_nothing_to_nothing_and_refuses_nonsense(
    engine: MoonshineTranscriber,
) -> None:
    assert (await engine.transcribe(b"")).text == ""
    assert (await engine.transcribe(bytes(1000))).text == ""
    with pytest.raises(ValueError, match="16-bit"):
        await engine.transcribe(b"abc")
    with pytest.raises(ModelUnavailable, match="'fr'"):
        await engine.transcribe(bytes(3200), "fr")


async def test_a_missing_model_is_an_engine_failure(tmp_path: Path) -> None:
    engine = MoonshineTranscriber(tmp_path / "none")
    with pytest.raises(EngineFailed):
        await engine.warm()
    await engine.close()
