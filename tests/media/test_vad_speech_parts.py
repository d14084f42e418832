"""Recordings are cut where nobody speaks."""

from hypothesis import given
from hypothesis import strategies as st

from media.vad import LEAST_VOICED, LONGEST_PART, MARGIN, speech_parts


def timeline(*stretches: tuple[bool, int]) -> list[bool]:
    return [voice for voice, windows in stretches for _ in range(windows)]


def test_a_recording_without_speech_has_no_parts() -> None:
    assert speech_parts([]) == []
    assert speech_parts(timeline((False, 500))) == []
    assert speech_parts(timeline((False, 50), (True, LEAST_VOICED - 1), (False, 500))) == []


def test_silence_around_speech_is_left_out_but_for_a_margin() -> None:
    assert speech_parts(timeline((False, 500), (True, 30), (False, 500))) == [
        (500 - MARGIN, 530 + MARGIN)
    ]
    assert speech_parts(timeline((True, 30))) == [(0, 30)]


def test_speech_close_together_is_one_part() -> None:
    spoken = timeline((True, 30), (False, 40), (True, 30), (False, 2), (True, 30))
    assert speech_parts(spoken) == [(0, len(spoken))]


def test_a_long_silence_separates_parts_and_a_click_in_it_is_dropped() -> None:
    spoken = timeline((True, 30), (False, 200), (True, 1), (False, 200), (True, 30))
    assert speech_parts(spoken) == [(0, 30 + MARGIN), (431 - MARGIN, 461)]


def test_long_speech_is_cut_in_its_pauses() -> None:
    sentence = ((True, 100), (False, 1), (True, 100), (False, 20))
    spoken = timeline(*sentence * 5)
    parts = speech_parts(spoken)
    assert len(parts) == 3
    assert all(start % 221 in (0, 221 - MARGIN) for start, _ in parts)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 900)), max_size=12))
def test_all_speech_is_in_exactly_one_part(stretches: list[tuple[bool, int]]) -> None:
    voiced = timeline(*stretches)
    parts = speech_parts(voiced)
    counted = [0] * len(voiced)
    for start, end in parts:
        assert 0 <= start < end <= len(voiced)
        assert end - start <= LONGEST_PART + 2 * MARGIN
        for place in range(start, end):
            counted[place] += voiced[place]
    assert max(counted, default=0) <= 1
    missed = sum(voiced) - sum(counted)
    assert missed < LEAST_VOICED * max(1, len(stretches))
