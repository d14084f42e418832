"""The agent's own voice in the microphone, with and without a caller."""

import wave
from itertools import product

import numpy as np
import numpy.typing as npt
import pytest

from media.echo import WINDOW, EchoDetector
from tests.support.paths import AUDIO

RATE = 16_000
ECHO = 0.8
"""From here on ``sessions.core.turns.input_audio`` takes a window for nothing but an echo."""

Floats = npt.NDArray[np.float64]


def recording(name: str, db: float) -> Floats:
    with wave.open(str(AUDIO / f"{name}.wav")) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float64)
    return at_level(samples, db)


def at_level(samples: Floats, db: float) -> Floats:
    scaled: Floats = samples / np.sqrt(np.mean(samples**2)) * 32768 * 10 ** (db / 20)
    return scaled


def pcm(samples: Floats) -> bytes:
    return np.clip(samples, -32768, 32767).astype("<i2").tobytes()


def echo_of(played: Floats, db: float, delay_ms: int, seed: int) -> Floats:
    """``played`` in a small room, so much softer and later, with a little noise."""
    rng = np.random.default_rng(seed)
    room = np.zeros(800)
    room[0] = 1
    room[rng.integers(20, 800, 6)] += rng.normal(size=6) * 0.4
    soft = at_level(np.convolve(played, room)[: len(played)], -20 + db)
    late = np.concatenate([np.zeros(delay_ms * RATE // 1000), soft])[: len(played)]
    return late + rng.normal(size=len(played)) * 32768 * 10 ** (-65 / 20)


def echoes(played: Floats, heard: Floats, lead_ms: int = 200) -> npt.NDArray[np.float64]:
    """How much of an echo each window is. Frames of 20 ms leave ``lead_ms`` ahead."""
    detector, found, sent = EchoDetector(), [], 0
    for start in range(0, len(heard) - WINDOW + 1, WINDOW):
        while sent < min(len(played), start + lead_ms * 16):
            detector.reference(pcm(played[sent : sent + 320]), RATE)
            sent += 320
        found.append(detector.hear(pcm(heard[start : start + WINDOW])))
    return np.array(found)


def longest_run(flags: npt.NDArray[np.bool_]) -> int:
    """How many in a row are set."""
    return max(map(len, "".join(" x"[int(flag)] for flag in flags).split()), default=0)


AGENT = np.concatenate([recording("lv_0870", -20), recording("lv_0890", -20)])
PLACES = list(product((-12, -20, -30), (60, 150, 300)))


@pytest.mark.parametrize(("db", "delay_ms"), PLACES)
def test_an_echo_is_detected_at_every_level_and_delay(db: int, delay_ms: int) -> None:
    heard = echo_of(AGENT, db, delay_ms, seed=delay_ms)
    found = echoes(AGENT, heard)[40:]
    windows = heard[: len(heard) // WINDOW * WINDOW].reshape(-1, WINDOW)[40:]
    audible = np.sqrt(np.mean(windows**2, axis=1)) > 32768 * 10 ** (-60 / 20)
    assert np.mean(found[audible] >= ECHO) >= 0.98
    assert longest_run(found[audible] < ECHO) < 4, "four windows pause the playout"


@pytest.mark.parametrize(("db", "delay_ms"), PLACES)
@pytest.mark.parametrize("caller", ["joe_stop", "joe_yes", "joe_q_weather", "joe_q_slow"])
def test_a_caller_over_the_echo_is_not_an_echo(db: int, delay_ms: int, caller: str) -> None:
    speech, at = recording(caller, -22), 60_000
    heard = echo_of(AGENT, db, delay_ms, seed=db + delay_ms)
    heard[at : at + len(speech)] += speech
    found = echoes(AGENT, heard)
    loud = np.flatnonzero(np.abs(speech) > 32768 * 10 ** (-30 / 20))[0]
    onset = (at + loud) // WINDOW + 1
    for count in (6, 8, 12):
        assert np.mean(found[onset : onset + count]) < ECHO


def test_a_caller_without_an_echo_is_not_an_echo() -> None:
    heard = np.concatenate([np.zeros(50_000), recording("lv_0920", -20)])[: len(AGENT)]
    assert np.convolve(echoes(AGENT, heard), np.ones(6) / 6).max() < ECHO


def test_without_a_reference_nothing_is_an_echo() -> None:
    assert not echoes(AGENT[:0], AGENT).any()


def test_a_tone_over_the_agents_speech_is_not_an_echo() -> None:
    tone = 8192 * np.sin(np.arange(60_000) * 2 * np.pi * 440 / RATE)
    assert echoes(AGENT[: len(tone)], tone)[40:].max() < ECHO


def test_sound_in_bands_that_the_agent_left_empty_is_not_an_echo() -> None:
    detector, found = EchoDetector(), []
    heard = echo_of(AGENT, -20, 100, seed=3)
    times = np.arange(len(AGENT)) / RATE
    heard[100_000:] += 1_000 * np.sin(2 * np.pi * 1_800 * times[100_000:])
    for start in range(0, len(AGENT) - WINDOW + 1, WINDOW):
        detector.reference(pcm(AGENT[start : start + WINDOW]), RATE)
        found.append(detector.hear(pcm(heard[start : start + WINDOW])))
    onset = 100_000 // WINDOW
    assert detector.learnt
    assert np.mean(found[40:onset]) >= 0.9
    assert np.mean(found[onset + 4 : onset + 12]) < 0.5


def test_a_loudspeaker_that_distorts_is_still_an_echo() -> None:
    loud = np.tanh(AGENT / 32768 * 8) * 32768 / 8
    found = echoes(AGENT, echo_of(loud, -20, 120, seed=5))
    assert np.mean(found[40:] >= ECHO) >= 0.97


def test_the_start_of_a_reply_keeps_the_learnt_path() -> None:
    reply = np.concatenate([AGENT[:80_000], np.zeros(32_000)])
    played = np.tile(reply, 4)
    heard = echo_of(played, -18, 330, seed=7)
    voiced = np.abs(heard[: len(heard) // WINDOW * WINDOW]).reshape(-1, WINDOW).max(axis=1) > 600
    assert longest_run((echoes(played, heard) < ECHO)[voiced][60:]) < 4


@pytest.mark.parametrize("rate", [8_000, 24_000, 48_000])
def test_the_reference_may_have_any_rate(rate: int) -> None:
    times = np.arange(int(len(AGENT) * rate / RATE)) * RATE / rate
    played = np.interp(times, np.arange(len(AGENT)), AGENT)
    heard, detector, found, sent = echo_of(AGENT, -20, 100, seed=1), EchoDetector(), [], 0
    frame = rate // 50
    for start in range(0, len(heard) - WINDOW + 1, WINDOW):
        while sent < (start / RATE + 0.08) * rate:
            detector.reference(pcm(played[sent : sent + frame]), rate)
            sent += frame
        found.append(detector.hear(pcm(heard[start : start + WINDOW])))
    assert np.mean(found[40:]) >= 0.85


def test_flushed_audio_is_no_reference_and_resent_audio_is() -> None:
    detector, silence = EchoDetector(), bytes(2 * WINDOW)
    detector.reference(pcm(AGENT[:RATE]), RATE)
    detector.flush()
    assert not any(detector.hear(silence) for _ in range(60))
    found, heard = [], echo_of(AGENT, -20, 60, seed=2)
    for start in range(0, 60 * WINDOW, WINDOW):
        detector.reference(pcm(AGENT[start : start + WINDOW]), RATE)
        found.append(detector.hear(pcm(heard[start : start + WINDOW])))
    assert np.mean(found[25:]) >= ECHO


def test_a_whole_reply_sent_at_once_is_bounded() -> None:
    detector = EchoDetector()
    for _ in range(600):
        detector.reference(bytes(2 * RATE), RATE)
        assert detector._waiting <= RATE
    assert detector.hear(bytes(2 * WINDOW)) == 0.0


def test_a_window_is_512_samples() -> None:
    with pytest.raises(ValueError, match="512 samples"):
        EchoDetector().hear(bytes(100))
