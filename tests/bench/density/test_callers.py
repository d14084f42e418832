"""The callers of the density bench: what they send, and which turns count as answered."""

import numpy as np
import pytest

from bench.density import callers
from bench.density.callers import (
    CYCLE,
    SILENCE_MS,
    SPEECH_FROM,
    SPEECH_TO,
    Result,
    Turns,
    frame,
    is_loud,
    spoken,
)


@pytest.mark.parametrize("size", [0, 125, 126, 960, 65_535])
def test_a_frame_is_masked_and_says_its_length(size: int) -> None:
    payload = b"a" * size
    made = frame(2, payload)
    assert made[0] == 0x82
    assert made[1] & 0x80
    length = made[1] & 0x7F
    assert (int.from_bytes(made[2:4]) if length == 126 else length) == size
    assert made.endswith(bytes(4) + payload)


def test_a_second_of_natural_speech_is_spoken_from_its_onset() -> None:
    frames = spoken(16_000)
    assert len(frames) == SPEECH_TO - SPEECH_FROM == 50
    assert {len(one) for one in frames} == {640}
    assert is_loud(b"".join(frames[:2]))
    assert not is_loud(bytes(640))


def test_a_turn_is_answered_once_or_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("bench.density.callers.time.monotonic", lambda: now[0])
    result = Result("binary", 1)
    turns = Turns(result)
    turns.at(SPEECH_TO - 1)
    now[0] += 0.25
    turns.heard()
    turns.heard()
    assert result.added == [pytest.approx(250 - SILENCE_MS)]
    turns.at(SPEECH_TO - 1)
    assert turns.waiting
    turns.at(SPEECH_FROM)
    assert (result.missed, turns.waiting) == (1, False)


@pytest.mark.parametrize(
    ("over", "rate"), [("binary", 24_000), ("json", 24_000), ("twilio", 8_000)]
)
def test_a_cycle_is_made_beforehand(over: str, rate: int) -> None:
    messages = callers._messages(over, rate)
    assert len(messages) == CYCLE
    assert messages[0] == messages[-1] != messages[SPEECH_FROM + 5]
    assert np.unique([len(one) for one in messages]).size == 1
