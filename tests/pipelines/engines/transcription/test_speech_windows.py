"""Windows of speech cut from recordings whose loud parts are known, and their transcription."""

from collections.abc import AsyncIterator

import numpy as np
import pytest

from media.formats import HEARING_RATE
from media.vad import WINDOW
from pipelines.engines.base import EngineFailed
from pipelines.engines.jobs import Segment, Transcribed
from pipelines.engines.scripted.live import LoudnessModel
from pipelines.engines.transcription.speech_windows import (
    LEAD,
    LONGEST,
    TAIL,
    SpeechWindows,
    SpokenText,
    Understood,
    Window,
    hear_windows,
    timed_segments,
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
def test_silence_has_no_window(pcm: bytes) -> None:
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


async def pieces(pcm: bytes) -> AsyncIterator[bytes]:
    for begin in range(0, len(pcm), 32_000):
        yield pcm[begin : begin + 32_000]


class Ears:
    """Transcribes each window as scripted; records the language given with each."""

    def __init__(self, *found: Understood) -> None:
        self.found = list(found)
        self.asked: list[str | None] = []

    async def understand(self, window: Window, language: str | None) -> Understood:
        self.asked.append(language)
        return self.found.pop(0)

    async def hear(self, pcm: bytes, language: str | None = None) -> list[Transcribed]:
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
    assert hearings[-1] == Transcribed(len(pcm) // 2, None, "de")


async def test_a_given_language_is_kept() -> None:
    ears = Ears(says("a", "pt"), says("b", "pt"))
    await ears.hear((loud(1) + quiet(4)) * 2, "pt")
    assert ears.asked == ["pt", "pt"]


async def test_silence_is_reported_as_progress() -> None:
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
    words = (
        (" one", -0.1, 0.5, 0.9),
        (" ", 0.5, 0.6, 0.1),
        (" two", 0.4, 0.9, 0.8),
        (" three", 0.9, 9.0, 0.7),
    )
    [segment] = timed_segments(window, [SpokenText(" one two three ", 0.0, 9.0, words)])
    assert segment.text == "one two three"
    assert [(w.text, w.start, w.end) for w in segment.words] == [
        ("one", 16_000, 24_000),
        ("two", 24_000, 30_400),
        ("three", 30_400, 48_000),
    ]
    assert (segment.start, segment.end) == (16_000, 48_000)
    assert [word.confidence for word in segment.words] == [0.9, 0.8, 0.7]
    [plain] = timed_segments(window, [SpokenText("x", 0.5, 1.0)])
    assert (plain.start, plain.end, plain.words) == (24_000, 32_000, ())


@pytest.mark.parametrize(
    ("heard", "placed"),
    [
        ((0.0, 0.9), (0.0, 1.0)),
        ((0.0, 0.2), (0.0, 0.2)),
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
    [segment] = timed_segments(window, [SpokenText("x", 0, 3, (("x", *heard, 1.0),))])
    (word,) = segment.words
    assert (word.start / HEARING_RATE, word.end / HEARING_RATE) == placed


def test_words_begin_and_end_where_the_sound_does() -> None:
    pcm = quiet(0.3) + loud(0.5) + quiet(0.4) + loud(0.6) + quiet(0.2)
    window = Window(32_000, np.frombuffer(pcm, "<i2"))
    words = (("one", 0.2, 0.7, 1.0), ("two", 0.7, 1.5, 1.0))
    first, second = timed_segments(
        window, [SpokenText("one", 0.2, 0.7, words[:1]), SpokenText("two", 0.7, 1.5, words[1:])]
    )
    edges = [first.start, first.end, second.start, second.end]
    assert [edge / HEARING_RATE - 2 for edge in edges] == pytest.approx(
        [0.3, 0.8, 1.2, 1.8], abs=0.02
    )


def test_a_pause_in_noise_is_known_by_the_voice_detection() -> None:
    window = Window(0, np.frombuffer(loud(3.0), "<i2"), ((16_000, 32_000),))
    words = (("one", 0.2, 1.2, 1.0), ("two", 1.2, 2.6, 1.0))
    [segment] = timed_segments(window, [SpokenText("one two", 0.2, 2.6, words)])
    one, two = segment.words
    assert (one.end, two.start) == (16_000, 32_000)
