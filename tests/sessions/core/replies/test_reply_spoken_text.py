"""A reply cut at sample n is cut at the last word heard whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessions.core.replies.reply import SpokenText


def spoken(*pieces: tuple[str, int]) -> SpokenText:
    text = SpokenText()
    for words, samples in pieces:
        text.add(words, samples, 24_000)
    return text


@pytest.mark.parametrize(
    ("samples", "heard"),
    [
        (-1, ""),
        (0, ""),
        (49, ""),
        (50, "Hello"),
        (109, "Hello"),
        (110, "Hello there"),
        (119, "Hello there"),
        (120, "Hello there"),
        (159, "Hello there"),
        (160, "Hello there Nice"),
        (999, "Hello there Nice day"),
    ],
)
def test_cut(samples: int, heard: str) -> None:
    assert spoken(("Hello there ", 120), ("Nice day", 80)).heard(samples) == heard


def test_a_clause_without_text_extends_the_previous_one() -> None:
    text = spoken(("Hello there", 55), ("", 55))
    assert text.samples == 110
    assert text.heard(55) == "Hello"


def test_text_that_has_no_sound_is_heard_with_what_follows() -> None:
    text = spoken(("* ", 0), ("Hello", 50))
    assert (text.heard(0), text.heard(60)) == ("", "* Hello")
    assert spoken(("* ", 0)).heard(10) == ""


PIECES = st.lists(st.tuples(st.text("ab .,", max_size=8), st.integers(0, 50)), max_size=6)


@given(PIECES, st.integers(0, 400), st.integers(0, 400))
def test_heard_is_a_prefix_that_grows(pieces: list[tuple[str, int]], one: int, other: int) -> None:
    text = spoken(*pieces)
    less, more = text.heard(min(one, other)), text.heard(max(one, other))
    assert text.text.startswith(more)
    assert more.startswith(less)
