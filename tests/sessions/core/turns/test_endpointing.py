"""Gears of the endpointing: patience, the maximum."""

import pytest

from sessions.core.config import Eagerness, TurnDetection, TurnMode
from sessions.core.turns.endpointing import Ending, patience
from sessions.core.turns.speech_gate import samples


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
def test_eagerness_scales_patience(eagerness: Eagerness, closed: int, open_: int) -> None:
    detection = TurnDetection(eagerness=eagerness)
    assert patience(detection, Ending.CLOSED, 0.9) == samples(closed)
    assert patience(detection, Ending.OPEN, 0.9) == samples(open_)


def test_server_vad_waits_its_fixed_silence_whatever_was_said() -> None:
    detection = TurnDetection(mode=TurnMode.SERVER_VAD, silence_duration_ms=700)
    for ending in Ending:
        assert patience(detection, ending, None) == samples(700)


def test_noise_is_given_little_patience() -> None:
    assert patience(TurnDetection(), Ending.EMPTY, 0.9, wordless=True) == samples(600)
