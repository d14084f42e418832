"""Placing spoken lines: bounds on the tempo, never two at once."""

from hypothesis import given
from hypothesis import strategies as st

from pipelines.dubbing.track import MAX_TEMPO, MIN_TEMPO, Place, place


def test_a_line_that_fits_is_unchanged() -> None:
    assert place(1_000, 500, 1_500, 0, 2_000) == Place(500, 1.0)


def test_the_silence_after_a_line_is_used_before_the_tempo_changes() -> None:
    assert place(1_400, 500, 1_500, 0, 2_000) == Place(500, 1.0)
    assert place(1_800, 500, 1_500, 0, 2_000) == Place(500, 1.2)
    assert place(1_950, 500, 1_500, 0, 2_000) == Place(500, MAX_TEMPO)


def test_a_long_line_delays_the_next_or_is_dropped() -> None:
    assert place(2_000, 500, 1_500, 0, 2_000) is None
    assert place(2_000, 500, 1_500, 0, 2_000, 100) == Place(500, MAX_TEMPO)
    assert place(9_000, 500, 1_500, 0, 2_000, 100) is None
    assert place(100, 500, 600, 900, 900, 100) is None


def test_a_short_line_is_spoken_slower() -> None:
    assert place(900, 500, 1_500, 0, 2_000) == Place(500, 0.9)
    assert place(300, 500, 1_500, 0, 2_000) == Place(500, MIN_TEMPO)
    assert place(990, 500, 1_500, 0, 2_000) == Place(500, 1.0)


def test_a_line_waits_for_the_last_one() -> None:
    assert place(800, 500, 1_500, 900, 1_900) == Place(900, 1.0)
    assert place(1_200, 500, 1_500, 900, 1_900) == Place(900, 1.2)


def test_without_an_end_no_line_is_sped_up() -> None:
    assert place(9_000, 500, 1_500, 0, None) == Place(500, 1.0)


LINES = st.lists(
    st.tuples(st.integers(0, 3_000), st.integers(1, 4_000), st.integers(1, 9_000)), max_size=20
)


@given(LINES, st.integers(0, 600))
def test_a_whole_recording(lines: list[tuple[int, int, int]], late: int) -> None:
    at, originals = 0, []
    for pause, length, spoken in lines:
        originals.append((at + pause, at + pause + length, spoken))
        at += pause + length
    free = 0
    for number, (start, end, spoken) in enumerate(originals):
        until = originals[number + 1][0] if number + 1 < len(originals) else None
        found = place(spoken, start, end, free, until, late)
        if found is None:
            assert until is not None
            assert spoken > (until - max(start, free)) * MAX_TEMPO
            continue
        assert max(start, free) == found.start <= start + late + 1
        assert until is None or found.start < until
        assert MIN_TEMPO <= found.tempo <= MAX_TEMPO
        free = found.start + round(spoken / found.tempo)
        if until is not None and free > until + 1:
            assert found.tempo == MAX_TEMPO
            assert free <= until + late + 1
        if found.tempo < 1:
            assert free <= end + 1
