from collections.abc import AsyncIterator

import numpy as np
import pytest

from media.formats import HEARING_RATE
from pipelines.engines.base import EngineFailed
from pipelines.engines.jobs import Hearing, Segment
from pipelines.engines.scripted.live import LoudnessModel
from pipelines.engines.transcription.speech_windows import Window
from pipelines.engines.transcription.window_hearing import Understood, hear_windows, timed_segment
from tests.pipelines.engines.transcription.test_speech_windows import loud, quiet


async def pieces(pcm: bytes) -> AsyncIterator[bytes]:
    for begin in range(0, len(pcm), 32_000):
        yield pcm[begin : begin + 32_000]


class Ears:
    """Understands window after window as told; logs the language each came with."""

    def __init__(self, *found: Understood) -> None:
        self.found = list(found)
        self.asked: list[str | None] = []

    async def understand(self, window: Window, language: str | None) -> Understood:
        self.asked.append(language)
        return self.found.pop(0)

    async def hear(self, pcm: bytes, language: str | None = None) -> list[Hearing]:
        hearings = hear_windows(pieces(pcm), language, LoudnessModel(), self.understand)
        return [hearing async for hearing in hearings]


def says(text: str, language: str | None = "en", *, sure: bool = True) -> Understood:
    return Understood((Segment(0, 1, text),) if text else (), language, sure)


async def test_the_first_sure_window_decides_on_the_language() -> None:
    ears = Ears(says("a", "cy", sure=False), says("b", "de"), says("c", "de"))
    pcm = (loud(1) + quiet(4)) * 3
    hearings = await ears.hear(pcm)
    assert ears.asked == [None, None, "de"]
    assert [h.segment.text for h in hearings if h.segment] == ["a", "b", "c"]
    assert [h.language for h in hearings if h.segment] == ["cy", "de", "de"]
    assert hearings[-1] == Hearing(len(pcm) // 2, None, "de")


async def test_a_language_that_is_given_is_kept() -> None:
    ears = Ears(says("a", "pt"), says("b", "pt"))
    await ears.hear((loud(1) + quiet(4)) * 2, "pt")
    assert ears.asked == ["pt", "pt"]


async def test_silence_is_told_as_progress() -> None:
    ears = Ears(says(""))
    hearings = await ears.hear(quiet(35) + loud(1))
    assert ears.asked == [None]
    assert all(hearing.segment is None for hearing in hearings)
    done = [hearing.done / HEARING_RATE for hearing in hearings]
    assert done == sorted(done)
    assert len(done) == 5
    assert done[-1] == 36


async def test_nothing_is_heard_ahead_of_the_reader() -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield loud(1) + quiet(4)

    ears = Ears(*[says("a")] * 10)
    hearings = hear_windows(endless(), "en", LoudnessModel(), ears.understand)
    await anext(hearings)
    assert taken == 1
    await hearings.aclose()


async def test_failures_pass_through() -> None:
    async def fail(window: Window, language: str | None) -> Understood:
        raise EngineFailed("no")

    with pytest.raises(EngineFailed):
        async for _ in hear_windows(pieces(loud(2)), None, LoudnessModel(), fail):
            pass


def test_times_are_kept_within_the_window_and_in_order() -> None:
    window = Window(16_000, np.zeros(32_000, np.int16))
    words = [(" one", -0.1, 0.5), (" ", 0.5, 0.6), (" two", 0.4, 0.9), (" three", 0.9, 9.0)]
    segment = timed_segment(window, " one two three ", 0.0, 9.0, words)
    assert segment.text == "one two three"
    assert [(w.text, w.start, w.end) for w in segment.words] == [
        ("one", 16_000, 24_000),
        ("two", 24_000, 30_400),
        ("three", 30_400, 48_000),
    ]
    assert (segment.start, segment.end) == (16_000, 48_000)
    plain = timed_segment(window, "x", 0.5, 1.0, [])
    assert (plain.start, plain.end, plain.words) == (24_000, 32_000, ())


@pytest.mark.parametrize(
    ("heard", "placed"),
    [
        ((0.0, 0.9), (0.0, 0.9)),
        ((0.8, 2.4), (2.0, 2.4)),
        ((1.5, 2.4), (2.0, 2.4)),
        ((0.4, 1.6), (0.4, 1.0)),
        ((0.2, 2.3), (0.2, 1.0)),
        ((1.2, 1.8), (1.2, 1.8)),
    ],
)
def test_words_do_not_reach_into_pauses(
    heard: tuple[float, float], placed: tuple[float, float]
) -> None:
    window = Window(0, np.zeros(48_000, np.int16), ((16_000, 32_000),))
    (word,) = timed_segment(window, "x", 0, 3, [("x", *heard)]).words
    assert (word.start / HEARING_RATE, word.end / HEARING_RATE) == placed
