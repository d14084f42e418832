"""Words moved to the edges of the sound."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.formats import HEARING_RATE
from pipelines.engines.transcription.word_edges import SHORTEST, Span, settled, silences

NOISE = np.random.default_rng(11)


def ms(*spans: tuple[float, float]) -> list[Span]:
    return [(round(begin * 16), round(end * 16)) for begin, end in spans]


def sound(*parts: tuple[float, int]) -> np.ndarray:
    """Noise of these lengths (ms) and amplitudes, one after the other."""
    made = [NOISE.integers(-level - 1, level + 1, round(16 * length)) for length, level in parts]
    return np.concatenate(made).astype(np.int16)


def test_silences_are_found_over_a_background() -> None:
    samples = sound((200, 40), (500, 9000), (300, 40), (400, 3000), (100, 40))
    found = [edge / 16 for span in silences(samples) for edge in span]
    assert found == pytest.approx([0, 200, 700, 1000, 1400, 1500], abs=16)


@pytest.mark.parametrize(
    "samples",
    [
        sound((50, 9000)),
        sound((300, 9000), (70, 0), (300, 9000)),
        np.zeros(16_000, np.int16),
        np.zeros(10, np.int16),
    ],
    ids=["no silence", "before a plosive", "nothing but silence", "too short"],
)
def test_no_silence_within_words(samples: np.ndarray) -> None:
    assert [one for one in silences(samples) if one[0] > 0 and one[1] < len(samples)] == []


@pytest.mark.parametrize(
    ("words", "quiet", "expected"),
    [
        # the words beside a silence get its edges, whichever side they reach into it from
        (ms((0, 500), (500, 900)), ms((400, 700)), ms((0, 400), (700, 900))),
        (ms((0, 350), (350, 900)), ms((400, 700)), ms((0, 400), (700, 900))),
        # a boundary takes one silence, the longest near it
        (ms((0, 700), (1700, 2000)), ms((500, 650), (800, 1800)), ms((0, 800), (1800, 2000))),
        # a silence that no boundary is near lies in a word
        (ms((0, 1000), (1000, 1200)), ms((300, 450)), ms((0, 1000), (1000, 1200))),
        # the first word begins, and the last one ends, with the sound
        (ms((0, 500), (500, 900)), ms((0, 90), (1200, 2000)), ms((90, 500), (500, 1200))),
        # unless that is too far away
        (ms((500, 900),), ms((0, 90), (1700, 2000)), ms((500, 900),)),
        ([], ms((0, 90)), []),
    ],
    ids=["too late", "too early", "longest", "inside", "ends", "far", "no words"],
)  # fmt: skip
def test_words_are_moved_to_silences(
    words: list[Span], quiet: list[Span], expected: list[Span]
) -> None:
    assert settled(words, quiet, 32_000) == expected


LENGTH = 3 * HEARING_RATE
edges = st.lists(st.integers(0, LENGTH), min_size=2, max_size=24).map(sorted)


def spans(points: list[int]) -> list[Span]:
    return list(zip(points[::2], points[1::2], strict=False))


@given(edges, edges)
def test_words_stay_in_order(words: list[int], quiet: list[int]) -> None:
    made = settled(spans(words), spans(quiet), LENGTH)
    assert len(made) == len(spans(words))
    flat = [edge for span in made for edge in span]
    assert flat == sorted(flat)
    assert flat[0] >= 0
    assert flat[-1] <= LENGTH
    assert SHORTEST > 0
