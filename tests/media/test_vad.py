"""VoiceDetector and SileroModel on recorded speech, silence and noise."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from media.vad import (
    CONTEXT,
    HANGOVER,
    LOOKBACK,
    WINDOW,
    WINDOW_BYTES,
    WINDOW_MS,
    SileroModel,
    VoiceDetector,
    judge,
    level_of,
)
from tests.support.examples import examples

pytestmark = pytest.mark.engines

Audio = Callable[[str], bytes]
SPEECH = ["joe_q_book", "joe_yes", "joe_stop", "joe_mhm", "lv_0880", "lv_0930"]


@pytest.fixture(scope="module")
def silero(models_dir: Path) -> SileroModel:
    return SileroModel(models_dir / "silero-vad" / "silero_vad.onnx")


def test_levels_are_of_full_scale() -> None:
    assert level_of(b"\x00\x80" * 512) == 0.0
    assert level_of(bytes(1024)) == level_of(b"") == -100.0
    assert level_of(b"\x00\x10" * 512) == pytest.approx(-18.06, abs=0.01)


class CountingModel:
    """Stands before a model and counts what it is asked."""

    def __init__(self, model: SileroModel) -> None:
        self._model = model
        self.runs = 0

    def initial_state(self) -> np.ndarray:
        return self._model.initial_state()

    def run(self, samples: np.ndarray, state: np.ndarray) -> tuple[float, np.ndarray]:
        self.runs += 1
        return self._model.run(samples, state)


def by_silero_alone(model: SileroModel, pcm: bytes) -> np.ndarray:
    """The probabilities without a gate: the network on every window."""
    state, frame, heard = model.initial_state(), np.zeros((1, CONTEXT + WINDOW), "f4"), []
    for start in range(0, len(pcm) - WINDOW_BYTES + 1, WINDOW_BYTES):
        frame[0, :CONTEXT] = frame[0, WINDOW:]
        frame[0, CONTEXT:] = np.frombuffer(pcm[start : start + WINDOW_BYTES], "<i2") / 32768
        probability, state = model.run(frame, state)
        heard.append(probability)
    return np.array(heard)


def noise(kind: str, seconds: int) -> bytes:
    rng, count = np.random.default_rng(3), seconds * 16_000
    time = np.arange(count) / 16_000
    samples = {
        "silence": lambda: np.zeros(count),
        "quiet": lambda: rng.normal(0, 30, count),
        "white": lambda: rng.normal(0, 1000, count),
        "hum": lambda: 3000 * np.sin(628.3 * time) + 1000 * np.sin(1885 * time),
        "clicks": lambda: 20_000 * (rng.random(count) < 0.0005),
    }[kind]()
    return np.asarray(samples).astype("<i2").tobytes()


@pytest.mark.parametrize("name", SPEECH)
def test_the_detector_agrees_with_the_bare_network(
    silero: SileroModel, audio: Audio, name: str
) -> None:
    pcm = bytes(16_000) + audio(name) + bytes(16_000)
    heard = np.array(VoiceDetector(silero).windows(pcm)) > 0.5
    alone = by_silero_alone(silero, pcm) > 0.5
    assert len(heard) == len(alone) == len(pcm) // WINDOW_BYTES
    assert (alone & ~heard).sum() <= 2
    assert (heard & ~alone).sum() <= 1
    late = (np.argmax(heard) - np.argmax(alone)) * WINDOW_MS
    assert late <= WINDOW_MS, f"the onset is heard {late} ms late"


@pytest.mark.parametrize("kind", ["silence", "quiet", "white", "hum", "clicks"])
def test_hears_no_speech_in_noise(silero: SileroModel, kind: str) -> None:
    heard = VoiceDetector(silero).windows(noise(kind, 10))
    assert sum(p > 0.5 for p in heard) == 0


def test_silence_never_reaches_the_network(silero: SileroModel) -> None:
    model = CountingModel(silero)
    heard = VoiceDetector(model).windows(bytes(16_000 * 2 * 10))
    assert model.runs == 0
    assert heard == [0.0] * (160_000 // WINDOW)


def test_the_network_is_skipped_after_the_hangover(silero: SileroModel, audio: Audio) -> None:
    model = CountingModel(silero)
    detector = VoiceDetector(model)
    speech = len(detector.windows(audio("joe_yes")))
    detector.windows(bytes(16_000 * 2 * 5))
    after = model.runs
    assert after <= speech + LOOKBACK + HANGOVER + 5
    detector.windows(bytes(16_000 * 2 * 5))
    assert model.runs == after


def test_block_sizes_do_not_change_the_result(silero: SileroModel, audio: Audio) -> None:
    pcm = audio("joe_stop")
    whole = VoiceDetector(silero).windows(pcm)

    @settings(max_examples=examples(8), deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.integers(0, 5000), min_size=1, max_size=30))
    def pieces(sizes: list[int]) -> None:
        detector, start, heard = VoiceDetector(silero), 0, []
        for size in sizes:
            heard += detector.windows(pcm[start : start + 2 * size])
            start += 2 * size
        heard += detector.windows(pcm[start:])
        assert heard == whole

    pieces()


def test_asking_the_gate_within_a_window_changes_no_window(
    silero: SileroModel, audio: Audio
) -> None:
    pcm = bytes(9_000) + audio("joe_stop") + bytes(9_000)
    whole = VoiceDetector(silero).windows(pcm)

    @settings(max_examples=examples(8), deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.tuples(st.integers(0, 700), st.booleans()), min_size=1, max_size=60))
    def pieces(cuts: list[tuple[int, bool]]) -> None:
        detector, start, heard = VoiceDetector(silero), 0, []
        for size, asks in cuts:
            heard += detector.windows(pcm[start : start + 2 * size])
            start += 2 * size
            quiet = detector.quiet() if asks else None
            if quiet is not None:
                gated = len(heard) * WINDOW + quiet
                assert gated % 320 == 0
                assert start // 2 - 320 < gated <= start // 2
        heard += detector.windows(pcm[start:])
        assert heard == whole

    pieces()


def test_within_a_window_the_gate_hears_silence_and_speech(
    silero: SileroModel, audio: Audio
) -> None:
    detector = VoiceDetector(silero)
    assert detector.quiet() == 0
    detector.windows(bytes(2 * 640))
    assert detector.quiet() == 128
    detector.windows(bytes(2 * 600))
    assert detector.quiet() == -64, "the last whole frame ended in the window before"
    speech = audio("joe_stop")
    detector.windows(speech[: len(speech) // 2])
    while detector.missing > 100:
        detector.windows(speech[:200])
    assert detector.quiet() is None
    detector.reset()
    assert detector.quiet() == 0


def test_calls_that_are_judged_together_hear_what_they_hear_alone(
    silero: SileroModel, audio: Audio
) -> None:
    calls = [bytes(2 * 700 * n) + audio(name) for n, name in enumerate(SPEECH)]
    detectors = [VoiceDetector(silero) for _ in calls]
    together: list[list[float]] = [[] for _ in calls]
    for start in range(0, max(map(len, calls)), 1_600):
        cut = [d.cut(pcm[start : start + 1_600]) for d, pcm in zip(detectors, calls, strict=True)]
        judge((d, w) for d, windows in zip(detectors, cut, strict=True) for w in windows)
        for heard, windows in zip(together, cut, strict=True):
            heard += [window.voice for window in windows]
    for pcm, heard in zip(calls, together, strict=True):
        assert heard == pytest.approx(VoiceDetector(silero).windows(pcm), abs=1e-4)


def test_calls_are_independent_and_reset_begins_anew(silero: SileroModel, audio: Audio) -> None:
    pcm, other = audio("joe_yes"), audio("joe_stop")
    expected = VoiceDetector(silero).windows(pcm)
    one, two = VoiceDetector(silero), VoiceDetector(silero)
    heard = []
    for start in range(0, len(pcm), 640):
        two.windows(other[start : start + 640])
        heard += one.windows(pcm[start : start + 640])
    assert heard == expected
    two.reset()
    assert two.windows(pcm) == expected


def test_refuses_half_a_sample(silero: SileroModel) -> None:
    detector = VoiceDetector(silero)
    with pytest.raises(ValueError, match="16-bit"):
        detector.windows(b"abc")
    assert detector.windows(bytes(WINDOW_BYTES)) == [0.0]
