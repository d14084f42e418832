"""Gears of the endpointing: patience, the maximum."""

import pytest

from sessions.core.config import Eagerness, TurnDetection, TurnMode
from sessions.core.turns.dictation import Progress
from sessions.core.turns.endpointing import Ending, patience
from sessions.core.turns.speech_gate import samples


@pytest.mark.parametrize(
    ("ending", "probability", "milliseconds"),
    [
        (Ending.CLOSED, 0.9, 380),
        (Ending.CLOSED, 0.5, 380),
        (Ending.CLOSED, 0.3, 800),
        (Ending.CLOSED, 0.1, 1_150),
        (Ending.CLOSED, None, 1_150),
        (Ending.WEAK, 0.9, 600),
        (Ending.WEAK, 0.6, 1_000),
        (Ending.WEAK, 0.3, 1_300),
        (Ending.WEAK, 0.1, 1_800),
        (Ending.DICTATION, 0.95, 1_200),
        (Ending.DICTATION, 0.7, 1_600),
        (Ending.OPEN, 0.95, 1_800),
        (Ending.OPEN, 0.7, 2_600),
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
    assert patience(detection, Ending.OPEN, 0.5) == samples(open_)


def test_server_vad_waits_its_fixed_silence_whatever_was_said() -> None:
    detection = TurnDetection(mode=TurnMode.SERVER_VAD, silence_duration_ms=700)
    for ending in Ending:
        assert patience(detection, ending, None) == samples(700)


def test_noise_is_given_little_patience() -> None:
    assert patience(TurnDetection(), Ending.EMPTY, 0.9, wordless=True) == samples(600)


@pytest.mark.parametrize(
    ("ending", "probability", "milliseconds"),
    [
        (Ending.CLOSED, 0.3, 900),
        (Ending.CLOSED, 0.1, 1_400),
        (Ending.WEAK, 0.95, 2_600),
        (Ending.DICTATION, 0.95, 1_600),
        (Ending.OPEN, 0.95, 2_600),
    ],
)
def test_ungraded_the_melody_counts_at_a_whole_sentence_only(
    ending: Ending, probability: float, milliseconds: int
) -> None:
    assert patience(TurnDetection(), ending, probability, graded=False) == samples(milliseconds)


@pytest.mark.parametrize(
    ("progress", "probability", "milliseconds"),
    [
        (Progress.BEGUN, 0.3, 3_200),
        (Progress.BEGUN, 0.9, 2_400),
        (Progress.ENOUGH, 0.9, 700),
        (Progress.ENOUGH, 0.3, 1_100),
        (Progress.WHOLE, 0.5, 500),
        (Progress.WHOLE, None, 800),
    ],
)
def test_announced_dictation_is_waited_for_until_it_is_complete(
    progress: Progress, probability: float | None, milliseconds: int
) -> None:
    for ending in (Ending.DICTATION, Ending.CLOSED, Ending.WEAK):
        wanted = patience(TurnDetection(), ending, probability, progress=progress)
        assert wanted == samples(milliseconds)


def test_the_pace_of_the_caller_stretches_patience_up_to_the_maximum() -> None:
    assert patience(TurnDetection(), Ending.CLOSED, 0.9, pace=1.5) == samples(570)
    assert patience(TurnDetection(), Ending.OPEN, 0.1, pace=1.6) == samples(3_200)
    hasty = TurnDetection(eagerness=Eagerness.HIGH)
    assert patience(hasty, Ending.OPEN, 0.1, pace=2.4) == samples(1_920)
    assert patience(TurnDetection(), Ending.EMPTY, 0.9, wordless=True, pace=1.6) == samples(600)
