"""Numbers of a Portuguese text, in words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.engines.kokoro.portuguese import LARGEST, cardinal, in_words


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "zero"), (14, "quatorze"), (22, "vinte e dois"), (100, "cem"), (101, "cento e um"),
        (550, "quinhentos e cinquenta"), (1000, "mil"), (1001, "mil e um"), (1100, "mil e cem"),
        (1999, "mil novecentos e noventa e nove"), (2024, "dois mil e vinte e quatro"),
        (21_000, "vinte e um mil"), (1_000_000, "um milhão"),
        (2_000_300, "dois milhões e trezentos"), (10**9, "um bilhão"),
    ],
)  # fmt: skip
def test_cardinals(number: int, words: str) -> None:
    assert cardinal(number) == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1150 reais", "mil cento e cinquenta reais"),
        ("1 hora, 2 horas e 22 vezes", "uma hora, duas horas e vinte e duas vezes"),
        ("2 pessoas em 2 carros", "duas pessoas em dois carros"),
        ("0800 e 0 1 9", "zero oito zero zero e zero um nove"),
        ("1234567", "um milhão duzentos e trinta e quatro mil quinhentos e sessenta e sete"),
    ],
)
def test_texts(text: str, words: str) -> None:
    assert " ".join(in_words(text).split()) == words


def test_very_large_numbers_are_read_digit_by_digit() -> None:
    assert cardinal(LARGEST).split() == ["um", *["zero"] * 12]


@given(st.text(alphabet="0123456789 .horas-", max_size=30))
def test_no_digit_is_left(text: str) -> None:
    assert not any(character.isdigit() for character in in_words(text))
