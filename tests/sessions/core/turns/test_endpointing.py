"""Gears of the endpointing: the speech gate, patience, the maximum."""

import pytest

from sessions.core.config import Eagerness, TurnDetection, TurnMode
from sessions.core.turns.endpointing import Ending, patience, samples
from sessions.core.turns.input_audio import SpeechGate

WINDOW = 512


def look(gate: SpeechGate, voices: list[float], threshold: float = 0.5) -> None:
    for voice in voices:
        gate.look(gate.position + WINDOW, voice, threshold)


def test_speech_begins_after_three_voiced_windows_in_a_row() -> None:
    gate = SpeechGate()
    look(gate, [0.0, 0.9, 0.9, 0.1, 0.9, 0.9])
    assert gate.voiced == 0
    look(gate, [0.9])
    assert gate.speaking
    assert gate.onset == 4 * WINDOW
    assert gate.voiced == 3 * WINDOW


def test_speech_goes_on_at_a_lower_level_than_it_begins() -> None:
    gate = SpeechGate()
    look(gate, [0.9, 0.9, 0.9, 0.4])
    assert gate.silence == 0
    look(gate, [0.3])
    assert gate.silence == WINDOW


def test_nothing_but_near_certain_silence_counts_at_threshold_zero() -> None:
    gate = SpeechGate()
    look(gate, [0.04] * 5, threshold=0.0)
    assert not gate.speaking
    look(gate, [0.06] * 3, threshold=0.0)
    assert gate.speaking


def test_after_rest_speech_must_begin_anew() -> None:
    gate = SpeechGate()
    look(gate, [0.9] * 4)
    gate.rest()
    assert (gate.speaking, gate.voiced) == (False, 0)
    look(gate, [0.9] * 3)
    assert gate.onset == 4 * WINDOW


def test_a_repeated_position_counts_nothing() -> None:
    gate = SpeechGate()
    look(gate, [0.9] * 3)
    gate.look(gate.position, 0.9, 0.5)
    assert gate.voiced == 3 * WINDOW


@pytest.mark.parametrize(
    ("ending", "probability", "milliseconds"),
    [
        (Ending.CLOSED, 0.9, 380),
        (Ending.CLOSED, 0.5, 380),
        (Ending.CLOSED, 0.3, 900),
        (Ending.CLOSED, 0.1, 1_400),
        (Ending.CLOSED, None, 1_400),
        (Ending.DICTATION, 0.95, 1_600),
        (Ending.OPEN, 0.95, 2_600),
        (Ending.EMPTY, 0.95, 2_600),
    ],
)
def test_text_and_melody_decide_together(
    ending: Ending, probability: float | None, milliseconds: int
) -> None:
    assert patience(TurnDetection(), ending, probability) == samples(milliseconds)


@pytest.mark.parametrize(
    ("eagerness", "closed", "open_"),
    [
        (Eagerness.LOW, 608, 4_160),
        (Eagerness.MEDIUM, 380, 2_600),
        (Eagerness.AUTO, 380, 2_600),
        (Eagerness.HIGH, 228, 1_560),
    ],
)
def test_eagerness_stretches_patience(eagerness: Eagerness, closed: int, open_: int) -> None:
    detection = TurnDetection(eagerness=eagerness)
    assert patience(detection, Ending.CLOSED, 0.9) == samples(closed)
    assert patience(detection, Ending.OPEN, 0.9) == samples(open_)


def test_server_vad_waits_its_fixed_silence_whatever_was_said() -> None:
    detection = TurnDetection(mode=TurnMode.SERVER_VAD, silence_duration_ms=700)
    for ending in Ending:
        assert patience(detection, ending, None) == samples(700)


def test_there_is_little_patience_with_noise() -> None:
    assert patience(TurnDetection(), Ending.EMPTY, 0.9, wordless=True) == samples(600)
