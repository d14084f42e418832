"""English numbers, in words and in digits."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.engines.chat.english_numbers import Ambiguous, normal, plain, shown

ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
    " sixteen seventeen eighteen nineteen"
).split()
TENS = ". . twenty thirty forty fifty sixty seventy eighty ninety".split()


def in_words(number: int, join: str, hyphen: str) -> str:
    """``join``: what stands behind "hundred"; ``hyphen``: between tens and ones."""
    for scale, name in ((10**6, "million"), (10**3, "thousand"), (100, "hundred")):
        if number >= scale:
            count, rest = divmod(number, scale)
            begin = f"{in_words(count, join, hyphen)} {name}"
            if not rest:
                return begin
            return f"{begin}{join if rest < 100 else ' '}{in_words(rest, join, hyphen)}"
    if number < 20:
        return ONES[number]
    tens, ones = divmod(number, 10)
    return TENS[tens] + (f"{hyphen}{ONES[ones]}" if ones else "")


@given(st.integers(0, 999_999_999), st.sampled_from((" ", " and ")), st.sampled_from(" -"))
def test_a_number_in_words_is_read(number: int, join: str, hyphen: str) -> None:
    words = in_words(number, join, hyphen)
    assert normal(words) == f"{number}{'&' if ' and ' in words else ''}"


@given(st.integers(0, 999_999_999))
def test_a_number_in_digits_is_read(number: int) -> None:
    assert normal(f"It is {number}.") == normal(f"It is {number:,}!") == f"it is {number}"


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("a hundred", "100"),
        ("a hundred and one", "101&"),
        ("fifteen hundred", "1500"),
        ("three point one four", "3.14"),
        ("2.5 million", "2500000"),
        ("nineteen ninety nine", "19 99"),
        ("one two three", "1 2 3"),
        ("twenty, seven", "20 7"),
        ("one thousand and two hundred", "1000 and 200"),
        ("five and six", "5 and 6"),
        ("three point", "3 point"),
        ("€12.50 and 3 €", "12.5 euros and 3 euros"),
        ("$5", "5 dollars"),
        ("20% of 80", "20 percent of 80"),
        ("What’s 3×4?", "what is 3 times 4"),
    ],
)
def test_a_text_is_normalised(text: str, read: str) -> None:
    assert normal(text) == read


@pytest.mark.parametrize("text", ["3,5", "007", "1.000", "1,00,000", "9" * 13, "999999999 million"])
def test_what_can_be_read_in_two_ways_is_refused(text: str) -> None:
    with pytest.raises(Ambiguous):
        normal(text)


def test_how_numbers_are_shown() -> None:
    assert [plain(Fraction(n)) for n in ("3", "2.50", "0.125", "100")] == [
        "3",
        "2.5",
        "0.125",
        "100",
    ]
    assert [shown(Fraction(n)) for n in ("10/3", "1/8", "7/4")] == [
        "about 3.33", "about 0.12", "1.75",
    ]  # fmt: skip
