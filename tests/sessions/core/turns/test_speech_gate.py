"""Where speech begins and ends."""

from sessions.core.turns.speech_gate import SpeechGate

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


def test_after_silence_speech_must_begin_again() -> None:
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


def test_the_silence_before_speech_went_on_is_known() -> None:
    gate = SpeechGate()
    look(gate, [0.9] * 4 + [0.0] * 9 + [0.9] * 2)
    assert gate.pause == 9 * WINDOW
    look(gate, [0.0, 0.9, 0.9])
    assert gate.pause == 9 * WINDOW, "32 ms are no pause"
